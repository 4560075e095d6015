"""Counters that are summed up when somebody asks, and bounds of what may be an attribute."""

from __future__ import annotations

import threading

from opentelemetry.metrics import CallbackOptions

from otel_taskqueue.core import tally
from otel_taskqueue.core.tally import Bound, Tally

OPTIONS = CallbackOptions()


def counted(found: Tally[str]) -> dict[str, float]:
    """Sums by key."""
    return {str(one.attributes["key"]): one.value for one in found.observe(OPTIONS) if one.attributes}


def make() -> Tally[str]:
    """A tally of texts."""
    return Tally(lambda key: {"key": key})


def test_what_was_added_is_summed_up_by_key() -> None:
    """And stays: the sums are cumulative."""
    found = make()
    for key in ("a", "b", "a"):
        found.add(key)
    assert counted(found) == {"a": 2, "b": 1}
    found.add("b")
    assert counted(found) == {"a": 2, "b": 2}


def test_nothing_is_lost_between_threads() -> None:
    """Four threads add while a fifth asks."""
    found = make()
    threads = [threading.Thread(target=lambda: [found.add("a") for _ in range(20_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counted(found)
    assert counted(found) == {"a": 80_000}


def test_what_nobody_asks_for_does_not_pile_up() -> None:
    """Without a reader the memory stays small."""
    found = make()
    for _ in range(3 * tally._MOST):
        found.add("a")
    assert len(found._added) <= tally._MOST + 1
    assert counted(found) == {"a": 3 * tally._MOST}


def test_an_addition_in_the_middle_of_a_sum_waits_for_nobody() -> None:
    """A signal handler may add while the same thread is asked: it must not wait for itself."""
    found = make()
    with found._summing:
        for _ in range(2 * tally._MOST):
            found.add("a")
    assert counted(found) == {"a": 2 * tally._MOST}


def test_a_forked_process_begins_at_nothing() -> None:
    """Even when the fork came in the middle of a sum."""
    found = make()
    found.add("a")
    counted(found)
    found.add("a")
    found._summing.acquire()
    found.clear()
    assert counted(found) == {}
    found.add("b")
    assert counted(found) == {"b": 1}


def test_values_beyond_the_bound_are_other() -> None:
    """Those that came first keep their names."""
    bound = Bound(2)
    assert [bound(value) for value in ("a", "b", "c", "a", "d", "b")] == [
        "a",
        "b",
        "_OTHER",
        "a",
        "_OTHER",
        "b",
    ]
