"""A job that was finished and comes back, because its acknowledgement never arrived, is counted as such."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from otel_taskqueue import meters, semconv
from support.gate import Gate
from support.harness import rabbit_broker
from support.servers import RabbitServer, RedisServer
from support.truth import running_truth
from support.wait import wait_for


def test_a_job_whose_acknowledgement_was_lost_is_a_duplicate(
    rabbit_server: RabbitServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The worker's connection is cut while the job runs: the broker delivers it again."""
    broker = rabbit_broker(rabbit_server, redis_server)
    with Gate(broker.host, broker.port) as gate:
        behind = replace(broker, port=gate.port, url=broker.url.replace(str(broker.port), str(gate.port)))
        # Both may leave, but the second has to wait for the first one's slot.
        with running_truth(behind, tmp_path, concurrency=1) as worker:
            worker.enqueue("slow_ack", 1, 2)
            wait_for(lambda: worker.lines("runs"), 10, "the job runs", worker.explain)
            assert gate.cut()
            series = worker.wait_for_runs(2)
            worker.enqueue("slow_ack", 3)
            series = worker.wait_for_runs(5)
            ran = worker.lines("runs")
            assert ran[0] == ran[1]
            assert len(ran) == 5
            (found,) = series.last(meters.DUPLICATES.name)
            assert found.value == 1
            assert found.attributes == {
                semconv.MESSAGING_SYSTEM: "rabbitmq",
                semconv.SYSTEM: "celery",
                semconv.MESSAGING_DESTINATION_NAME: worker.queue,
                semconv.TASK_NAME: "support.apps.truth_celery.slow_ack",
            }


def test_a_job_that_was_given_back_is_no_duplicate(
    rabbit_server: RabbitServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Rejected, or killed and requeued: it comes back because it was not finished."""
    with running_truth(rabbit_broker(rabbit_server, redis_server), tmp_path) as worker:
        worker.enqueue("reject_once", 3)
        worker.enqueue("die_once", 2)
        series = worker.wait_for_runs(10)
        assert series.by(meters.RUNS.name, semconv.TASK_OUTCOME) == {"rejected": 3, "lost": 2, "success": 5}
        assert not series.value(meters.DUPLICATES.name)
        assert series.count(meters.TASK_ATTEMPTS.name) == 5
