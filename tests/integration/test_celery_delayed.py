"""Native delayed delivery of RabbitMQ: the queue keeps its name while the message takes 28 turns."""

from __future__ import annotations

import pytest

from otel_taskqueue import semconv
from support.audit import audit
from support.celery_lab import running_lab
from support.harness import rabbit_broker
from support.servers import RabbitServer, RedisServer

pytestmark = pytest.mark.xdist_group("celery-delayed")
QUORUM = {
    "task_default_queue_type": "quorum",
    "task_default_exchange_type": "topic",
    "task_default_exchange": "shop",
    "broker_native_delayed_delivery_queue_type": "classic",
}


def test_a_countdown_on_a_quorum_queue_keeps_the_queue_s_name_and_is_no_time_in_the_queue(
    rabbit_server: RabbitServer, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Celery rewrites exchange and routing key; neither is the name of a queue."""
    broker = rabbit_broker(rabbit_server, redis_server)
    with running_lab(broker, tmp_path_factory.mktemp("delayed"), conf=QUORUM) as lab:
        job = lab.enqueue("tell_headers", countdown=2)
        run, send = lab.process_span(job.id), lab.send_span(job.id)
        assert run.parent_id == send.span_id
        assert run.start - job.reply.ended >= 1.5e9
        assert {span.attributes[semconv.MESSAGING_DESTINATION_NAME] for span in (send, run)} == {lab.queue}
        assert run.attributes[semconv.TASK_WAIT] < 0.9
        # It came by way of the delay queues, or this would prove nothing.
        delivery = lab.wait_for_note(job.id, "headers")["delivery"]
        assert delivery["routing_key"].count(".") >= 28, delivery
        audit(lab, lab.stop_worker())
