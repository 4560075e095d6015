"""What a worker tells of itself while it runs: up, slots, prefetched messages, processes that ended.

A clean stop exports 0 once more, a crash leaves nothing behind: so an alert can tell them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.metrics import Observation

from otel_taskqueue import meters, semconv
from otel_taskqueue.core import failure, instruments
from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, Meter

    from otel_taskqueue.meters import Metric

#: Reasons (``taskqueue.exit.reason``) beside the names of signals.
OK: Final = "ok"
EXIT_CODE: Final = "exit_code"
TIME_LIMIT: Final = "time_limit"
RECYCLED: Final = "recycled"
OOM: Final = "oom"


def _unknown() -> int | None:
    return None


class Worker(NamedTuple):
    """One worker of this process; the functions answer None where that cannot be known."""

    library: str
    name: str
    slots: Callable[[], int | None] = _unknown
    used: Callable[[], int | None] = _unknown
    prefetched: Callable[[], int | None] = _unknown


class Exit(NamedTuple):
    """A child process of a worker that ended."""

    library: str
    name: str
    reason: str


class Workers:
    """The workers of this process, and the instruments that ask them."""

    def __init__(self, meter: Meter) -> None:
        self._up: dict[Worker, bool] = {}
        self._exits: Tally[Exit] = Tally(_of_exit)
        instruments.observable_counter(meter, meters.WORKER_EXITS, self._exits.observe)
        instruments.gauge(meter, meters.WORKER_UP, self._observe_up)
        self._ask(meter, meters.WORKER_SLOTS, lambda worker: worker.slots())
        self._ask(meter, meters.WORKER_SLOTS_USED, lambda worker: worker.used())
        self._ask(meter, meters.WORKER_PREFETCHED, lambda worker: worker.prefetched())

    def enter(self, worker: Worker) -> None:
        """The worker starts."""
        self._up[worker] = True

    def leave(self, worker: Worker) -> None:
        """The worker stops because it was asked to."""
        self._up[worker] = False

    def exited(self, library: str, name: str, reason: str) -> None:
        """A child process of the worker ended."""
        self._exits.add(Exit(library, name, reason))

    def clear(self) -> None:
        """In a forked process which works on its own: the parent's workers are not its own."""
        self._up.clear()
        self._exits.clear()

    def _observe_up(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(int(up), _of_worker(worker)) for worker, up in list(self._up.items())]

    def _ask(self, meter: Meter, metric: Metric, question: Callable[[Worker], int | None]) -> None:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            found: list[Observation] = []
            for worker, up in list(self._up.items()):
                with Guarded("metrics"):
                    answer = question(worker) if up else None
                    if answer is not None:
                        found.append(Observation(answer, _of_worker(worker)))
            return found

        instruments.gauge(meter, metric, observe)


def reason_of(status: int | None, *, oom: bool = False) -> str:
    """Why a process ended, from its wait status (``os.wait4``)."""
    ended = failure.exit_of_status(status, oom=oom)
    if ended is None:
        return EXIT_CODE
    if ended.signal is not None:
        return OOM if oom else ended.signal
    return EXIT_CODE if ended.code else OK


def _of_worker(worker: Worker) -> dict[str, str]:
    return {semconv.SYSTEM: worker.library, semconv.WORKER_NAME: worker.name}


def _of_exit(ended: Exit) -> dict[str, str]:
    return {
        semconv.SYSTEM: ended.library,
        semconv.WORKER_NAME: ended.name,
        semconv.EXIT_REASON: ended.reason,
    }
