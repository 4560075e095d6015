"""One line of the JSON lines channel: valid JSON whatever was logged, with short names, bounded."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import logging
import math
import re
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_taskqueue.core.logs.line import LONGEST, LineFormatter

WORKER = "celery@host"


class Raising:
    """Nothing can be said about it."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class RaisingMapping(Mapping[str, int]):
    """A mapping that cannot be looked through."""

    def __getitem__(self, key: str) -> int:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no keys")

    def __len__(self) -> int:
        return 1


class Colour(str, enum.Enum):
    RED = "red"


class Loud(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise ValueError("no text")


@dataclasses.dataclass
class Point:
    x: int
    y: float


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def reject(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def written(message: object, *args: object, **fields: Any) -> str:
    """The line of a record with these attributes, in the form of the channel: UTF-8 and a newline."""
    exc_info, level = fields.pop("exc_info", None), fields.pop("level", logging.INFO)
    record = logging.LogRecord("shop.orders", level, __file__, 1, message, args, exc_info)
    vars(record).update(fields)
    data = (LineFormatter(WORKER).format(record) + "\n").encode("utf-8", "replace")
    assert 1 == data.count(b"\n")
    return data.decode()


def line(message: object, *args: object, **fields: Any) -> dict[str, Any]:
    """The same line, read by a strict reader."""
    return json.loads(written(message, *args, **fields), parse_constant=reject)


def raised(error: BaseException) -> Any:
    """`exc_info` of an exception that was raised."""
    try:
        raise error
    except type(error):
        return sys.exc_info()


MESSAGES: list[tuple[str, Any, tuple[Any, ...], str]] = [
    ("plain", "paid", (), "paid"),
    ("arguments", "order %s: %d items", ("A-1", 3), "order A-1: 3 items"),
    ("mapping of arguments", "order %(id)s", ({"id": 7},), "order 7"),
    ("quotes", 'say "hello" \\ \'bye\'', (), 'say "hello" \\ \'bye\''),
    ("newlines", "one\ntwo\r\nthree\n", (), "one\ntwo\r\nthree\n"),
    ("control characters", "\x00\x01\x1b[31mred\x1b[0m\x7f\t\b", (), "\x00\x01\x1b[31mred\x1b[0m\x7f\t\b"),
    ("separators", "a\u2028b\u2029c\x85d\x0be\x0cf", (), "a\u2028b\u2029c\x85d\x0be\x0cf"),
    ("German, Japanese, emoji", "Größe 大阪 😀", (), "Größe 大阪 😀"),
    ("half a surrogate pair", "broken \ud83d here", (), "broken ? here"),
    ("undecodable file name", "\udcff.txt", (), "?.txt"),
    ("bytes", b"\xff\x00raw", (), "b'\\xff\\x00raw'"),
    ("bytes as an argument", "%s", (b"\xff",), "b'\\xff'"),
    ("JSON in a message", '{"a": [1, 2]}', (), '{"a": [1, 2]}'),
    ("a mapping as a message", {"a": 1}, (), "{'a': 1}"),
    ("an exception as a message", ValueError("bad"), (), "bad"),
    ("nothing as a message", None, (), "None"),
    ("empty", "", (), ""),
    ("too few arguments", "%s and %s", ("one",), "%s and %s (one)"),
    ("too many arguments", "%s", ("one", "two"), "%s (one, two)"),
    ("an argument of the wrong kind", "%d items", ("many",), "%d items (many)"),
    ("a stray percent sign", "100 % done %s", (), "100 % done %s"),
    ("a broken format", "100% of %y", ("it",), "100% of %y (it)"),
    ("an argument whose repr raises", "got %r", (Raising(),), "got %r (<unprintable Raising>)"),
    ("a message whose str raises", Raising(), (), "<unprintable Raising> ()"),
    ("a missing key", "%(no)s", ({"id": 1},), "%(no)s ({'id': 1})"),
    ("not a number", "%s", (math.nan,), "nan"),
]  # fmt: skip

EXTRAS: list[tuple[str, Any, Any]] = [
    ("text", "x", "x"),
    ("number", 12, 12),
    ("fraction", 0.5, 0.5),
    ("truth", True, True),
    ("nothing", None, None),
    ("not a number", math.nan, "nan"),
    ("infinity", -math.inf, "-inf"),
    ("not a number, inside", {"a": [math.inf]}, {"a": ["inf"]}),
    ("a long integer", 1 << 300, hex(1 << 300)),
    ("an integer that Python does not print", 10**5000, None),
    ("bytes", b"\xff\xfe", "__4="),
    ("date", dt.datetime(2026, 11, 21, 12, 30, tzinfo=dt.timezone.utc), "2026-11-21T12:30:00+00:00"),
    ("uuid", uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    ("decimal", decimal.Decimal("1.10"), "1.10"),
    ("path", Path("/tmp/x"), "/tmp/x"),
    ("a text that is an enum", Colour.RED, "red"),
    ("a text whose str raises", Loud("loud"), "loud"),
    ("dataclass", Point(1, math.nan), {"x": 1, "y": "nan"}),
    ("class", Point, "Point"),
    ("exception", ValueError("bad"), "ValueError: bad"),
    ("tuple", (1, "a"), [1, "a"]),
    ("set", {3}, [3]),
    ("range", range(3), [0, 1, 2]),
    ("keys that are no text", {1: "a", None: "b", (2, 3): "c"}, {"1": "a", "None": "b", "(2, 3)": "c"}),
    ("a key that cannot be printed", {Raising(): 1}, {"<unprintable Raising>": 1}),
    ("repr raises", Raising(), None),
    ("cannot be looked through", RaisingMapping(), "<unprintable RaisingMapping>"),
    ("refers to itself", circle(), None),
    ("a function", len, "<built-in function len>"),
    ("half a surrogate pair", "\ud83d", "?"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "args", "expected"), [row[1:] for row in MESSAGES], ids=[row[0] for row in MESSAGES]
)
def test_every_message_is_one_line_of_valid_json(message: Any, args: Any, expected: str) -> None:
    """What was logged is found again, whatever characters or mistakes are in it."""
    assert expected == line(message, *args)["message"]


@pytest.mark.parametrize(("value", "expected"), [row[1:] for row in EXTRAS], ids=[row[0] for row in EXTRAS])
def test_every_extra_is_valid_json(value: Any, expected: Any) -> None:
    """Anything may be in `extra`; what JSON has no form for becomes text."""
    found = line("m", field=value)["field"]

    assert found == expected if expected is not None or value is None else found


def test_a_line_has_the_fields_of_its_job_by_short_names() -> None:
    """The long names of the other channels become short ones; without a job they are absent."""
    job = {
        "messaging.message.id": "job-1",
        "taskqueue.task.name": "shop.pay",
        "messaging.destination.name": "orders",
        "taskqueue.task.attempt": 2,
        "taskqueue.worker.name": WORKER,
    }
    found, outside = line("paid", **job), line("ready", **dict.fromkeys(job, "-"))

    assert {"job_id": "job-1", "task": "shop.pay", "queue": "orders", "attempt": 2} == {
        key: found[key] for key in ("job_id", "task", "queue", "attempt")
    }
    assert not any("." in key for key in found), found
    assert {"timestamp", "level", "logger", "message", "worker"} == set(outside)
    assert ("INFO", "shop.orders", WORKER) == (found["level"], found["logger"], found["worker"])


def test_a_line_has_the_ids_of_its_span() -> None:
    """Trace id and span id are written as everywhere else: hexadecimal, of full length."""
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1)))
    token = context.attach(trace.set_span_in_context(span))
    try:
        found = line("m")
    finally:
        context.detach(token)

    assert (f"{0xABC:032x}", f"{0xDEF:016x}") == (found["trace_id"], found["span_id"])


def test_the_users_extra_wins_over_a_short_name() -> None:
    """`extra={"job_id": ...}` is what the user wanted to say."""
    found = line("m", **{"messaging.message.id": "ours", "job_id": "theirs", "task": "t", "worker": "w"})

    assert ("theirs", "t", "w") == (found["job_id"], found["task"], found["worker"])


def test_the_timestamp_is_rfc_3339_in_utc_with_microseconds() -> None:
    """Of the record's own time, not of its writing."""
    assert "2001-09-09T01:46:40.123456Z" == line("m", created=1_000_000_000.123456)["timestamp"]
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
    for odd in (math.nan, 1e300, "soon"):
        assert re.fullmatch(pattern, line("m", created=odd)["timestamp"])


def test_the_traceback_is_in_the_line() -> None:
    """One line, however many the traceback has."""
    found = line("failed", exc_info=raised(ValueError('of "x"\n大')), level=logging.ERROR)

    assert found["exception"].startswith("Traceback (most recent call last):\n")
    assert found["exception"].endswith('ValueError: of "x"\n大')
    assert "ERROR" == found["level"]


@pytest.mark.parametrize(
    "exc_info", [raised(RuntimeError(Raising())), (None, None, None), ("no", "such", "thing"), True]
)
def test_odd_exceptions_do_not_break_the_line(exc_info: Any) -> None:
    """Its text raises, there is none, or it is no exception at all."""
    assert "m" == line("m", exc_info=exc_info)["message"]


def test_what_libraries_keep_on_a_record_is_left_out() -> None:
    """Underscored attributes, and OpenTelemetry's own correlation fields, say nothing new."""
    found = line("m", _handled=True, otelTraceID="0", otelSpanID="0", asctime="now", taskName="Task-1")

    assert {"timestamp", "level", "logger", "message", "worker"} == set(found)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("x" * 10_000_000, {}),
        ("大" * 1_000_000, {}),
        ("\x00" * 1_000_000, {}),
        ("m", {"field": ["x" * 100_000] * 10_000}),
        ("m", {"field": {str(number): "y" * 1_000 for number in range(100_000)}}),
        ("m", {f"f{number}": "\x01" * 10_000 for number in range(1_000)}),
        ("m", {"x" * 1_000_000: "x" * 1_000_000}),
        ("m", {"exc_text": "frame\n" * 1_000_000}),
        ("m", {"field": [[[[["\x00" * 50_000] * 100] * 100] * 10] * 10]}),
        ("m", {"field": range(10**15)}),
    ],
    ids=["text", "wide", "escaped", "list", "mapping", "fields", "long key", "traceback", "deep", "range"],
)  # fmt: skip
def test_a_line_is_bounded(message: str, fields: dict[str, Any]) -> None:
    """What is too much for a line is cut, and the line stays valid."""
    data = written(message, **fields)

    assert LONGEST >= len(data.encode())
    assert "m" == json.loads(data, parse_constant=reject)["message"] or len(message) > 1
    assert "cut)" in data or "more" in data


def test_of_a_long_traceback_the_end_is_kept() -> None:
    """The last frames and the exception itself tell what happened."""
    found = line("m", exc_text="frame\n" * 100_000 + "ValueError: here")["exception"]

    assert found.startswith("frame")
    assert found.endswith("ValueError: here")
