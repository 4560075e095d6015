"""The Alertmanager configuration that we ship: who is told of what, when, and in which words."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from support.alert_rules import FOLDER, TIERS, Alert, shipped_alerts
from support.backends import alertmanager as am
from support.backends.notified import Mail, MailServer, Webhook
from support.backends.programs import ROOT, require
from support.certificates import Certificates
from support.monitoring.rules import groups
from support.servers import missing
from support.wait import wait_for

pytestmark = pytest.mark.xdist_group("alertmanager")

ALERTS = shipped_alerts()
RUNBOOK = "https://example.org/runbooks/X.md"
TASK = 'shop.tasks.<lambda>&"pay"'


# --- what amtool says -------------------------------------------------------------------------------
def amtool(*arguments: str) -> str:
    command = [str(require("amtool")), *arguments]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    return said.stdout


def test_amtool_accepts_the_configuration_and_its_templates() -> None:
    """The file as it is, with every template that it names."""
    said = amtool("check-config", str(am.SHIPPED))
    assert said.count("SUCCESS") == 2  # the file, its glob of templates


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_the_severity_of_every_alert_leads_to_its_tier_and_nowhere_else(alert: Alert) -> None:
    """Asked of amtool with the labels that the rule gives."""
    labels = [f"{name}={value}" for name, value in {**alert.labels, "alertname": alert.name}.items()]
    said = amtool("config", "routes", "test", f"--config.file={am.SHIPPED}", *labels)
    assert said.strip() == alert.tier


def test_an_alert_of_somebody_else_goes_into_the_mail() -> None:
    """A severity that is none of ours, or none at all, loses nobody's alert."""
    for label in ("severity=page", "team=other"):
        said = amtool(
            "config", "routes", "test", f"--config.file={am.SHIPPED}", "--verify.receivers=mail", label
        )
        assert said.strip() == "mail"


def test_every_name_in_an_inhibition_is_that_of_an_alert() -> None:
    """A renamed alert must not make a rule silent."""
    texts = json.dumps(am.shipped()["inhibit_rules"])
    named = {
        name for found in re.findall(r'alertname =~? \\"(.+?)\\"', texts) for name in str(found).split("|")
    }
    assert named
    assert named <= {alert.name for alert in ALERTS}


def test_no_secret_stands_in_the_configuration() -> None:
    """Secrets come from files, which it names."""
    text = am.SHIPPED.read_text()
    assert not re.search(
        r"^\s*(api_url|slack_api_url|\w*password|credentials|bearer_token):", text, re.MULTILINE
    )
    assert sorted(re.findall(rf"{am.SECRETS}/(\w+)", text)) == ["chat_url", "mail_password", "ticket_token"]


@pytest.mark.parametrize("tool", ["promtool", "amtool"])
def test_the_commands_of_the_page_work(tool: str) -> None:
    """Those of docs/alerting.md which check something, where the page has them run."""
    folder = {"promtool": FOLDER, "amtool": am.FOLDER}[tool]
    lines = re.findall(rf"^ *{tool} (.+)$", (ROOT / "docs" / "alerting.md").read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        command = [str(require(tool)), *line.split()]
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
        assert said.returncode == 0, said.stdout + said.stderr


# --- what the real one sends ------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Stack:
    """An Alertmanager that is told to hurry, and those whom it tells."""

    manager: am.Alertmanager
    webhook: Webhook
    mail: MailServer

    def seen(self) -> str:
        chat = [call.body["attachments"][0]["title"] for call in self.webhook.on("/chat")]
        mails = [mail.part("plain")[:2000] for mail in self.mail.mails[-1:]]
        return "\n".join([*chat, *mails, self.manager.process.tail()])

    def chat(self, word: str) -> str:
        """The first chat message with a word."""

        def look() -> str:
            messages = (call.body["attachments"][0]["text"] for call in self.webhook.on("/chat"))
            return next((text for text in messages if word in text), "")

        return wait_for(look, 20, f"a chat message with {word!r}", self.seen)

    def letter(self, *words: str) -> Mail:
        """The first mail with all words."""

        def look() -> Mail | None:
            return next((m for m in self.mail.mails if all(w in m.part("plain") for w in words)), None)

        return wait_for(look, 20, f"a mail with {words}", self.seen)

    def ticket(self, task: str | None, status: str = "firing", **group: str) -> Any:
        """The first ticket about a task, or about another group."""
        labels = {"taskqueue_task_name": task, "messaging_destination_name": group.get("queue")}
        wanted = {name: value for name, value in labels.items() if value}

        def look() -> Any:
            return next((call for call in self.webhook.on("/ticket") if about(call.body)), None)

        def about(body: Any) -> bool:
            return body["groupLabels"].items() >= wanted.items() and body["status"] == status

        return wait_for(look, 20, f"a {status} ticket for {wanted}", self.seen)


@contextlib.contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    certificates = Certificates.make(folder) or missing("openssl")
    with Webhook() as webhook, MailServer(certificates) as mail:
        addresses = am.Addresses(
            webhook.url("/chat"), mail.address, "mail-secret", webhook.url("/ticket"), "ticket-secret"
        )
        config = am.install(folder, addresses, am.hurry)
        trust = {"SSL_CERT_FILE": str(certificates.authority)}
        with am.running_alertmanager(folder, config, env=trust) as manager:
            yield Stack(manager, webhook, mail)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("alertmanager")) as stack:
        yield stack


def alert(
    name: str, severity: str, *, minutes: float = 10, ended: bool = False, **labels: str
) -> dict[str, Any]:
    """An alert as Prometheus sends it, begun some minutes ago; it is about failures."""
    now = datetime.now(timezone.utc)
    notes = {"category": "data", "last_error": "shop.errors.OrderError", "runbook_url": RUNBOOK}
    return {
        "labels": {"alertname": name, "severity": severity, **labels},
        "annotations": {"summary": f"summary of {name} <b>", "description": "12 % of 340 runs", **notes},
        "startsAt": (now - timedelta(minutes=minutes)).isoformat(),
        "endsAt": (now + timedelta(seconds=-1 if ended else 600)).isoformat(),
        "generatorURL": "http://prometheus.example.org/graph?g0.expr=1&g0.tab=1",
    }


def explored(url: str) -> tuple[str, str]:
    """The data source and the query of a link to Grafana's explore page."""
    (panes,) = parse_qs(urlsplit(url).query, strict_parsing=True)["panes"]
    (pane,) = json.loads(panes).values()
    assert set(pane["range"]) == {"from", "to"}
    (query,) = pane["queries"]
    return pane["datasource"], query.get("query") or query["expr"]


def chat_links(text: str) -> dict[str, str]:
    """Label and address of each link in Slack's markup."""
    return {label: url for url, label in re.findall(r"<(\S+?)\|(\w+)>", text)}


def test_the_chat_is_told_task_queue_category_error_and_where_to_look(stack: Stack) -> None:
    """A critical alert, its names escaped for the chat, its links with the names in them."""
    labels = {"taskqueue_task_name": TASK, "messaging_destination_name": "orders", "job": "shop/worker"}
    stack.manager.post(alert("FailureRateHigh", "critical", **labels))
    text = stack.chat("shop.tasks.&lt;lambda&gt;&amp;")
    assert "*FailureRateHigh*: summary of FailureRateHigh &lt;b&gt;\n12 % of 340 runs\n" in text
    for line in ("queue `orders`", "category data", "last error `shop.errors.OrderError`"):
        assert f"\n{line}\n" in text
    links = chat_links(text)
    quoted = json.dumps(TASK)
    assert links["runbook"] == RUNBOOK
    assert explored(links["traces"]) == (
        "tempo",
        f"{{ span.taskqueue.task.name = {quoted} && status = error }}",
    )
    lines = f'{{service_name=~".+"}} | taskqueue_task_name={quoted} | severity_number >= 17'
    assert explored(links["logs"]) == ("loki", lines)
    jaeger = parse_qs(urlsplit(links["Jaeger"]).query)
    assert jaeger["service"] == ["worker"]
    assert json.loads(jaeger["tags"][0]) == {"taskqueue.task.name": TASK, "error": "true"}
    assert parse_qs(urlsplit(links["dashboard"]).query) == {"var-task": [TASK]}


def test_an_alert_about_a_worker_leads_to_its_traces_and_lines(stack: Stack) -> None:
    """Without a task, and without an error, the worker's name is what to look for."""
    lost = alert("WorkerLost", "critical", taskqueue_worker_name="w7@host", job="shop/worker")
    lost["annotations"].pop("last_error")
    lost["annotations"]["dashboard"] = "/d/taskqueue-workers?var-worker=w7@host"
    stack.manager.post(lost)
    links = chat_links(stack.chat("w7@host"))
    assert explored(links["traces"])[1] == '{ span.taskqueue.worker.name = "w7@host" }'
    assert explored(links["logs"])[1].endswith('| taskqueue_worker_name="w7@host"')
    assert "Jaeger" not in links
    assert links["dashboard"].endswith("/d/taskqueue-workers?var-worker=w7@host")


def test_the_chat_is_told_when_it_is_over(stack: Stack) -> None:
    """With the time at which it ended."""
    labels = {"taskqueue_worker_name": "back@again", "job": "back"}
    stack.manager.post(alert("WorkerLost", "critical", **labels))
    assert "until" not in stack.chat("back@again")
    stack.manager.post(alert("WorkerLost", "critical", ended=True, **labels))
    text = stack.chat("resolved: WorkerLost")
    assert "worker `back@again`" in text
    assert re.search(r"^until \S+ \S+ UTC$", text, re.MULTILINE)


def test_one_message_for_one_trouble_of_many_workers(stack: Stack) -> None:
    """Two workers of one service that are lost now are one message.

    Alertmanager waits for others of a group only when the first one is younger than the wait.
    """
    workers = ("w1@flock", "w2@flock")
    names = ({"job": "flock", "taskqueue_worker_name": worker} for worker in workers)
    stack.manager.post(*(alert("WorkerLost", "critical", minutes=0, **labels) for labels in names))
    text = stack.chat(workers[0])
    assert workers[1] in text


def test_the_mail_gathers_warnings_of_all_kinds(stack: Stack) -> None:
    """One mail, encrypted and after a login, as text and as HTML, with the links of each."""
    stack.manager.post(
        alert("DurationP99High", "warning", taskqueue_task_name=TASK, messaging_destination_name="slow"),
        alert("OldestTaskTooOld", "warning", messaging_destination_name="heap"),
    )
    mail = stack.letter("DurationP99High", "OldestTaskTooOld")
    assert (mail.user, mail.password, mail.encrypted) == ("alerts", "mail-secret", True)
    assert mail.message["To"] == am.shipped()["receivers"][1]["email_configs"][0]["to"]
    assert re.fullmatch(r"Jobs: \d+ firing(, \d+ resolved)?", mail.message["Subject"])
    plain, html = mail.part("plain"), mail.part("html")
    assert f"  task        {TASK}\n" in plain
    assert "shop.tasks.&lt;lambda&gt;&amp;&#34;pay&#34;" in html
    links = re.findall(r"^  (traces|logs) +(\S+)$", plain, re.MULTILINE)
    assert {explored(url)[0] for _, url in links} == {"tempo", "loki"}
    hrefs = [unescape(address) for address in re.findall(r'href="(.+?)"', html)]
    for _, url in links:
        assert explored(url) in [explored(href) for href in hrefs if "/explore?" in href]


def test_a_task_that_fails_again_and_again_is_one_ticket_which_gets_closed(stack: Stack) -> None:
    """With the token, the key of the task, and everything that is known of it."""
    labels = {"taskqueue_task_name": "shop.tasks.sync", "messaging_destination_name": "nightly"}
    stack.manager.post(alert("TaskFailingRepeatedly", "ticket", **labels))
    opened = stack.ticket("shop.tasks.sync")
    assert opened.headers["Authorization"] == "Bearer ticket-secret"
    (told,) = opened.body["alerts"]
    assert told["labels"].items() >= labels.items()
    assert told["annotations"].items() >= {"category": "data", "last_error": "shop.errors.OrderError"}.items()
    stack.manager.post(alert("TaskFailingRepeatedly", "ticket", ended=True, **labels))
    closed = stack.ticket("shop.tasks.sync", "resolved")
    assert closed.body["groupKey"] == opened.body["groupKey"]


def inhibited(stack: Stack, **labels: str) -> bool:
    """Whether the one alert with these labels is inhibited."""

    def look() -> list[Any]:
        return [row for row in stack.manager.alerts() if row["labels"].items() >= labels.items()]

    (found,) = wait_for(look, 10, f"an alert with {labels}", stack.manager.alerts)
    return bool(found["status"]["inhibitedBy"])


def test_consequences_are_silent_beside_their_cause(stack: Stack) -> None:
    """The warning about the same task, the backlog of the queue without workers; nothing else."""
    task = {"taskqueue_task_name": "shop.tasks.a", "messaging_destination_name": "q1"}
    stack.manager.post(
        alert("FailureRateHigh", "critical", **task),
        alert("RetryStorm", "warning", **task),
        alert("RetryStorm", "warning", **{**task, "taskqueue_task_name": "shop.tasks.b"}),
        alert("ErrorBudgetBurnFast", "critical", **task),
        alert("NoWorkersForQueue", "critical", messaging_destination_name="q2"),
        alert("BacklogGrowing", "warning", messaging_destination_name="q2"),
        alert("BacklogGrowing", "warning", messaging_destination_name="q3"),
        # Neither has a task: that must not make them alike.
        alert("WorkerLost", "critical", job="s", taskqueue_worker_name="gone@s"),
        alert("WorkerRestarts", "warning", job="s", taskqueue_worker_name="other@s"),
    )

    def silent() -> bool:
        return inhibited(stack, alertname="BacklogGrowing", messaging_destination_name="q2")

    wait_for(silent, 10, "the backlog is inhibited", stack.manager.alerts)
    assert inhibited(stack, alertname="RetryStorm", taskqueue_task_name="shop.tasks.a")
    assert not inhibited(stack, alertname="RetryStorm", taskqueue_task_name="shop.tasks.b")
    assert inhibited(stack, alertname="ErrorBudgetBurnFast", taskqueue_task_name="shop.tasks.a")
    assert not inhibited(stack, alertname="BacklogGrowing", messaging_destination_name="q3")
    assert not inhibited(stack, alertname="WorkerRestarts")


def test_while_no_telemetry_comes_only_that_is_told(tmp_path: Path) -> None:
    """Of a gap and a lost worker the chat hears the gap; of the worker as soon as the gap is over."""
    gap = alert("TelemetryGap", "critical", minutes=0)
    with running_stack(tmp_path) as stack:
        stack.manager.post(alert("WorkerLost", "critical", minutes=0, taskqueue_worker_name="w1@s"), gap)
        stack.chat("*TelemetryGap*")
        stack.manager.post(alert("FailureRateHigh", "critical", minutes=0, taskqueue_task_name="later"))
        stack.chat("*FailureRateHigh*")
        assert inhibited(stack, alertname="WorkerLost")
        told = [call.body["attachments"][0]["text"] for call in stack.webhook.on("/chat")]
        assert not [text for text in told if "w1@s" in text]
        over = datetime.now(timezone.utc) - timedelta(seconds=1)
        stack.manager.post({**gap, "endsAt": over.isoformat()})
        assert "*WorkerLost*" in stack.chat("w1@s")


def rendered(rule: Alert) -> dict[str, Any]:
    """Labels and annotations of the first alert that promtool's tests expect of a rule."""
    mine = (group.body for group in groups() if group.name.startswith(f"{rule.name}: positive: "))
    tests = [test for body in mine for test in body.get("alert_rule_test", ())]
    fired = (test["exp_alerts"] for test in tests if test["alertname"] == rule.name)
    return next(alerts[0] for alerts in fired if alerts)


def own(rule: Alert, word: str) -> dict[str, Any]:
    """Such an alert as Prometheus sends it, a word in its texts and names, so that no other is like it."""
    shown = rendered(rule)
    names = {"taskqueue_task_name", "messaging_destination_name", "taskqueue_worker_name", "job"}
    labels = {
        name: f"{value}-{word}" if name in names else value for name, value in shown["exp_labels"].items()
    }
    posted = alert(rule.name, labels.pop("severity"), **labels)
    texts = shown["exp_annotations"]
    return {**posted, "annotations": {**texts, "description": f"{texts['description']} ({word})"}}


def assert_leads_to(links: Mapping[str, str], labels: Mapping[str, str]) -> None:
    """Traces and log lines, of what the alert is about."""
    for name, source in (("traces", "tempo"), ("logs", "loki")):
        datasource, query = explored(links[name])
        assert datasource == source
        about = re.findall(r'"(.+?)"', query.replace('{service_name=~".+"}', ""))
        assert about, query
        assert {"send .*", "lost", *labels.values()} >= set(about), (query, labels)


def test_every_alert_that_we_ship_arrives_in_its_tier_with_its_links(stack: Stack) -> None:
    """As Prometheus sends it: to the runbook, the traces and the log lines, in chat, mail and ticket."""
    # A gap of the telemetry would silence others.
    rules = {f"all-{number:02}": rule for number, rule in enumerate(ALERTS) if rule.name != "TelemetryGap"}
    posted = {word: own(rule, word) for word, rule in rules.items()}
    stack.manager.post(*posted.values())
    for word, rule in rules.items():
        labels, runbook = posted[word]["labels"], rule.annotations["runbook_url"]
        if rule.tier == "chat":
            links = chat_links(stack.chat(f"({word})"))
        elif rule.tier == "mail":
            text = stack.letter(f"({word})").part("plain")
            (section,) = (part for part in text.split("\n\n") if f"({word})" in part)
            links = dict(re.findall(r"^  (runbook|traces|logs) +(\S+)$", section, re.MULTILINE))
        else:
            ticket = stack.ticket(labels["taskqueue_task_name"], queue=labels["messaging_destination_name"])
            links = {**ticket.body["alerts"][0]["annotations"]}
            links["runbook"] = links["runbook_url"]
            labels = rendered(rule)["exp_labels"]
        assert links["runbook"] == runbook
        assert_leads_to(links, labels)
    assert {rule.tier for rule in ALERTS} == set(TIERS.values())


@pytest.mark.parametrize(
    ("labels", "traces", "logs"),
    [
        (
            {"taskqueue_exit_reason": "SIGKILL"},
            '{ resource.service.name = "bills" && span.taskqueue.task.outcome = "lost" }',
            '{service_name="bills"} | severity_number >= 17',
        ),
        (
            {"taskqueue_telemetry_signal": "spans"},
            '{ resource.service.name = "bills" }',
            '{service_name="bills"}',
        ),
        (
            {"taskqueue_schedule_name": "nightly"},
            '{ name =~ "send .*" }',
            '{service_name="bills"}',
        ),
        (
            {"messaging_system": "rabbitmq", "instance": "r1"},
            '{ span.messaging.system = "rabbitmq" }',
            '{service_name=~".+"} | messaging_system="rabbitmq"',
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_alert_about_a_service_leads_to_what_its_page_asks_for(
    stack: Stack, labels: dict[str, str], traces: str, logs: str
) -> None:
    """Without a task, a worker or a queue; a service is known to Tempo and Loki without its namespace."""
    name = f"About{next(iter(labels)).title().replace('_', '')}"
    posted = alert(name, "critical", job="shop/bills", **labels)
    posted["annotations"].pop("last_error")
    stack.manager.post(posted)
    links = chat_links(stack.chat(f"*{name}*"))
    assert (explored(links["traces"])[1], explored(links["logs"])[1]) == (traces, logs)
