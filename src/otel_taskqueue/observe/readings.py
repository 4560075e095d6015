"""What one look at a broker yields, and what gives it: the two plain types everything here exchanges."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_taskqueue.meters import Metric


class Reading(NamedTuple):
    """One value of one series.

    A gauge holds until the next look, where a series that is not read again vanishes. A counter's value
    is what came to it since the look before, a histogram's is one observation: both are recorded once.
    """

    metric: Metric
    value: float
    attributes: Mapping[str, str]


class Look(NamedTuple):
    """What one source saw, and how many commands (or requests) it cost its broker."""

    readings: Sequence[Reading]
    commands: int


class Source(Protocol):
    """One place to look at.

    It is made when this process is elected and closed when it no longer leads: what it remembers
    never outlives a leadership.
    """

    def read(self, now: float) -> Look:
        """Look once; ``now`` is unix time in seconds.

        Raises:
            Exception: the broker does not answer. All series of this source vanish until it does.
        """
        ...

    def close(self) -> None:
        """Give connections back; never raises."""
        ...
