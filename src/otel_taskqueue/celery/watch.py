"""What the worker's MainProcess knows of each attempt: the one witness that survives a killed child.

The request class that `create_request_cls` returns is extended, so custom requests and strategies
are covered. Each method calls Celery's own exactly once, outside of our guard.
"""
# The base class is Celery's untyped Request.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import functools
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import context

from otel_taskqueue import semconv
from otel_taskqueue.celery import job as _job
from otel_taskqueue.celery import verdicts, vitals
from otel_taskqueue.celery.broker import view_of
from otel_taskqueue.celery.compat import unwrap
from otel_taskqueue.celery.redelivery import Finished, Redelivered
from otel_taskqueue.celery.run import Told
from otel_taskqueue.core import arbiter, attempts, delivery, lifecycle, oom, quiet
from otel_taskqueue.core import carrier as _carrier
from otel_taskqueue.core.failure import SUCCESS, Again, Verdict
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.message import Incoming

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from otel_taskqueue.core.attempts import Attempt
    from otel_taskqueue.core.telemetry import Telemetry

_LOST = frozenset({"WorkerLostError", "SystemExit", "KeyboardInterrupt"})
_redelivered = Redelivered()
_finished = Finished()


def request_class(telemetry: Telemetry) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wrap `celery.worker.request.create_request_cls`."""

    def wrapper(create: Callable[..., Any]) -> Callable[..., Any]:
        def create_request_cls(*args: Any, **kwargs: Any) -> Any:
            found = create(*args, **kwargs)
            with Guarded("request class"):
                return type(found.__name__, (Watched, found), {"otel_telemetry": telemetry})
            return found

        return create_request_cls

    return wrapper


_Request: Any = object  # in truth whatever class `create_request_cls` returned


class Watched(_Request):
    """Stands before Celery's own `Request` in the method resolution order."""

    otel_telemetry: Telemetry
    otel_attempt: Attempt | None = None
    otel_again: Again | None = None
    otel_success_stored = False

    def execute_using_pool(self: Any, pool: Any, **kwargs: Any) -> Any:
        """Hand the attempt to the pool, with a serial of ours."""
        with Guarded("watch"):
            _begin(self)
        try:
            return super().execute_using_pool(pool, **kwargs)
        except BaseException:
            if self.otel_attempt is not None:
                attempts.settle(self.otel_attempt)
            raise

    def on_accepted(self: Any, pid: int, time_accepted: float) -> Any:
        """A process has taken the attempt."""
        with Guarded("watch"):
            attempt = self.otel_attempt
            if attempt is not None:
                attempt.accepted = time.time_ns()
                attempt.pid = pid
        return _quietly(self, super().on_accepted, pid, time_accepted)

    def on_success(self: Any, failed__retval__runtime: Any, **kwargs: Any) -> Any:
        """The process returned: the span as the child ended it stands."""
        failed, retval, runtime = failed__retval__runtime
        if isinstance(runtime, Told):
            if self.otel_attempt is not None:
                self.otel_attempt.result = runtime.result
            runtime = runtime.runtime
        result = _quietly(self, super().on_success, (failed, retval, runtime), **kwargs)
        if not failed and self.otel_attempt is not None:
            _count_duplicate(self)
            arbiter.report(self.otel_attempt, SUCCESS)
        return result

    def on_failure(
        self: Any,
        exc_info: Any,
        send_failed_event: bool = True,  # noqa: FBT001, FBT002  Celery's signature
        return_ok: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        """The attempt failed: told by the child (`return_ok`), or found out by the parent."""
        if return_ok:
            try:
                return super().on_failure(exc_info, send_failed_event, return_ok)
            finally:
                _conclude(self, exc_info, reported=True)
        with _below_attempt(self):
            try:
                return super().on_failure(exc_info, send_failed_event, return_ok)
            finally:
                _conclude(self, exc_info, reported=False)

    def on_timeout(self: Any, soft: bool, timeout: float) -> Any:  # noqa: FBT001
        """A time limit; the hard one is final."""
        if soft:
            return super().on_timeout(soft, timeout)
        if self.otel_attempt is not None and not self.otel_attempt.local:
            vitals.limited(self.worker_pid)
        with _below_attempt(self):
            try:
                return super().on_timeout(soft, timeout)
            finally:
                _overrule(self, verdicts.of_hard_limit, None, timeout)

    def reject(self: Any, requeue: bool = False) -> Any:  # noqa: FBT001, FBT002
        """The message goes back: its next run is linked to this one."""
        if requeue and self.otel_attempt is not None and not self.acknowledged:
            with Guarded("watch"):
                self.otel_attempt.requeued = True
                _redelivered.remember(self.id, arbiter.span_context(self.otel_attempt))
        return super().reject(requeue)

    def _announce_revoked(self: Any, reason: str, terminated: bool, signum: Any, expired: bool) -> Any:  # noqa: FBT001
        """Revoked or expired, before the start or during the run."""
        with Guarded("watch"):
            if self.otel_attempt is None:
                _begin(self)
        with _below_attempt(self):
            try:
                return super()._announce_revoked(reason, terminated, signum, expired)
            finally:
                _overrule(self, _revoked, signum, expired)

    def _announce_cancelled(self: Any, *args: Any, **kwargs: Any) -> Any:
        """Cold shutdown, or the connection to the broker was lost."""
        with _below_attempt(self):
            try:
                return super()._announce_cancelled(*args, **kwargs)
            finally:
                _overrule(self, _cancelled, self.otel_attempt, not self.acknowledged)

    def _retry_worker_lost(self: Any, exc: Any, exc_info: Any) -> Any:
        """Celery 5.7 publishes the next attempt in the name of the dead child."""
        retried = super()._retry_worker_lost(exc, exc_info)
        if retried:
            with Guarded("watch"):
                self.otel_again = verdicts.again_because(exc, self.task.default_retry_delay)
        return retried

    def _success_was_stored(self: Any) -> Any:
        """Celery 5.7 asks whether the child died after its work was done."""
        found = super()._success_was_stored()
        self.otel_success_stored = bool(found)
        return found


def _begin(request: Any) -> None:
    """Open the attempt, and tell its serial to whoever runs it."""
    telemetry: Telemetry = request.otel_telemetry
    if not delivery.reports(telemetry):
        return
    message = request.request_dict
    if message["delivery_info"].get("redelivered"):
        previous = _redelivered.recall(request.id)
        if previous is not None:
            message[semconv.PREVIOUS] = previous
    attempt = attempts.open_attempt(telemetry, functools.partial(_incoming, request))
    request.otel_attempt = attempt
    message[semconv.SERIAL] = attempt.serial


def _incoming(request: Any, attempt: Attempt) -> Incoming:
    """The message as the parent sees it; its wait ended when a process took it."""
    telemetry, message = attempt.telemetry, request.request_dict
    carrier = _job.carrier_of(message)
    view, name = view_of(request.app), request.task.name
    job = _job.of_request(view, name, message, carrier, telemetry.settings, request.hostname)
    if attempt.accepted:
        eta = _job.nanoseconds(message.get("eta"))
        waited = _carrier.wait(_carrier.enqueued_at(carrier), eta, attempt.accepted)
        job = job._replace(wait=waited)
    return Incoming(job, carrier, _no_verdict, link=_job.wants_link(request.task, telemetry.settings))


def _count_duplicate(request: Any) -> None:
    """An attempt has ended. When Celery is done with its message, it should never come back."""
    attempt = request.otel_attempt
    if attempt is None or attempt.requeued or not request.acknowledged:
        return
    with Guarded("watch", leaving=True):
        message = request.request_dict
        redelivered = bool(message["delivery_info"].get("redelivered"))
        if _finished.before(request.id, message.get("retries") or 0, redelivered=redelivered):
            job = _incoming(request, attempt).job
            if not attempt.telemetry.excluded(job.task):
                attempt.telemetry.metrics.duplicate(job)


def _conclude(request: Any, exc_info: Any, *, reported: bool) -> None:
    _count_duplicate(request)
    attempt = request.otel_attempt
    if attempt is None or attempt.done:
        return
    with Guarded("verdict", leaving=True):
        error = unwrap(exc_info.exception)
        if reported:
            arbiter.report(attempt, _reported(request, error, exc_info))
        elif request.otel_success_stored:
            arbiter.report(attempt, SUCCESS)
        elif type(error).__name__ in _LOST:
            arbiter.overrule(attempt, _lost(request, exc_info))
        elif type(error).__name__ == "TimeLimitExceeded":
            arbiter.overrule(attempt, verdicts.of_hard_limit(error, None))
        elif type(error).__name__ == "Terminated":
            arbiter.overrule(attempt, _revoked(None, expired=False))
        else:
            arbiter.report(attempt, _reported(request, error, exc_info))


def _reported(request: Any, error: BaseException, exc_info: Any) -> Verdict:
    state = verdicts.STATES.get(type(error).__name__, "FAILURE")
    return verdicts.of_state(request.task, state, error, getattr(exc_info, "traceback", None))


def _lost(request: Any, exc_info: Any) -> Verdict:
    return verdicts.of_lost(exc_info, request.otel_again, oom=oom.rose())


def _revoked(signum: Any, expired: bool) -> Verdict:  # noqa: FBT001
    return verdicts.of_revoke(signum, expired=expired)


def _cancelled(attempt: Attempt, requeued: bool) -> Verdict:  # noqa: FBT001
    return verdicts.of_cancel(requeued=requeued, in_greenlet=attempt.local)


def _no_verdict(_error: BaseException) -> None:
    return None


def _overrule(request: Any, verdict: Callable[..., Verdict], *args: Any) -> None:
    attempt = request.otel_attempt
    if attempt is not None and not attempt.done:
        with Guarded("verdict", leaving=True):
            arbiter.overrule(attempt, verdict(*args))


def _quietly(request: Any, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call back into Celery: in threads and green pools that happens outside of the worker's context."""
    if quiet.by_us() or not request.otel_telemetry.settings.suppress_broker_spans:
        return callback(*args, **kwargs)
    token = context.attach(quiet.quieted())
    try:
        return callback(*args, **kwargs)
    finally:
        context.detach(token)


@contextmanager
def _below_attempt(request: Any) -> Generator[None]:
    """What Celery does on behalf of the attempt (errbacks, a retry) belongs below its span."""
    token = None
    with Guarded("watch"):
        attempt = request.otel_attempt
        if attempt is not None and not attempt.done:
            below = arbiter.context_of(attempt)
            if request.otel_telemetry.settings.suppress_broker_spans:
                below = quiet.quieted(below)  # Celery's bookkeeping; errbacks are made loud again
            token = context.attach(
                lifecycle.with_current(attempt.incoming, arbiter.span_context(attempt), below)
            )
    try:
        yield
    finally:
        if token is not None:
            context.detach(token)
