"""The observer against brokers with TLS and passwords, and what it says when they do not let it in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import observer
from support.certificates import Certificates
from support.otlp import Receiver
from support.servers import RabbitServer, RedisServer, missing

pytestmark = pytest.mark.xdist_group("observe-tls")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority and a server's certificate."""
    return Certificates.make(tmp_path_factory.mktemp("tls")) or missing("openssl")


@pytest.fixture(scope="module")
def redis_tls(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RedisServer]:
    """A Redis that speaks TLS alone."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), tls=certificates)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def rabbit_tls(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[RabbitServer]:
    """A RabbitMQ that speaks TLS alone."""
    server = RabbitServer(tmp_path_factory.mktemp("rabbit"), tls=certificates)
    yield server
    server.stop()


@pytest.mark.parametrize("library", ["rq", "celery"])
def test_redis_with_tls_and_a_password(
    redis_tls: RedisServer, certificates: Certificates, receiver: Receiver, tmp_path: Path, library: str
) -> None:
    """`rediss://` and the file of the authority are all it takes."""
    arguments = ["--interval", "1", "--ca-file", str(certificates.authority), "--queue", "mail"]
    if library == "rq":
        arguments.append("--rq")
    env = {"REDIS_URL" if library == "rq" else "CELERY_BROKER_URL": redis_tls.url()}
    with observer.start(tmp_path, *arguments, **env, **receiver.env()) as process:
        board = observer.wait_for_board(receiver, lambda board: board.sizes("mail"), "a queue")
        assert board.sizes("mail")["ready"] == 0
        assert redis_tls.password not in process.output()


def test_rabbitmq_with_tls_and_a_password(
    rabbit_tls: RabbitServer, certificates: Certificates, receiver: Receiver, tmp_path: Path
) -> None:
    """`amqps://`: jobs of a real application, and its workers."""
    conf = {"broker_use_ssl": {"ca_certs": str(certificates.authority), "cert_reqs": 2}}
    observer.enqueue(rabbit_tls.url(), {"queue": "mail", "times": 3}, conf=conf)
    arguments = ["--interval", "1", "--ca-file", str(certificates.authority), "--queue", "mail"]
    env = {"CELERY_BROKER_URL": rabbit_tls.url(), **receiver.env()}
    with observer.start(tmp_path, *arguments, **env) as process:
        observer.wait_for_board(receiver, lambda board: board.sizes("mail") == {"ready": 3}, "three jobs")
        with observer.worker(tmp_path, rabbit_tls.url(), "-Q", "mail", "-P", "solo", conf=conf):
            board = observer.wait_for_board(
                receiver, lambda board: board.workers("mail") == 1 and board.heartbeats(), "a worker"
            )
        assert board.sizes("mail") == {"ready": 0}
        assert rabbit_tls.password not in process.output()


def test_a_server_of_an_unknown_authority_is_not_trusted(redis_tls: RedisServer) -> None:
    """One clear line, and status 1 for a single look."""
    told = observer.once("--rq", "--once", REDIS_URL=redis_tls.url())
    assert told.returncode == 1
    assert "certificate verify failed" in told.stderr
    assert redis_tls.password not in told.stdout + told.stderr


def test_the_check_can_be_given_up_by_name(redis_tls: RedisServer) -> None:
    """`--tls-insecure`, for a certificate that nobody can check."""
    told = observer.once("--rq", "--once", "--tls-insecure", REDIS_URL=redis_tls.url())
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("system", ["redis", "rabbitmq"])
def test_a_wrong_password_is_one_line_which_does_not_show_it(
    system: str, redis_tls: RedisServer, rabbit_tls: RabbitServer, certificates: Certificates
) -> None:
    """Told by the server's own words."""
    server = redis_tls if system == "redis" else rabbit_tls
    url = server.url().replace(server.password, "mistyped-secret")
    told = observer.once("--once", "--ca-file", str(certificates.authority), CELERY_BROKER_URL=url)
    assert told.returncode == 1, told.stderr
    assert len(told.stderr.strip().splitlines()) == 1, told.stderr
    assert "does not answer" in told.stderr
    assert "mistyped-secret" not in told.stdout + told.stderr
