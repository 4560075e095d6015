"""The exporters' connections in a forked process that goes on to export by itself.

What it inherited is the parent's: both would write into one stream. And embedded beat closes all
descriptors, whose numbers are given out again: an exporter would write to somebody else's.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.sdk import metric_readers, providers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: How far below a processor or a reader a session is looked for.
_DEPTH: Final = 5
# Kept for ever: whoever took them apart would close descriptors that are not theirs any more.
_inherited: list[Any] = []


def renew(found: Iterable[Any]) -> None:
    """Let the exporters over HTTP (by requests) of these providers connect anew."""
    requests = sys.modules.get("requests")
    if requests is None:
        return
    for provider in found:
        for holder in (*(providers.processors_of(provider) or ()), *metric_readers.of(provider)):
            for session in _sessions(holder, requests.Session, _DEPTH, set()):
                with Guarded("fork"):
                    _renew(session)


def _renew(session: Any) -> None:
    for adapter in session.adapters.values():
        _inherited.append((adapter.poolmanager, adapter.proxy_manager))
        adapter.proxy_manager = {}
        # As the adapter itself does when it was unpickled in another process.
        adapter.__setstate__(adapter.__getstate__())


def _sessions(holder: Any, kind: type, depth: int, seen: set[int]) -> Iterator[Any]:
    for value in list(getattr(holder, "__dict__", {}).values()):
        if id(value) in seen or isinstance(value, (type, ModuleType)):
            continue
        seen.add(id(value))
        if isinstance(value, kind):
            yield value
        elif depth:
            yield from _sessions(value, kind, depth - 1, seen)
