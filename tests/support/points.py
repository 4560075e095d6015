"""The points of metrics that were recorded in this process."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_taskqueue.meters import Metric

Attributes = dict[str, Any]


class Metered:
    """A meter provider, and what it would export."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def all(self) -> dict[str, list[Any]]:
        """Every point as the SDK has it, by metric."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, metric: Metric) -> list[Any]:
        """The points of one metric."""
        return self.all().get(metric.name, [])

    def values(self, metric: Metric) -> list[tuple[Attributes, float]]:
        """Attributes and value of each point."""
        return [(dict(point.attributes), point.value) for point in self.points(metric)]

    def sums(self, metric: Metric) -> list[tuple[Attributes, int, float]]:
        """Attributes, count and sum of each histogram."""
        return [(dict(point.attributes), point.count, point.sum) for point in self.points(metric)]
