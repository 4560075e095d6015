"""What the doctor looks at, one function for each section of its report."""

from __future__ import annotations

import importlib
import platform
import socket
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from otel_taskqueue import settings as _settings
from otel_taskqueue.core import delivery as _delivery
from otel_taskqueue.core import telemetry
from otel_taskqueue.core.relay import lanes
from otel_taskqueue.settings import OPTIONS, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_taskqueue.core.sdk.providers import Pipeline

_OFFICIAL = "opentelemetry-instrumentation-celery"
_WMEM_MAX = Path("/proc/sys/net/core/wmem_max")
_CONNECT_SECONDS = 1.0


class Finding(NamedTuple):
    """One line of the report."""

    level: Literal["ok", "note", "wrong"]
    text: str


def installed(distribution: str) -> str | None:
    """The version of a distribution, None when it is not there."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def libraries() -> Iterator[Finding]:
    """Python, the queue libraries, OpenTelemetry, and who else instruments them."""
    yield Finding("ok", f"Python {platform.python_version()} on {platform.system()}")
    found = [library for library in ("celery", "rq") if installed(library)]
    for library in ("celery", "rq"):
        yield from _library(library)
    if not found:
        yield Finding("wrong", "neither celery nor rq is installed: there is nothing to instrument")
    for distribution in ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-instrumentation"):
        found_version = installed(distribution)
        said = f"{distribution} {found_version or 'is not installed'}"
        yield Finding("ok" if found_version else "note", said)
    if installed(_OFFICIAL) and "celery" in found:
        yield _official(Settings.load())


def _library(library: str) -> Iterator[Finding]:
    found = installed(library)
    if found is None:
        yield Finding("note", f"{library} is not installed")
        return
    compat = importlib.import_module(f"otel_taskqueue.{library}.compat")
    oldest = ".".join(map(str, compat.OLDEST))
    if not compat.usable():
        yield Finding("wrong", f"{library} {found} is too old: {library} >= {oldest} is needed")
        return
    name = f"otel_taskqueue_{library}"
    names = {point.name for point in entry_points(group="opentelemetry_instrumentor")}
    if name not in names:
        yield Finding("wrong", f"the entry point {name} is not registered: install otel-taskqueue again")
    elif {name, "*"} & _settings.disabled_instrumentations():
        yield Finding("wrong", f"{library} {found}: OTEL_PYTHON_DISABLED_INSTRUMENTATIONS leaves ours out")
    else:
        yield Finding("ok", f"{library} {found} (from {oldest} on)")


def _official(settings: Settings) -> Finding:
    if settings.take_over:
        return Finding("ok", f"{_OFFICIAL} {installed(_OFFICIAL)} is installed too: ours takes over")
    return Finding("note", f"{_OFFICIAL} is installed, and take_over is false: ours stays out")


def auto_instrument() -> Iterator[Finding]:
    """Set this process up as opentelemetry-instrument does; what that logs goes to stderr."""
    if _settings.sdk_disabled():
        yield Finding("wrong", "OTEL_SDK_DISABLED=true: nothing is instrumented")
    elif _has_sdk():
        yield Finding("ok", "set up before this command (opentelemetry-instrument)")
    else:
        from opentelemetry.instrumentation.auto_instrumentation import initialize  # noqa: PLC0415

        initialize()
        yield Finding("ok", "set up as opentelemetry-instrument does it here")


def _has_sdk() -> bool:
    return _delivery.reports(telemetry.make(settings=Settings.load()))


def sdk() -> Iterator[Finding]:
    """The providers and what stands behind them."""
    if not _has_sdk():
        yield Finding(
            "wrong",
            "no SDK in this process: install opentelemetry-distro and start the worker with "
            "opentelemetry-instrument, or name the module that sets it up with --import",
        )
        return
    from otel_taskqueue.core.sdk import metric_readers, providers  # noqa: PLC0415  (needs the SDK)

    for signal, provider in (("spans", providers.tracer_provider()), ("logs", providers.logger_provider())):
        processors = providers.processors_of(provider) if provider is not None else None
        if not processors:
            yield Finding("wrong" if signal == "spans" else "note", f"{signal} go nowhere: no processor")
        for processor in processors or ():
            yield from _processor(signal, processor)
    readers = [reader for provider in providers.meter_providers() for reader in metric_readers.of(provider)]
    if not readers:
        yield Finding("note", "metrics go nowhere: no metric reader")
    for reader in readers:
        yield from _processor("metrics", reader)


def _processor(signal: str, processor: Any) -> Iterator[Finding]:
    exporter = _exporter_of(processor)
    name = type(processor).__name__ + (f" -> {type(exporter).__name__}" if exporter is not None else "")
    address = _address(getattr(exporter, "_endpoint", None))
    if address is None:
        yield Finding("ok", f"{signal}: {name}")
    elif _answers(*address):
        yield Finding("ok", f"{signal}: {name} -> {address[0]}:{address[1]} answers")
    else:
        yield Finding("note", f"{signal}: {name} -> {address[0]}:{address[1]} does not answer now")


def _exporter_of(processor: Any) -> Any:
    for holder in (processor, getattr(processor, "_batch_processor", None)):
        for name in ("span_exporter", "_exporter"):
            if getattr(holder, name, None) is not None:
                return getattr(holder, name)
    return None


def _is_grpc(exporter: object) -> bool:
    return type(exporter).__module__.startswith("opentelemetry.exporter.otlp.proto.grpc")


def _address(endpoint: object) -> tuple[str, int] | None:
    """Host and port of an exporter's endpoint; never its user, password or path."""
    if not isinstance(endpoint, str) or not endpoint:
        return None
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return (parts.hostname, port) if parts.hostname else None


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), _CONNECT_SECONDS):
            return True
    except OSError:
        return False


def delivery() -> Iterator[Finding]:
    """How children hand over what they have: by relay, or each by itself."""
    made = telemetry.make(settings=Settings.load())
    reason = _delivery.why_not(made)
    if reason is not None:
        yield Finding(
            "note",
            f"no relay ({reason}): each child exports by itself and flushes when it ends; "
            "a killed child loses what it had not exported",
        )
        yield from _metrics(relays=False)
        return
    from otel_taskqueue.core.sdk import providers  # noqa: PLC0415  (needs the SDK)

    yield Finding("ok", "relay: children (prefork, work-horse) hand what is finished to the worker's parent")
    found = (providers.tracer_provider(), providers.logger_provider())
    pipelines = providers.pipelines(provider for provider in found if provider is not None) or ()
    for pipeline in pipelines:
        yield from _places(pipeline)
    if any(_is_grpc(_exporter_of(processor)) for pipeline in pipelines for processor in pipeline.exact):
        yield Finding(
            "note",
            "OTLP over gRPC: a child may read from the connection it inherits, then an export fails or waits "
            "20 s; take OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or set GRPC_ENABLE_FORK_SUPPORT=false",
        )
    yield from _metrics(relays=True)
    yield _send_buffer()


def _metrics(*, relays: bool) -> Iterator[Finding]:
    if not _has_sdk():
        return
    from otel_taskqueue.core.sdk import metric_readers, providers  # noqa: PLC0415  (needs the SDK)

    found = providers.meter_providers()
    if any(metric_readers.consumer_of(provider) is None for provider in found):
        yield Finding(
            "wrong",
            "metrics: this version of the SDK hides what is needed to mute its readers in children: "
            "they export the parent's sums once more",
        )
    elif found and relays:
        yield Finding(
            "ok", "metrics: what children measure is recorded in the parent, observable instruments excepted"
        )
    elif found:
        yield Finding(
            "note", "metrics: what forked children measure is lost, they have no way to hand it over"
        )


def _places(pipeline: Pipeline) -> Iterator[Finding]:
    signal = "spans" if hasattr(pipeline.provider, "get_tracer") else "logs"
    for processor in pipeline.exact:
        yield Finding("ok", f"{signal}: {type(processor).__name__} works in the parent, for all children")
    for processor in pipeline.own:
        yield Finding("ok", f"{signal}: {type(processor).__name__} is your own and stays in each child")


def _send_buffer() -> Finding:
    try:
        made = lanes.make()
    except OSError as error:
        return Finding("wrong", f"no socketpair for the relay: {error}")
    granted = lanes.reached_send_buffer(made.control) // 2  # the kernel reports twice what it granted
    made.close()
    wanted = lanes.SEND_BUFFER
    if granted >= wanted:
        return Finding("ok", f"send buffer of each lane: {granted} bytes, as wanted")
    limit = _WMEM_MAX.read_text().strip() if _WMEM_MAX.is_file() else "unknown"
    return Finding(
        "note",
        f"send buffer of each lane: {granted} of {wanted} bytes wanted (net.core.wmem_max = {limit}); "
        f"many busy children need more: sysctl -w net.core.wmem_max={wanted}",
    )


def settings() -> Iterator[Finding]:
    """The settings that are not the default."""
    loaded = Settings.load()
    changed = [option for option in OPTIONS.values() if loaded.source_of(option.name) != "default"]
    for option in changed:
        value = option.kind.show(getattr(loaded, option.name))
        yield Finding("ok", f"{option.variable}={value} (default: {option.kind.show(option.default)})")
    if not changed:
        yield Finding("ok", "all at their defaults; `otel-taskqueue settings` lists them")


def forget_exit_handlers() -> None:
    """Nothing here is worth an export when this process ends, least of all to a dead collector."""
    try:
        from otel_taskqueue.core.sdk import providers  # noqa: PLC0415  (needs the SDK)
    except ImportError:
        return
    for provider in providers.all_providers():
        providers.take_exit_handler(provider)
