"""The Redis of an application: that of its broker, else that of its result backend, else none."""

from __future__ import annotations

import sys
from typing import Any

from otel_taskqueue.celery.broker import view_of


def pool_of(app: Any) -> Any:
    """A connection pool of redis-py that knows how to reach it; None without a Redis.

    Raises:
        Exception: The broker is a Redis that cannot be reached.
    """
    if view_of(app).broker.system == "redis":
        return _of_broker(app)
    return _of_backend(app)


def scheduler_name(app: Any) -> str:
    """What tells this application's beat from those of others that share its Redis."""
    options: Any = app.conf.broker_transport_options or {}
    return f"{options.get('global_keyprefix') or ''}{app.main or 'celery'}"


def _of_broker(app: Any) -> Any:
    with app.connection_for_write() as connection:
        # As many attempts as there are brokers in a failover list, the next one each time.
        connection.ensure_connection(max_retries=max(len(connection.alt), 1), interval_start=0.1)
        return connection.default_channel.pool


def _of_backend(app: Any) -> Any:
    backends = sys.modules["celery.app.backends"]  # an application is not made without it
    kind: Any = backends.by_url(app.backend_cls or app.conf.result_backend, app.loader)[0]
    if not any(base.__module__ == "celery.backends.redis" for base in kind.__mro__):
        return None
    return app.backend.client.connection_pool
