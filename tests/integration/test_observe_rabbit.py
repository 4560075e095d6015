"""What the observer says of Celery queues on RabbitMQ, with and without its management API."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import amqp
import pytest

from support import observer
from support.otlp import Receiver
from support.process import RealProcess
from support.servers import RABBIT_SCRIPTS, RabbitServer, missing
from support.wait import wait_for

pytestmark = pytest.mark.xdist_group("observe-rabbit")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """A RabbitMQ with the management plugin."""
    if not any(
        Path(script).parents[1].glob("lib/*/plugins/rabbitmq_management-*") for script in RABBIT_SCRIPTS
    ):
        missing("RabbitMQ's management plugin")
    server = RabbitServer(tmp_path_factory.mktemp("rabbit"), management=True)
    yield server
    server.stop()


@pytest.fixture
def broker(server: RabbitServer) -> RabbitServer:
    """The same, without the queues of the application."""
    with connected(server) as connection:
        channel = connection.channel()
        for queue in ("mail", "post"):
            channel.queue_delete(queue)
    return server


def connected(server: RabbitServer) -> amqp.Connection:
    """A connection of the test's own."""
    return amqp.Connection(f"127.0.0.1:{server.port}", userid=server.user, password=server.password)


def observe(
    folder: Path, server: RabbitServer, receiver: Receiver, *arguments: str, name: str = "observer"
) -> RealProcess:
    """An observer of the queues mail and post, which looks each second."""
    queues = ["--queue", "mail,post", "--interval", "1"]
    env = {"CELERY_BROKER_URL": server.url(), **receiver.env()}
    return observer.start(folder, *queues, *arguments, name=name, **env)


def test_management_adds_reserved_jobs_and_the_age_of_the_oldest(
    broker: RabbitServer, receiver: Receiver, tmp_path: Path
) -> None:
    """Ready, unacknowledged and consumers by queue; the age from the time that our publish has set."""
    go = tmp_path / "go"
    with (
        observe(tmp_path, broker, receiver, "--management-url", broker.management_url) as process,
        observer.worker(tmp_path, broker.url(), "-Q", "post", "-c", "1", name="post@test"),
    ):
        observer.enqueue(
            broker.url(), {"queue": "mail", "times": 3}, {"queue": "post", "args": [str(go)], "times": 3}
        )
        board = observer.wait_for_board(
            receiver,
            lambda board: (
                board.sizes("mail") == {"ready": 3, "reserved": 0}
                and board.sizes("post") == {"ready": 2, "reserved": 1}
                and (board.age("mail") or 0) > 4
            ),
            "jobs by state",
        )
        assert 4 < (board.age("mail") or 0) < 40
        assert (board.workers("mail"), board.workers("post")) == (0, 1)
        assert {"post@test"} == board.heartbeats().keys()
        assert broker.password not in process.output()
        go.touch()


def test_without_management_it_is_absent_never_zero(
    broker: RabbitServer, receiver: Receiver, tmp_path: Path
) -> None:
    """A passive declaration answers with ready jobs and consumers; an empty queue has no oldest job."""
    observer.enqueue(broker.url(), {"queue": "mail", "times": 2})
    with connected(broker) as connection:
        connection.channel().queue_declare("post", durable=True, auto_delete=False)
    with observe(tmp_path, broker, receiver, "--management-url", "none"):
        board = observer.wait_for_board(receiver, lambda board: board.sizes("mail"), "a queue")
        assert {"ready": 2} == board.sizes("mail")
        assert board.age("mail") is None
        assert {"ready": 0} == board.sizes("post")
        assert board.age("post") == 0
        with connected(broker) as connection:
            connection.channel().queue_delete("post")
        observer.wait_for_board(receiver, lambda board: not board.sizes("post"), "a queue that is gone")


def test_a_job_of_later_is_not_old_and_a_time_of_the_user_is_kept(broker: RabbitServer) -> None:
    """The AMQP timestamp is when the job can be taken: its ETA, if it has one; the user's own wins."""
    own = 1_000_000_000
    observer.enqueue(
        broker.url(),
        {"queue": "mail"},
        {"queue": "mail", "countdown": 600},
        {"queue": "mail", "timestamp": own},
    )
    with connected(broker) as connection:
        channel = connection.channel()
        stamps = [channel.basic_get("mail", no_ack=True).properties.get("timestamp") for _ in range(3)]
    now = time.time()
    assert abs(stamps[0] - now) < 60
    assert 500 < stamps[1] - now < 601
    assert own == stamps[2]


def test_a_wrong_management_password_is_told_and_the_rest_goes_on(
    broker: RabbitServer, receiver: Receiver, tmp_path: Path
) -> None:
    """One line with the reason; sizes and consumers still come."""
    observer.enqueue(broker.url(), {"queue": "mail"})
    url = broker.management_url.replace("http://", "http://jobs:wrong-secret@")
    with observe(tmp_path, broker, receiver, "--management-url", url) as process:
        observer.wait_for_board(receiver, lambda board: board.sizes("mail") == {"ready": 1}, "a queue")
        process.wait_for_line("it refuses this user")
        assert "wrong-secret" not in process.output()


def test_one_leads_and_is_followed_when_killed_or_frozen(
    broker: RabbitServer, receiver: Receiver, tmp_path: Path
) -> None:
    """kill -9: within ten seconds. Frozen: RabbitMQ drops the connection; thawed, it says nothing more."""
    observer.enqueue(broker.url(), {"queue": "mail"})
    with (
        observe(tmp_path, broker, receiver, name="a") as first,
        observe(tmp_path, broker, receiver, name="b") as second,
    ):
        wait_for(lambda: observer.reporters(receiver), 20, "a leader", first.tail)
        leader, other = (first, second) if observer.reporters(receiver)[0][1] == "a" else (second, first)
        other.wait_for_line("another instance leads")
        leader.send_signal(signal.SIGSTOP)
        wait_for(lambda: observer.reporters(receiver)[-1][1] == other.name, 30, "the next", other.tail)
        leader.send_signal(signal.SIGCONT)
        leader.wait_for_line("no longer leads")
        leader.wait_for_line("another instance leads")
        killed = time.time()
        other.kill()
        wait_for(lambda: observer.reporters(receiver)[-1][1] == leader.name, 20, "the first", leader.tail)
        assert observer.reporters(receiver)[-1][0] / 1e9 - killed < 10
    turns = [who for _, who in observer.reporters(receiver)]
    changes = [who for place, who in enumerate(turns) if place == 0 or turns[place - 1] != who]
    assert changes == [leader.name, other.name, leader.name]
    times = [when for when, _ in observer.reporters(receiver)]
    assert times == sorted(times)
