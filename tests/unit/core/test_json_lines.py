"""The JSON lines channel of one process: its file, its handler, and what is said when it cannot write."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_taskqueue.core.logs import fields, handlers, jsonlines
from otel_taskqueue.core.logs.jsonlines import path_of
from otel_taskqueue.settings import Settings

ROOM = "test"
log = logging.getLogger("shop.orders")


@pytest.fixture(autouse=True)
def worker() -> Iterator[None]:
    """This process is a worker without a file, and no more when the test ends."""
    jsonlines._said.clear()
    fields.install(ROOM)
    handlers.start(ROOM, _without_secret)
    log.setLevel(logging.INFO)
    yield
    jsonlines.stop()
    handlers.stop(ROOM)
    fields.uninstall(ROOM)
    log.setLevel(logging.NOTSET)


def _without_secret(record: logging.LogRecord) -> None:
    vars(record).pop("payload", None)


def start(folder: Path, slot: str = "0", worker: str = "w@host", **more: Any) -> None:
    """Write the lines of a slot from here on."""
    jsonlines.start(Settings(log_dir=str(folder), **more), worker, slot)


def messages(folder: Path, slot: str = "0") -> list[str]:
    """The messages in the file of a slot."""
    text = (folder / f"w@host-{slot}.jsonl").read_text()
    return [json.loads(line)["message"] for line in text.splitlines()]


def test_a_record_is_written_once_and_without_its_payload(tmp_path: Path) -> None:
    """Whichever logger wrote it, as far as it reaches the root."""
    start(tmp_path)
    log.info("paid %s", "A-1", extra={"payload": "secret", "basket": 7})
    logging.getLogger("celery.task").warning("of a task logger")

    assert ["paid A-1", "of a task logger"] == messages(tmp_path)
    line = json.loads((tmp_path / "w@host-0.jsonl").read_text().splitlines()[0])
    assert (7, "w@host") == (line["basket"], line["worker"])
    assert "secret" not in str(line)


def test_a_process_writes_the_lines_of_one_slot(tmp_path: Path) -> None:
    """A child leaves its parent's file alone."""
    start(tmp_path, "main")
    log.info("parent")
    start(tmp_path, "3")
    start(tmp_path, "3")
    log.info("child")

    assert (["parent"], ["child"]) == (messages(tmp_path, "main"), messages(tmp_path, "3"))


def test_without_a_folder_or_without_logs_there_is_no_channel(tmp_path: Path) -> None:
    """Nothing is placed."""
    jsonlines.start(Settings(), "w@host", "0")

    assert jsonlines._current is None


def test_without_the_extra_there_is_one_warning_and_no_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    """It names what has to be installed."""
    monkeypatch.delitem(sys.modules, "otel_taskqueue.core.logs.line", raising=False)
    monkeypatch.setitem(sys.modules, "pythonjsonlogger.json", None)
    start(tmp_path / "main", "main")
    start(tmp_path / "main", "0")
    log.info("not written")

    assert 1 == len(told)
    assert "pip install 'otel-taskqueue[json]'" in told[0]
    assert not (tmp_path / "main").exists()


def test_a_file_that_cannot_be_written_is_told_once_and_its_end_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    """With the number of lines that were lost."""
    monkeypatch.setattr(jsonlines, "_PAUSE", 0.0)
    folder = tmp_path / "lines"
    folder.write_text("")
    start(folder)
    for number in range(3):
        log.info("lost %d", number)
    assert 1 == len(told)
    assert told[0].startswith(f"log lines cannot be written to {folder} and are lost: ")
    folder.unlink()
    log.info("written")

    assert ["written"] == messages(folder)
    assert told[1:] == [f"log lines are written to {folder} again; 3 were lost"]


@pytest.mark.parametrize(
    ("worker", "file"),
    [
        ("celery@host.example", "celery@host.example"),
        ("w-1_a+b=c", "w-1_a+b=c"),
        ("team/worker", "team%2Fworker"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("w@%h", "w@%25h"),
        ("a\x00b\nc", "a%00b%0Ac"),
        ("Größe", "Gr%C3%B6%C3%9Fe"),
        ("\ud83d", "%3F"),
        ("", "worker"),
        ("x" * 300, "x" * 200),
    ],
)
def test_every_name_of_a_worker_makes_a_file_name(
    tmp_path: Path, told: list[str], worker: str, file: str
) -> None:
    """In this folder and no other; where it is not the name itself, that is told once."""
    for _ in range(2):
        path = Path(path_of(str(tmp_path), worker, "0"))

    assert tmp_path / f"{file}-0.jsonl" == path
    assert (0 if worker == file else 1) == len(told)
    path.write_text("")
