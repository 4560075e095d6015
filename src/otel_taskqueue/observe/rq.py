"""RQ's queues and workers on Redis.

Each look costs seven commands for each queue and two for all together. The registries are counted,
never read by RQ's own methods: those clean up, which is a worker's business.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any, cast

from rq.job import Job
from rq.queue import Queue
from rq.registry import DeferredJobRegistry, FailedJobRegistry, ScheduledJobRegistry, StartedJobRegistry

from otel_taskqueue import semconv
from otel_taskqueue.observe.queue_readings import DEFERRED, FAILED, READY, RESERVED, SCHEDULED, QueueState
from otel_taskqueue.observe.readings import Look
from otel_taskqueue.observe.redis_batch import Batch, text
from otel_taskqueue.observe.rq_workers import RQWorkers, unix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_taskqueue.observe.voice import Voice

#: Jobs at the head of a queue of which the oldest counts: `at_front` puts younger ones before it.
_DEPTH = 10
#: Queues observed when none is named.
LIMIT = 64


class RQOnRedis:
    """``queues`` are names, also with wildcards; none: all that exist."""

    def __init__(self, client: Any, queues: Sequence[str], voice: Voice) -> None:
        self._client = client
        self._queues = queues
        self._voice = voice
        self._told = False
        self._workers = RQWorkers()
        #: The queues of the last look.
        self.names: list[str] = []

    def read(self, now: float) -> Look:
        """All queues and workers. Raises what redis-py raises."""
        batch = Batch(self._client)
        listening = self._workers.queues(batch)
        readings = list(self._workers.readings(now))
        self.names = self._find(batch)
        for queue in self.names:
            workers = None if listening is None else listening.count(queue)
            readings += _state(batch, queue, workers, now).readings("redis", semconv.RQ)
        return Look(readings, batch.commands)

    def close(self) -> None:
        """The connection belongs to whoever opened it."""

    def _find(self, batch: Batch) -> list[str]:
        """The queues that are observed."""
        if self._queues and not any(sign in name for name in self._queues for sign in "*?["):
            return list(self._queues)
        members = batch.run([("SMEMBERS", Queue.redis_queues_keys)])[0] or ()
        names = sorted(text(member).removeprefix(Queue.redis_queue_namespace_prefix) for member in members)
        chosen = [name for name in names if not self._queues or _is_chosen(name, self._queues)]
        if len(chosen) > LIMIT and not self._told:
            self._told = True
            self._voice.say(
                f"{len(chosen)} queues: the first {LIMIT} by name are observed; choose by --queue"
            )
        return chosen[:LIMIT]


def _is_chosen(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _state(batch: Batch, queue: str, workers: int | None, now: float) -> QueueState:
    key = Queue.redis_queue_namespace_prefix + queue
    counted = {
        SCHEDULED: ScheduledJobRegistry.key_template,
        DEFERRED: DeferredJobRegistry.key_template,
        FAILED: FailedJobRegistry.key_template,
    }
    ready, moving, started, times, *others = batch.run(
        [
            ("LLEN", key),
            ("LLEN", f"{key}:intermediate"),  # between the queue and the registry of started jobs
            ("ZCARD", StartedJobRegistry.key_template.format(queue)),
            ("SORT", key, "BY", "nosort", "LIMIT", 0, _DEPTH, "GET", _ENQUEUED),
            *(("ZCARD", template.format(queue)) for template in counted.values()),
        ]
    )
    reserved = None if moving is None or started is None else moving + started
    sizes: dict[str, int | None] = {
        READY: ready,
        RESERVED: reserved,
        **dict(zip(counted, cast("list[int | None]", others), strict=True)),
    }
    known = {state: size for state, size in sizes.items() if size is not None}
    return QueueState(queue, known, _oldest(ready, times, now), workers)


_ENQUEUED = f"{Job.redis_job_namespace_prefix}*->enqueued_at"


def _oldest(ready: int | None, times: Sequence[Any] | None, now: float) -> float | None:
    """Seconds; 0.0 for an empty queue, None when no job at the head says when it was enqueued."""
    if ready == 0:
        return 0.0
    known = [stamp for stamp in map(unix, times or ()) if stamp is not None]
    return max(0.0, now - min(known)) if known else None
