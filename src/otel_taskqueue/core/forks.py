"""What holds in every process that a worker's parent forks, whoever forks it and for whatever (D4).

The metrics that it inherited are the parent's: it does not export them. A child that runs jobs hands
over what it measures; another one that lives long and measures by itself starts afresh.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from otel_taskqueue.core.guard import Guarded
from otel_taskqueue.core.relay import channel

if TYPE_CHECKING:
    from otel_taskqueue.core.telemetry import Telemetry

_given: list[Any] = []
_watching = False
_muted = _fresh = 0


def watch(telemetry: Telemetry) -> None:
    """In a worker's parent, before it forks: whatever it forks is muted in the same moment."""
    global _watching  # noqa: PLW0603  a hook of the interpreter cannot be taken back
    know(telemetry)
    with Guarded("fork"):
        if "opentelemetry.sdk.metrics" in sys.modules:
            from otel_taskqueue.core.sdk import metric_readers, providers  # noqa: PLC0415  needs the SDK

            metric_readers.guard(providers.meter_providers(*_given))
    if not _watching and hasattr(os, "register_at_fork"):
        _watching = True
        os.register_at_fork(after_in_child=mute)


def know(telemetry: Telemetry) -> None:
    """Keep in mind a meter provider that is not the global one."""
    provider = telemetry.meter_provider
    if provider is not None and all(provider is not other for other in _given):
        _given.append(provider)


def mute() -> None:
    """In a forked process: nothing that it inherited is exported, no lock that it inherited is waited for."""
    global _muted  # noqa: PLW0603
    if _muted == os.getpid():
        return
    _muted = os.getpid()
    with Guarded("fork"):
        channel.forked()
        if "opentelemetry.sdk.metrics" in sys.modules:
            from otel_taskqueue.core.sdk import metric_readers, providers  # noqa: PLC0415  needs the SDK

            metric_readers.mute(providers.meter_providers(*_given))


def start_afresh(telemetry: Telemetry) -> None:
    """In a forked process that runs no job and lives long: it exports what it measures from here on."""
    global _fresh  # noqa: PLW0603
    if _fresh == os.getpid():
        return
    _fresh = os.getpid()
    know(telemetry)
    _reconnect(telemetry)
    with Guarded("fork"):
        telemetry.metrics.clear()
        if "opentelemetry.sdk.metrics" in sys.modules:
            from otel_taskqueue.core.sdk import metric_readers, providers  # noqa: PLC0415  needs the SDK

            metric_readers.start_afresh(providers.meter_providers(*_given))


def _reconnect(telemetry: Telemetry) -> None:
    if "opentelemetry.sdk" not in sys.modules:
        return
    with Guarded("fork"):
        from otel_taskqueue.core.sdk import connections, providers  # noqa: PLC0415  needs the SDK

        connections.renew(providers.of(telemetry))


def is_muted() -> bool:
    """Whether this process was forked by a worker's parent (or by such a process)."""
    return _muted == os.getpid()


def is_fresh() -> bool:
    """Whether this process was forked and exports by itself what it measures."""
    return _fresh == os.getpid()
