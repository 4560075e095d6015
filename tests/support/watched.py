"""A shop whose dashboards have something to show: workers of both libraries, and all that can happen."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests
import yaml

from support import observer, scheduling
from support.backends.otelcol import Collector, running_collector
from support.backends.prometheus import Prometheus, install, running_prometheus
from support.gate import Gate
from support.harness import Options, rabbit_broker, redis_broker
from support.process import RealProcess
from support.servers import RabbitServer, RedisServer, free_port
from support.truth import TruthHarness
from support.truth_rq import RQTruth
from support.wait import wait_for

VERSION = "1.2.3"
#: Interval of scrapes and rules; of exports it is half of that.
INTERVAL = 2
#: So many lines of a job are held when its logs are sampled.
HELD = 1000
#: A collector whose backends are away: what it can hold is little, and what it holds it gives up.
UNHAPPY: Mapping[str, Any] = {
    "exporters": {
        "otlp_http/given_up": {"retry_on_failure": {"enabled": False}},
        "otlp_http/full": {
            "retry_on_failure": {"max_elapsed_time": 0},
            "sending_queue": {"queue_size": 1, "num_consumers": 1},
        },
    }
}
EVERY_END_OF_A_TASK = (
    ("succeed", 15, (), {}),
    ("fail", 12, (), {}),
    ("retry_by_hand", 2, (), {}),
    ("retry_and_fail", 1, (), {}),
    ("overrun_softly", 1, (), {}),
    ("overrun", 1, (), {}),
    ("die", 1, ("SIGKILL",), {}),
    ("leave", 1, (), {}),
    ("keep", 1, (20,), {}),
    ("burn", 1, (0.1,), {}),
    ("support.apps.watched.talk", 1, (HELD + 200,), {}),
    ("no.such.task", 1, (), {}),
    ("succeed", 3, (), {"queue": "nobody-takes-these"}),
)
EVERY_END_OF_A_JOB = (
    ("succeed", 3, (), {}),
    ("fail", 2, (), {}),
    ("fail_but_last", 1, (), {"retry": {"max": 1}}),
    ("overrun", 1, (), {"job_timeout": 1}),
    ("die", 1, (), {}),
    ("burn", 1, (0.1, 20), {}),
)


class Door:
    """What a harness needs of whoever takes its telemetry: the way there."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def env(self) -> dict[str, str]:
        """The environment of a process that exports to the collector."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self._collector.http}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        }


@dataclass(slots=True)
class Shop:
    """All of it, running; `ran` is the unix time of its beginning."""

    prometheus: Prometheus
    celery: TruthHarness
    rq: RQTruth
    gate: Gate
    ran: float

    def everything(self) -> None:
        """Let everything happen once that can happen to a job."""
        self.celery.enqueue_plan(EVERY_END_OF_A_TASK)
        self.rq.enqueue_plan(EVERY_END_OF_A_JOB)
        nowhere = f"redis://127.0.0.1:{free_port()}/0"
        for _ in range(2):
            self.celery.client.call("enqueue_to", nowhere, request=None)
            self.rq.client.call("enqueue_far_away", request=None)
        # Nobody schedules here: these were due almost a minute ago, and are missed in a moment.
        for _ in range(2):
            self.rq.client.call("enqueue_in", -58, "succeed", request=None)

    def duplicate(self) -> None:
        """Finish a task whose acknowledgement gets lost, so that the broker delivers it again."""
        before = len(self.celery.lines("runs"))
        self.celery.enqueue("slow_ack", 1, 2)
        wait_for(lambda: len(self.celery.lines("runs")) > before, 30, "it runs", self.celery.explain)
        assert self.gate.cut()

    def sum(self, expr: str) -> float:
        """One number."""
        return sum(sample.value for sample in self.prometheus.query(expr))

    def asked(self, expr: str, *, instant: bool) -> list[Mapping[str, Any]]:
        """What Prometheus answers to a panel: now, or over the whole time."""
        where, when = "query", {"time": time.time()}
        if not instant:
            where, when = "query_range", {"start": self.ran, "end": time.time(), "step": INTERVAL}
        url = f"{self.prometheus.url}/api/v1/{where}"
        answer = requests.post(url, data={"query": expr, **when}, timeout=30).json()
        assert answer["status"] == "success", f"{answer['error']}: {expr}"
        return [row for row in answer["data"]["result"] if _says_something(row)]

    def exemplars(self, expr: str) -> list[Mapping[str, str]]:
        """Labels of the exemplars of a query's series."""
        when = {"start": self.ran, "end": time.time()}
        url = f"{self.prometheus.url}/api/v1/query_exemplars"
        answer = requests.post(url, data={"query": expr, **when}, timeout=30).json()
        assert answer["status"] == "success", answer
        return [one["labels"] for row in answer["data"] for one in row["exemplars"]]


def _says_something(row: Mapping[str, Any]) -> bool:
    values = row["values"] if "values" in row else [row["value"]]
    return any(value != "NaN" for _, value in values)


@contextmanager
def running_shop(folder: Path) -> Iterator[Shop]:
    """Start all servers and workers, and let everything happen twice: a rate needs two points."""
    with ExitStack() as things:
        redis = RedisServer(folder)
        things.callback(redis.stop)
        rabbit = RabbitServer(folder, management=True, metrics=True)
        things.callback(rabbit.stop)
        nowhere = f"127.0.0.1:{free_port()}"
        configs = ["collector-config/local.yaml"]
        collector = things.enter_context(
            running_collector(configs, folder / "local", env={"TRACES_ENDPOINT": nowhere})
        )
        unhappy = things.enter_context(running_collector([_unhappy(folder, nowhere)], folder / "unhappy"))
        prometheus = things.enter_context(
            running_prometheus(
                folder,
                config=_prometheus(folder, collector, [collector, unhappy], rabbit),
                otlp=True,
                arguments=["--enable-feature=exemplar-storage"],
            )
        )
        gateway = things.enter_context(
            running_collector(
                ["collector-config/gateway.yaml"],
                folder / "gateway",
                env={
                    "TRACES_ENDPOINT": nowhere,
                    "LOGS_ENDPOINT": f"http://{nowhere}",
                    "METRICS_ENDPOINT": prometheus.otlp,
                },
            )
        )
        gate = things.enter_context(Gate(rabbit.host, rabbit.port))
        shop = Shop(
            prometheus,
            _celery(folder, collector, rabbit, redis, gate),
            _rq(folder, gateway, redis),
            gate,
            time.time(),
        )
        for worker in (shop.celery, shop.rq):
            things.callback(_stop, worker)
            worker.launch()
        for process in _others(folder, shop, unhappy, rabbit, redis):
            things.callback(process.kill)
        for worker in (shop.celery, shop.rq):
            _wait_until_ready(worker)
        _let_it_happen(shop)
        yield shop


def _unhappy(folder: Path, nowhere: str) -> Path:
    exporters = {
        name: {"endpoint": f"http://{nowhere}", **more} for name, more in UNHAPPY["exporters"].items()
    }
    local = yaml.safe_load(Path(__file__).parents[2].joinpath("collector-config/local.yaml").read_text())
    pipelines = {
        signal: {"receivers": ["otlp"], "processors": ["memory_limiter"], "exporters": list(exporters)}
        for signal in ("traces", "metrics", "logs")
    }
    kept = {name: local[name] for name in ("extensions", "receivers", "processors")}
    service = {**local["service"], "pipelines": pipelines}
    path = folder / "unhappy.yaml"
    path.write_text(json.dumps({**kept, "exporters": exporters, "service": service}))
    return path


def _prometheus(folder: Path, scraped: Collector, collectors: list[Collector], rabbit: RabbitServer) -> Path:
    """The shipped folder, in a hurry: every rule is judged at once."""
    address = scraped.prometheus.removeprefix("http://").removesuffix("/metrics")
    config = install(folder, collectors=[address], interval=f"{INTERVAL}s")
    about = [each.telemetry.removeprefix("http://").removesuffix("/metrics") for each in collectors]
    for name, targets in (
        ("collector-telemetry", about),
        ("rabbitmq", [f"127.0.0.1:{rabbit.metrics_port}"]),
    ):
        (config.parent / "targets" / f"{name}.yaml").write_text(json.dumps([{"targets": targets}]))
    for name in ("alerts", "recording"):
        path = config.parent / f"{name}.yaml"
        document = yaml.safe_load(path.read_text())
        for group in document["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                rule.pop("for", None)
        path.write_text(yaml.safe_dump(document, sort_keys=False))
    return config


def _environment(service: str) -> dict[str, str]:
    return {
        "OTEL_METRIC_EXPORT_INTERVAL": str(INTERVAL * 500),
        "OTEL_RESOURCE_ATTRIBUTES": f"service.version={VERSION}",
        "OTEL_SERVICE_NAME": service,
    }


def _celery(
    folder: Path, collector: Collector, rabbit: RabbitServer, redis: RedisServer, gate: Gate
) -> TruthHarness:
    """A prefork worker behind the gate; of its lines only those of failures are shipped."""
    broker = rabbit_broker(rabbit, redis)
    behind = replace(broker, port=gate.port, url=broker.url.replace(str(broker.port), str(gate.port)))
    options = Options(
        app="support.apps.watched",
        env={**_environment("shop-worker"), "OTEL_PYTHON_TASKQUEUE_LOG_SAMPLING": "0"},
        client_env=_environment("shop-web"),
    )
    door: Any = Door(collector)
    return TruthHarness(behind, door, folder, pool="prefork", options=options)


def _rq(folder: Path, collector: Collector, redis: RedisServer) -> RQTruth:
    """A worker with work-horses; its metrics come by OTLP, those of Celery are scraped."""
    options = Options(
        env=_environment("invoice-worker"), client_env=_environment("invoice-web"), concurrency=1
    )
    door: Any = Door(collector)
    return RQTruth(redis_broker(redis), door, folder, pool="fork", options=options)


def _others(
    folder: Path, shop: Shop, unhappy: Collector, rabbit: RabbitServer, redis: RedisServer
) -> Iterator[RealProcess]:
    """The observers; and beat, whose collector can send nothing on."""
    celery_env = {**shop.celery.env("observer-celery"), **_environment("observer-celery")}
    look = ["--app", "support.apps.watched:app", "--queue", f"{shop.celery.queue},nobody-takes-these"]
    where = ["--management-url", rabbit.management_url, "--schedules", redis.url()]
    yield observer.start(folder, *look, *where, "--interval", "1", name="observer-celery", **celery_env)
    rq_env = {**shop.rq.env("observer-rq"), **_environment("observer-rq"), "RQ_REDIS_URL": redis.url()}
    yield observer.start(folder, "--rq", "--interval", "1", name="observer-rq", **rq_env)
    door: Any = Door(unhappy)
    often = {"OTEL_METRIC_EXPORT_INTERVAL": "300", "OTEL_BLRP_SCHEDULE_DELAY": "100"}
    yield scheduling.beat(folder, door, redis.url(), {"tick": 1.0}, **often)


def _stop(worker: TruthHarness | RQTruth) -> None:
    if worker.worker is not None:
        worker.worker.kill()
    worker.stop()


def _wait_until_ready(worker: TruthHarness | RQTruth) -> None:
    _ = worker.client
    assert worker.worker is not None
    worker.worker.wait_for_line(worker.ready_line(), 90)


def _let_it_happen(shop: Shop) -> None:
    ended = "sum(taskqueue_task_runs_total)"
    shop.everything()
    shop.prometheus.wait_for_query(f"{ended} > 40", timeout=60)
    shop.duplicate()
    seen = shop.sum(ended)
    shop.everything()
    shop.prometheus.wait_for_query(f"{ended} > {seen + 40}", timeout=60)
    # One of each still runs while the panels are looked at.
    shop.celery.enqueue("nap", 1, 600)
    shop.rq.enqueue("nap", 1, 600, job_timeout=900)
    shop.prometheus.wait_for_query("count(taskqueue_task_active_max_age_seconds > 0) == 2", timeout=30)
