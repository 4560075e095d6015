"""What a log record says about its job, and the copy of it that leaves the process."""

from __future__ import annotations

import io
import logging
import pickle
import re
from collections.abc import Iterator

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_taskqueue import semconv
from otel_taskqueue.core import lifecycle, redact
from otel_taskqueue.core.job import Broker, Current, JobView
from otel_taskqueue.core.logs import fields, handlers, outgoing
from otel_taskqueue.core.message import Incoming
from otel_taskqueue.kinds import SECRETS

JOB = JobView("rq", Broker("redis"), "shop.tasks.pay", "job-1", "orders", attempt=2, worker="w1")
SPAN = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
EXPECTED = {
    "messaging.system": "redis",
    "messaging.destination.name": "orders",
    "messaging.message.id": "job-1",
    "taskqueue.system": "rq",
    "taskqueue.task.name": "shop.tasks.pay",
    "taskqueue.task.attempt": 2,
    "taskqueue.worker.name": "w1",
}


class Kept(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Shipping(Kept):
    """One of OpenTelemetry's, as far as its module and its provider tell."""

    __module__ = "opentelemetry.instrumentation.logging.handler"

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__()
        self._logger_provider = provider


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    """The fields are installed for this test alone, and nothing of them is left behind."""
    before = logging.Logger.makeRecord, logging.Logger.callHandlers
    fields.install("test")
    yield
    handlers.stop("test")
    fields.uninstall("test")
    assert before == (logging.Logger.makeRecord, logging.Logger.callHandlers)


@pytest.fixture
def shop() -> Iterator[Kept]:
    """The handler of logger `shop`, which is alone."""
    logger, kept = logging.getLogger("shop"), Kept()
    logger.addHandler(kept)
    logger.setLevel(logging.INFO)
    yield kept
    logger.handlers, logger.propagate = [], True


@pytest.fixture
def running() -> Iterator[None]:
    """An attempt runs here, with baggage."""
    incoming = Incoming(JOB, {}, judge=lambda _error: None)
    inside = lifecycle.with_current(incoming, SPAN, baggage.set_baggage("tenant", "acme"))
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(SPAN), inside))
    yield
    context.detach(token)


def nothing(_record: logging.LogRecord) -> None:
    """No payload to take out."""


def said(kept: Kept) -> dict[str, object]:
    """The fields of the last record."""
    return {key: value for key, value in vars(kept.records[-1]).items() if "." in key}


def test_a_record_of_an_attempt_names_it(shop: Kept, running: None) -> None:
    """By the names that its span has."""
    logging.getLogger("shop").info("paid")
    assert said(shop) == EXPECTED


def test_a_record_of_a_client_stays_as_it_was(shop: Kept) -> None:
    """No field outside of a worker and of an attempt."""
    logging.getLogger("shop").info("paid")
    assert said(shop) == {}


def test_every_record_of_a_worker_fits_a_format_with_our_fields(shop: Kept) -> None:
    """Outside of an attempt they say nothing."""
    fields.in_worker()
    logging.getLogger("shop").info("paid")
    shown = logging.Formatter("%(messaging.message.id)s %(taskqueue.task.attempt)s %(message)s")
    assert shown.format(shop.records[0]) == "- - paid"


@pytest.mark.parametrize("key", [*fields.NAMES, "job_id", "task", "queue", "worker", "tenant"])
def test_the_users_extra_wins(shop: Kept, running: None, key: str) -> None:
    """Whatever it is called; nothing is raised, as `logging` does for a key that a record has already."""
    fields.install("test", ["tenant"])
    logging.getLogger("shop").info("paid", extra={key: "mine"})
    assert vars(shop.records[0])[key] == "mine"


def test_chosen_baggage_has_its_own_name_but_never_one_of_logrecord(shop: Kept, running: None) -> None:
    """`getMessage` as a baggage key would break the record."""
    token = context.attach(baggage.set_baggage("getMessage", "x", baggage.set_baggage("message", "x")))
    fields.install("test", ["tenant", "getMessage", "message", "name", "region"])
    logging.getLogger("shop").propagate = False  # pytest's own handler would set `message`
    logging.getLogger("shop").info("paid")
    context.detach(token)
    record = shop.records[0]
    assert (record.getMessage(), record.name) == ("paid", "shop")
    assert (vars(record)["tenant"], vars(record)["region"]) == ("acme", "-")
    assert "message" not in vars(record)


def test_what_wrapped_over_us_keeps_working_when_we_are_gone(
    shop: Kept, running: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours turns into a pass-through."""
    ours = logging.Logger.makeRecord

    def over(*args: object, **kwargs: object) -> logging.LogRecord:
        return ours(*args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(logging.Logger, "makeRecord", over)
        fields.uninstall("test")
        logging.getLogger("shop").info("paid")
    assert said(shop) == {}
    logging.Logger.makeRecord = ours.__wrapped__  # type: ignore[attr-defined, method-assign]


def test_two_rooms_share_one_wrapper(shop: Kept, running: None) -> None:
    """The fields stay until the last one is gone."""
    fields.install("other")
    fields.uninstall("other")
    logging.getLogger("shop").info("paid")
    assert said(shop) == EXPECTED


def test_a_line_of_the_parent_is_about_the_attempt_it_was_written_for(shop: Kept) -> None:
    """Its context is the attempt's, and the record can still be pickled."""
    token = fields.about(lambda: Current(JOB, {}, SPAN))
    logging.getLogger("shop").info("killed")
    fields.about_nothing(token)
    record = shop.records[0]
    assert said(shop) == EXPECTED
    found = fields.context_of(record)
    assert trace.get_current_span(found).get_span_context() == SPAN
    assert vars(pickle.loads(pickle.dumps(record)))["messaging.message.id"] == "job-1"


def test_the_copy_has_no_field_without_a_value_and_the_record_keeps_it(shop: Kept) -> None:
    """What says nothing is not shipped."""
    fields.in_worker()
    logging.getLogger("shop").info("paid", extra={"note": "-"})
    copy = outgoing.copy_of(shop.records[0], ())
    assert [key for key in vars(copy) if key in fields.NAMES] == []
    assert vars(copy)["note"] == "-"
    assert vars(shop.records[0])["messaging.message.id"] == "-"


def test_an_exception_is_shipped_as_text_without_secrets(shop: Kept) -> None:
    """On the copy alone: the console shows what it showed."""
    error = ValueError("password=hunter2")
    logging.getLogger("shop").error("login failed: %s", error, exc_info=error)
    record = shop.records[0]
    copy = outgoing.copy_of(record, ())
    assert "hunter2" not in repr(vars(copy))
    assert copy.getMessage() == "login failed: [redacted]"
    assert vars(copy)["exception.type"] == "ValueError"
    assert vars(copy)["exception.message"] == "[redacted]"
    assert vars(copy)["exception.stacktrace"].endswith("ValueError: [redacted]\n")
    assert copy.exc_info is None
    assert "hunter2" in logging.Formatter().format(record)


def test_the_words_of_the_application_stay(shop: Kept) -> None:
    """What it writes without an exception it wants to be read."""
    logging.getLogger("shop").info("token=%s", "abc")
    assert outgoing.copy_of(shop.records[0], ()).getMessage() == "token=abc"


def test_a_message_that_does_not_fit_its_arguments_is_no_error_of_ours(shop: Kept) -> None:
    """`logging` tells the user on the console."""
    logging.getLogger("shop").propagate = False  # pytest's own handler would raise
    logging.getLogger("shop").info("%d items", "no")
    assert outgoing.copy_of(shop.records[0], ()).getMessage() == "%d items"


def test_fields_of_any_type_can_be_shipped(shop: Kept) -> None:
    """The SDK would complain about them in a line of its own."""

    class Broken:
        def __str__(self) -> str:
            raise LookupError

    extra = {"when": re.compile("x"), "parts": {1: (2, Broken())}}
    logging.getLogger("shop").info("paid", extra=extra)
    copy = vars(outgoing.copy_of(shop.records[0], ()))
    assert copy["when"] == "re.compile('x')"
    assert copy["parts"] == {"1": [2, "<unprintable Broken>"]}


@pytest.mark.parametrize("name", ["shop", "shop.orders", "celery.task", "rq.worker"])
def test_a_worker_ships_each_record_once_for_each_provider(shop: Kept, name: str) -> None:
    """Two handlers of one provider are one; a handler that is added later is found."""
    provider, audit = LoggerProvider(), LoggerProvider()
    first, second, other = Shipping(provider), Shipping(provider), Shipping(audit)
    root, logger = logging.getLogger(), logging.getLogger(name)
    root.addHandler(first)
    handlers.start("test", nothing, provider)
    logger.addHandler(second)
    root.addHandler(other)
    propagates = logger.propagate
    logger.propagate = name not in {"celery.task", "rq.worker"}
    logger.warning("paid")
    assert len(first.records) + len(second.records) == 1
    assert len(other.records) == 1
    assert not [h for each in (root, logger) for h in each.handlers if handlers.is_opentelemetry(h)]
    logger.propagate = propagates
    handlers.stop("test")
    assert first in root.handlers
    assert second in logger.handlers
    root.removeHandler(first)
    root.removeHandler(other)
    logger.removeHandler(second)


def test_what_an_application_keeps_from_the_root_is_not_shipped(shop: Kept) -> None:
    """A logger that does not propagate is private."""
    handler = Shipping(LoggerProvider())
    logging.getLogger().addHandler(handler)
    handlers.start("test", nothing)
    logging.getLogger("shop").propagate = False
    logging.getLogger("shop").warning("paid")
    assert (handler.records, len(shop.records)) == ([], 1)
    handlers.stop("test")
    logging.getLogger().removeHandler(handler)


def test_a_given_provider_without_a_handler_gets_the_records(shop: Kept, running: None) -> None:
    """By a handler of ours on the Logs API."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    handlers.start("test", nothing, provider)
    logging.getLogger("shop").warning("paid %d", 5, extra={"job_id": "mine"})
    (found,) = exporter.get_finished_logs()
    record = found.log_record
    assert (record.body, record.severity_text, record.trace_id) == ("paid 5", "WARN", SPAN.trace_id)
    assert dict(record.attributes or {}) == {**EXPECTED, "job_id": "mine"}


def test_placed_handlers_and_the_gate_get_the_copy(shop: Kept) -> None:
    """Further channels, and whoever decides what is shipped when."""
    placed, shipped, held = Kept(), Shipping(LoggerProvider()), []
    logging.getLogger().addHandler(shipped)
    handlers.start("test", lambda record: vars(record).update(stripped=True))
    handlers.place(placed)
    handlers.gate(lambda record, ship: held.append((record, ship)))
    try:
        logging.getLogger("shop").warning("paid")
    finally:
        handlers.gate(None)
        handlers.remove(placed)
    assert (len(placed.records), len(shipped.records), len(held)) == (1, 0, 1)
    assert vars(placed.records[0])["stripped"] is True
    held[0][1](held[0][0])
    assert [record.getMessage() for record in shipped.records] == ["paid"]
    assert "stripped" not in vars(shop.records[0])
    handlers.stop("test")
    logging.getLogger().removeHandler(shipped)


def test_an_error_of_ours_is_told_once_and_the_line_is_printed(
    shop: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logging never fails because of us."""
    monkeypatch.setattr("otel_taskqueue.core.guard._raise_errors", False)
    monkeypatch.setattr("otel_taskqueue.core.guard._last_report", {})
    told, ours = io.StringIO(), logging.getLogger("otel_taskqueue")
    ours.addHandler(stream := logging.StreamHandler(told))

    def broken(_record: logging.LogRecord) -> None:
        raise LookupError("a mistake")

    handlers.start("test", broken, LoggerProvider())
    for _ in range(2):
        logging.getLogger("shop").warning("paid")
    ours.removeHandler(stream)
    assert len(shop.records) == 2
    assert told.getvalue().count("telemetry of log shipping failed") == 1


@pytest.mark.parametrize(
    "text",
    [
        *("password=x", "PASSPHRASE: x", "pwd='x'", "my_secret=x", "Token: x", "Authorization: Basic x"),
        *("api-key=x", "API_KEY=x", "redis://u:x@h/0", "pa\u017f\u017fword=x"),
    ],
)
def test_the_quick_look_for_secrets_misses_none(text: str) -> None:
    """A text without a suspicious word is not searched; what a pattern finds has one."""
    slowly = text
    for pattern in SECRETS:
        slowly = pattern.sub(redact.REPLACEMENT, slowly)
    assert redact.secrets(text) == slowly != text


def test_both_rooms_patterns_count() -> None:
    """An exception's text does not say which room will tell it."""
    redact.use("celery", (re.compile("ship"),))
    redact.use("rq", (re.compile("boat"),))
    assert redact.secrets("ship boat password=x") == "[redacted] [redacted] password=x"
    redact.use("celery", None)
    redact.use("rq", None)
    assert redact.secrets("ship password=x") == "ship [redacted]"


def test_the_names_are_the_spans() -> None:
    """Design 4a: log records have the same keys."""
    assert set(fields.NAMES) < set(map(str, vars(semconv).values()))
