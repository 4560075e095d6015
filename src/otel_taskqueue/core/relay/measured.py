"""Measurements on their way from a child to the worker's parent (D4): summed up, packed, recorded.

A frame holds points: the description of the instrument and the attributes, both marshalled (they
serve as keys at both ends), and values, each with the span it was recorded in.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from otel_taskqueue.core.relay import frames
from otel_taskqueue.core.relay.lanes import LONGEST_FRAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Values that may wait in the child before they are handed over.
MOST_VALUES: Final = 200
#: They wait at most this long (ns), as far as something is measured then.
LONGEST_WAIT: Final = 1_000_000_000
#: Frames that wait in the child while the lane is full.
MOST_FRAMES: Final = 64
#: What a value with its span, and a point around its keys, take at most (bytes).
_VALUE, _POINT = 64, 64
_ROOM: Final = LONGEST_FRAME - 1024
#: Instruments that the parent knows by their description.
_MOST_INSTRUMENTS: Final = 4096
#: How the instruments of each kind are made, and what records in them.
_KINDS: Final[tuple[tuple[type, str, str], ...]] = (
    (metrics.Counter, "create_counter", "add"),
    (metrics.UpDownCounter, "create_up_down_counter", "add"),
    (metrics.Histogram, "create_histogram", "record"),
    (metrics._Gauge, "create_gauge", "set"),  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  it has no other name
)
_COUNTERS: Final = frozenset({0, 1})
_HISTOGRAM: Final = 2

Span = tuple[int, int, int]
Value = tuple[float, "Span | None"]
#: Index of the meter provider, description of the instrument, attributes.
Key = tuple[int, bytes, bytes]


class Point:
    """What was measured with one instrument and one set of attributes."""

    __slots__ = ("measured", "values")

    def __init__(self) -> None:
        self.measured = 0
        self.values: list[Value] = []

    def add(self, kind: int, value: Value) -> bool:
        """Sum up counters, keep each value of a histogram and the last one of a gauge; True when it grew."""
        self.measured += 1
        if kind == _HISTOGRAM or not self.values:
            self.values.append(value)
            return True
        if kind in _COUNTERS:
            value = (self.values[0][0] + value[0], None)  # no span measured the sum
        self.values[0] = value
        return False


class Buffer:
    """What a child has measured and not handed over yet."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[bytes, int]] = deque()
        self.dropped = 0
        self._described: dict[Any, tuple[int, bytes]] = {}
        self._points: dict[Key, Point] = {}
        self._size = 0
        self._handed_over = 0
        self._at_once = False
        self._lock = threading.RLock()  # a signal handler may measure, too

    def add(self, index: int, measurement: Any) -> bool:
        """Take a measurement of a provider's instrument in; True when it is time to hand over."""
        value = (_number(measurement.value), _span(measurement.context))
        attributes = frames.dump_key(frames.plain_attributes(measurement.attributes))
        with self._lock:
            instrument = measurement.instrument
            known = self._described.get(instrument)
            if known is None:
                known = self._described[instrument] = describe(instrument)
            kind, described = known
            key = (index, described, attributes)
            point = self._points.get(key)
            if point is None:
                point = self._points[key] = Point()
            self._size += point.add(kind, value)
            waited = measurement.time_unix_nano - self._handed_over
            return self._at_once or self._size >= MOST_VALUES or not 0 <= waited < LONGEST_WAIT

    def pack(self, now: int) -> None:
        """Make frames of what was measured until now (unix nanoseconds); they wait to be sent."""
        with self._lock:
            self._handed_over = now
            if not self._points:
                return
            packed, too_large = _pack(self._points)
            self._points, self._size = {}, 0
            self.waiting.extend(packed)
            self.dropped += too_large
            while len(self.waiting) > MOST_FRAMES:
                self.dropped += self.waiting.popleft()[1]

    def drop(self) -> None:
        """The child ends: what still waits is lost."""
        while self.waiting:
            self.dropped += self.waiting.popleft()[1]

    def forked(self) -> None:
        """In a process that the child has forked: what waits is the child's; there is no end to wait for."""
        self._lock = threading.RLock()
        self._points, self._size, self._at_once = {}, 0, True
        self.waiting.clear()
        self.dropped = 0


class Recorder:
    """The parent's side: records what children have measured with its own instruments."""

    def __init__(self, providers: Sequence[Any]) -> None:
        self._providers = providers
        self._instruments: dict[tuple[int, bytes], Callable[..., None]] = {}

    def record(self, index: int, points: Sequence[tuple[bytes, bytes, Sequence[Value]]]) -> None:
        """Record every value of a frame."""
        for described, packed, values in points:
            record = self._instruments.get((index, described)) or self._make(index, described)
            attributes = frames.load(packed)
            for number, span in values:
                record(number, attributes, _context(span))

    def _make(self, index: int, described: bytes) -> Callable[..., None]:
        """The same instrument as in the child: the SDK knows it by what describes it."""
        kind, name, unit, description, scope, advisory = frames.load(described)
        scope_name, version, schema_url, attributes = scope
        meter = self._providers[index].get_meter(scope_name, version, schema_url, attributes or None)
        options = {"explicit_bucket_boundaries_advisory": advisory} if advisory is not None else {}
        _, create, verb = _KINDS[int(kind)]
        instrument = getattr(meter, create)(name, unit=unit, description=description, **options)
        record: Callable[..., None] = getattr(instrument, verb)
        if len(self._instruments) >= _MOST_INSTRUMENTS:
            self._instruments.clear()
        self._instruments[index, described] = record
        return record


def describe(instrument: Any) -> tuple[int, bytes]:
    """The kind of an instrument, and all that the parent needs to make the same one."""
    kind = _kind_of(instrument)
    scope = frames.pack_scope(instrument.instrumentation_scope)
    advice = getattr(getattr(instrument, "_advisory", None), "explicit_bucket_boundaries", None)
    described = (
        kind,
        str(instrument.name),
        str(instrument.unit),
        str(instrument.description),
        scope,
        None if advice is None else _boundaries(advice),
    )
    return kind, frames.dump_key(described)


def _kind_of(instrument: object) -> int:
    return next(kind for kind, (api, _, _) in enumerate(_KINDS) if isinstance(instrument, api))


def _boundaries(advice: Sequence[float]) -> Sequence[float]:
    """As given: the SDK tells a list from a tuple, and warns of an instrument with other boundaries."""
    exact = [_number(boundary) for boundary in advice]
    return exact if isinstance(advice, list) else tuple(exact)


def _pack(points: dict[Key, Point]) -> tuple[list[tuple[bytes, int]], int]:
    """Frames with the number of their measurements, and how many measurements fit in none."""
    packed: list[tuple[bytes, int]] = []
    too_large = 0
    for index, part in _parts(points):
        body = [(described, attributes, point.values) for (_, described, attributes), point in part]
        measured = sum(point.measured for _, point in part)
        frame = frames.dump((frames.MEASURED, index, body))
        if len(frame) <= LONGEST_FRAME:
            packed.append((frame, measured))
        else:
            too_large += measured
    return packed, too_large


def _parts(points: dict[Key, Point]) -> Iterator[tuple[int, list[tuple[Key, Point]]]]:
    """Points of one provider which have room in one frame."""
    for index in sorted({key[0] for key in points}):
        part: list[tuple[Key, Point]] = []
        room = _ROOM
        for key, point in points.items():
            if key[0] != index:
                continue
            size = len(key[1]) + len(key[2]) + _POINT + _VALUE * len(point.values)
            if part and size > room:
                yield index, part
                part, room = [], _ROOM
            part.append((key, point))
            room -= size
        if part:
            yield index, part


def _number(value: Any) -> float:
    """An exact int or float: marshal refuses what is only derived from them."""
    if type(value) is int or type(value) is float:
        return value
    return int(value) if isinstance(value, int) else float(value)


def _span(context: Any) -> Span | None:
    """The sampled span of a context: the parent makes an exemplar of it."""
    found = trace.get_current_span(context).get_span_context()
    if not found.trace_flags.sampled:
        return None
    return (found.trace_id, found.span_id, int(found.trace_flags))


def _context(span: Span | None) -> Context:
    if span is None:
        return Context()
    trace_id, span_id, flags = span
    found = SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(flags))
    return trace.set_span_in_context(NonRecordingSpan(found), Context())
