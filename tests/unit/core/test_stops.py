"""A stop that strikes while the parent concludes an attempt: RQ raises it from a signal handler, anywhere."""

from __future__ import annotations

import dis
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from types import CodeType, FrameType
from typing import Any

import pytest

from otel_taskqueue import semconv
from otel_taskqueue.core import arbiter, guard
from otel_taskqueue.core.failure import SUCCESS, Verdict
from otel_taskqueue.semconv import Outcome
from support.relay_worker import Worker

KILLED = Verdict(Outcome.LOST)


class StopError(Exception):
    """What a signal handler of the library raises."""


@cache
def looks_for_signals(code: CodeType) -> frozenset[int]:
    """Where Python runs signal handlers: after calls, before functions and at the ends of loops."""
    names, found = {"RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE"}, set[int]()
    instructions = list(dis.get_instructions(code))
    for before, after in pairwise(instructions):
        if before.opname.startswith("CALL") or before.opname in names:
            found.add(after.offset)
    return frozenset(found)


class Strike:
    """Raise at the given one of the places in our code where Python looks for signals."""

    def __init__(self, step: int) -> None:
        self._left = step
        self.struck = False

    def __call__(self, call: Callable[[], Any]) -> None:
        """Call it, and once more when it was struck, as the wrapper of `execute_job` does."""
        sys.settrace(self._enter)
        try:
            call()
        except StopError:
            sys.settrace(None)
            call()
        finally:
            sys.settrace(None)

    def _enter(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        if "otel_taskqueue/core/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame: FrameType, event: str, _arg: Any) -> Any:
        here = event == "opcode" and frame.f_lasti in looks_for_signals(frame.f_code)
        if here and not self.struck:
            self._left -= 1
            if self._left < 0:
                self.struck = True
                raise StopError
        return self._step


@pytest.fixture(autouse=True)
def _stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_stops", (StopError,))
    monkeypatch.setattr(guard, "_control", (StopError,))


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 12), reason="3.12 tells no opcodes to a frame that asks when it is called"
)
@pytest.mark.parametrize(("conclude", "outcome"), [(arbiter.report, "success"), (arbiter.overrule, "lost")])
def test_an_attempt_is_told_once_wherever_it_strikes(
    worker: Worker, conclude: Callable[..., None], outcome: str
) -> None:
    """Its span, with the right verdict, and one count."""
    step, verdict = 0, SUCCESS if outcome == "success" else KILLED
    while True:
        attempt, span = worker.begin()
        span.set_attribute(semconv.TASK_OUTCOME, "success")
        worker.end(attempt, span)
        strike = Strike(step)
        strike(lambda attempt=attempt: conclude(attempt, verdict, reaped=True))
        step += 1
        if not strike.struck:
            break
    assert step > 30
    told = Counter(span.context.span_id for span in worker.finished())
    assert set(told.values()) == {1}
    assert len(told) == step
    assert {span.attributes[semconv.TASK_OUTCOME] for span in worker.finished()} == {outcome}
