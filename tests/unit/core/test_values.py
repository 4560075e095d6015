"""Carrier, verdicts and patches: plain values in, plain values out."""

from __future__ import annotations

import os
import types

import pytest
from opentelemetry import baggage, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, TraceFlags

from otel_taskqueue import semconv
from otel_taskqueue.core import carrier, failure
from otel_taskqueue.core.failure import Again, Exit, Raised, Verdict
from otel_taskqueue.core.patch import Patch, Patches
from otel_taskqueue.semconv import Outcome

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ME = SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(1))


@pytest.mark.parametrize("value", ["x" * 65536, 7, None, b"bytes", ["list"]])
def test_a_carrier_takes_only_sane_text(value: object) -> None:
    """64 KiB of baggage, or no text at all: passed over."""
    assert carrier.select({"traceparent": TRACEPARENT, "baggage": value, "other": "x"}) == {
        "traceparent": TRACEPARENT
    }


@pytest.mark.parametrize("traceparent", ["", "rubbish", "00-0-0-00", "ff" + TRACEPARENT[2:], "é" * 55])
def test_a_malformed_traceparent_is_ignored(traceparent: str) -> None:
    """Extracted or as the attempt before."""
    assert carrier.from_traceparent(traceparent) is None
    found = carrier.extract({"traceparent": traceparent})
    assert not trace.get_current_span(found).get_span_context().is_valid


def test_nothing_local_leaks_into_a_sender_s_context() -> None:
    """A worker's own span and baggage stay out."""
    local = baggage.set_baggage("mine", "x")
    assert baggage.get_all(carrier.extract({})) == {}
    assert baggage.get_all(carrier.extract({"traceparent": TRACEPARENT})) == {}
    assert baggage.get_all(local) == {"mine": "x"}


def test_a_retry_keeps_its_sender_and_names_the_attempt_before() -> None:
    """Traceparent and first time unchanged, the rest anew."""
    first = {"traceparent": TRACEPARENT, semconv.FIRST_ENQUEUED_AT: "5", semconv.PREVIOUS: "old"}
    found = carrier.for_retry(first, ME)
    assert found["traceparent"] == TRACEPARENT
    assert found[semconv.FIRST_ENQUEUED_AT] == "5"
    assert carrier.from_traceparent(found[semconv.PREVIOUS]) == SpanContext(
        1, 2, is_remote=True, trace_flags=TraceFlags(1)
    )
    assert semconv.PREVIOUS not in carrier.for_retry(first, None)
    assert first[semconv.PREVIOUS] == "old"


@pytest.mark.parametrize("value", ["", "-1", "1e9", "٣", "9" * 20, "x"])
def test_an_unusable_time_is_no_time(value: str) -> None:
    """Whoever wrote it."""
    assert carrier.enqueued_at({semconv.ENQUEUED_AT: value}) == 0


def test_the_queue_wait_is_never_negative() -> None:
    """Clocks differ; an ETA is no waiting."""
    assert carrier.wait(0) is None
    assert carrier.wait(2**62) == 0


@pytest.mark.parametrize(
    ("verdict", "error", "error_type"),
    [
        (Verdict(Outcome.SUCCESS), False, None),
        (Verdict(Outcome.FAILURE, Raised("shop.OrderError", "no")), True, "shop.OrderError"),
        (Verdict(Outcome.FAILURE, Raised("X", "no"), error=False, record=False), False, "X"),
        (Verdict(Outcome.RETRY, Raised("X", "no"), again=Again(1.0)), False, None),
        (Verdict(Outcome.LOST, exit=Exit(signal="SIGKILL")), True, "SIGKILL"),
        (Verdict(Outcome.LOST, exit=Exit(code=7)), True, "exit_code"),
        (Verdict(Outcome.LOST), True, "lost"),
        (Verdict(Outcome.REVOKED, exit=Exit(signal="SIGTERM")), False, None),
        (Verdict(Outcome.EXPIRED), False, None),
        (Verdict(Outcome.UNKNOWN), True, "unknown"),
        (Verdict(Outcome.REJECTED, error=False), False, None),
        (Verdict(Outcome.TIMEOUT, Raised("T", "t")), True, "T"),
    ],
)
def test_what_a_verdict_says(verdict: Verdict, error: bool, error_type: str | None) -> None:  # noqa: FBT001
    """Status and error.type of each outcome."""
    assert (verdict.is_error, verdict.error_type) == (error, error_type)
    found = failure.attributes_of(verdict)
    assert found[semconv.TASK_OUTCOME] == verdict.outcome.value
    assert found.get(semconv.ERROR_TYPE) == error_type


def test_an_exception_that_cannot_be_printed_is_no_problem() -> None:
    """Its __str__ raises."""

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert failure.message_of(BrokenError()) == "<unprintable BrokenError>"
    assert failure.qualified_name(ValueError) == "ValueError"


@pytest.mark.parametrize(
    ("status", "found"),
    [(9, Exit(signal="SIGKILL")), (11 | 0x80, Exit(signal="SIGSEGV")), (7 << 8, Exit(code=7)), (None, None)],
)
def test_a_wait_status_is_a_signal_or_a_code(status: int | None, found: Exit | None) -> None:
    """As os.wait4 gives it, with and without a core dump."""
    assert failure.exit_of_status(status) == found
    assert os.name == "posix"


def test_patches_are_applied_once_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that somebody wrapped over becomes a pass-through."""
    module = types.ModuleType("patched_for_a_test")
    module.work = lambda: ["original"]
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    original = module.work
    table = Patches([Patch(module.__name__, "work", lambda work: lambda: [*work(), "ours"]),
                     Patch(module.__name__, "missing.name", lambda work: work)])  # fmt: skip
    table.apply()
    table.apply()
    assert module.work() == ["original", "ours"]
    table.restore()
    assert module.work is original
    table.apply()
    ours = module.work
    module.work = lambda: [*ours(), "theirs"]
    table.restore()
    assert module.work() == ["original", "theirs"]


def test_the_sender_s_context_is_extracted() -> None:
    """By the global propagator."""
    found = trace.get_current_span(carrier.extract({"traceparent": TRACEPARENT})).get_span_context()
    assert carrier.to_traceparent(found) == TRACEPARENT
    assert carrier.extract({}) == Context()
