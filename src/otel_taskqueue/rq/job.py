"""An RQ job as JobView: what the sender sees, the worker's parent, and the process that runs it."""

from __future__ import annotations

import re
import weakref
from collections.abc import Mapping
from datetime import timezone
from typing import TYPE_CHECKING, Any, cast

from otel_taskqueue import semconv
from otel_taskqueue.core import carrier as _carrier
from otel_taskqueue.core import redact
from otel_taskqueue.core.job import Broker, JobView
from otel_taskqueue.rq import compat, notes

if TYPE_CHECKING:
    from datetime import datetime

    from otel_taskqueue.settings import Settings

_REDIS_PORT = 6379
_UNKNOWN = "unknown"
#: RQ's own description of a job is its call: ``module.function(arguments)``.
_CALL = re.compile(r"([\w.]+)\(")
#: A date-time of RFC 3339, section 5.6.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_brokers: weakref.WeakKeyDictionary[Any, Broker] = weakref.WeakKeyDictionary()


def of_publish(queue: Any, job: Any, attempt: int, eta: str | None, settings: Settings) -> JobView:
    """A job that is about to be enqueued."""
    return JobView(
        library=semconv.RQ,
        broker=broker_of(queue.connection),
        task=task_of(job),
        id=job.id,
        queue=queue.name,
        attempt=attempt,
        group_id=getattr(job, "group_id", None),
        eta=eta,
        arguments=_arguments(job, settings),
    )


def of_run(job: Any, carrier: Mapping[str, str], settings: Settings, worker: str | None) -> JobView:
    """A job in the process that runs it."""
    return _received(job, carrier, worker)._replace(task=task_of(job), arguments=_arguments(job, settings))


def of_watch(job: Any, carrier: Mapping[str, str], worker: str | None, taken: int = 0) -> JobView:
    """A job in a process which must not deserialise its payload: that may import, and cost, anything.

    ``taken``: when it was started (unix nanoseconds), 0 = now.
    """
    return _received(job, carrier, worker, taken)


def _received(job: Any, carrier: Mapping[str, str], worker: str | None, taken: int = 0) -> JobView:
    return JobView(
        library=semconv.RQ,
        broker=broker_of(job.connection),
        task=known_task(job),
        id=job.id,
        queue=job.origin,
        attempt=attempt_of(carrier),
        group_id=getattr(job, "group_id", None),
        eta=eta_of(job),
        worker=worker,
        wait=_carrier.wait(compat.nanoseconds(job.enqueued_at), taken=taken),
    )


def packed_of(job: Any) -> Mapping[str, str]:
    """What our side of the sender has put into the job's meta, beside what else is there."""
    meta = getattr(job, "meta", None)
    packed = cast("Mapping[str, Any]", meta).get(semconv.META_CARRIER) if isinstance(meta, Mapping) else None
    return cast("Mapping[str, str]", packed) if isinstance(packed, Mapping) else {}


def carrier_of(job: Any) -> dict[str, str]:
    """The carrier in a job: ours, else the keys which otel-rq writes to the top level of meta."""
    packed = packed_of(job)
    if packed:
        return _carrier.select(packed)
    meta = getattr(job, "meta", None)
    return _carrier.select(cast("Mapping[str, object]", meta)) if isinstance(meta, Mapping) else {}


def write_carrier(job: Any, view: JobView, carrier: Mapping[str, str]) -> None:
    """Put the carrier into a copy of the job's meta: the dict itself is the caller's, perhaps shared."""
    packed = {**carrier, semconv.ATTEMPT: str(view.attempt), semconv.CARRIER_TASK: view.task}
    if view.eta is not None:
        packed[semconv.CARRIER_ETA] = view.eta
    change_carrier(job, packed)


def change_carrier(job: Any, packed: Mapping[str, str]) -> None:
    """Replace what the job's meta carries, in a copy."""
    job.meta = {**(job.meta or {}), semconv.META_CARRIER: dict(packed)}


def attempt_of(carrier: Mapping[str, str]) -> int:
    """The number of the attempt that a carrier belongs to."""
    value = carrier.get(semconv.ATTEMPT, "")
    return int(value) if value.isascii() and value.isdigit() and 0 < len(value) < 10 else 1  # noqa: PLR2004


def style_of(job: Any, settings: Settings) -> str:
    """The trace style of this job."""
    meta = getattr(job, "meta", None)
    own = cast("Mapping[str, Any]", meta).get(semconv.META_TRACE_STYLE) if isinstance(meta, Mapping) else None
    return own or settings.trace_style


def came_back(job: Any, carrier: Mapping[str, str]) -> bool:
    """Whether this very carrier has been run before: somebody enqueued the job again without us."""
    enqueued = carrier.get(semconv.ENQUEUED_AT)
    return enqueued is not None and notes.of_job(job).ran == enqueued


def task_of(job: Any) -> str:
    """The function's dotted name, for a method the name of its class in front; reads the payload."""
    try:
        name, instance = job.func_name, job.instance
    except Exception:  # noqa: BLE001  a payload that nobody can read
        return known_task(job)
    if instance is None:
        return str(name or _UNKNOWN)
    kind = instance if isinstance(instance, type) else type(instance)
    return f"{kind.__module__}.{kind.__qualname__}.{name}"


def known_task(job: Any) -> str:
    """The task's name as far as it is known without reading the payload."""
    packed = packed_of(job).get(semconv.CARRIER_TASK)
    if isinstance(packed, str) and packed:
        return packed[: _carrier.LONGEST_VALUE]
    called = _CALL.match(job.description or "")
    return called[1] if called else _UNKNOWN


def eta_of(job: Any) -> str | None:
    """When the sender wanted it to start, as RFC 3339 text; what is no such text came from nobody we know."""
    packed: object = packed_of(job).get(semconv.CARRIER_ETA)
    return packed if isinstance(packed, str) and _RFC3339.fullmatch(packed) else None


def rfc3339(moment: datetime | None) -> str | None:
    """A time as RFC 3339 text; RQ takes one without a zone as local time."""
    return moment.astimezone(timezone.utc).isoformat() if moment is not None else None


def broker_of(connection: Any) -> Broker:
    """The Redis behind a connection, without credentials; found once for each pool."""
    pool = connection.connection_pool
    found = _brokers.get(pool)
    if found is None:
        found = _brokers[pool] = _find_broker(pool)
    return found


def _find_broker(pool: Any) -> Broker:
    options = pool.connection_kwargs
    if options.get("path"):
        return Broker("redis", str(options["path"]))
    if getattr(pool, "service_name", None):
        return Broker("redis", str(pool.service_name))  # Sentinel decides who that is
    return Broker("redis", str(options.get("host") or "localhost"), int(options.get("port") or _REDIS_PORT))


def _arguments(job: Any, settings: Settings) -> tuple[str, str] | None:
    if not settings.capture_arguments:
        return None
    try:
        return redact.arguments(repr(job.args), repr(job.kwargs), settings)
    except Exception:  # noqa: BLE001  a payload that nobody can read, a foreign __repr__
        return None
