"""Producer, a real Kafka and consumer: nothing is missing whatever dies, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path

import pytest

from support.backends.documented import start_of_collector
from support.backends.kafka import Kafka, running_kafka
from support.backends.otelcol import Collector, running_collector
from support.backends.recorder import Recorder
from support.backends.sending import COUNTER, Sender, lines, span_ids, wait_for_all
from support.collecting import PROTOCOLS, hex_ids, takes_the_largest_batch
from support.otlp import Receiver
from support.wait import wait_for

PRODUCER = start_of_collector("kafka.md", "kafka-producer.yaml").configs
CONSUMER = start_of_collector("kafka.md", "kafka-consumer.yaml").configs
SPANS = 20_000
#: Slower than this, something stands still in between (one message at a time with a wait for each).
LEAST_RATE = 1_000
FROZEN_SECONDS = 8
#: As kafka-consumer.yaml has it.
COMMIT_SECONDS = 1

pytestmark = [pytest.mark.xdist_group("collector-kafka"), pytest.mark.timeout(240)]
_topics = count(1)


@dataclass(frozen=True, slots=True)
class Buffered:
    """Two collectors with Kafka between them."""

    kafka: Kafka
    producer: Collector
    consumer: Collector
    traces: Receiver
    rest: Recorder
    sender: Sender

    def wait_for_all(self, timeout: float = 60.0) -> tuple[int, int]:
        """Wait for everything that was sent; how many spans and lines came twice."""
        sent = self.sender.sent
        spans = wait_for_all(
            lambda: [span.span_id for span in self.traces.spans()], span_ids(sent), "spans", timeout
        )
        wait_for(lambda: sent in self.values(), timeout, f"{COUNTER} = {sent}", lambda: self.values()[-3:])
        return spans, wait_for_all(
            lambda: [str(line.body) for line in self.rest.logs], lines(sent), "lines", timeout
        )

    def wait_for_arrivals(self) -> None:
        """Wait until more spans arrive than have."""
        before = len(self.traces.spans())
        wait_for(lambda: len(self.traces.spans()) > before, 60, "spans arrive", lambda: before)

    def wait_until_held_back(self) -> None:
        """Wait until the consumer has held what the backend does not take for longer than a commit."""
        wait_for_failure(self.consumer)
        since = time.monotonic()
        wait_for(lambda: time.monotonic() - since > 2 * COMMIT_SECONDS, 10, "a commit")

    def values(self) -> list[float | None]:
        """The counter's values in the order of their arrival."""
        return [point.value for point in self.rest.metrics]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One broker for all; each test has topics of its own."""
    with running_kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
def buffered(kafka: Kafka, tmp_path: Path) -> Iterator[Buffered]:
    """Both collectors with topics of their own."""
    with ExitStack() as stack:
        traces, rest = stack.enter_context(Receiver("grpc")), stack.enter_context(Recorder())
        env = {
            "KAFKA_BROKERS": kafka.address,
            "KAFKA_TOPIC_PREFIX": f"test{next(_topics)}",
            "KAFKA_GROUP": f"test{next(_topics)}",
            "TRACES_ENDPOINT": f"127.0.0.1:{traces.port}",
            "METRICS_ENDPOINT": rest.url,
            "LOGS_ENDPOINT": rest.url,
        }
        producer = stack.enter_context(running_collector(PRODUCER, tmp_path / "producer", env=env))
        consumer = stack.enter_context(running_collector(CONSUMER, tmp_path / "consumer", env=env))
        yield Buffered(kafka, producer, consumer, traces, rest, Sender(producer.http))


def test_it_is_fast_and_keeps_points_in_order(buffered: Buffered) -> None:
    """20,000 spans and as many lines, from the first request to the last arrival, all on one machine."""
    buffered.sender.send(200)  # topics are made, groups are joined
    buffered.wait_for_all()

    started = time.monotonic()
    buffered.sender.send(SPANS)
    sent_after = time.monotonic() - started
    twice = buffered.wait_for_all()
    seconds = time.monotonic() - started

    rate = 2 * SPANS / seconds
    print(f"kafka: {2 * SPANS} in {seconds:.1f} s (sending {sent_after:.1f} s): {rate:.0f} a second")
    assert rate > LEAST_RATE
    assert twice == (0, 0)
    assert_in_order(buffered)


def test_points_that_have_waited_come_in_order(buffered: Buffered) -> None:
    """A consumer that was away reads all partitions at once: what belongs together is in one."""
    buffered.consumer.stop()
    with buffered.sender.sending(pause=0.25):  # more than a batch is waited for: each is a message
        buffered.sender.wait_for(1_600)
    buffered.consumer.start()
    buffered.wait_for_all()
    assert_in_order(buffered)


def assert_in_order(buffered: Buffered) -> None:
    """The counter's values came as they were sent."""
    values = [value or 0 for value in buffered.values()]
    assert all(earlier < later for earlier, later in pairwise(values)), values


def test_nothing_is_missing_whatever_dies_under_load(buffered: Buffered) -> None:
    """Each collector killed with -9, Kafka frozen, the backend away with the consumer killed meanwhile."""
    sender = buffered.sender
    with sender.sending(pause=0.05):
        buffered.wait_for_arrivals()
        restart(buffered.producer)
        sender.wait_for(2_000)
        restart(buffered.consumer)
        with buffered.kafka.frozen():
            frozen = time.monotonic()
            sender.wait_for(2_000)
            restart(buffered.producer)
            wait_for(lambda: time.monotonic() - frozen > FROZEN_SECONDS, FROZEN_SECONDS + 1, "a long freeze")
        buffered.wait_for_arrivals()
        buffered.traces.stop()
        buffered.wait_until_held_back()
        restart(buffered.consumer)
        buffered.traces.start()
        sender.wait_for(2_000)
    spans, log_lines = buffered.wait_for_all(120)
    print(
        f"kafka: {sender.sent} spans and lines each, {sender.refused} exports refused and sent again, "
        f"0 missing, {spans} spans and {log_lines} lines came twice"
    )


def wait_for_failure(collector: Collector) -> None:
    """Wait until one more of its exports has failed."""
    failed = "Exporting failed. Will retry"
    before = collector.log().count(failed)
    wait_for(lambda: collector.log().count(failed) > before, 30, "a failed export")


def restart(collector: Collector) -> None:
    """Kill it with -9 and start it again."""
    collector.kill()
    collector.start()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_export_larger_than_a_message_of_kafka_is_divided(protocol: str, buffered: Buffered) -> None:
    """The producer takes 30 MB; Kafka takes 1 MB, and would refuse what is larger for good."""
    ids = hex_ids(takes_the_largest_batch(buffered.producer, protocol))
    wait_for_all(lambda: [span.span_id for span in buffered.traces.spans()], ids, "spans", 60)
    assert "too large" not in buffered.producer.log().lower()


def test_what_a_backend_refuses_for_good_does_not_stop_the_rest(buffered: Buffered) -> None:
    """HTTP 400 is for ever: such a message is skipped and counted, the next ones arrive."""
    buffered.rest.answer = lambda path: 400 if path == "/v1/logs" else 200
    buffered.sender.send(200)
    wait_for(lambda: any(one.status == 400 for one in buffered.rest.asked), 30, "a refusal")
    buffered.rest.answer = lambda _path: 200
    with buffered.sender.sending(pause=0.25):  # a message each, for both partitions
        buffered.sender.wait_for(1_600)

    expected = {f"line {number}" for number in range(200, buffered.sender.sent)}
    wait_for_all(lambda: [str(line.body) for line in buffered.rest.logs], expected, "the next lines", 30)
    assert refused_records(buffered.consumer) == 200


def refused_records(collector: Collector) -> int:
    """Log records which the exporter gave up, by the collector's own metrics."""
    name = "otelcol_exporter_send_failed_log_records"
    rows = [line for line in collector.metrics().splitlines() if line.startswith(name)]
    return int(sum(float(row.rpartition(" ")[2]) for row in rows))
