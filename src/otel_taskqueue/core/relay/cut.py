"""Frames of a length the lane can carry: what is too large is cut and marked, never lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from otel_taskqueue import semconv
from otel_taskqueue.core.relay import frames
from otel_taskqueue.core.relay.lanes import LONGEST_FRAME
from otel_taskqueue.core.relay.log_frames import pack_log

if TYPE_CHECKING:
    from collections.abc import Callable

#: Text lengths (characters) and list lengths tried one after the other.
_STEPS: Final = ((8192, 128), (1024, 64), (128, 16), (32, 4), (8, 0))
_LOG_BODY: Final = 7
_LOG_ATTRIBUTES: Final = 8
#: However little is left: our own attributes are fewer, and names this long.
_FEWEST: Final = 24
_LONGEST_NAME: Final = 64
#: What a job's span must keep whatever the user put beside it.
_OURS: Final = ("taskqueue.", "messaging.", "error.")


def dump_span(span: Any) -> bytes:
    """The bytes of a span's frame, at most ``LONGEST_FRAME`` of them."""
    return _fit(frames.pack_span(span), _cut_span)


def dump_log(record: Any) -> bytes:
    """The bytes of a log record's frame, at most ``LONGEST_FRAME`` of them."""
    return _fit(pack_log(record), _cut_log)


def _fit(packed: tuple[Any, ...], cut: Callable[[list[Any], int, int], None]) -> bytes:
    data = frames.dump(packed)
    if len(data) <= LONGEST_FRAME:
        return data
    for length, items in _STEPS:
        smaller = list(packed)
        cut(smaller, length, items)
        data = frames.dump(tuple(smaller))
        if len(data) <= LONGEST_FRAME:
            break
    return data


def _cut_span(span: list[Any], length: int, items: int) -> None:
    """Contexts and scope stay whole; of events and links the newest tell how it ended."""
    span[frames.NAME] = span[frames.NAME][: max(length, _LONGEST_NAME)]
    span[frames.DESCRIPTION] = _shorten(span[frames.DESCRIPTION], length, items)
    attributes = span[frames.ATTRIBUTES]
    span[frames.ATTRIBUTES] = {**_shorten(attributes, length, items), semconv.TELEMETRY_CUT: True}
    span[frames.ATTRIBUTES + 1] += max(0, len(attributes) - max(items, _FEWEST))
    for place in (frames.EVENTS, frames.LINKS):
        newest = span[place][len(span[place]) - items :] if len(span[place]) > items else span[place]
        span[place + 1] += len(span[place]) - len(newest)
        span[place] = [_cut_item(item, length, items) for item in newest]


def _cut_item(item: tuple[Any, ...], length: int, items: int) -> tuple[Any, ...]:
    """An event (name, time, attributes, dropped) or a link (context, attributes, dropped)."""
    return tuple([_shorten(part, length, items) if isinstance(part, (str, dict)) else part for part in item])


def _cut_log(record: list[Any], length: int, items: int) -> None:
    record[_LOG_BODY] = _shorten(record[_LOG_BODY], length, items)
    attributes = _shorten(record[_LOG_ATTRIBUTES], length, items)
    record[_LOG_ATTRIBUTES] = {**attributes, semconv.TELEMETRY_CUT: True}


def _shorten(value: Any, length: int, items: int) -> Any:
    if isinstance(value, (str, bytes)):
        return value[:length]
    if isinstance(value, dict):
        known = cast("dict[str, Any]", value).items()
        kept = sorted(known, key=lambda item: not item[0].startswith(_OURS))[: max(items, _FEWEST)]
        return {key[: max(length, _LONGEST_NAME)]: _shorten(item, length, items) for key, item in kept}
    if isinstance(value, tuple):
        return tuple([_shorten(item, length, items) for item in cast("tuple[Any, ...]", value)[:items]])
    return value
