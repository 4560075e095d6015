"""A client process of the laboratory: every way to enqueue, with what its caller could notice."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from celery import chain, chord, group
from celery.canvas import Signature
from opentelemetry import context, propagate

from support.apps import celery_app, celery_client, celery_lab
from support.apps.client import serve

app = celery_app.app
Options = Mapping[str, Any]


def task(case: str) -> Any:
    """The task of a case, from either module."""
    return getattr(celery_lab, case, None) or getattr(celery_app, case)


def enqueue(case: str, args: Sequence[Any] = (), kwargs: Options | None = None, **options: Any) -> str:
    """Enqueue one job of the laboratory."""
    return task(case).apply_async(args, kwargs, **options).id


def enqueue_with_headers(case: str, headers: Options) -> dict[str, Any]:
    """Enqueue twice with one headers dict, and tell what became of the dict."""
    mine = copy.deepcopy(dict(headers))
    ids = [task(case).apply_async(headers=mine).id for _ in range(2)]
    ids.append(app.send_task(task(case).name, headers=mine).id)
    return {"ids": ids, "headers": mine}


def canvas(kind: str, *, lazily: bool = False) -> dict[str, Any]:
    """Call a canvas of three adds; ids in the order of their definition."""
    parts: Any = [celery_app.add.s(number, 1) for number in range(3)]
    if kind == "chain":
        result = chain(celery_app.add.s(0, 1), celery_app.add.s(1), celery_app.add.s(1))()
        return {"ids": [result.parent.parent.id, result.parent.id, result.id]}
    if kind == "chunks":
        result = celery_app.add.chunks([(number, 1) for number in range(5)], 2)()
        return {"ids": [child.id for child in result.children]}
    if kind == "chord":
        result = chord(parts, celery_app.add.s())()
        return {"ids": [child.id for child in result.parent.children], "body": result.id}
    tasks = (part for part in parts) if lazily else parts
    return {"ids": [child.id for child in group(tasks)().children]}


def group_with_link() -> None:
    """Call a group as Celery forbids it."""
    group(celery_app.add.s(1, 1), celery_app.add.s(2, 2)).apply_async(link=celery_app.callback.s())


def serialized_canvas() -> list[str]:
    """Call a group that came over a wire, as a dict."""
    stored = dict(group(celery_app.add.s(1, 1), celery_app.add.s(2, 2)))
    return [child.id for child in Signature.from_dict(stored, app=app)().children]


def eager(case: str, *, always: bool = False, throw: bool = False) -> dict[str, Any]:
    """Run a task in this process, by ``apply`` or by ``task_always_eager``."""
    if not always:
        result = task(case).apply(throw=throw)
        return {"id": result.id, "state": result.state}
    app.conf.task_always_eager = True
    try:
        result = task(case).delay()
    finally:
        app.conf.task_always_eager = False
    return {"id": result.id, "state": result.state}


def with_traceparent(traceparent: str, case: str) -> str:
    """Enqueue below a span of somebody else, whose context came from far away."""
    token = context.attach(propagate.extract({"traceparent": traceparent}))
    try:
        return task(case).delay().id
    finally:
        context.detach(token)


def raw(case: str, headers: Options, *, protocol: int = 2) -> str:
    """Send a message as a foreign client does: no instrumentation adds to its headers."""
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    with suppress_instrumentation():
        return celery_client.raw_message(case, headers, protocol)


OPERATIONS = {
    **celery_client.OPERATIONS,
    **{
        operation.__name__: operation
        for operation in (
            enqueue,
            enqueue_with_headers,
            canvas,
            group_with_link,
            serialized_canvas,
            eager,
            with_traceparent,
            raw,
        )
    },
}

if __name__ == "__main__":
    serve(OPERATIONS)
