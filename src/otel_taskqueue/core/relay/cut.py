"""Frames of a length the lane can carry: what is too large is cut and marked, never lost."""

from __future__ import annotations

from typing import Any, Final, cast

from otel_taskqueue import semconv
from otel_taskqueue.core.relay import frames
from otel_taskqueue.core.relay.lanes import LONGEST_FRAME
from otel_taskqueue.core.relay.log_frames import pack_log

#: Text lengths (characters) and list lengths tried one after the other.
_STEPS: Final = ((8192, 128), (1024, 64), (128, 16), (32, 4), (8, 0))
_LOG_ATTRIBUTES: Final = 8
#: What a job's span must keep whatever the user put beside it.
_OURS: Final = ("taskqueue.", "messaging.", "error.")


def dump_span(span: Any) -> bytes:
    """The bytes of a span's frame, at most ``LONGEST_FRAME`` of them."""
    return _fit(frames.pack_span(span), frames.ATTRIBUTES)


def dump_log(record: Any) -> bytes:
    """The bytes of a log record's frame, at most ``LONGEST_FRAME`` of them."""
    return _fit(pack_log(record), _LOG_ATTRIBUTES)


def _fit(packed: tuple[Any, ...], attributes: int) -> bytes:
    data = frames.dump(packed)
    if len(data) <= LONGEST_FRAME:
        return data
    for length, items in _STEPS:
        smaller = [_shorten(value, length, items) for value in packed]
        smaller[attributes][semconv.TELEMETRY_CUT] = True
        data = frames.dump(tuple(smaller))
        if len(data) <= LONGEST_FRAME:
            break
    return data


def _shorten(value: Any, length: int, items: int) -> Any:
    if isinstance(value, (str, bytes)):
        return value[:length]
    if isinstance(value, dict):
        kept = sorted(cast("dict[str, Any]", value).items(), key=lambda item: not item[0].startswith(_OURS))[
            : max(items, 24)
        ]
        return {key[: max(length, 64)]: _shorten(item, length, items) for key, item in kept}
    if isinstance(value, list):  # events and links: the newest tell how it ended
        return [
            _shorten(item, length, items) for item in (cast("list[Any]", value)[-items:] if items else [])
        ]
    if isinstance(value, tuple):
        return tuple([_shorten(item, length, items) for item in cast("tuple[Any, ...]", value)])
    return value
