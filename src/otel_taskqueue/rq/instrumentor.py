"""The door of the RQ room: one table of patches, applied by `instrument()` and restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from otel_taskqueue import semconv
from otel_taskqueue import settings as _settings
from otel_taskqueue.core import category, delivery, redact
from otel_taskqueue.core import telemetry as _telemetry
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.patch import Patch, Patches
from otel_taskqueue.rq import abandoned, boot, compat, logs, publish, run, vitals, watch, ways
from otel_taskqueue.rq import schedule as _schedule
from otel_taskqueue.rq.owners import Owners

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from otel_taskqueue.core.telemetry import Telemetry

#: Base classes first: what a class inherits is patched where it is defined.
WORKER_CLASSES = ("BaseWorker", "Worker", "SimpleWorker", "SpawnWorker", "HerokuWorker")


class RQInstrumentor(BaseInstrumentor):
    """Instruments every queue and worker of RQ in this process.

    Keyword arguments of `instrument()`: ``tracer_provider``, ``meter_provider``,
    ``logger_provider``, ``settings`` (a `Settings`, or single settings as keywords),
    ``publish_hook(span, job)``, ``process_hook(span, job)``. Nothing is ever raised: an absent RQ
    is passed over, one that is too old is refused with a log line.
    """

    _patches: Patches | None = None
    _owners: Owners | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """No requirement is checked by the loader: `_instrument` does it without raising."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        with Guarded("instrument rq"):
            if _settings.sdk_disabled() or not compat.usable():
                return
            telemetry = _telemetry.make(**kwargs)
            compat.let_control_pass()
            category.use(semconv.RQ, telemetry.settings.failure_rules)
            self._owners = Owners(methods(telemetry))
            self._patches = Patches(table(telemetry, self._owners.adopt))
            self._patches.apply()
            redact.use(semconv.RQ, telemetry.settings.redact_patterns)
            logs.connect(telemetry)
            delivery.bound_exit(telemetry)

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002  the base class hands them on
        with Guarded("uninstrument rq"):
            if self._patches is not None and self._owners is not None:
                self._owners.restore()
                self._patches.restore()
                category.use(semconv.RQ, ())
                logs.disconnect()
                redact.use(semconv.RQ, None)
            self._patches = self._owners = None


def methods(telemetry: Telemetry) -> dict[str, Callable[..., Any]]:
    """The methods of a worker, in the order of an attempt; subclasses of users may override each."""
    return {
        "dequeue_job_and_maintain_ttl": vitals.dequeue(telemetry),
        "execute_job": logs.about_job(telemetry, then=watch.execute_job(telemetry)),
        "fork_work_horse": watch.fork_work_horse(telemetry),
        "main_work_horse": run.work_horse(telemetry),
        "perform_job": run.perform(telemetry),
        "handle_job_retry": run.job_retry(telemetry),
        "handle_exception": run.handle_exception(telemetry),
        "handle_job_failure": watch.handle_job_failure(telemetry),
        "wait_for_horse": watch.wait_for_horse(telemetry),
        "handle_work_horse_killed": watch.work_horse_killed(telemetry),
    }


def table(telemetry: Telemetry, adopt: Callable[[Any], None]) -> list[Patch]:
    """Every name of RQ that is replaced, in the order of a job's way."""
    return [
        Patch("rq.queue", "Queue.enqueue_many", publish.enqueue_many(telemetry)),
        Patch("rq.queue", "Queue.create_job", publish.create_deferred(telemetry)),
        Patch("rq.queue", "Queue.enqueue_job", publish.enqueue(telemetry)),
        Patch("rq.queue", "Queue._enqueue_job", publish.enqueue(telemetry)),
        Patch("rq.queue", "Queue.schedule_job", publish.enqueue(telemetry)),
        Patch("rq.queue", "Queue.enqueue_dependents", ways.marked(ways.RELEASE, 1)),
        Patch("rq.scheduler", "RQScheduler.enqueue_scheduled_jobs", ways.marked(ways.MOVE)),
        Patch("rq.job", "Job.retry", ways.marked(ways.RETRY, 0)),
        Patch("rq.repeat", "Repeat.schedule", ways.marked(ways.REPEAT)),
        *_worker_patches(telemetry, adopt),
        Patch("rq.queue", "Queue.run_sync", run.run_sync(telemetry)),
        Patch("rq.queue", "Queue.run_job", run.run_job(telemetry)),
        Patch("rq.job", "Job.restore", logs.loaded(telemetry, then=run.restore(telemetry))),
        Patch("rq.job", "Job.prepare_for_execution", run.prepare_for_execution(telemetry)),
        Patch("rq.job", "Job._execute", run.loudly(telemetry)),
        Patch("rq.job", "Job.execute_success_callback", run.loudly(telemetry)),
        Patch("rq.job", "Job.execute_failure_callback", run.failure_callback(telemetry)),
        Patch("rq.job", "Job.execute_stopped_callback", watch.stopped_callback(telemetry)),
        Patch("rq.registry", "StartedJobRegistry.cleanup", abandoned.cleanup(telemetry)),
        Patch("rq.scheduler", "RQScheduler.work", boot.schedule(telemetry)),
        Patch("rq.worker_pool", "WorkerPool.start", boot.pool(telemetry)),
        Patch("rq.cron", "CronScheduler.start", boot.schedule(telemetry)),
        Patch("rq.cron", "CronScheduler.enqueue_jobs", _schedule.cron(telemetry)),
        Patch("rq.cli.workers", "is_suspended", boot.quietly(telemetry)),
        Patch("rq.cli.cli", "is_suspended", boot.quietly(telemetry)),
        Patch("rq.cli.cli", "cleanup_ghosts", boot.quietly(telemetry)),
        Patch("rq.cron", "CronScheduler.__init__", logs.before_console(telemetry)),
        Patch("rq.logutils", "_has_effective_handler", logs.has_console(telemetry)),
    ]


def _worker_patches(telemetry: Telemetry, adopt: Callable[[Any], None]) -> list[Patch]:
    return [
        Patch("rq.worker", "BaseWorker.work", boot.work(telemetry, adopt)),
        *(
            Patch("rq.worker", f"{kind}.__init__", boot.worker_made(telemetry, adopt))
            for kind in WORKER_CLASSES
        ),
        *(
            Patch("rq.worker", f"{kind}.{name}", wrapper)
            for name, wrapper in methods(telemetry).items()
            for kind in WORKER_CLASSES
        ),
    ]
