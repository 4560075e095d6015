"""What kind of failure an exception is: real exceptions of real libraries, chains, rules, broken classes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from inspect import signature

import pytest

from otel_taskqueue.core import category, failure
from otel_taskqueue.core.category_table import ROWS
from otel_taskqueue.core.failure import Again, Exit, Raised, Verdict
from otel_taskqueue.semconv import Category, Outcome
from support.failures import Failure, caught, load
from support.failures.server import Server

REAL = load()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that misbehaves as its path asks."""
    running = Server()
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def no_rules() -> Iterator[None]:
    """Rules of one test are none of the next."""
    yield
    category.use("tests", ())


def test_the_table_is_proved_by_many_real_exceptions() -> None:
    """At least sixty, every category among them."""
    assert len(REAL) >= 60
    assert set(Category) == {real.category for real in REAL}


@pytest.mark.parametrize("real", REAL, ids=lambda real: real.name)
def test_a_real_exception_has_its_category(real: Failure, server: Server) -> None:
    """Raised as its library raises it."""
    arguments = [server] if signature(real.call).parameters else []

    error = caught(lambda: real.call(*arguments))

    assert real.category.value == failure.raised(error).category, repr(error)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The exception after a real raise, with a cause."""

    def fail() -> None:
        raise error from cause

    return caught(fail)


def raised_while(error: BaseException, before: BaseException) -> BaseException:
    """The exception raised while another was handled, without a word about it."""

    def fail() -> None:
        try:
            raise before  # noqa: TRY301
        except BaseException:  # noqa: BLE001
            raise error  # noqa: B904  that is the case

    return caught(fail)


class OrderError(Exception):
    """An exception of the application, of which the table knows nothing."""


class LateOrderError(OrderError):
    """A more special one."""


class GatewayTimeoutError(Exception):
    """Its name says what it is."""


class ProblemError(Exception):
    """Carries a status, as those of many clients do."""

    def __init__(self, **found: object) -> None:
        super().__init__("no")
        vars(self).update(found)


class HostileError(Exception):
    """Whatever is looked at breaks."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)


class EndlessError(Exception):
    """Each look finds something, and never a number or an exception."""

    def __getattr__(self, name: str) -> object:
        return EndlessError()


class ImpostorError(Exception):
    """Its attributes are not what their names promise."""

    errno = sqlstate = response = "rubbish"
    orig = reason = exceptions = 5
    status_code = True


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (raised(OrderError(), ConnectionRefusedError()), Category.CONNECTION),
        (raised(RuntimeError("cannot pay"), raised(OrderError(), TimeoutError())), Category.TIMEOUT),
        (raised(ValueError("cannot load"), MemoryError()), Category.RESOURCE),
        (raised_while(OrderError(), ConnectionResetError()), Category.CONNECTION),
        (raised_while(ConnectionResetError(), KeyError("cache")), Category.CONNECTION),
        (raised_while(TypeError("len"), ConnectionResetError()), Category.CODE),
        # A bug that was caught and turned into another exception is that exception's.
        (raised(ValueError("not a text"), AttributeError("strip")), Category.DATA),
        (raised_while(ValueError("not a text"), AttributeError("strip")), Category.DATA),
        (raised(OrderError(), AttributeError("strip")), Category.CODE),
        # Something vague that merely happened before is no better than what is vague itself.
        (raised_while(ValueError("no"), GatewayTimeoutError()), Category.DATA),
        (raised(OrderError(OSError(errno.ENOSPC, "full"))), Category.RESOURCE),
        (raised(ProblemError(reason=TimeoutError())), Category.TIMEOUT),
        (raised(ProblemError(exceptions=(ConnectionRefusedError(), KeyError()))), Category.CONNECTION),
        (raised(GatewayTimeoutError()), Category.TIMEOUT),
    ],
)
def test_what_is_behind_an_exception_counts(error: BaseException, expected: Category) -> None:
    """Causes, what was handled, the first argument, a group: as far as the exception itself says little."""
    assert expected == category.of(error)


def test_an_exception_that_hides_what_was_before_it_stands_alone() -> None:
    """`raise ... from None` says that the other one is of no interest."""

    def fail() -> None:
        try:
            raise ConnectionResetError  # noqa: TRY301
        except ConnectionResetError:
            raise OrderError from None

    assert Category.UNKNOWN == category.of(caught(fail))


def test_a_circle_of_causes_ends() -> None:
    """Python allows to build one."""
    first, second = OrderError(), OrderError()
    first.__cause__, second.__cause__ = second, first

    assert Category.UNKNOWN == category.of(first)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"status_code": 429}, Category.RATE_LIMIT),
        ({"status": 503}, Category.DEPENDENCY),
        ({"http_status": 400}, Category.DATA),
        ({"code": 408}, Category.TIMEOUT),
        ({"response": ProblemError(status_code=500)}, Category.DEPENDENCY),
        ({"resp": ProblemError(status=404)}, Category.DATA),
        ({"code": 200}, Category.UNKNOWN),
        ({"code": 4040}, Category.UNKNOWN),
        ({"sqlstate": "53100"}, Category.RESOURCE),
        ({"pgcode": "25P03"}, Category.TIMEOUT),
        ({"sqlstate": "ZZ999"}, Category.UNKNOWN),
        ({"response": {}}, Category.UNKNOWN),
        ({"response": {"Error": 5}}, Category.UNKNOWN),
    ],
)
def test_a_code_on_an_unknown_exception_counts(found: dict[str, object], expected: Category) -> None:
    """HTTP statuses and SQLSTATEs under the names which clients give them."""
    assert expected == category.of(ProblemError(**found))


@pytest.mark.parametrize("broken", [HostileError, EndlessError, ImpostorError])
def test_a_broken_exception_is_unknown_and_does_no_harm(broken: type[Exception]) -> None:
    """Properties that raise, attributes that are not what they seem."""
    assert Category.UNKNOWN == category.of(broken())


def test_a_broken_exception_keeps_what_its_class_says() -> None:
    """The class's name is read before anything that can break."""

    class HostileTimeoutError(HostileError, TimeoutError):
        """A timeout of which nothing can be read."""

    assert Category.TIMEOUT == category.of(HostileTimeoutError())


def test_a_class_whose_name_cannot_be_read_is_unknown() -> None:
    """A metaclass can do that."""

    class Nameless(type):
        def __getattribute__(cls, name: str) -> object:
            raise RuntimeError(name)

    error = Nameless("NamelessError", (Exception,), {})()

    assert Category.UNKNOWN == category.of(error)


HERE = OrderError.__module__


@pytest.mark.parametrize(
    ("rules", "error", "expected"),
    [
        ([(f"{HERE}.OrderError", "dependency")], OrderError(), Category.DEPENDENCY),
        ([(f"{HERE}.OrderError", "dependency")], LateOrderError(), Category.DEPENDENCY),
        (
            [(f"{HERE}.OrderError", "dependency"), (f"{HERE}.LateOrderError", "timeout")],
            LateOrderError(),
            Category.TIMEOUT,
        ),
        ([(f"{HERE}.*", "data")], LateOrderError(), Category.DATA),
        ([(f"{HERE}.*", "data")], RuntimeError(), Category.UNKNOWN),
        ([("*", "code")], RuntimeError(), Category.CODE),
        ([("TimeoutError", "dependency")], TimeoutError(), Category.DEPENDENCY),
        ([("OSError", "resource")], TimeoutError(), Category.RESOURCE),
        ([(f"{HERE}.OrderError", "rate_limit")], raised(OrderError(), TimeoutError()), Category.RATE_LIMIT),
        ([("TimeoutError", "dependency")], raised(OrderError(), TimeoutError()), Category.DEPENDENCY),
    ],
)
def test_rules_of_the_user_win(
    rules: list[tuple[str, str]], error: BaseException, expected: Category
) -> None:
    """Over the table and over causes; the most specific class first; of causes too."""
    category.use("tests", rules)

    assert expected == category.of(error)


def test_rules_reach_exceptions_of_which_only_the_name_is_known() -> None:
    """The worker's parent has no more of a lost child."""
    category.use("tests", [("billiard.exceptions.WorkerLostError", "dependency")])

    found = Verdict(Outcome.LOST, failure.reported("billiard.exceptions.WorkerLostError", "gone"))

    assert "dependency" == found.category


def test_rules_of_both_queues_stand_side_by_side() -> None:
    """Whoever instruments the second does not take away the first's."""
    category.use("tests", [("a.Error", "data")])
    category.use("other tests", [("b.Error", "code")])

    found = [category.of_name("a.Error"), category.of_name("b.Error")]
    category.use("other tests", ())

    assert [Category.DATA, Category.CODE] == found
    assert category.of_name("b.Error") is None


TIMEOUT = Raised("app.SomeError", "no", category="timeout")
UNKNOWN = Raised("app.SomeError", "no", category="unknown")


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (failure.SUCCESS, None),
        (Verdict(Outcome.REVOKED, exit=Exit(signal="SIGTERM")), None),
        (Verdict(Outcome.EXPIRED), None),
        (Verdict(Outcome.IGNORED), None),
        (Verdict(Outcome.REJECTED, error=False), None),
        (Verdict(Outcome.RETRY, again=Again(1.0, "asked")), None),
        (Verdict(Outcome.RETRY, again=Again(1.0, "no", "connection")), "connection"),
        (Verdict(Outcome.FAILURE, TIMEOUT), "timeout"),
        (Verdict(Outcome.FAILURE, TIMEOUT, error=False, record=False), "timeout"),
        (Verdict(Outcome.FAILURE, UNKNOWN), "unknown"),
        (Verdict(Outcome.FAILURE), "unknown"),
        (Verdict(Outcome.TIMEOUT, exit=Exit(signal="SIGKILL")), "timeout"),
        (Verdict(Outcome.TIMEOUT, UNKNOWN), "timeout"),
        (Verdict(Outcome.LOST, exit=Exit(signal="SIGSEGV")), "killed"),
        (Verdict(Outcome.LOST, exit=Exit(code=3)), "killed"),
        (Verdict(Outcome.LOST, description="the worker stopped"), "killed"),
        (Verdict(Outcome.LOST, exit=Exit(signal="SIGKILL", oom=True)), "resource"),
        (Verdict(Outcome.LOST, TIMEOUT, exit=Exit(signal="SIGKILL", oom=True)), "resource"),
        (Verdict(Outcome.REJECTED), "data"),
        (Verdict(Outcome.UNKNOWN, failure.reported("celery.exceptions.NotRegistered", "x")), "code"),
    ],
)
def test_a_verdict_has_the_category_of_a_failure_only(verdict: Verdict, expected: str | None) -> None:
    """Without an exception that says more, the outcome and the exit decide; no failure, no category."""
    assert expected == verdict.category
    assert expected == failure.attributes_of(verdict).get("taskqueue.failure.category")


def test_the_recorded_exception_says_what_the_verdict_says() -> None:
    """Killed for memory: the kernel's evidence stands on the log record too."""
    lost = failure.reported("billiard.exceptions.WorkerLostError", "gone")
    verdict = Verdict(Outcome.LOST, lost, exit=Exit(signal="SIGKILL", oom=True))

    assert verdict.exception is not None
    assert "resource" == verdict.exception.category


def test_no_class_is_twice_in_the_table() -> None:
    """One of two would be dead."""
    names = [f"{row.module}.{name}" for row in ROWS for name in row.names.split()]

    assert sorted(set(names)) == sorted(names)
