"""From a plan to the lock and the sources; here the libraries of the chosen broker are imported."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from otel_taskqueue.observe import celery_app
from otel_taskqueue.observe.errors import has, need

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_taskqueue.observe.election import Lease, Lock
    from otel_taskqueue.observe.plan import Plan
    from otel_taskqueue.observe.readings import Source
    from otel_taskqueue.observe.voice import Voice


#: Seconds which giving connections back may take.
_FAREWELL = 1.5
#: Seconds in which every living Celery worker has been heard.
_SETTLE = 2.5


class Opened(NamedTuple):
    """Sources with the connections which they share; ``settle``: seconds until they know something."""

    sources: Sequence[Source]
    connections: Sequence[Any] = ()
    settle: float = 0.0

    def close(self) -> None:
        """Give everything back, as far as the broker allows within a second or so; never raises."""
        closing = threading.Thread(target=self._close, name="otel-taskqueue-close", daemon=True)
        closing.start()
        closing.join(_FAREWELL)

    def _close(self) -> None:
        for thing in (*self.sources, *self.connections):
            with contextlib.suppress(Exception):
                thing.close()


def check_libraries(plan: Plan) -> None:
    """Raise `MissingLibraryError` when a client of the broker is not installed."""
    if plan.target.system == "redis" or plan.schedules is not None:
        install = "otel-taskqueue[rq]" if plan.library == "rq" else "celery[redis]"
        need("redis", install, "the client of Redis")
    if plan.library == "rq":
        need("rq", "otel-taskqueue[rq]", "--rq observes RQ")
    else:
        need("celery", "otel-taskqueue[celery]", "the broker is observed as a Celery broker; for RQ: --rq")


def lock(plan: Plan) -> Lock:
    """The leader's lock in the observed broker."""
    if plan.target.system == "rabbitmq":
        from otel_taskqueue.observe.rabbit_lock import HEARTBEAT, RabbitLock  # noqa: PLC0415  (an extra)

        name = plan.identity.replace(":", ".")
        return RabbitLock(lambda: celery_app.connect(plan.app, plan.target, HEARTBEAT), name)
    from otel_taskqueue.observe.redis_lock import RedisLock  # noqa: PLC0415

    return RedisLock(lambda: _redis(plan)[0], plan.identity)


def open_sources(plan: Plan, voice: Voice, lease: Lease | None) -> Opened:
    """Connect and make the sources, of a leader or (None) for one look. Raises what the client raises."""
    if plan.library == "rq":
        opened, client = _rq(plan, voice)
    elif plan.target.system == "rabbitmq":
        opened, client = _celery_on_rabbit(plan, voice), None
    else:
        opened, client = _celery_on_redis(plan)
    return _with_schedules(plan, opened, client, lease)


def _redis(plan: Plan) -> tuple[Any, Any]:
    """A client of the observed Redis, and the connection of kombu it uses, if any."""
    from otel_taskqueue.observe import redis_client  # noqa: PLC0415

    if plan.library == "rq":
        client = redis_client.connect(plan.target)
        return client, client
    connection = celery_app.connect(plan.app, plan.target)
    return redis_client.of_channel(connection.default_channel), connection


def _rq(plan: Plan, voice: Voice) -> tuple[Opened, Any]:
    from otel_taskqueue.observe.rq import RQOnRedis  # noqa: PLC0415
    from otel_taskqueue.observe.rq_scheduler import RQSchedulers  # noqa: PLC0415

    client, _ = _redis(plan)
    queues = RQOnRedis(client, plan.queues, voice)
    return Opened([queues, RQSchedulers(client, lambda _batch: queues.names)], [client]), client


def _celery_on_redis(plan: Plan) -> tuple[Opened, Any]:
    from otel_taskqueue.celery.broker import view_of  # noqa: PLC0415
    from otel_taskqueue.observe.celery_consumers import CeleryConsumers  # noqa: PLC0415
    from otel_taskqueue.observe.celery_events import CeleryEvents  # noqa: PLC0415
    from otel_taskqueue.observe.celery_inquiry import Inquiry  # noqa: PLC0415
    from otel_taskqueue.observe.redis_celery import CeleryOnRedis, keys_of  # noqa: PLC0415
    from otel_taskqueue.observe.redis_reserved import Reserved  # noqa: PLC0415

    client, connection = _redis(plan)
    channel = connection.default_channel
    prefix = getattr(channel, "global_keyprefix", "") or ""
    reserved = Reserved(
        prefix + channel.unacked_key,
        prefix + channel.keyprefix_queue,
        channel.sep,
        plan.queues,
        view_of(plan.app).bindings,
    )
    queues = CeleryOnRedis(client, {name: keys_of(channel, name) for name in plan.queues}, reserved)
    events = CeleryEvents(plan.app, plan.target)
    events.start()
    inquiry = Inquiry(plan.app, channel, plan.group or plan.library)
    consumers = CeleryConsumers(client, inquiry, events, plan.queues)
    opened = Opened([queues, events, consumers], [connection], settle=_SETTLE)
    return opened, client if plan.schedules == plan.target else None


def _celery_on_rabbit(plan: Plan, voice: Voice) -> Opened:
    from otel_taskqueue.observe.celery_events import CeleryEvents  # noqa: PLC0415
    from otel_taskqueue.observe.rabbitmq import CeleryOnRabbit  # noqa: PLC0415

    connection = celery_app.connect(plan.app, plan.target)
    management = _management(plan, connection, voice)
    connection.close()
    queues = CeleryOnRabbit(lambda: celery_app.connect(plan.app, plan.target), plan.queues, management)
    events = CeleryEvents(plan.app, plan.target)
    events.start()
    return Opened([queues, events], settle=_SETTLE)


def _with_schedules(plan: Plan, opened: Opened, client: Any, lease: Lease | None) -> Opened:
    """With what beat or cron tell about their schedules, where there is a Redis for that.

    ``client`` is of the observed Redis, if they tell it there.
    """
    if plan.schedules is None or not has("redis"):
        return opened
    from otel_taskqueue.observe import redis_client  # noqa: PLC0415  (an extra)
    from otel_taskqueue.observe.schedules import Schedules  # noqa: PLC0415

    connections = opened.connections
    observer = plan.group or plan.library
    if client is None:
        client = redis_client.connect(plan.schedules)
        connections = (*connections, client)
        observer += f"@{plan.target.label}"  # several brokers, each with a leader, may have theirs there
    schedules = Schedules(client, plan.library, observer, leads=None if lease is None else lease.holds)
    return opened._replace(sources=(*opened.sources, schedules), connections=connections)


def _management(plan: Plan, connection: Any, voice: Voice) -> Any:
    from otel_taskqueue.observe.management import Management, derive  # noqa: PLC0415

    if plan.management is None:
        return None
    return Management(
        plan.management or derive(plan.target),
        connection.userid or "guest",
        connection.password or "guest",
        connection.virtual_host or "/",
        plan.target.tls,
        voice,
        derived=not plan.management,
    )
