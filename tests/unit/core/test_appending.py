"""The file under the JSON lines channel: appended line by line, rotated, shared, reopened."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from otel_taskqueue.core.logs import appending
from otel_taskqueue.core.logs.appending import AppendedFile


def lines(path: Path) -> list[str]:
    """All lines, the oldest first, of the file and its rotated ones."""
    rotated = sorted(path.parent.glob(f"{path.name}.*"), key=lambda file: -int(file.suffix[1:]))
    return [line for file in (*rotated, path) if file.exists() for line in file.read_text().splitlines()]


def in_child(work: object, *args: object) -> None:
    """Call something in a forked process and wait for its end."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work(*args)  # type: ignore[operator]
            code = 0
        finally:
            os._exit(code)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def write_all(file: AppendedFile, name: str, count: int) -> None:
    for number in range(count):
        file.write(json.dumps({"name": name, "number": number, "text": "x" * 50}).encode() + b"\n")


def test_a_file_is_rotated_before_it_gets_too_long(tmp_path: Path) -> None:
    """As the standard library's: `.1` is the newest, the oldest goes."""
    path = tmp_path / "w-0.jsonl"
    file = AppendedFile(str(path), 10, 2)
    for number in range(6):
        file.write(b"line%d\n" % number)
    file.write(b"a line that is longer than a file may be\n")
    file.write(b"last\n")

    assert ["line5", "a line that is longer than a file may be", "last"] == lines(path)
    assert {"w-0.jsonl", "w-0.jsonl.1", "w-0.jsonl.2"} == {file.name for file in tmp_path.iterdir()}


def test_the_next_process_goes_on_and_counts_what_is_there(tmp_path: Path) -> None:
    """The size that rotation looks at is the file's, not what this process wrote."""
    path = tmp_path / "w-0.jsonl"
    for number in range(4):
        file = AppendedFile(str(path), 14, 9)
        file.write(b"line%d\n" % number)
        file.close()

    assert "line2\nline3\n" == path.read_text()
    assert ["line0", "line1", "line2", "line3"] == lines(path)


def test_half_a_line_of_a_dead_process_does_not_tear_the_next(tmp_path: Path) -> None:
    """A newline comes first, once."""
    path = tmp_path / "w-0.jsonl"
    path.write_bytes(b'{"message": "whole"}\n{"message": "ha')
    file = AppendedFile(str(path), 1000, 1)
    file.write(b'{"message": "next"}\n')
    file.write(b'{"message": "after"}\n')

    assert ['{"message": "ha', '{"message": "next"}', '{"message": "after"}'] == lines(path)[1:]


def test_a_line_that_is_just_being_written_is_not_taken_for_half_a_line(tmp_path: Path) -> None:
    """The kernel shows a long line of another process page by page."""
    path = tmp_path / "w-0.jsonl"
    path.write_bytes(b'{"message": "long ')
    file = AppendedFile(str(path), 1000, 1)
    with path.open("ab", buffering=0) as other:
        timer = threading.Timer(0.015, other.write, [b'enough"}\n'])
        timer.start()
        file.write(b'{"message": "next"}\n')
        timer.join()
    file.close()

    assert ['{"message": "long enough"}', '{"message": "next"}'] == lines(path)


def test_a_write_that_was_cut_short_does_not_tear_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full in the middle of a line, and has room again later."""
    path = tmp_path / "w-0.jsonl"
    file, real, room = AppendedFile(str(path), 1000, 1), os.write, [4]

    def write(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= (written := real(descriptor, data[: room[0]]))
        return written

    monkeypatch.setattr(appending.os, "write", write)
    with pytest.raises(OSError, match="No space"):
        file.write(b"first\n")
    room[0] = 1000
    file.write(b"second\n")

    assert ["firs", "second"] == lines(path)


def test_lines_follow_a_file_that_was_moved_or_deleted(tmp_path: Path) -> None:
    """By logrotate, by another process, by hand."""
    path = tmp_path / "logs" / "w-0.jsonl"
    file = AppendedFile(str(path), 1000, 1)
    file.write(b"one\n")
    path.rename(path.with_name("moved"))
    file.write(b"two\n")
    path.unlink()
    file.write(b"three\n")
    path.unlink()
    path.parent.joinpath("moved").unlink()
    path.parent.rmdir()
    file.write(b"four\n")

    assert ["four"] == lines(path)


def test_processes_that_share_a_file_lose_and_tear_no_line(tmp_path: Path) -> None:
    """Forked from one that has the file open, all writing and rotating at the same time."""
    path = tmp_path / "w-main.jsonl"
    file = AppendedFile(str(path), 3_000, 400)
    file.write(b'{"name": "parent", "number": 0}\n')
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            write_all(file, str(number), 2_000)
            os._exit(0)
        children.append(child)
    assert [0] * 4 == [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    found = [json.loads(line) for line in lines(path)]
    assert 8_001 == len(found) == len({(line["name"], line["number"]) for line in found})
    assert 3 < len(list(tmp_path.iterdir())) < 400


def test_a_descriptor_that_somebody_reused_is_left_alone(tmp_path: Path) -> None:
    """An embedded beat closes what it inherits: its connection to the broker may get the number."""
    path, other = tmp_path / "w-main.jsonl", tmp_path / "connection"
    file = AppendedFile(str(path), 1000, 1)
    file.write(b"one\n")

    def beat() -> None:
        connection = os.dup2(os.open(other, os.O_RDWR | os.O_CREAT), file._descriptor)
        file.write(b"two\n")
        os.write(connection, b"still open")

    in_child(beat)

    assert ["one", "two"] == lines(path)
    assert "still open" == other.read_text()


def test_a_file_that_cannot_be_rotated_grows_on(tmp_path: Path) -> None:
    """No line is lost; the trouble is told, and looked at again after a while."""
    path = tmp_path / "w-0.jsonl"
    path.with_name("w-0.jsonl.1").mkdir()  # nothing can take its place
    file = AppendedFile(str(path), 10, 1)
    for number in range(4):
        file.write(b"line%d\n" % number)

    assert ["line0", "line1", "line2", "line3"] == path.read_text().splitlines()
    assert isinstance(file.trouble, OSError)
