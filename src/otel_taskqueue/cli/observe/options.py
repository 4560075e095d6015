"""The command line and the environment as a plan."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import TYPE_CHECKING, Any, cast

from otel_taskqueue.observe import celery_app, management, sources, target
from otel_taskqueue.observe.errors import UsageError
from otel_taskqueue.observe.plan import Library, Plan

if TYPE_CHECKING:
    import argparse

    from otel_taskqueue.observe.target import Target, Tls

_DEFAULT_QUEUE = "celery"
_LEAST_INTERVAL = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    add = parser.add_argument
    add("--broker", metavar="URL", help="else CELERY_BROKER_URL, with --rq RQ_REDIS_URL or REDIS_URL")
    add("--app", metavar="MODULE:APP", help="Celery application: its broker, options and queue names")
    add("--rq", action="store_true", help="observe RQ on this Redis instead of Celery")
    add("--queue", metavar="NAME", action="append", default=[], help="only these; may be given several times")
    add("--interval", metavar="SECONDS", type=float, default=15.0, help="between two looks (default 15)")
    add("--once", action="store_true", help="look once, print a table, whoever leads")
    add("--group", metavar="NAME", help="one instance of each group leads (default celery or rq)")
    add("--management-url", metavar="URL", help="of RabbitMQ's management API; `none`: do not look for it")
    add("--schedules", metavar="URL", help="Redis with the schedules of beat, where the broker is another")
    add("--ca-file", metavar="FILE", help="authorities that sign the servers' certificates")
    add("--cert-file", metavar="FILE", help="certificate of this client")
    add("--key-file", metavar="FILE", help="and its key")
    add("--tls-insecure", action="store_true", help="do not check the servers' certificates")


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Everything that was asked for, checked.

    Raises:
        UsageError: it cannot be done.
        MissingLibraryError: a library is not installed.
    """
    tls = _tls(arguments)
    if not math.isfinite(arguments.interval) or arguments.interval < _LEAST_INTERVAL:
        raise UsageError(f"--interval must be at least {_LEAST_INTERVAL:g} second")
    library = _library(arguments)
    app = celery_app.load(arguments.app) if arguments.app else None
    broker = target.parse(_url(arguments, library, app), tls)
    if library == "rq" and broker.system != "redis":
        raise UsageError(f"RQ runs on Redis; {broker.label} is none")
    plan = Plan(
        broker,
        library,
        _queues(arguments, library, app),
        app,
        _management(arguments.management_url),
        _schedules(arguments.schedules, broker, app, tls),
        arguments.group or "",
    )
    sources.check_libraries(plan)
    if library == "celery" and app is None:
        return dataclasses.replace(plan, app=celery_app.make_up(broker))
    return plan


def _tls(arguments: argparse.Namespace) -> Tls:
    for name in ("ca_file", "cert_file", "key_file"):
        path = getattr(arguments, name)
        if path and not os.path.isfile(path):  # noqa: PTH113
            raise UsageError(f"--{name.replace('_', '-')} {path}: there is no such file")
    return target.Tls(arguments.ca_file, arguments.cert_file, arguments.key_file, arguments.tls_insecure)


def _library(arguments: argparse.Namespace) -> Library:
    if arguments.rq and arguments.app:
        raise UsageError("--app names a Celery application; --rq observes RQ: start one observer for each")
    if arguments.rq:
        return "rq"
    said = arguments.app or arguments.broker or os.environ.get("CELERY_BROKER_URL")
    return "rq" if not said and _redis_url() else "celery"


def _redis_url() -> str | None:
    return os.environ.get("RQ_REDIS_URL") or os.environ.get("REDIS_URL")


def _url(arguments: argparse.Namespace, library: Library, app: Any) -> str:
    configured = _first(app.conf.broker_read_url or app.conf.broker_url) if app is not None else None
    found = _redis_url() if library == "rq" else os.environ.get("CELERY_BROKER_URL")
    url = arguments.broker or configured or found
    if not url:
        raise UsageError("no broker: give --broker URL or --app, or set CELERY_BROKER_URL or REDIS_URL")
    return url


def _first(urls: Any) -> str | None:
    if isinstance(urls, (list, tuple)):
        urls = next(iter(cast("list[Any]", urls)), None)
    return str(urls) if urls else None


def _queues(arguments: argparse.Namespace, library: Library, app: Any) -> tuple[str, ...]:
    named = tuple(name for text in arguments.queue for name in text.split(",") if name)
    if named or library == "rq":
        return named
    return celery_app.queue_names(app) if app is not None else (_DEFAULT_QUEUE,)


def _management(url: str | None) -> str | None:
    if url == "none":
        return None
    if url:
        management.check(url)
    return url or ""


def _schedules(url: str | None, broker: Target, app: Any, tls: Tls) -> Target | None:
    """The Redis of the schedules: the one named, else the broker's, else the result backend's."""
    if url:
        named = target.parse(url, tls)
        if named.system != "redis":
            raise UsageError(f"--schedules must be a Redis; {named.label} is none")
        return named
    if broker.system == "redis":
        return broker
    backend = str(app.conf.result_backend or "") if app is not None else ""
    return target.parse(backend, tls) if backend.startswith(("redis:", "rediss:")) else None
