"""The loop: while this process leads, look at all sources each interval and hand on what they saw."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from otel_taskqueue.observe.election import clock
from otel_taskqueue.observe.errors import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otel_taskqueue.observe.election import Election, Lease
    from otel_taskqueue.observe.readings import Reading, Source
    from otel_taskqueue.observe.sources import Opened
    from otel_taskqueue.observe.voice import Voice

#: How often (s) the loop asks whether it leads.
_STEP = 0.2
#: Seconds after the first look.
_SECOND_LOOK = 3.0
#: Longer than any lease (s): a broker that is away has ended this leadership by then.
_ELECTION_NOTICES = 8.0


class Output(Protocol):
    """Where the readings of one leadership go."""

    def show(self, place: int, readings: Sequence[Reading]) -> None:
        """What the source at this place saw; it replaces what that saw before."""
        ...

    def send(self) -> None:
        """Export what is shown now; may block for as long as an exporter tries."""
        ...

    def close(self) -> None:
        """Export nothing more."""
        ...


class Loop:
    """``open_sources`` connects for a leader (None: for one look), ``open_output`` begins its report."""

    def __init__(
        self,
        open_sources: Callable[[Lease | None], Opened],
        open_output: Callable[[Lease], Output],
        voice: Voice,
        broker: str,
        interval: float,
    ) -> None:
        self._open_sources = open_sources
        self._open_output = open_output
        self._voice = voice
        self._look_at = f"what is looked at in {broker}"
        self._interval = interval
        self._opened: Opened | None = None
        self._failing: dict[int, float] = {}

    def run(self, election: Election, stopped: Callable[[], bool]) -> None:
        """Until the process is told to stop."""
        while not stopped():
            lease = election.lease()
            if lease is not None:
                self._lead(lease, stopped)
            time.sleep(_STEP)

    def once(self, output: Output) -> None:
        """One look, whoever leads. Raises what the broker's client raises."""
        opened = self._open_sources(None)
        try:
            time.sleep(opened.settle)
            for place, source in enumerate(opened.sources):
                output.show(place, source.read(time.time()).readings)
            output.send()
        finally:
            opened.close()

    def _lead(self, lease: Lease, stopped: Callable[[], bool]) -> None:
        output = self._open_output(lease)
        due = clock()
        try:
            while lease.holds() and not stopped():
                if clock() >= due:
                    due = clock() + self._pause()
                    self._look(lease, output)
                time.sleep(_STEP)
        finally:
            output.close()
            self._close()

    def _pause(self) -> float:
        """The interval; shorter after the first look, which came before anything could be heard."""
        return self._interval if self._opened is not None else min(self._interval, _SECOND_LOOK)

    def _look(self, lease: Lease, output: Output) -> None:
        if self._opened is None:
            try:
                self._opened = self._open_sources(lease)
            except Exception as error:  # noqa: BLE001  (each client has its own errors)
                self._failed(-1, error)
                return
            self._answered(-1)
        for place, source in enumerate(self._opened.sources):
            output.show(place, self._read(place, source))
        if lease.holds():
            output.send()

    def _read(self, place: int, source: Source) -> Sequence[Reading]:
        try:
            readings = source.read(time.time()).readings
        except Exception as error:  # noqa: BLE001  (see _look)
            self._failed(place, error)
            return ()
        self._answered(place)
        return readings

    def _failed(self, place: int, error: Exception) -> None:
        """Said only when the election has no trouble with the broker: else that has said it."""
        since = self._failing.setdefault(place, clock())
        if clock() - since >= _ELECTION_NOTICES:
            self._voice.away(self._look_at, plain(error))

    def _answered(self, place: int) -> None:
        if self._failing.pop(place, None) is not None and not self._failing:
            self._voice.back(self._look_at)

    def _close(self) -> None:
        opened, self._opened = self._opened, None
        self._failing.clear()
        if opened is not None:
            opened.close()
