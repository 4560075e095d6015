"""The door of the Celery room: one table of patches, applied by `instrument()` and restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from otel_taskqueue import semconv
from otel_taskqueue import settings as _settings
from otel_taskqueue.celery import boot, canvas, compat, events, logs, publish, run, takeover, vitals, watch
from otel_taskqueue.celery import schedule as _schedule
from otel_taskqueue.core import category, redact
from otel_taskqueue.core import telemetry as _telemetry
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.patch import Patch, Patches

if TYPE_CHECKING:
    from collections.abc import Collection

    from otel_taskqueue.core.telemetry import Telemetry


class CeleryInstrumentor(BaseInstrumentor):
    """Instruments every Celery application of this process.

    Keyword arguments of `instrument()`: ``tracer_provider``, ``meter_provider``,
    ``logger_provider``, ``settings`` (a `Settings`, or single settings as keywords),
    ``publish_hook(span, job)``, ``process_hook(span, job)``. Nothing is ever raised: an absent
    Celery is passed over, one that is too old is refused with a log line.
    """

    _patches: Patches | None = None
    _telemetry: Telemetry | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """No requirement is checked by the loader: `_instrument` does it without raising."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        with Guarded("instrument celery"):
            if _settings.sdk_disabled() or not compat.usable():
                return
            telemetry = self._telemetry = _telemetry.make(**kwargs)
            if not takeover.allowed(telemetry.settings):
                return
            category.use(semconv.CELERY, telemetry.settings.failure_rules)
            self._patches = Patches(table(telemetry))
            self._patches.apply()
            redact.use(semconv.CELERY, telemetry.settings.redact_patterns)
            logs.connect(telemetry)
            compat.renew_senders()
            run.renew_tracers(telemetry)
            events.connect(telemetry)
            boot.started_late(telemetry)

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002  the base class hands them on
        with Guarded("uninstrument celery"):
            if self._patches is not None:
                self._patches.restore()
                compat.renew_senders()
                run.restore_tracers()
                events.disconnect()
                logs.disconnect()
                redact.use(semconv.CELERY, None)
                category.use(semconv.CELERY, ())
            self._patches = None


def table(telemetry: Telemetry) -> list[Patch]:
    """Every name of Celery that is replaced, in the order of a job's way."""
    canvases = [
        Patch("celery.canvas", f"{kind}.apply_async", canvas.one_trace(telemetry, label))
        for kind, label in canvas.LABELS.items()
    ]
    return [
        Patch("gevent.monkey", "patch_all", boot.around_patching(telemetry)),
        Patch("eventlet", "monkey_patch", boot.around_patching(telemetry)),
        Patch(
            "opentelemetry.instrumentation.celery",
            "CeleryInstrumentor._instrument",
            takeover.keep_out(telemetry),
        ),
        *canvases,
        Patch("celery.app.amqp", "AMQP._create_task_sender", publish.sender(telemetry)),
        Patch("celery.worker.request", "create_request_cls", watch.request_class(telemetry)),
        Patch("celery.worker.strategy", "create_request_cls", watch.request_class(telemetry)),
        Patch("celery.app.trace", "build_tracer", run.tracer(telemetry)),
        Patch("celery.worker.consumer.consumer", "build_tracer", run.tracer(telemetry)),
        *_messages_without_request(telemetry),
        Patch("celery.concurrency.prefork", "TaskPool.on_start", boot.pool_start(telemetry)),
        Patch("celery.concurrency.prefork", "process_initializer", boot.child_start(telemetry)),
        Patch("celery.concurrency.prefork", "process_destructor", boot.child_end(telemetry)),
        Patch("celery.concurrency.prefork", "TaskPool.on_stop", vitals.stopped(telemetry)),
        Patch("celery.concurrency.prefork", "TaskPool.on_terminate", vitals.stopped(telemetry)),
        Patch("billiard.pool", "Pool._join_exited_workers", vitals.joined(telemetry)),
        Patch("celery.worker.worker", "WorkController.start", boot.worker_start(telemetry)),
        # Greenlets of the worker begin without the worker's context.
        Patch("celery.worker.pidbox", "gPidbox.loop", boot.bookkeeping(telemetry)),
        Patch("kombu.asynchronous.timer", "Entry.__call__", boot.bookkeeping(telemetry)),
        Patch("celery.apps.worker", "_reload_current_worker", boot.before_reload(telemetry)),
        Patch("celery.beat", "Service.start", boot.beat_start(telemetry)),
        Patch("celery.beat", "Service.get_scheduler", _schedule.follow(telemetry)),
        *_result_backend(telemetry),
        *_log_lines(telemetry),
    ]


def _result_backend(telemetry: Telemetry) -> list[Patch]:
    """What Celery does with it for each result and, in the client and after each header task, for a chord."""
    quiet = boot.bookkeeping(telemetry)
    redis = ("apply_chord", "set_chord_size", "add_to_chord", "on_chord_part_return")
    return [
        Patch("celery.backends.base", "Backend.store_result", quiet),
        Patch("celery.backends.base", "Backend._call_task_errbacks", boot.errbacks(telemetry)),
        Patch("celery.backends.base", "Backend.process_cleanup", quiet),
        Patch("celery.backends.rpc", "RPCBackend.store_result", quiet),
        Patch("celery.backends.base", "KeyValueStoreBackend.on_chord_part_return", quiet),
        *(Patch("celery.backends.redis", f"RedisBackend.{name}", quiet) for name in redis),
    ]


def _messages_without_request(telemetry: Telemetry) -> list[Patch]:
    """What the consumer makes of a message for which there is no task, or which is none."""
    wrappers = {
        "on_unknown_task": logs.about_message(telemetry, 1),
        "on_invalid_task": logs.about_message(telemetry, 1),
        "on_decode_error": logs.about_message(telemetry, 0, then=events.undecodable(telemetry)),
    }
    return [
        Patch("celery.worker.consumer.consumer", f"Consumer.{name}", wrapper)
        for name, wrapper in wrappers.items()
    ]


def _log_lines(telemetry: Telemetry) -> list[Patch]:
    """What the worker's parent logs about a job: it says which."""
    if not telemetry.settings.logs:
        return []
    methods = ("on_accepted", "on_timeout", "on_failure", "revoked", "terminate", "cancel", "reject")
    about = logs.about_request(telemetry)
    return [
        Patch("celery.app.log", "Logging.setup_logging_subsystem", logs.around_setup(telemetry)),
        Patch("celery.worker.request", "Request.__init__", logs.received(telemetry)),
        *(Patch("celery.worker.request", f"Request.{name}", about) for name in methods),
    ]
