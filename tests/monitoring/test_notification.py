"""From a fault to the message about it: everything real, everything broken at once, the seconds measured."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import pytest
import redis
from rq import Queue

from support import fault_stack
from support.apps import faults
from support.backends.notified import Call
from support.backends.programs import ROOT
from support.fault_stack import Stack, kill_children, running_stack
from support.wait import wait_for

pytestmark = [pytest.mark.xdist_group("notification"), pytest.mark.timeout(540)]

#: What export, scrape or push, evaluation (two rules deep) and Alertmanager may add to a rule's own time (s).
ON_THE_WAY = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is broken, and the alert which has to tell of it.

    ``labels`` make the alert this one's; ``rule`` are the seconds which the rule itself takes: its silence,
    its ``for``, the age that a job has to reach.
    """

    what: str
    alert: str
    labels: Mapping[str, str]
    rule: float
    breaks: Callable[[Stack], object]
    told: tuple[str, ...] = ()


def fail_half(stack: Stack) -> None:
    stack.broken.touch()


def enqueue(stack: Stack, queue: str, seconds: float, count: int = 1) -> None:
    with redis.Redis.from_url(stack.redis.url()) as client:
        for _ in range(count):
            Queue(queue, connection=client).enqueue(faults.hang, seconds)


FAULTS = (
    Fault(
        "half of a task's runs fail",
        "FailureRateHigh",
        {"taskqueue_task_name": "shop.pay"},
        60,
        fail_half,
        ("queue `orders`", "category connection", "last error `support.apps.faults.PaymentDownError`"),
    ),
    Fault(
        "`kill -9` of a worker (OTLP)",
        "WorkerLost",
        {"taskqueue_worker_name": "mails@shop"},
        120,
        lambda stack: stack.workers["mails"].send_signal(signal.SIGKILL),
        ("service `mails`",),
    ),
    Fault(
        "`kill -9` of a worker (scraped)",
        "WorkerLost",
        {"taskqueue_worker_name": "photos@shop"},
        120,
        lambda stack: stack.workers["photos"].send_signal(signal.SIGKILL),
        ("service `photos`",),
    ),
    Fault(
        "`kill -9` of three Celery children",
        "ProcessKilled",
        {"job": "orders"},
        0,
        lambda stack: kill_children(stack.workers["orders"], 3),
    ),
    Fault(
        "`kill -9` of three RQ work-horses",
        "ProcessKilled",
        {"job": "reports"},
        0,
        lambda stack: kill_children(stack.workers["reports"], 3),
    ),
    Fault(
        "the last worker of a queue is stopped, jobs go on coming",
        "NoWorkersForQueue",
        {"messaging_destination_name": "exports"},
        120,
        lambda stack: stack.workers["exports"].send_signal(signal.SIGTERM),
    ),
    Fault(
        "the only worker hangs in a job, others wait",
        "OldestTaskTooOld",
        {"messaging_destination_name": "nightly"},
        5 * fault_stack.NIGHTLY_OBJECTIVE + 120,
        lambda stack: enqueue(stack, "nightly", 3600),
    ),
)


@dataclass(slots=True)
class Measured:
    """Unix time of each fault, and what was told."""

    stack: Stack
    broken_at: dict[str, float]

    def told(self, fault: Fault) -> float | None:
        """When the webhook heard of the alert."""
        return next((call.time for call in self.stack.webhook.on("/all") if of(fault, call)), None)

    def all_told(self) -> bool:
        """Whether it heard of every one."""
        return all(self.told(fault) for fault in FAULTS)


def of(fault: Fault, call: Call) -> bool:
    wanted = {"alertname": fault.alert, **fault.labels}
    return any(row["labels"].items() >= wanted.items() for row in call.body["alerts"])


def belongs(fault: Fault, labels: Mapping[str, str]) -> bool:
    """Whether an alert is about a fault; a task that fails for long becomes a ticket, too."""
    names = {fault.alert, "TaskFailingRepeatedly"} if fault.alert == "FailureRateHigh" else {fault.alert}
    return labels["alertname"] in names and labels.items() >= fault.labels.items()


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    """Everything broken within a few seconds, and every message awaited."""
    with running_stack(tmp_path_factory.mktemp("faults")) as stack:
        enqueue(stack, "reports", 3600, count=6)
        # The first kill makes the series: Prometheus is too young to count a new one from zero.
        for name in ("orders", "reports"):
            kill_children(stack.workers[name], 1)
        seen = 'count(taskqueue_worker_process_exits_total{taskqueue_exit_reason="SIGKILL"})'
        stack.prometheus.wait_for_query(seen, lambda found: found and found[0].value == 2, 60)
        result = Measured(stack, {})
        for fault in FAULTS:
            result.broken_at[fault.what] = time.time()
            fault.breaks(stack)
        longest = max(fault.rule for fault in FAULTS) + ON_THE_WAY
        wait_for(result.all_told, longest, "every fault is told", lambda: f"{table(result)}\n{stack.seen()}")
        yield result
        print(f"\n{table(result)}")


def table(result: Measured) -> str:
    """The rows of docs/alerting.md."""
    rows = ["| fault | alert | told after |", "| --- | --- | --- |"]
    for fault in FAULTS:
        told, broken = result.told(fault), result.broken_at.get(fault.what)
        seconds = f"{told - broken:.0f} s" if told and broken else "-"
        rows.append(f"| {fault.what} | `{fault.alert}` | {seconds} |")
    return "\n".join(rows)


def test_the_page_has_a_figure_for_every_fault() -> None:
    """docs/alerting.md says how soon; no figure there is beyond what is promised here."""
    text = (ROOT / "docs" / "alerting.md").read_text()
    documented = {
        row[0]: row[1:] for row in re.findall(r"^\| (.+?) \| `(\w+)` \| (\d+) s \|", text, re.MULTILINE)
    }
    assert documented.keys() == {fault.what for fault in FAULTS}
    for fault in FAULTS:
        alert, seconds = documented[fault.what]
        assert alert == fault.alert
        assert int(seconds) <= fault.rule + ON_THE_WAY


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_every_fault_is_told_soon(measured: Measured, fault: Fault) -> None:
    """Within the rule's own time and a minute."""
    told = measured.told(fault)
    assert told is not None
    seconds = told - measured.broken_at[fault.what]
    assert 0 < seconds <= fault.rule + ON_THE_WAY


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_the_chat_says_what_it_is_about(measured: Measured, fault: Fault) -> None:
    """With the names, the category and the last error, and links to the runbook, the traces and the lines."""

    def look() -> Any:
        texts = (call.body["attachments"][0]["text"] for call in measured.stack.webhook.on("/chat"))
        words = (f"*{fault.alert}*", *fault.labels.values(), *fault.told)
        return next((text for text in texts if all(word in text for word in words)), None)

    text = wait_for(look, 30, fault.what, lambda: measured.stack.webhook.on("/chat"))
    assert f"/{fault.alert}.md|runbook>" in text
    for source, label in (("tempo", "traces"), ("loki", "logs")):
        panes, *_ = re.findall(rf"<\S+/explore\?schemaVersion=1&panes=(\S+)\|{label}>", text)
        pane = json.loads(unquote_plus(panes))["a"]
        assert pane["datasource"] == source
        assert any(value in str(pane["queries"]) for value in fault.labels.values())


def test_a_worker_that_is_stopped_is_not_lost(measured: Measured) -> None:
    """The worker of the exports left before the others were missed."""
    assert not measured.stack.workers["exports"].is_running()
    lost = {row["labels"]["taskqueue_worker_name"] for row in firing(measured) if "WorkerLost" in str(row)}
    assert lost == {"mails@shop", "photos@shop"}


def test_nobody_is_told_of_what_is_not_broken(measured: Measured) -> None:
    """Each alert that came belongs to a fault, or follows from one."""
    rows = [row["labels"] for call in measured.stack.webhook.on("/all") for row in call.body["alerts"]]
    assert rows
    for row in rows:
        assert any(belongs(fault, row) for fault in FAULTS), row


def firing(measured: Measured) -> list[Mapping[str, Any]]:
    return [row for row in measured.stack.prometheus.alerts() if row["state"] == "firing"]
