"""The way home of one result: into a forked child, into a new program, and back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from otel_taskqueue import settings
from otel_taskqueue.core.relay import results
from otel_taskqueue.core.relay.lanes import Lane
from otel_taskqueue.core.result import Result

RESULT = Result("rq", "redis", "orders", "shop.pay", 2, 10, 20, 0.5, 5, "failure", "ValueError", "data", True, (0.1, 2, None), (1, 2, 1))  # fmt: skip # noqa: E501
VARIABLE = "OTEL_TASKQUEUE_RESULT_LANE"
CHILD = """
import os
from otel_taskqueue.core.relay import results
from otel_taskqueue.core.result import Result
found = os.environ["OTEL_TASKQUEUE_RESULT_LANE"]
results.take_up("job-1")
assert "OTEL_TASKQUEUE_RESULT_LANE" not in os.environ
assert not os.get_inheritable(int(found.split(":")[0]))
results.tell(Result("rq", "redis", "orders", "shop.pay", 1, 10, 20, outcome="success"))
"""


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lane]:
    """A lane, and a process in which none is open."""
    monkeypatch.setattr(results, "_open", None)
    found = results.make()
    assert found is not None
    yield found
    found.close()
    monkeypatch.delenv(VARIABLE, raising=False)


def test_a_forked_child_is_heard(lane: Lane) -> None:
    """Everything comes back as it was."""
    if (pid := os.fork()) == 0:
        results.inherit(lane)
        results.tell(RESULT)
        os._exit(0)
    os.waitpid(pid, 0)
    assert results.read(lane) == RESULT


def test_a_child_that_died_has_said_nothing(lane: Lane) -> None:
    """Nobody waits for it, also when a grandchild still holds the other end."""
    held = lane.write.dup()
    assert results.read(lane) is None
    held.close()


def test_the_first_word_stands(lane: Lane) -> None:
    """A job may run another one inside of it."""
    results.inherit(Lane(lane.write.dup(), lane.read.dup(), lane.inode))
    results.tell(RESULT)
    results.tell(RESULT._replace(outcome="success"))
    assert results.read(lane) == RESULT


def test_a_new_program_finds_the_lane_and_hides_it_from_what_it_starts(lane: Lane) -> None:
    """By a variable and a descriptor that exist for the moment of its start only."""
    with results.handing_down(lane, "job-1"):
        assert os.environ[VARIABLE].endswith(":job-1")
        subprocess.run([sys.executable, "-c", CHILD], check=True, close_fds=False)
    assert VARIABLE not in os.environ
    assert not os.get_inheritable(lane.write.fileno())
    found = results.read(lane)
    assert found is not None
    assert found.outcome == "success"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1:2",
        "99999:1:job-1",
        "{fd}:1:job-1",
        "{fd}:{inode}:job-2",
        "²:1:job-1",
        "9999999999999999999:1:job-1",
    ],
)
def test_what_is_not_our_lane_is_left_alone(lane: Lane, text: str) -> None:
    """A stale variable, a descriptor that was used again, another job."""
    os.environ[VARIABLE] = text.format(fd=lane.write.fileno(), inode=lane.inode)
    results.take_up("job-1")
    assert results._open is None
    assert settings.handed_down() == ""


def test_a_file_in_the_place_of_the_lane_is_not_written_to(lane: Lane, tmp_path: object) -> None:
    """Its inode may be the same by chance: it is no socket."""
    with open(f"{tmp_path}/file", "wb") as file:  # noqa: PTH123 - its descriptor is wanted
        os.environ[VARIABLE] = f"{file.fileno()}:{os.fstat(file.fileno()).st_ino}:job-1"
        results.take_up("job-1")
        results.tell(RESULT)
        assert os.fstat(file.fileno()).st_size == 0
    assert lane.is_intact()


def test_where_there_are_no_such_sockets_there_is_no_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything goes on without one."""

    def refuse(*_args: object) -> None:
        raise OSError

    monkeypatch.setattr(socket, "socketpair", refuse)
    assert results.make() is None
    assert results.read(None) is None
    results.inherit(None)
    with results.handing_down(None, "job-1"):
        assert VARIABLE not in os.environ
