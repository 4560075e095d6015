"""A shop with its whole monitoring: workers, observers, collectors, Prometheus, Alertmanager, who is told."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support import observer
from support.apps import faults
from support.backends import alertmanager as am
from support.backends.alertmanager import Alertmanager, running_alertmanager
from support.backends.notified import Webhook
from support.backends.otelcol import running_collector
from support.backends.prometheus import Prometheus, install, running_prometheus
from support.env import base_env, script
from support.process import RealProcess
from support.servers import RedisServer, free_port
from support.wait import wait_for

APP = "support.apps.faults"
#: Seconds between two exports, scrapes, evaluations and looks of the observers.
INTERVAL = 5
#: Jobs of the night have to wait no longer than this (s), so that the test need not wait for so long either.
NIGHTLY_OBJECTIVE = 4
#: Each worker's service, and what starts it.
WORKERS: Mapping[str, Sequence[str]] = {
    "orders": ("celery", "-P", "prefork", "-c", "2"),
    "mails": ("celery", "-P", "solo"),
    "photos": ("celery", "-P", "solo"),
    "exports": ("celery", "-P", "solo"),
    "reports": ("rq",),
    "nightly": ("rq",),
}
#: The worker whose metrics are scraped from its collector; those of all others come by OTLP.
SCRAPED = "photos"


@dataclass(slots=True)
class Stack:
    """All of it, running."""

    folder: Path
    redis: RedisServer
    prometheus: Prometheus
    manager: Alertmanager
    webhook: Webhook
    workers: dict[str, RealProcess] = field(default_factory=dict)

    @property
    def broken(self) -> Path:
        """The file that makes every second payment fail."""
        return self.folder / "broken"

    def seen(self) -> str:
        """For failures: what is firing or about to."""
        alerts = [f"{row['state']} {row['labels']} {row['annotations']}" for row in self.prometheus.alerts()]
        return "\n".join([*alerts, *(worker.tail()[-1500:] for worker in self.workers.values())])


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """Start everything, and wait until Prometheus has seen each worker, each queue and enough payments."""
    with ExitStack() as things:
        redis = RedisServer(folder)
        things.callback(redis.stop)
        webhook = things.enter_context(Webhook())
        manager = things.enter_context(running_alertmanager(folder, _alertmanager(folder, webhook)))
        scraped = f"127.0.0.1:{free_port()}"
        objective = {"record": "taskqueue:objective_wait_seconds", "expr": f"vector({NIGHTLY_OBJECTIVE})"}
        config = install(
            folder,
            collectors=[scraped],
            alertmanagers=[manager.endpoint],
            interval=f"{INTERVAL}s",
            objectives=[{**objective, "labels": {"messaging_destination_name": "nightly"}}],
        )
        prometheus = things.enter_context(running_prometheus(folder, config=config, otlp=True))
        stack = Stack(folder, redis, prometheus, manager, webhook)
        gateway, local = _collectors(things, folder, prometheus, scraped)
        for name, argv in WORKERS.items():
            endpoint = local if name == SCRAPED else gateway
            worker = stack.workers[name] = _worker(stack, name, argv, endpoint)
            # Nobody waits for the jobs that hang.
            things.callback(worker.kill)
        for each in (*_observers(stack, gateway), _feeder(stack)):
            things.callback(each.kill)
        _wait_until_healthy(stack)
        yield stack


def _alertmanager(folder: Path, webhook: Webhook) -> Path:
    """The shipped tiers, and besides somebody who hears of every alert at once."""
    nobody = f"127.0.0.1:{free_port()}"
    addresses = am.Addresses(webhook.url("/chat"), nobody, "none", webhook.url("/ticket"), "none")
    return am.install(folder, addresses, am.listen_too("all", webhook.url("/all")))


def _collectors(things: ExitStack, folder: Path, prometheus: Prometheus, scraped: str) -> tuple[str, str]:
    """Where they listen: the gateway, which sends to Prometheus, and the laptop's, which is scraped."""
    nowhere = f"127.0.0.1:{free_port()}"
    backends = {
        "TRACES_ENDPOINT": nowhere,
        "LOGS_ENDPOINT": f"http://{nowhere}",
        "METRICS_ENDPOINT": prometheus.otlp,
    }
    gateway = running_collector(["collector-config/gateway.yaml"], folder / "gateway", env=backends)
    local_env = {"TRACES_ENDPOINT": nowhere, "PROMETHEUS_EXPORTER_ENDPOINT": scraped}
    local = running_collector(["collector-config/local.yaml"], folder / "local", env=local_env)
    return things.enter_context(gateway).http, things.enter_context(local).http


def _env(stack: Stack, service: str, endpoint: str) -> dict[str, str]:
    return base_env(
        OTEL_SERVICE_NAME=service,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{endpoint}",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_METRIC_EXPORT_INTERVAL=str(INTERVAL * 1000),
        OTEL_TRACES_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        RQ_REDIS_URL=stack.redis.url(),
        **{faults.BROKER: stack.redis.url(), faults.BROKEN: str(stack.broken)},
    )


def _worker(stack: Stack, name: str, argv: Sequence[str], endpoint: str) -> RealProcess:
    library, *arguments = argv
    if library == "rq":
        command = [script("rq"), "worker", "--url", stack.redis.url(), "--name", name, name]
    else:
        celery = [script("celery"), "-A", APP, "worker", "-n", f"{name}@shop", "-Q", name, "-l", "INFO"]
        command = [*celery, "--without-gossip", "--without-mingle", *arguments]
    return RealProcess(
        name,
        [script("opentelemetry-instrument"), *command],
        env=_env(stack, name, endpoint),
        log=stack.folder / f"{name}.log",
    )


def _observers(stack: Stack, endpoint: str) -> Iterator[RealProcess]:
    looks = {
        "celery": ("--broker", stack.redis.url(), "--queue", "orders,exports"),
        "rq": ("--rq", "--queue", "reports,nightly"),
    }
    for library, arguments in looks.items():
        env = _env(stack, f"observer-{library}", endpoint)
        command = observer.command(*arguments, "--interval", str(INTERVAL))
        yield RealProcess(
            f"observer {library}", command, env=env, log=stack.folder / f"observe-{library}.log"
        )


def _feeder(stack: Stack) -> RealProcess:
    env = _env(stack, "feeder", "127.0.0.1:9")
    return RealProcess("feeder", [sys.executable, "-m", APP], env=env, log=stack.folder / "feeder.log")


def _wait_until_healthy(stack: Stack) -> None:
    ask = stack.prometheus.wait_for_query
    ask("count(taskqueue_worker_up == 1)", lambda found: found and found[0].value == len(WORKERS), 90)
    ask("count(taskqueue_queue_workers == 1)", lambda found: found and found[0].value == 4, 60)
    ask("sum(increase(taskqueue_task_runs_total[1m]))", lambda found: found and found[0].value > 60, 60)
    wait_for(lambda: not _about_to_fire(stack), 60, "no alert", stack.seen)
    assert {rule["health"] for rule in stack.prometheus.rules()} <= {"ok", "unknown"}


def _about_to_fire(stack: Stack) -> list[str]:
    """Alerts left from the start, when a queue had no worker yet.

    BacklogGrowing takes 15 minutes; a queue that was just begun to be seen always grows steeply.
    """
    names = [str(row["labels"]["alertname"]) for row in stack.prometheus.alerts()]
    return [name for name in names if name != "BacklogGrowing"]


def kill_children(worker: RealProcess, count: int) -> None:
    """SIGKILL this many of a worker's children, one after the other, as new ones appear."""
    killed: set[int] = set()

    def fresh() -> list[int]:
        return [pid for pid in worker.children() if pid not in killed]

    while len(killed) < count:
        (pid, *_) = wait_for(fresh, 20, f"a child of {worker.name}", worker.tail)
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
