"""The telemetry itself: does what workers tell arrive here?"""

from __future__ import annotations

from typing import Final

from monitoring.grafana import links
from monitoring.grafana.boards import common
from monitoring.grafana.model import Dashboard, Panel, Query, Row

SIGNALS: Final = (("spans", "spans"), ("metric_points", "metric points"), ("log_records", "log records"))
OF_WORKERS: Final = (links.loki('|= "otel_taskqueue"', "Our own lines in Loki"),)


def _own(name: str, suffixes: str = "(_total)?") -> str:
    """A metric of the collector about itself: its reader decides whether the name has units and types."""
    return f'{{__name__=~"otelcol_{name}{suffixes}"}}'


def _rates(metric: str) -> list[Query]:
    return [
        Query(
            f"sum by (instance) (rate({_own(f'{metric}_{signal}')}[$__rate_interval]))",
            f"{{{{instance}}}} {name}",
        )
        for signal, name in SIGNALS
    ]


SOURCES: Final = (
    Panel(
        "Dropped in the workers",
        [
            Query(
                "sum by (job, taskqueue_telemetry_signal)"
                " (rate(taskqueue_telemetry_dropped_total[$__rate_interval]))",
                "{{job}} {{taskqueue_telemetry_signal}}",
            )
        ],
        text="Spans and log records that a worker could not take or hold; never process spans.",
        unit="ops",
        links=OF_WORKERS,
    ),
    Panel(
        "Seconds since a service exported metrics",
        [Query("time() - max by (job) (timestamp(target_info))", "{{job}}")],
        text="Climbs where a service falls silent, until the collector forgets it.",
        unit="s",
        links=OF_WORKERS,
    ),
    Panel(
        "Series of task queues",
        [Query('count({__name__=~"(taskqueue|messaging)_.+"})', "series")],
        text="What these metrics cost Prometheus.",
    ),
    Panel(
        "Targets of Prometheus",
        [Query("max by (job, instance) (up)", "{{job}} {{instance}}")],
        text="0: it cannot be scraped.",
        defaults={"min": 0, "max": 1, "decimals": 0},
    ),
)

COLLECTOR: Final = (
    Panel("Accepted", _rates("receiver_accepted"), unit="ops", width=8),
    Panel(
        "Refused",
        _rates("receiver_refused"),
        text="Above zero: its memory limit, or an exporter's queue is full. The sender tries again.",
        unit="ops",
        width=8,
    ),
    Panel("Sent", _rates("exporter_sent"), unit="ops", width=8),
    Panel(
        "Failed to send",
        _rates("exporter_send_failed"),
        text="Given up, and lost unless another channel has it.",
        unit="ops",
        width=8,
    ),
    Panel(
        "Queue of each exporter",
        [
            Query(
                "max by (instance, exporter) (otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)",
                "{{instance}} {{exporter}}",
            )
        ],
        text="Full: what comes next is refused.",
        unit="percentunit",
        width=8,
        defaults=common.SHARE,
    ),
    Panel(
        "Refused by a full queue",
        _rates("exporter_enqueue_failed"),
        unit="ops",
        width=8,
    ),
    Panel(
        "Memory",
        [Query(f"max by (instance) ({_own('process_memory_rss', '(_bytes)?')})", "{{instance}}")],
        unit="bytes",
        width=8,
    ),
    Panel(
        "Processor",
        [
            Query(
                f"sum by (instance) (rate({_own('process_cpu_seconds')}[$__rate_interval]))",
                "{{instance}}",
            )
        ],
        text="Processors that it keeps busy.",
        unit="none",
        width=8,
    ),
    Panel(
        "Uptime",
        [Query(f"max by (instance) ({_own('process_uptime', '(_seconds)?(_total)?')})", "{{instance}}")],
        unit="s",
        width=8,
    ),
)

BOARD: Final = Dashboard(
    uid="taskqueue-telemetry",
    title="Task queues: telemetry health",
    text="Whether what workers tell arrives: drops in the workers, queues and failures of the collector.",
    rows=[Row("Sources", SOURCES), Row("Collector", COLLECTOR)],
    variables=[common.DATASOURCE, *common.ELSEWHERE],
    annotations=common.ANNOTATIONS,
)
