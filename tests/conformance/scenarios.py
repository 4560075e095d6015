"""ONE list of scenarios for every queue library: what is enqueued, and how its attempts end.

A scenario says nothing of Celery or RQ beyond the call that sets it off; what must come out is
the same for both, except for the name of the library's own exception.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

ORDER_ERROR = "support.apps.errors.OrderError"
EXPECTED_ERROR = "support.apps.errors.ExpectedError"
TRANSIENT_ERROR = "support.apps.errors.TransientError"
WORKER_LOST = "billiard.exceptions.WorkerLostError"
SOFT_LIMIT = "billiard.exceptions.SoftTimeLimitExceeded"
HARD_LIMIT = "billiard.exceptions.TimeLimitExceeded"
#: Outcome -> category; of OrderError, ExpectedError and TransientError nothing is known.
CATEGORIES = {
    "failure": "unknown",
    "retry": "unknown",
    "timeout": "timeout",
    "lost": "killed",
    "unknown": "code",
}
NO_CATEGORY = ""


@dataclass(frozen=True, slots=True)
class Call:
    """The enqueue call of one room, and what is done to the job afterwards.

    ``then``: ``cancel`` before it starts, ``stop`` while it runs.
    """

    case: str
    args: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    then: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt must end.

    Args:
        error_type: by room where the library's own exception differs.
        recorded: how many exceptions are recorded on the span.
        retried: seconds until the next attempt that the event names, by room where they differ;
            None: no event.
        ran: whether the job's code ran (and can tell which process ran it).
        exit: the signal's name or the exit code of the process.
        category: what kind of failure it was, where the outcome alone does not say it.
    """

    outcome: str
    status: str = "UNSET"
    error_type: str | Mapping[str, str] | None = None
    number: int = 1
    recorded: int = 0
    retried: float | Mapping[str, float] | None = None
    redelivered: bool = False
    ran: bool = True
    exit: str | int | None = None
    category: str | None = None

    @property
    def kind_of_failure(self) -> str | None:
        """``taskqueue.failure.category``: every attempt that failed has one, and no other."""
        if self.category is not None:
            return self.category or None
        if self.outcome == "rejected":
            return "data" if self.status == "ERROR" else None
        return CATEGORIES.get(self.outcome)

    def error_type_in(self, room: str) -> str | None:
        """``error.type`` in one room."""
        if isinstance(self.error_type, str) or self.error_type is None:
            return self.error_type
        return self.error_type[room]

    def delay_in(self, room: str) -> float | None:
        """Seconds until the next attempt; RQ's Retry without an interval runs the job again at once."""
        if isinstance(self.retried, Mapping):
            return self.retried[room]
        return 0.0 if room == "rq" and self.retried is not None and self.retried < 1 else self.retried


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is enqueued in each room, and the attempts that must come out.

    ``absent`` says for a room without a call why its library does not offer this, ``since`` from
    which version on it does.
    ``isolated``: needs a process of its own for the job, which not every pool has. ``green``: a
    pool of greenlets that needs none -> since when it offers this, or why it does not.
    """

    name: str
    calls: Mapping[str, Call]
    attempts: tuple[Attempt, ...]
    absent: Mapping[str, str] = field(default_factory=dict)
    since: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    isolated: bool = False
    green: Mapping[str, tuple[int, ...] | str] = field(default_factory=dict)
    everywhere: bool = False


SUCCESS = Attempt("success")


def failure(error_type: str, number: int = 1) -> Attempt:
    """The last attempt, which failed."""
    return Attempt("failure", "ERROR", error_type, number, recorded=1)


def lost(exit_: str | int, without_exception: str) -> Attempt:
    """The process died. Celery reports an exception of its own, RQ has none."""
    return Attempt(
        "lost",
        "ERROR",
        {"celery": WORKER_LOST, "rq": without_exception},
        recorded=1,
        exit=exit_,
    )


SCENARIOS = (
    Scenario(
        "success",
        {"celery": Call("ok", ("value",)), "rq": Call("ok", ("value",))},
        (SUCCESS,),
        everywhere=True,
    ),
    Scenario(
        "failure",
        {"celery": Call("fail"), "rq": Call("fail")},
        (failure(ORDER_ERROR),),
        everywhere=True,
    ),
    Scenario(
        "expected failure",
        {"celery": Call("fail_expected")},
        (Attempt("failure", "UNSET", EXPECTED_ERROR),),
        absent={"rq": "has no list of expected exceptions"},
    ),
    Scenario(
        "retries until success",
        {
            "celery": Call("autoretry_until_success"),
            "rq": Call("fail_times", (2,), {"retry": {"max": 2}}),
        },
        (
            Attempt("retry", number=1, retried=0.2),
            Attempt("retry", number=2, retried=0.2),
            Attempt("success", number=3),
        ),
        everywhere=True,
    ),
    Scenario(
        "retries until failure",
        {
            "celery": Call("autoretry_until_failure"),
            "rq": Call("fail_times", (9,), {"retry": {"max": 1}}),
        },
        (Attempt("retry", retried=0.2), failure(TRANSIENT_ERROR, 2)),
    ),
    Scenario(
        "retry after a while",
        {
            "celery": Call("retry_with_countdown", (1.0,)),
            "rq": Call("fail_times", (1,), {"retry": {"max": 1, "interval": 1}}),
        },
        (Attempt("retry", retried=1.0), Attempt("success", number=2)),
    ),
    Scenario(
        "retry by the return value",
        {"rq": Call("return_retry")},
        (Attempt("retry", retried=0.0, category=NO_CATEGORY), Attempt("success", number=2)),
        absent={"celery": "a retry is asked for by an exception"},
        since={"rq": (2, 1)},
    ),
    Scenario(
        "later",
        {
            "celery": Call("ok", ("later",), {"countdown": 1.2}),
            "rq": Call("ok", ("later",), {"how": "enqueue_in", "delay": 1.2}),
        },
        (SUCCESS,),
    ),
    Scenario(
        "ignored",
        {"celery": Call("ignore")},
        (Attempt("ignored"),),
        absent={"rq": "has no Ignore"},
    ),
    Scenario(
        "rejected and redelivered",
        {"celery": Call("reject_requeue_once")},
        (Attempt("rejected"), Attempt("success", redelivered=True)),
        absent={"rq": "has no Reject"},
    ),
    Scenario(
        "rejected for good",
        {"celery": Call("reject_drop")},
        (Attempt("rejected", "ERROR", "celery.exceptions.Reject"),),
        absent={"rq": "has no Reject"},
    ),
    Scenario(
        "time limit",
        {"celery": Call("soft_limit"), "rq": Call("run_over", (), {"job_timeout": 1})},
        (
            Attempt(
                "timeout",
                "ERROR",
                {"celery": SOFT_LIMIT, "rq": "rq.timeouts.JobTimeoutException"},
                recorded=1,
            ),
        ),
        isolated=True,
    ),
    Scenario(
        "time limit caught",
        {
            "celery": Call("soft_limit_caught"),
            "rq": Call("run_over_caught", (), {"job_timeout": 1}),
        },
        (SUCCESS,),
        isolated=True,
    ),
    Scenario(
        "time limit and retry",
        {
            "celery": Call("conformance.tasks.soft_limit_once", (), {"how": "send_task"}),
            "rq": Call("run_over_once", (), {"job_timeout": 1, "retry": {"max": 1}}),
        },
        (
            Attempt(
                "timeout",
                "ERROR",
                {"celery": SOFT_LIMIT, "rq": "rq.timeouts.JobTimeoutException"},
                retried=0.2,
            ),
            Attempt("success", number=2),
        ),
        isolated=True,
    ),
    Scenario(
        "hard limit",
        {"celery": Call("hard_limit")},
        (Attempt("timeout", "ERROR", HARD_LIMIT, recorded=1),),
        absent={"rq": "its only limit is an exception in the job"},
        isolated=True,
        green={"gevent": (), "eventlet": "the pool knows no time limits"},
    ),
    Scenario(
        "hard limit swallowed",
        {"celery": Call("hard_limit_swallowed")},
        (Attempt("timeout", "ERROR", HARD_LIMIT, recorded=1),),
        absent={"rq": "its only limit is an exception in the job"},
        isolated=True,
    ),
    Scenario(
        "killed",
        {"celery": Call("kill_self"), "rq": Call("kill_self")},
        (lost("SIGKILL", "SIGKILL"),),
        isolated=True,
    ),
    Scenario(
        "crashed",
        {"celery": Call("kill_self", ("SIGSEGV",)), "rq": Call("kill_self", ("SIGSEGV",))},
        (lost("SIGSEGV", "SIGSEGV"),),
        isolated=True,
    ),
    Scenario(
        "left by os._exit",
        {"celery": Call("leave", (7,)), "rq": Call("leave", (7,))},
        (lost(7, "exit_code"),),
        isolated=True,
    ),
    Scenario(
        "killed and redelivered",
        {"celery": Call("kill_self_once")},
        (lost("SIGKILL", "SIGKILL"), Attempt("success", redelivered=True)),
        absent={"rq": "has no redelivery; see killed and retried"},
        isolated=True,
    ),
    Scenario(
        "killed and retried",
        {
            "celery": Call("conformance.tasks.killed_once", (), {"how": "send_task"}),
            "rq": Call("kill_self_once", (), {"retry": {"max": 1}}),
        },
        (
            replace(lost("SIGKILL", "SIGKILL"), recorded=0, retried={"celery": 1.0, "rq": 0.0}),
            Attempt("success", number=2),
        ),
        since={"celery": (5, 7)},
        isolated=True,
    ),
    Scenario(
        "left by SystemExit (Celery: the child ends)",
        {"celery": Call("system_exit")},
        (Attempt("lost", "ERROR", f"SystemExit|{WORKER_LOST}", recorded=1),),
        absent={"rq": "catches SystemExit; see SystemExit (RQ: a failure)"},
        isolated=True,
    ),
    Scenario(
        "SystemExit (RQ: a failure)",
        {"rq": Call("system_exit")},
        (replace(failure("SystemExit"), category="killed"),),
        absent={"celery": "SystemExit ends the child"},
    ),
    Scenario(
        "revoked before it starts",
        {"celery": Call("ok", (), {"countdown": 1.5}, then="cancel")},
        (Attempt("revoked", ran=False),),
        absent={"rq": "a cancelled job leaves the queue and no worker hears of it"},
    ),
    Scenario(
        "stopped while it runs",
        {"celery": Call("sleep", (30,), then="stop"), "rq": Call("sleep", (30,), then="stop")},
        (Attempt("revoked"),),
        isolated=True,
        green={"gevent": (5, 5), "eventlet": ()},
    ),
    Scenario(
        "expired",
        {"celery": Call("ok", (), {"countdown": 0.8, "expires": 0.4})},
        (Attempt("expired", ran=False),),
        absent={"rq": "jobs do not expire before their start"},
    ),
    Scenario(
        "unknown task",
        {"celery": Call("support.apps.nowhere.task", (), {"how": "send_task"})},
        (Attempt("unknown", "ERROR", "celery.exceptions.NotRegistered", ran=False, recorded=1),),
        absent={"rq": "see function that cannot be imported"},
    ),
    Scenario(
        "function that cannot be imported",
        {"rq": Call("support.apps.nowhere.task", (), {"how": "by_name"})},
        (
            # Which one depends on where the dotted name stops to exist, and on the version of RQ.
            Attempt(
                "failure",
                "ERROR",
                "ModuleNotFoundError|AttributeError|ValueError",
                ran=False,
                recorded=1,
                category="code|data",
            ),
        ),
        absent={"celery": "see unknown task"},
    ),
)
