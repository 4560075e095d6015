"""A client process of the Celery application: every way to enqueue."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from celery import chain, chord, group
from opentelemetry.instrumentation.utils import suppress_instrumentation

from support.apps import celery_app
from support.apps.client import flush, serve

app = celery_app.app
Options = Mapping[str, Any]


def task(case: str) -> Any:
    """The task of a case."""
    return getattr(celery_app, case)


def publish(
    case: str,
    args: Sequence[Any] = (),
    kwargs: Options | None = None,
    how: str = "apply_async",
    **options: Any,
) -> str:
    """Enqueue one job; return its id."""
    if how == "delay":
        return task(case).delay(*args, **(kwargs or {})).id
    if how == "send_task":
        return app.send_task(case, args, kwargs, **options).id
    if how == "signature":
        return task(case).signature(args, kwargs).apply_async(**options).id
    return task(case).apply_async(args, kwargs, **options).id


def linked(case: str, *, success: str | None = None, error: str | None = None) -> str:
    """Enqueue a job with callbacks."""
    return (
        task(case)
        .apply_async(
            link=task(success).s() if success else None,
            link_error=task(error).s() if error else None,
        )
        .id
    )


def publish_unserializable() -> str:
    """Enqueue an argument that JSON cannot hold."""
    return celery_app.ok.delay(object()).id


def publish_suppressed() -> str:
    """Enqueue where the caller wants no telemetry."""
    with suppress_instrumentation():
        return celery_app.ok.delay("quiet").id


def publish_to(url: str) -> str:
    """Enqueue to another broker, without Celery's patience of several seconds."""
    with app.connection_for_write(url) as connection:
        return celery_app.ok.apply_async(connection=connection, retry=False).id


def run_chain(cases: Sequence[str]) -> list[str]:
    """Enqueue a chain; ids in the order of their run."""
    first, *rest = cases
    result = chain(task(first).s(1), *(task(case).s() for case in rest))()
    ids = [result.id]
    while result.parent is not None:
        result = result.parent
        ids.append(result.id)
    return ids[::-1]


def run_group(count: int) -> list[str]:
    """Enqueue a group of ``add``."""
    return [child.id for child in group(celery_app.add.s(n, 1) for n in range(count))().children]


def run_chord(count: int) -> dict[str, Any]:
    """Enqueue a chord of ``add`` with ``add`` as its body."""
    result = chord((celery_app.add.s(n, 1) for n in range(count)), celery_app.add.s())()
    return {"body": result.id, "header": [child.id for child in result.parent.children]}


def run_chunks(count: int, size: int) -> list[str]:
    """Enqueue chunks of ``add``."""
    return [child.id for child in celery_app.add.chunks([(n, 1) for n in range(count)], size)().children]


def run_map(kind: str, count: int) -> str:
    """Enqueue ``map`` or ``starmap``."""
    if kind == "map":
        return celery_app.ok.map(list(range(count))).apply_async().id
    return celery_app.add.starmap([(n, 1) for n in range(count)]).apply_async().id


def call_directly() -> Any:
    """Call a task like a function."""
    return celery_app.plain(2)


def eager(case: str, args: Sequence[Any] = ()) -> dict[str, Any]:
    """Run a task in this process."""
    result = task(case).apply(args)
    return {"id": result.id, "state": result.state}


def revoke(job_id: str, *, terminate: bool = False, signal: str = "SIGTERM") -> None:
    """Revoke a job everywhere."""
    app.control.revoke(job_id, terminate=terminate, signal=signal)


def pool_restart(destination: str) -> Any:
    """Restart a worker's pool."""
    return app.control.pool_restart(destination=[destination], reply=True)


def state(job_id: str) -> str:
    """The state the backend knows."""
    return app.AsyncResult(job_id).state


def wait_for_state(job_id: str, states: Sequence[str], within: float = 20.0) -> str:
    """Wait until the backend has one of ``states``, and return the last one seen."""
    deadline = time.monotonic() + within
    while (seen := state(job_id)) not in states and time.monotonic() < deadline:
        time.sleep(0.02)
    return seen


def raw_message(case: str, headers: Options, protocol: int = 2) -> str:
    """Publish with headers of the caller's choice, or by protocol 1."""
    app.conf.task_protocol = protocol
    app.amqp.__dict__.pop("create_task_message", None)
    try:
        return task(case).apply_async(headers=dict(headers)).id
    finally:
        app.conf.task_protocol = 2
        app.amqp.__dict__.pop("create_task_message", None)


OPERATIONS = {
    operation.__name__: operation
    for operation in (
        publish,
        linked,
        publish_unserializable,
        publish_suppressed,
        publish_to,
        run_chain,
        run_group,
        run_chord,
        run_chunks,
        run_map,
        call_directly,
        eager,
        revoke,
        pool_restart,
        state,
        wait_for_state,
        raw_message,
        flush,
    )
}

if __name__ == "__main__":
    serve(OPERATIONS)
