"""Fill a queue: `python -m benchmarks.send celery|rq COUNT URL`. Nothing here is measured."""

from __future__ import annotations

import sys


def main() -> None:
    """Enqueue so many jobs."""
    library, count, url = sys.argv[1:]
    if library == "celery":
        from benchmarks.application import noop

        for _ in range(int(count)):
            noop.apply_async()
        return
    from redis import Redis
    from rq import Queue

    queue = Queue(connection=Redis.from_url(url))
    for _ in range(int(count)):
        queue.enqueue("benchmarks.jobs.noop", result_ttl=0)


if __name__ == "__main__":
    main()
