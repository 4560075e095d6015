"""What Celery, RQ, their brokers' clients and their pools raise."""

from __future__ import annotations

import signal
import socket

import amqp.exceptions
import billiard.exceptions
import celery
import kombu
import kombu.exceptions
import redis
import redis.exceptions
import rq.exceptions
import rq.timeouts
from celery import exceptions as celery_exceptions
from celery.result import AsyncResult
from kombu.serialization import dumps, loads
from redis._parsers.base import BaseParser

from otel_taskqueue.semconv import Category
from support.failures import fails
from support.failures.server import closed_port


def _answer(line: str) -> None:
    """A server's error, as redis-py makes an exception of it."""
    raise BaseParser.parse_error(line)


@fails(Category.CONNECTION)
def redis_refused() -> None:
    redis.Redis(port=closed_port(), retry=None).ping()


@fails(Category.TIMEOUT)
def redis_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        redis.Redis(port=silent.getsockname()[1], socket_timeout=0.05, retry=None).ping()


# Older redis-py has no name of its own for it.
@fails(Category.RESOURCE if hasattr(redis.connection, "MaxConnectionsError") else Category.CONNECTION)
def redis_pool_exhausted() -> None:
    pool = redis.ConnectionPool(max_connections=1, port=closed_port())
    pool.make_connection()
    pool.make_connection()


@fails(Category.RESOURCE)
def redis_out_of_memory() -> None:
    _answer("OOM command not allowed when used memory > 'maxmemory'.")


@fails(Category.DEPENDENCY)
def redis_loading() -> None:
    _answer("LOADING Redis is loading the dataset in memory")


@fails(Category.DEPENDENCY)
def redis_read_only() -> None:
    _answer("READONLY You can't write against a read only replica.")


@fails(Category.CODE)
def redis_wrong_type() -> None:
    _answer("WRONGTYPE Operation against a key holding the wrong kind of value")


@fails(Category.CODE)
def redis_wrong_password() -> None:
    _answer("WRONGPASS invalid username-password pair or user is disabled.")


@fails(Category.DATA)
def redis_bad_value() -> None:
    redis.Connection().pack_command("SET", "key", {"a": 1})


@fails(Category.CONNECTION)
def kombu_operational_error() -> None:
    broker = f"redis://127.0.0.1:{closed_port()}/0"
    options = {"max_retries": 0, "interval_start": 0}
    with celery.Celery(broker=broker, set_as_current=False) as app:
        app.send_task("shop.pay", retry=True, retry_policy=options)


@fails(Category.CONNECTION)
def amqp_refused() -> None:
    with kombu.Connection(f"amqp://127.0.0.1:{closed_port()}//") as connection:
        connection.ensure_connection(max_retries=1, interval_start=0)


@fails(Category.CODE)
def amqp_precondition_failed() -> None:
    raise amqp.exceptions.error_for_code(
        406, "PRECONDITION_FAILED - inequivalent arg", (50, 10), amqp.exceptions.ChannelError
    )


@fails(Category.CONNECTION)
def amqp_connection_forced() -> None:
    raise amqp.exceptions.error_for_code(320, "CONNECTION_FORCED", (0, 0), amqp.exceptions.ConnectionError)


@fails(Category.DEPENDENCY)
def amqp_internal_error() -> None:
    raise amqp.exceptions.error_for_code(541, "INTERNAL_ERROR", (0, 0), amqp.exceptions.ChannelError)


@fails(Category.DATA)
def kombu_content_disallowed() -> None:
    loads(b"rubbish", "application/x-python-serialize", "binary", accept={"application/json"})


@fails(Category.DATA)
def kombu_decode_error() -> None:
    loads(b"{no json", "application/json", "utf-8")


@fails(Category.DATA)
def kombu_encode_error() -> None:
    dumps(object(), serializer="json")


@fails(Category.RESOURCE)
def kombu_pool_exhausted() -> None:
    pool = kombu.Connection("memory://").Pool(limit=1)
    pool.acquire()
    pool.acquire(block=False)


@fails(Category.TIMEOUT)
def celery_result_timeout() -> None:
    with celery.Celery(broker="memory://", backend="cache+memory://", set_as_current=False) as app:
        AsyncResult("no-such-id", app=app).get(timeout=0.01, interval=0.005)


@fails(Category.TIMEOUT)
def celery_soft_time_limit() -> None:
    raise celery_exceptions.SoftTimeLimitExceeded


@fails(Category.TIMEOUT)
def celery_time_limit() -> None:
    raise celery_exceptions.TimeLimitExceeded(30)


@fails(Category.KILLED)
def celery_worker_lost() -> None:
    raise celery_exceptions.WorkerLostError("Worker exited prematurely: signal 9 (SIGKILL) Job: 0.")


@fails(Category.KILLED)
def billiard_terminated() -> None:
    raise billiard.exceptions.Terminated(-signal.SIGTERM)


@fails(Category.CANCELLED)
def celery_revoked() -> None:
    raise celery_exceptions.TaskRevokedError("revoked")


@fails(Category.CODE)
def celery_not_registered() -> None:
    with celery.Celery(set_as_current=False) as app:
        app.tasks["nobody.has.registered.this"]


@fails(Category.DEPENDENCY)
def celery_chord_error() -> None:
    raise celery_exceptions.ChordError("Dependency 5ec1 raised OrderError('no')")


@fails(Category.DATA)
def celery_retry_of_bad_data() -> None:
    with celery.Celery(set_as_current=False) as app:
        app.conf.task_always_eager = True

        @app.task(bind=True, max_retries=0)
        def pay(task: celery.Task) -> None:
            try:
                int("twelve")
            except ValueError as error:
                raise task.retry(exc=error) from error

        pay.apply(throw=True)


@fails(Category.TIMEOUT)
def rq_job_timeout() -> None:
    rq.timeouts.UnixSignalDeathPenalty(1, rq.timeouts.JobTimeoutException).handle_death_penalty(14, None)


@fails(Category.KILLED)
def rq_abandoned() -> None:
    raise rq.exceptions.AbandonedJobError


@fails(Category.KILLED)
def rq_shut_down() -> None:
    raise rq.exceptions.ShutDownImminentException("Warm shut down", {})


@fails(Category.DATA)
def rq_no_such_job() -> None:
    raise rq.exceptions.NoSuchJobError("No such job: rq:job:5ec1")
