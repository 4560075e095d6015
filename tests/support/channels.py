"""Workers whose log channels are looked at: what is shipped, what is in the files, what is printed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from support.celery_harness import CeleryHarness
from support.harness import Broker, Harness, Options
from support.otlp import Receiver
from support.rq_harness import RQHarness
from support.wait import wait_for


class Channels(Harness):
    """What both rooms are asked."""

    @property
    def folder(self) -> Path:
        """Where the worker writes its files."""
        return self.directory / "lines"

    @property
    def level_file(self) -> Path:
        """The file with the levels."""
        return self.directory / "levels"

    def env(self, service: str) -> dict[str, str]:
        """The channels' settings are in the worker's environment and in the client's."""
        return {**super().env(service), **self.settings(LOG_LEVEL_FILE=self.level_file)}

    def settings(self, **values: object) -> dict[str, str]:
        """Environment variables of settings."""
        return {f"OTEL_PYTHON_TASKQUEUE_{name}": str(value) for name, value in values.items()}

    def launch(self) -> Any:
        """Files are written, unless the test has a folder of its own."""
        given = dict(self.options.env)
        given.setdefault("OTEL_PYTHON_TASKQUEUE_LOG_DIR", str(self.folder))
        self.options = replace(self.options, env=given)
        return super().launch()

    def enqueue(self, case: str, *args: Any) -> str:
        """Enqueue one job."""
        return self.client.call("enqueue", case, *args).job_id

    def enqueue_many(self, case: str, calls: Sequence[Sequence[Any]]) -> list[str]:
        """Enqueue one job for each list of arguments."""
        reply = self.client.call("enqueue_many", case, [list(args) for args in calls], timeout=60.0)
        assert reply.error is None, reply.error
        return reply.result

    def shipped(self, mark: str) -> list[str]:
        """The lines with this mark that were received, less the mark."""
        return sorted(
            str(line.body)[len(mark) + 1 :] for line in self.receiver.logs() if marked(line.body, mark)
        )

    def printed(self, mark: str) -> list[str]:
        """The same lines as the worker printed them."""
        assert self.worker is not None
        found = [line.partition(f"{mark} ")[2] for line in self.worker.output().splitlines()]
        return sorted(line for line in found if line)

    def lines(self) -> list[dict[str, Any]]:
        """All lines of all files."""
        return read_lines(self.folder)

    def written(self, mark: str) -> list[str]:
        """The same lines as they stand in the files."""
        found = [line["message"] for line in self.lines() if marked(line["message"], mark)]
        return sorted(line[len(mark) + 1 :] for line in found)

    def wait_for_shipped(self, mark: str, expected: Sequence[str]) -> None:
        """Wait until the last of the lines has arrived, then see that they are these."""
        wait_for(
            lambda: self.shipped(mark) == sorted(expected), 20, f"{expected}", lambda: self.shipped(mark)
        )

    def pass_one(self) -> None:
        """Let one more job pass; what came before it has arrived."""
        job = self.enqueue("levels", "fence")

        def arrived() -> bool:
            about = [line for line in self.receiver.logs() if str(line.body) == "fence ERROR"]
            return any(line.attributes.get("messaging.message.id") == job for line in about)

        wait_for(arrived, 20, "the lines of one more job")


class CeleryChannels(Channels, CeleryHarness):
    """A Celery worker."""

    client_module: ClassVar[str] = "support.apps.channel_celery_client"

    def __init__(self, *args: Any, options: Options | None = None, **kwargs: Any) -> None:
        options = replace(options or Options(), app="support.apps.channel_celery")
        super().__init__(*args, options=options, **kwargs)


class RQChannels(Channels, RQHarness):
    """An RQ worker."""

    client_module: ClassVar[str] = "support.apps.channel_rq_client"


def marked(text: object, mark: str) -> bool:
    """Whether a line was written by a job with this mark."""
    return str(text).startswith(f"{mark} ")


def read_lines(folder: Path) -> list[dict[str, Any]]:
    """Every line of every file; each must be valid JSON."""
    return list(each_line(folder))


def each_line(folder: Path) -> Iterator[dict[str, Any]]:
    """The same one after the other: there may be more than fit into memory."""
    for file in sorted(folder.iterdir()):
        with file.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


@contextmanager
def running_channels(
    broker: Broker, directory: Path, room: str = "celery", pool: str = "", **options: Any
) -> Iterator[Any]:
    """A worker with its own receiver; gone at the end whatever happens."""
    kind, default = (CeleryChannels, "prefork") if room == "celery" else (RQChannels, "fork")
    with (
        Receiver() as receiver,
        kind(broker, receiver, directory, pool=pool or default, options=Options(**options)) as found,
    ):
        yield found
