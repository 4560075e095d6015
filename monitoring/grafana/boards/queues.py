"""Queues and brokers: what waits, since when, who takes it, and how the broker itself is doing."""

from __future__ import annotations

from typing import Final

from monitoring.grafana import links
from monitoring.grafana.boards import common
from monitoring.grafana.boards.common import grown, quantile
from monitoring.grafana.model import Dashboard, Panel, Query, Row

SIZE: Final = "taskqueue_queue_size"
SENT: Final = "messaging_client_sent_messages_total"
TAKEN: Final = "messaging_client_consumed_messages_total"
SEND: Final = "messaging_client_operation_duration_seconds"
WAIT: Final = "taskqueue_task_wait_duration_seconds"
QUEUE: Final = "messaging_destination_name"
NAME: Final = "{{messaging_destination_name}}"
READY: Final = f'{SIZE}{{@queue,taskqueue_queue_state="ready"}}'
FAILED: Final = '@queue,error_type!=""'
RABBIT: Final = 'queue=~"$queue"'
OF_QUEUE: Final = (
    links.tempo('span.messaging.destination.name = "${__field.labels.messaging_destination_name}"'),
    links.loki('| messaging_destination_name="${__field.labels.messaging_destination_name}"'),
)

WAITING: Final = (
    Panel(
        "Jobs by state",
        [Query(f"sum by (taskqueue_queue_state) ({SIZE}{{@queue}})", "{{taskqueue_queue_state}}")],
        text="Reported by `otel-taskqueue observe`; what a broker cannot tell is absent, not zero.",
        custom=common.STACKED,
    ),
    Panel(
        "Ready jobs by queue",
        [Query(f"sum by ({QUEUE}) ({READY})", NAME)],
        links=OF_QUEUE,
    ),
    Panel(
        "Age of the oldest ready job",
        [Query(f"max by ({QUEUE}) (taskqueue_queue_oldest_age_seconds{{@queue}})", NAME)],
        unit="s",
        links=OF_QUEUE,
    ),
    Panel(
        "Time to drain",
        [Query("max by (messaging_destination_name) (taskqueue:queue_drain_seconds{@queue} < Inf)", NAME)],
        text="How long the ready jobs last at the pace of the last 15 minutes; absent while they grow.",
        unit="s",
    ),
)

FLOW: Final = (
    Panel(
        "Arrival against service",
        [
            Query(f"sum(rate({SENT}{{@queue}}[$__rate_interval]))", "enqueued"),
            Query(f"sum(rate({TAKEN}{{@queue}}[$__rate_interval]))", "taken"),
        ],
        text="Enqueued above taken for long: the backlog grows.",
        unit="ops",
    ),
    Panel(
        "Wait (p95)",
        [Query(quantile(0.95, WAIT, "@queue", QUEUE), NAME, exemplars=True)],
        text="How long jobs were ready and waited, free of a delay that was asked for.",
        unit="s",
        links=OF_QUEUE,
    ),
    Panel(
        "Workers by queue",
        [Query(f"max by ({QUEUE}) (taskqueue_queue_workers{{@queue}})", NAME)],
        text="Workers that consume it; zero and a backlog is an outage.",
    ),
    Panel(
        "Enqueue calls that failed",
        [
            Query(
                f"sum by ({QUEUE}, error_type) ({grown(SENT, FAILED)})",
                NAME + ": {{error_type}}",
            )
        ],
        custom=common.BARS,
        links=[
            links.tempo(
                "kind = producer && status = error"
                ' && span.messaging.destination.name = "${__field.labels.messaging_destination_name}"'
            ),
            OF_QUEUE[1],
        ],
    ),
    Panel(
        "Duration of enqueue calls (p95)",
        [Query(quantile(0.95, SEND, "@queue", QUEUE), NAME, exemplars=True)],
        text="How long it took to hand a message to the broker.",
        unit="s",
    ),
    Panel(
        "Messages that workers hold and have not started",
        [
            Query(
                "sum by (taskqueue_worker_name) (taskqueue_worker_prefetched{@system})",
                "{{taskqueue_worker_name}}",
            )
        ],
        text="Prefetched: counted as reserved above.",
    ),
)

BROKER: Final = (
    Panel(
        "Messages by queue",
        [
            Query(f"sum by (queue) (rabbitmq_detailed_queue_messages_ready{{{RABBIT}}})", "{{queue}} ready"),
            Query(
                f"sum by (queue) (rabbitmq_detailed_queue_messages_unacked{{{RABBIT}}})", "{{queue}} unacked"
            ),
        ],
        text="From /metrics/detailed of RabbitMQ's own prometheus plugin.",
        width=8,
    ),
    Panel(
        "Consumers by queue",
        [Query(f"sum by (queue) (rabbitmq_detailed_queue_consumers{{{RABBIT}}})", "{{queue}}")],
        width=8,
    ),
    Panel(
        "Messages per second",
        [
            Query("sum(rate(rabbitmq_global_messages_received_total[$__rate_interval]))", "published"),
            Query("sum(rate(rabbitmq_global_messages_delivered_total[$__rate_interval]))", "delivered"),
            Query("sum(rate(rabbitmq_global_messages_acknowledged_total[$__rate_interval]))", "acknowledged"),
            Query("sum(rate(rabbitmq_global_messages_redelivered_total[$__rate_interval]))", "redelivered"),
        ],
        unit="ops",
        width=8,
    ),
    Panel(
        "Memory of the node",
        [
            Query("rabbitmq_process_resident_memory_bytes", "{{instance}} used"),
            Query("rabbitmq_resident_memory_limit_bytes", "{{instance}} limit"),
        ],
        text="At the limit RabbitMQ blocks every producer.",
        unit="bytes",
        width=8,
    ),
    Panel(
        "Alarms",
        [
            Query("max by (instance) (rabbitmq_alarms_memory_used_watermark)", "{{instance}} memory"),
            Query("max by (instance) (rabbitmq_alarms_free_disk_space_watermark)", "{{instance}} disk"),
        ],
        text="1 while producers are blocked.",
        width=8,
        defaults={"min": 0, "max": 1, "decimals": 0},
    ),
    Panel(
        "Connections and channels",
        [
            Query("sum(rabbitmq_connections)", "connections"),
            Query("sum(rabbitmq_channels)", "channels"),
        ],
        width=8,
    ),
)

BOARD: Final = Dashboard(
    uid="taskqueue-queues",
    title="Task queues: queues and brokers",
    text="What waits, since when and until when, who takes it; RabbitMQ as it sees itself.",
    rows=[Row("Waiting", WAITING), Row("In and out", FLOW), Row("RabbitMQ", BROKER)],
    variables=[common.DATASOURCE, common.SYSTEM, common.QUEUE, *common.ELSEWHERE],
    annotations=common.ANNOTATIONS,
)
