"""One trace from HTTP through both queues: by SDK and collector to a real Jaeger, back by its query API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.backends.documented import start_of_collector
from support.backends.jaeger import WARNING, oldest_first, running_jaeger
from support.backends.otelcol import running_collector
from support.backends.programs import ROOT
from support.otlp import Span, json_form
from support.otlp.tee import send
from support.otlp.view import structure, view
from support.shop import Shop, wait_until_there

pytestmark = [pytest.mark.xdist_group("shop"), pytest.mark.timeout(300)]

PAGE = ROOT / "docs" / "backends" / "jaeger.md"
NOWHERE = "http://127.0.0.1:9"
SEARCHES = [
    ("shop-worker", {"taskqueue.task.outcome": "retry"}),
    ("invoice-worker", {"taskqueue.task.outcome": "lost"}),
    ("invoice-worker", {"taskqueue.exit.signal": "SIGKILL", "taskqueue.failure.category": "killed"}),
    ("invoice-worker", {"error.type": "SIGKILL"}),
]


class Shown(NamedTuple):
    """A span as Jaeger's UI gets it; an event's name is one of its fields."""

    name: str
    service: str
    parent_id: str
    start: int
    duration: int
    links: Sequence[str]
    tags: Mapping[str, Any]
    events: Sequence[tuple[int, Mapping[str, Any]]]


def test_jaeger_has_every_span_as_it_was_sent(shop: Shop) -> None:
    """Ids, parents, names, kinds, times, status, attributes, events, links, resources; nothing twice."""
    assert list(shop.sent) == shop.jaeger.trace(shop.trace_id)


def test_the_collector_wrote_the_same_trace_to_its_file(shop: Shop) -> None:
    """The third who got it: what stays when nobody keeps traces."""
    lines = [line for path in shop.files.glob("traces*.jsonl") for line in path.read_text().splitlines()]
    written = [span for span in json_form.spans_of_lines(lines) if span.trace_id == shop.trace_id]
    assert list(shop.sent) == oldest_first(written)


def test_the_trace_view_gets_every_span_as_it_was_sent(shop: Shop) -> None:
    """The older form of the query API, which the UI reads, has the same in it."""
    trace = shop.jaeger.shown(shop.trace_id)
    warnings = {warning for span in trace["spans"] for warning in span["warnings"] or ()}
    assert [] == [warning for warning in warnings if WARNING not in warning]
    services = {key: process["serviceName"] for key, process in trace["processes"].items()}
    assert {span.span_id: expected(span) for span in shop.sent} == {
        span["spanID"]: shown(span, services) for span in trace["spans"]
    }


@pytest.mark.parametrize(("service", "tags"), SEARCHES, ids=str)
def test_a_search_for_what_happened_finds_the_trace(
    shop: Shop, service: str, tags: Mapping[str, str]
) -> None:
    """Each search of the page, on the service whose span says so, and on no other."""
    assert [shop.trace_id] == shop.jaeger.search(service, **tags)
    assert [] == shop.jaeger.search("shop-web", **tags)
    page = PAGE.read_text()
    assert all(f"{key}={value}" in page for key, value in tags.items())


def test_a_search_for_a_job_finds_its_trace(shop: Shop) -> None:
    """By the id that the queue gave it, from either side."""
    for job_id, services in jobs(shop.sent).items():
        for service in services:
            assert [shop.trace_id] == shop.jaeger.search(service, **{"messaging.message.id": job_id})


def test_the_dependency_graph_goes_from_the_web_through_both_workers(shop: Shop) -> None:
    """An edge per queue; each attempt is a call."""
    assert {
        ("shop-web", "shop-worker"): 2,
        ("shop-worker", "invoice-worker"): 2,
    } == shop.jaeger.dependencies()
    assert {"shop-web", "shop-worker", "invoice-worker"} <= shop.jaeger.services()


def test_the_page_shows_the_trace_as_it_is(shop: Shop, tmp_path: Path) -> None:
    """The picture in the documentation is drawn from a trace of Jaeger's; times differ from run to run."""
    picture = view(shop.jaeger.trace(shop.trace_id))
    (tmp_path / "picture.txt").write_text(picture)
    printed = PAGE.read_text().partition("```text\n")[2].partition("```")[0]
    assert structure(picture) == structure(printed), f"the page needs {tmp_path / 'picture.txt'}:\n{picture}"


def test_the_gateway_with_the_overlay_delivers_the_same_trace(shop: Shop, tmp_path: Path) -> None:
    """The same exports, through the configuration for production: it takes nothing out of this trace."""
    start = start_of_collector("backends/jaeger.md", "backends/jaeger.yaml")
    with running_jaeger(tmp_path) as jaeger:
        env = {**dict.fromkeys(start.variables, NOWHERE), "TRACES_ENDPOINT": jaeger.otlp}
        with running_collector(start.configs, tmp_path / "gateway", env=env) as collector:
            for signal, body in shop.bodies:
                if signal == "traces":
                    send(collector.http, signal, body)
            wait_until_there(jaeger, shop.sent, collector.log)
        assert list(shop.sent) == jaeger.trace(shop.trace_id)


def expected(span: Span) -> Shown:
    """What the UI should get; it knows microseconds, and no nested values."""
    more: dict[str, Any] = {"span.kind": span.kind.lower(), "otel.scope.name": span.scope}
    if span.status == "ERROR":
        more |= {"error": True, "otel.status_code": "ERROR", "otel.status_description": span.status_message}
    events = [(event.time // 1000, {"event": event.name, **event.attributes}) for event in span.events]
    return Shown(
        span.name,
        span.service,
        span.parent_id,
        span.start // 1000,
        (span.end - span.start) // 1000,
        [link.span_id for link in span.links],
        {**span.attributes, **more},
        events,
    )


def shown(span: Mapping[str, Any], services: Mapping[str, str]) -> Shown:
    """A span of the UI's JSON."""
    parents = [other["spanID"] for other in span["references"] if other["refType"] == "CHILD_OF"]
    links = [other["spanID"] for other in span["references"] if other["refType"] == "FOLLOWS_FROM"]
    return Shown(
        span["operationName"],
        services[span["processID"]],
        "".join(parents),
        span["startTime"],
        span["duration"],
        links,
        {key: value for key, value in values(span["tags"]).items() if key != "otel.scope.version"},
        [(log["timestamp"], values(log["fields"])) for log in span["logs"]],
    )


def values(tags: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Tags or fields of the UI's JSON."""
    return {tag["key"]: tag["value"] for tag in tags}


def jobs(spans: Sequence[Span]) -> Mapping[str, set[str]]:
    """The services which have a span about each job."""
    found: dict[str, set[str]] = {}
    for span in spans:
        if "messaging.message.id" in span.attributes:
            found.setdefault(span.attributes["messaging.message.id"], set()).add(span.service)
    return found
