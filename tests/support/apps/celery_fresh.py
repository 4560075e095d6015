"""What needs an interpreter that nobody has instrumented: each function prints one JSON value.

Run as ``python -m support.apps.celery_fresh NAME``; Celery is imported by the functions alone.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

BOTH = ("otel_taskqueue_celery", "celery")


def _providers() -> Any:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


def _app() -> Any:
    from celery import Celery

    app = Celery("fresh", broker="memory://", backend="cache+memory://")
    app.conf.worker_hijack_root_logger = False

    @app.task(name="echo")
    def echo(value: Any) -> Any:
        return value

    return app


def _scopes(exporter: Any) -> list[str]:
    """Kind and instrumentation of every span so far."""
    spans = exporter.get_finished_spans()
    exporter.clear()
    return sorted(f"{span.kind.name} {span.instrumentation_scope.name}" for span in spans)


def _run_one(app: Any) -> None:
    """Publish a job and let a worker of this process run it."""
    from celery.contrib.testing.worker import start_worker

    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=20):
        assert app.tasks["echo"].delay(1).get(timeout=20) == 1


def _patched_names(table: Any) -> list[tuple[str, str]]:
    return sorted({(patch.module, patch.path) for patch in table})


def _look(module: str, path: str) -> Any:
    """What stands under the name itself: a class's own entry, not what it inherits."""
    found: Any = sys.modules[module]
    *parents, name = path.split(".")
    for parent in parents:
        found = getattr(found, parent, None)
    return vars(found).get(name) if found is not None else None


def every_name_is_restored() -> Any:
    """Instrument and uninstrument with everything imported; tell which names changed, and which stayed so."""
    from otel_taskqueue.celery import CeleryInstrumentor
    from otel_taskqueue.celery.instrumentor import table
    from otel_taskqueue.core import telemetry

    names = _patched_names(table(telemetry.make()))
    for module, _ in names:
        importlib.import_module(module)
    before = {name: _look(*name) for name in names}
    instrumentor = CeleryInstrumentor()
    instrumentor.instrument()
    instrumentor.instrument()
    changed = [name for name in names if _look(*name) is not before[name]]
    instrumentor.uninstrument()
    still = [name for name in names if _look(*name) is not before[name]]
    return {"names": names, "changed": changed, "still": still}


def uninstrumented_makes_no_span() -> Any:
    """Jobs before, between and after; the sender that Celery cached must not keep ours alive."""
    import otel_taskqueue

    exporter, app = _providers(), _app()
    seen = []
    otel_taskqueue.instrument()
    _run_one(app)
    seen.append(_scopes(exporter))
    otel_taskqueue.uninstrument()
    _run_one(app)
    seen.append(_scopes(exporter))
    otel_taskqueue.instrument()
    _run_one(app)
    seen.append(_scopes(exporter))
    return seen


def wrapped_over() -> Any:
    """Somebody wraps over us before we leave: ours becomes a pass-through and theirs stays."""
    import celery.app.trace as module

    import otel_taskqueue

    exporter, app = _providers(), _app()
    otel_taskqueue.instrument()
    ours = module.build_tracer
    calls = []

    def theirs(*args: Any, **kwargs: Any) -> Any:
        calls.append(args[0])
        return ours(*args, **kwargs)

    module.build_tracer = theirs
    otel_taskqueue.uninstrument()
    assert app.tasks["echo"].apply((1,)).get() == 1
    return {"kept": module.build_tracer is theirs, "called": calls, "spans": _scopes(exporter)}


def loading_imports_nothing_of_celery() -> Any:
    """Entry points and `instrument()`, as `opentelemetry-instrument` calls them."""
    import otel_taskqueue
    from otel_taskqueue.celery.takeover import prefer_ours

    prefer_ours()
    otel_taskqueue.instrument()
    roots = {"celery", "kombu", "billiard", "amqp", "vine", "redis", "rq", "gevent", "eventlet"}
    return sorted(name for name in sys.modules if name.partition(".")[0] in roots)


def _loaded_in(order: tuple[str, ...]) -> Any:
    """Load both instrumentors as `opentelemetry-instrument` does, in this order; run a job."""
    from opentelemetry.instrumentation.auto_instrumentation import _load
    from opentelemetry.instrumentation.distro import DefaultDistro
    from opentelemetry.util._importlib_metadata import entry_points

    def ordered(*, group: str) -> Any:
        found = list(entry_points(group=group))
        if group != "opentelemetry_instrumentor":
            return found
        return sorted((e for e in found if e.name in order), key=lambda e: order.index(e.name))

    exporter = _providers()
    _load.entry_points = ordered
    _load._load_instrumentors(DefaultDistro())
    app = _app()
    _run_one(app)
    return {"spans": _scopes(exporter), "official": "opentelemetry.instrumentation.celery" in sys.modules}


def loaded_ours_first() -> Any:
    """Entry points in one order."""
    return _loaded_in(BOTH)


def loaded_ours_last() -> Any:
    """Entry points in the other order."""
    return _loaded_in(BOTH[::-1])


def _by_hand(*steps: str) -> Any:
    from opentelemetry.instrumentation.celery import CeleryInstrumentor as Official

    from otel_taskqueue.celery import CeleryInstrumentor as Ours

    exporter, app = _providers(), _app()
    instrumentors = {"ours": Ours(), "official": Official()}
    for step in steps:
        if step == "publish":
            app.tasks["echo"].delay(0)
        else:
            instrumentors[step].instrument()
    _scopes(exporter)
    app.tasks["echo"].delay(1)
    return _scopes(exporter)


def by_hand_official_first() -> Any:
    """A producer that instruments both."""
    return _by_hand("official", "publish", "ours")


def by_hand_official_last() -> Any:
    """Even after ours has sent something."""
    return _by_hand("ours", "publish", "official")


FUNCTIONS = {name: value for name, value in list(globals().items()) if callable(value) and name[0] != "_"}

if __name__ == "__main__":
    print("\n" + json.dumps(FUNCTIONS[sys.argv[1]]()))
