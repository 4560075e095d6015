"""`otel-taskqueue observe`: queue sizes, ages, consumers, heartbeats, schedules, from exactly one leader."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

from opentelemetry.instrumentation.utils import suppress_instrumentation

from otel_taskqueue.cli.observe import exports, options
from otel_taskqueue.cli.observe.table import TableOutput
from otel_taskqueue.observe.election import Election
from otel_taskqueue.observe.errors import MissingLibraryError, UsageError, plain
from otel_taskqueue.observe.loop import Loop
from otel_taskqueue.observe.sources import lock, open_sources
from otel_taskqueue.observe.voice import Voice

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from otel_taskqueue.observe.election import Lease
    from otel_taskqueue.observe.loop import Output
    from otel_taskqueue.observe.plan import Plan

#: Seconds for giving the lock up; without an answer it expires by itself.
_FAREWELL = 2.0


class _Stop(BaseException):
    """The process was told to stop."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    options.add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Observe until told to stop; 2 when what was asked for cannot be done, 1 when something is missing."""
    _speak()
    try:
        plan = options.plan_of(arguments)
        outputs = _outputs(plan, once=arguments.once)
    except UsageError as error:
        print(f"otel-taskqueue observe: {error}", file=sys.stderr)
        return 2
    except MissingLibraryError as error:
        print(f"otel-taskqueue observe: {error}", file=sys.stderr)
        return 1
    voice = Voice()
    loop = Loop(
        lambda lease: open_sources(plan, voice, lease), outputs, voice, plan.target.label, arguments.interval
    )
    with suppress_instrumentation():
        return _once(loop, plan) if arguments.once else _for_ever(loop, plan, voice)


def _outputs(plan: Plan, *, once: bool) -> Callable[[Lease], Output]:
    names = [] if once else exports.configured()
    if not names:
        return lambda _lease: TableOutput()
    makers = exports.factories(names)
    return lambda lease: exports.SdkOutput(makers, plan, lease)


def _once(loop: Loop, plan: Plan) -> int:
    try:
        loop.once(TableOutput())
    except Exception as error:  # noqa: BLE001  (each client has its own errors)
        print(f"{plan.target.label} does not answer: {plain(error)}", file=sys.stderr)
        return 1
    return 0


def _for_ever(loop: Loop, plan: Plan, voice: Voice) -> int:
    election = Election(lock(plan), voice, plan.target.label)
    told = threading.Event()

    def stop(number: int, _frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the process as it would any other
        told.set()  # where a destructor runs, what is raised is lost
        raise _Stop

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        election.start()
        voice.say(f"observing {plan.target.label}")
        loop.run(election, told.is_set)
    except _Stop:
        pass
    finally:
        election.stop(_FAREWELL)
    voice.say("stopped")
    return 0


def _speak() -> None:
    """Log to standard error; the libraries' retries are told in one line by us."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("otel_taskqueue.observe").setLevel(logging.INFO)
    for name in ("amqp", "celery", "kombu"):
        logging.getLogger(name).setLevel(logging.ERROR)
