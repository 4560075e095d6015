"""A span, a log record, a count of drops as plain tuples: marshal reads one in about a microsecond.

Only exact built-in types go in: marshal refuses a ``str`` enum and turns ``numpy.float64`` into
bytes without a word.
"""

from __future__ import annotations

import marshal
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

STARTED: Final = 1
ENDED: Final = 2
SPAN: Final = 3
LOG: Final = 4
DROPPED: Final = 5
MEASURED: Final = 6
HELD: Final = 7

_EXACT: Final = frozenset({str, int, float, bool, bytes, type(None)})

# Positions in a span's tuple; how many items were dropped stands behind each list.
NAME: Final = 0
CONTEXT: Final = 1
START: Final = 5
END: Final = 6
ATTRIBUTES: Final = 7
EVENTS: Final = 9
LINKS: Final = 11
STATUS: Final = 13
DESCRIPTION: Final = 14


def plain(value: Any) -> Any:  # noqa: PLR0911  one return a kind
    """The same value in exact built-in types."""
    if type(value) in _EXACT:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, Sequence):
        return tuple([plain(item) for item in cast("Sequence[Any]", value)])
    return str(value)


def plain_attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Attributes as an exact dict of exact values."""
    if not attributes:
        return {}
    return {key: value if type(value) in _EXACT else plain(value) for key, value in attributes.items()}


def pack_context(context: SpanContext | None) -> tuple[Any, ...] | None:
    """A span context as a tuple."""
    if context is None:
        return None
    state = context.trace_state.to_header() if context.trace_state else ""
    return (context.trace_id, context.span_id, int(context.trace_flags), context.is_remote, state)


def unpack_context(packed: tuple[Any, ...] | None) -> SpanContext | None:
    """The span context of a tuple."""
    if packed is None:
        return None
    trace_id, span_id, flags, remote, state = packed
    return SpanContext(
        trace_id, span_id, remote, TraceFlags(flags), TraceState.from_header([state]) if state else None
    )


def pack_span(span: ReadableSpan) -> tuple[Any, ...]:
    """A span, ended or not, as a tuple."""
    return (
        str(span.name),
        pack_context(span.context),
        pack_context(span.parent),
        span.kind.value,
        pack_scope(span.instrumentation_scope),
        span.start_time,
        span.end_time,
        plain_attributes(span.attributes),
        span.dropped_attributes,
        [(str(e.name), e.timestamp, plain_attributes(e.attributes), _dropped(e)) for e in span.events],
        span.dropped_events,
        [(pack_context(li.context), plain_attributes(li.attributes), _dropped(li)) for li in span.links],
        span.dropped_links,
        span.status.status_code.value,
        span.status.description,
    )


def unpack_span(packed: Sequence[Any], resource: Resource) -> ReadableSpan:
    """The ReadableSpan of a tuple, with the given resource."""
    (name, context, parent, kind, scope, start, end, attributes, dropped, events, dropped_events,
     links, dropped_links, status, description) = packed  # fmt: skip
    rebuilt: list[Any] = [_event(*event) for event in events]
    linked: list[Any] = [_link(*link) for link in links]
    return ReadableSpan(
        name=name,
        context=unpack_context(context),
        parent=unpack_context(parent),
        resource=resource,
        attributes=_bounded(attributes, dropped),
        events=_bounded_list(rebuilt, dropped_events),
        links=_bounded_list(linked, dropped_links),
        kind=SpanKind(kind),
        instrumentation_scope=unpack_scope(scope),
        status=Status(StatusCode(status), description),
        start_time=start,
        end_time=end,
    )


def pack_scope(scope: Any) -> tuple[Any, ...] | None:
    """An instrumentation scope as a tuple."""
    if scope is None:
        return None
    attributes: Mapping[str, Any] | None = getattr(scope, "attributes", None)
    return (scope.name, scope.version, scope.schema_url, plain_attributes(attributes))


_scopes: dict[tuple[Any, ...], InstrumentationScope] = {}


def unpack_scope(packed: tuple[Any, ...] | None) -> InstrumentationScope | None:
    """The instrumentation scope of a tuple; equal ones are one object, as the encoder groups by it."""
    if packed is None:
        return None
    name, version, schema_url, attributes = packed
    if attributes:
        return InstrumentationScope(name, version, schema_url, attributes)
    key = (name, version, schema_url)
    if key not in _scopes:
        if len(_scopes) > 1000:  # noqa: PLR2004  a scope per job would otherwise be a leak
            _scopes.clear()
        _scopes[key] = InstrumentationScope(name, version, schema_url)
    return _scopes[key]


def dump(frame: tuple[Any, ...]) -> bytes:
    """A frame as bytes."""
    return marshal.dumps(frame)


def dump_key(value: Any) -> bytes:
    """A value as bytes which are equal for equal values: without references to objects seen before."""
    return marshal.dumps(value, 2)


def load(data: bytes | memoryview) -> Any:
    """The frame of bytes which came over our own socketpair from our own child."""
    return marshal.loads(data)  # noqa: S302  never from outside: an inherited socketpair


def _dropped(item: Any) -> int:
    return getattr(item, "dropped_attributes", 0) or 0


def _bounded(attributes: dict[str, Any], dropped: int) -> Mapping[str, Any]:
    if not dropped:
        return attributes
    bounded = BoundedAttributes(None, attributes, immutable=True)
    bounded.dropped = dropped
    return bounded


def _bounded_list(items: list[Any], dropped: int) -> Sequence[Any]:
    if not dropped:
        return items
    bounded = cast("Any", BoundedList)(None)
    bounded.extend(items)
    bounded.dropped = dropped
    return bounded


def _event(name: str, timestamp: int, attributes: dict[str, Any], dropped: int) -> Event:
    return Event(name, _bounded(attributes, dropped), timestamp)


def _link(context: tuple[Any, ...], attributes: dict[str, Any], dropped: int) -> Link:
    found = unpack_context(context)
    assert found is not None  # noqa: S101  a link has a context; for the type checker
    return Link(found, _bounded(attributes, dropped))
