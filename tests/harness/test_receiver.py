"""The receiver that the other tests trust: both protocols, every behaviour, restart."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcSpanExporter,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpSpanExporter,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from support.otlp import Behaviour, Receiver
from support.otlp.tree import assert_no_dangling_parents, dangling, draw

PROTOCOLS = ("http/protobuf", "grpc")


@pytest.fixture(params=PROTOCOLS)
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    """A running receiver of each protocol."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    with Receiver(request.param) as running:
        yield running


def exporter(receiver: Receiver, timeout: float = 1.0) -> SpanExporter:
    """An exporter to the receiver which gives up after ``timeout`` seconds."""
    if receiver.protocol == "grpc":
        return GrpcSpanExporter(endpoint=receiver.endpoint, insecure=True, timeout=timeout)  # type: ignore[arg-type]
    return HttpSpanExporter(endpoint=f"{receiver.endpoint}/v1/traces", timeout=timeout)


def record(receiver: Receiver) -> None:
    """Export a parent and its child."""
    provider = TracerProvider(resource=Resource({"service.name": "shop"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter(receiver)))
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("parent"), tracer.start_as_current_span("child") as child:
        child.set_attribute("messaging.message.id", "j1")
        child.add_event("seen", {"n": 1})
    provider.shutdown()


def test_spans_arrive_as_plain_values(receiver: Receiver) -> None:
    """Names, ids, attributes, events and resources survive the way."""
    record(receiver)
    child, parent = receiver.spans()
    assert (child.name, parent.name) == ("child", "parent")
    assert child.parent_id == parent.span_id
    assert child.attributes == {"messaging.message.id": "j1"}
    assert [(event.name, event.attributes) for event in child.events] == [("seen", {"n": 1})]
    assert parent.service == "shop"
    assert receiver.job_spans("j1") == [child]
    assert_no_dangling_parents([child, parent])
    assert dangling([child]) == [child]
    assert "is not here" in draw([child])


@pytest.mark.parametrize("behaviour", [Behaviour.HANGING, Behaviour.UNAVAILABLE])
def test_a_sick_receiver_keeps_nothing_and_recovers(receiver: Receiver, behaviour: Behaviour) -> None:
    """What arrives while it is sick is not stored; afterwards it works again."""
    receiver.behave(behaviour)
    record(receiver)
    assert receiver.spans() == []
    receiver.behave(Behaviour.HEALTHY)
    record(receiver)
    assert len(receiver.spans()) == 2


def test_a_stopped_receiver_refuses_and_comes_back_on_its_port(receiver: Receiver) -> None:
    """Stop closes the port, start opens the same one."""
    port = receiver.port
    receiver.stop()
    record(receiver)
    assert receiver.spans() == []
    receiver.start()
    assert receiver.port == port
    record(receiver)
    assert len(receiver.spans()) == 2
