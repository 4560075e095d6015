"""A Redis client whose commands end within seconds, answered or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from otel_taskqueue.observe.celery_app import PATIENCE

if TYPE_CHECKING:
    from otel_taskqueue.observe.target import Target


def connect(target: Target) -> Any:
    """A client of this Redis; it connects with its first command."""
    url = target.url
    if url.startswith("redis+socket:"):
        url = "unix:" + url.partition(":")[2]
    tls = target.tls.for_redis() if target.encrypted and _may_choose(target) else {}
    client_class: Any = redis.Redis
    return client_class.from_url(
        url,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),
        **tls,
    )


def of_channel(channel: Any) -> Any:
    """A client on the connections of kombu's channel, which knows sentinels, sockets and certificates.

    Without kombu's key prefix: not every command that is needed would get it.
    """
    return redis.Redis(connection_pool=channel.pool)


def _may_choose(target: Target) -> bool:
    """A URL that says itself how certificates are checked is obeyed, unless the command line speaks."""
    return target.tls.given or "ssl_cert_reqs" not in target.url
