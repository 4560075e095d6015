"""The Celery application which is observed, or one made up for its broker, and connections to it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_taskqueue.observe.errors import UsageError, need, plain

if TYPE_CHECKING:
    from otel_taskqueue.observe.target import Target

#: Seconds after which a broker counts as not answering.
PATIENCE = 5.0


def load(name: str) -> Any:
    """The application that ``module:app`` names, as ``celery -A`` finds it.

    Raises:
        UsageError: there is none, or importing it failed.
        MissingLibraryError: Celery is not installed.
    """
    need("celery", "otel-taskqueue[celery]", "--app names a Celery application")
    utils: Any = importlib.import_module("celery.app.utils")  # an extra
    sys.path.insert(0, str(Path.cwd()))
    try:
        return utils.find_app(name)
    except Exception as error:
        raise UsageError(f"--app {name}: {type(error).__name__}: {plain(error)}") from error


def make_up(target: Target) -> Any:
    """An application with nothing but a broker.

    Raises:
        MissingLibraryError: Celery, or the client of the broker, is not installed.
    """
    need("celery", "otel-taskqueue[celery]", "the broker is observed as a Celery broker; for RQ: --rq")
    from celery import Celery  # noqa: PLC0415  (an extra)

    return Celery("otel-taskqueue-observe", broker=target.url, set_as_current=False)


def connect(app: Any, target: Target, heartbeat: float = 0) -> Any:
    """A new connection to the broker; gives up after a few seconds.

    Raises:
        Exception: the broker does not answer, or refuses.
    """
    connection = app.connection_for_read(
        target.url,
        ssl=_ssl(app, target),
        heartbeat=heartbeat,
        connect_timeout=PATIENCE,
        transport_options=_transport_options(target),
    )
    try:
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=PATIENCE)
    except BaseException:
        connection.collect()
        raise
    return connection


def queue_names(app: Any) -> tuple[str, ...]:
    """The queues which the application is configured with."""
    return tuple(str(name) for name in app.amqp.queues)


def _transport_options(target: Target) -> dict[str, Any]:
    if target.system == "redis":
        return {
            "socket_timeout": PATIENCE,
            "socket_connect_timeout": PATIENCE,
            "retry_on_timeout": False,
        }
    return {"read_timeout": PATIENCE, "write_timeout": PATIENCE}


def _ssl(app: Any, target: Target) -> Any:
    """What the command line says of TLS, else the application; a URL that asks for TLS is always checked."""
    configured = app.conf.broker_use_ssl
    if not target.encrypted or (configured and not target.tls.given):
        return configured or None
    if target.system == "rabbitmq":
        return target.tls.for_amqp(target.host)
    if "ssl_cert_reqs" in target.url and not target.tls.given:
        return None
    return target.tls.for_redis()
