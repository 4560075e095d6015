"""Sampling collectors come, go and die: nothing special is lost, and what was torn is made whole again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from support.backends.otelcol import Collector
from support.backends.tiers import AGENT, RESAMPLE, SAMPLING, Tiers, running_tiers, total
from support.backends.traffic import (
    BROKEN,
    COUNTED_AT_ONCE,
    KINDS,
    PLAIN,
    SPECIAL,
    Counted,
    Trace,
    Traffic,
    ids,
)
from support.env import TESTS
from support.wait import wait_for

pytestmark = [pytest.mark.xdist_group("collector-two-tiers"), pytest.mark.timeout(150)]
EACH = 25
PLAIN_ONES = 300
# As long as it may take until somebody takes a dead one out of the name.
UNNOTICED = 3.0
Change = Callable[[Tiers, "Load"], None]


def jobs(trace: Trace) -> set[str]:
    """What the worker told: in these traces, the part that is special."""
    return ids(trace.job)


def whole(trace: Trace) -> set[str]:
    return trace.span_ids


class Load:
    """Traces that are under way while something happens to the second tier."""

    def __init__(self, tiers: Tiers) -> None:
        self.tiers = tiers
        self._traffic = Traffic(tiers.agent.grpc)
        self.counted = Counted(tiers.agent.grpc)
        # Of jobs whose spans are nobody's business here.
        self._others = self._make()[:COUNTED_AT_ONCE]
        self.torn: list[Trace] = []
        self.after: list[Trace] = []

    def _make(self) -> list[Trace]:
        kinds = [kind for kind in SPECIAL if kind != BROKEN]
        return self._traffic.make({**dict.fromkeys(kinds, EACH), PLAIN: PLAIN_ONES})

    def requests_before(self) -> None:
        """Requests whose jobs wait: the second tier holds them and has decided nothing.

        The worker has been there for longer: both sampling collectors have had values of its counter.
        """
        both = lambda: self.counts_more() and all(map(_points, self.tiers.samplers))  # noqa: E731
        wait_for(both, 20, "points at each of the second tier")
        self.torn = self._make()
        self._traffic.send_requests(self.torn)
        spans = sum(len(trace.request) for trace in self.torn)
        wait_for(lambda: self.tiers.accepted() == spans, 20, "requests at the second tier")

    def counts_more(self) -> bool:
        """The worker tells the values of its counter once more, which have grown."""
        self.counted.count(self._others)
        return True

    def jobs_and_more(self) -> None:
        """These jobs end, others come and end."""
        self._end(self.torn)
        meanwhile = self._make()
        self._traffic.send_requests(meanwhile)
        self._end(meanwhile)
        self.torn += meanwhile

    def everything_after(self) -> None:
        """Requests and jobs when the change is known."""
        self.after = self._make()
        self._traffic.send_requests(self.after)
        self._end(self.after)

    def _end(self, traces: list[Trace]) -> None:
        self._traffic.send_jobs(traces)
        self.counted.count(traces)

    @property
    def all(self) -> list[Trace]:
        return self.torn + self.after

    @property
    def runs(self) -> int:
        return sum(len(KINDS[trace.kind]) for trace in self.all)


def special(traces: Iterable[Trace]) -> list[Trace]:
    return [trace for trace in traces if trace.kind != PLAIN]


def one_is_stopped(tiers: Tiers, load: Load) -> None:
    """Taken out of the name; stopped by TERM when the agent knows."""
    stays, goes = tiers.samplers
    tiers.point_to(stays)
    tiers.wait_for_backends(1)
    goes.stop()
    load.jobs_and_more()


def one_is_added(tiers: Tiers, load: Load) -> None:
    """A third one, and with it a new division of the traces."""
    tiers.add_sampler()
    tiers.point_to(*tiers.samplers)
    tiers.wait_for_backends(3)
    load.jobs_and_more()


def one_is_killed(tiers: Tiers, load: Load) -> None:
    """By KILL, and for some seconds the name goes on to stand for it."""
    stays, dies = tiers.samplers
    dies.kill()
    until = time.monotonic() + UNNOTICED
    load.jobs_and_more()
    noticed = lambda: load.counts_more() and time.monotonic() > until  # noqa: E731
    wait_for(noticed, UNNOTICED + 10, "somebody notices")
    tiers.point_to(stays)
    tiers.wait_for_backends(1)


@pytest.mark.parametrize(
    "change", [one_is_stopped, one_is_added, one_is_killed], ids=lambda one: one.__name__
)
def test_nothing_special_is_lost(
    change: Change, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """What is special arrives by itself; what was torn is whole when the disk channel was sampled again."""
    with running_tiers(tmp_path, SAMPLING_BASELINE_PERCENT="0") as tiers:
        backend, load = tiers.backend, Load(tiers)
        load.requests_before()
        change(tiers, load)
        load.everything_after()

        backend.wait_for(special(load.all), jobs)
        backend.wait_for(special(load.after), whole)
        torn = backend.missing(special(load.all), whole)
        figures = {"special": len(special(load.all)), "torn": len(torn), "spans missing": sum(torn.values())}
        assert torn, "nothing was torn: the disk channel has nothing to repair"
        figures["duplicates"] = backend.duplicates()
        counted = load.counted.runs
        wait_for(lambda: backend.runs() == counted, 30, f"counted by the package: {counted}", backend.runs)
        if change is not one_is_killed:
            assert backend.duplicates() == 0
            wait_for(lambda: _runs(tiers) == load.runs, 20, f"{load.runs} runs counted", lambda: _runs(tiers))

        started = time.monotonic()
        with tiers.resampling():
            backend.wait_for(special(load.all), whole)
        figures["seconds"] = round(time.monotonic() - started, 1)
        record_property(change.__name__, figures)
        assert PLAIN not in {trace.kind for trace in load.all if trace.trace_id in backend.trace_ids}


def _points(sampler: Collector) -> bool:
    return total([sampler], "otelcol_receiver_accepted_metric_points") > 0


def _runs(tiers: Tiers) -> int:
    return tiers.backend.calls("span.kind")["SPAN_KIND_CONSUMER"]


def test_the_documentation_has_the_commands_that_run_here() -> None:
    """Whoever reads it starts what was tested."""
    text = (TESTS.parent / "docs" / "two-tiers.md").read_text().replace("\\\n", " ")
    for configs in (AGENT, SAMPLING, RESAMPLE):
        assert f"otelcol-contrib {' '.join(f'--config {one}' for one in configs)}\n" in text
