"""The metrics of one service as a backend shows them: the last point of each series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from support.otlp.model import MetricPoint

INSTANCE = "service.instance.id"
Key = tuple[str, str, tuple[tuple[str, Any], ...]]


class Series:
    """The last point of each series of one service; of several instances, if there are any."""

    def __init__(self, points: Iterable[MetricPoint], service: str) -> None:
        self.points = [point for point in points if point.resource.service == service]
        self._last: dict[Key, MetricPoint] = {}
        for point in self.points:
            self._last[_key(point)] = point

    @property
    def instances(self) -> set[str]:
        """Who sent them: one for each process that exported by itself."""
        return {str(point.resource.attributes.get(INSTANCE)) for point in self.points}

    @property
    def names(self) -> set[str]:
        """The metrics there are."""
        return {point.name for point in self.points}

    def last(self, name: str, **attributes: Any) -> list[MetricPoint]:
        """The last points of a metric whose attributes have these values (``__`` stands for a dot)."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return [
            point
            for point in self._last.values()
            if point.name == name and all(point.attributes.get(key) == value for key, value in wanted.items())
        ]

    def value(self, name: str, **attributes: Any) -> float | None:
        """The sum of their values; None when there is no such series."""
        found = self.last(name, **attributes)
        return sum(point.value or 0 for point in found) if found else None

    def count(self, name: str, **attributes: Any) -> int:
        """How many measurements these histograms hold."""
        return sum(point.count for point in self.last(name, **attributes))

    def sum(self, name: str, **attributes: Any) -> float:
        """The sum of what these histograms measured."""
        return sum(point.sum for point in self.last(name, **attributes))

    def by(self, name: str, *keys: str) -> Counter[Any]:
        """Values (of a histogram: counts) by attributes; those that are 0 are left out."""
        found: Counter[Any] = Counter()
        for point in self.last(name):
            values = tuple(point.attributes.get(key) for key in keys)
            found[values if len(values) > 1 else values[0]] += (
                point.count if point.value is None else int(point.value)
            )
        return +found

    def exemplars(self, name: str, **attributes: Any) -> set[tuple[str, str]]:
        """Trace and span of every exemplar that ever came: the next export has others, or none."""
        last = {_key(point) for point in self.last(name, **attributes)}
        return {
            (one.trace_id, one.span_id)
            for point in self.points
            if _key(point) in last
            for one in point.exemplars
        }

    def history(self, name: str, **attributes: Any) -> list[float]:
        """Every value of a metric in the order of its arrival."""
        last = {_key(point) for point in self.last(name, **attributes)}
        return [point.value or 0 for point in self.points if _key(point) in last]

    def attribute_keys(self, taken: Callable[[str], bool] = lambda _name: True) -> set[str]:
        """Every key that a point has."""
        return {key for point in self.points if taken(point.name) for key in point.attributes}

    def attribute_values(self) -> set[str]:
        """Every value that an attribute of a point has, as text."""
        return {str(value) for point in self.points for value in point.attributes.values()}


def _key(point: MetricPoint) -> Key:
    return (
        point.name,
        str(point.resource.attributes.get(INSTANCE)),
        tuple(sorted(point.attributes.items())),
    )


def ended_cleanly(history: Sequence[float]) -> bool:
    """Whether a worker was up, and then said that it is not, as often as it could before its end."""
    return set(history) == {0, 1} and list(history) == sorted(history, reverse=True)
