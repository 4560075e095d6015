"""The two tiers with real collectors: an agent, sampling collectors behind one name, a backend."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from otel_taskqueue import semconv
from otel_taskqueue.meters import RUNS
from support.backends.names import Name
from support.backends.otelcol import Collector, running_collector
from support.backends.traffic import Trace
from support.otlp import Receiver
from support.otlp.series import Series
from support.servers import free_port
from support.wait import wait_for

AGENT = ["collector-config/agent.yaml"]
SAMPLING = ["collector-config/sampling.yaml"]
RESAMPLE = [*SAMPLING, "collector-config/resample.yaml"]
CALLS = "traces.span.metrics.calls"
LINE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# A changed name is looked up within Go's 5 s for files and the agent's interval of 1 s.
NOTICED = 15.0


class Backend:
    """Where kept traces, all metrics and all log records end."""

    def __init__(self, stack: ExitStack) -> None:
        self.traces = stack.enter_context(Receiver("grpc"))
        self.rest = stack.enter_context(Receiver())
        self._counted = 0
        self._spans: Counter[tuple[str, str]] = Counter()

    def env(self) -> dict[str, str]:
        """What points a sampling collector here."""
        return {
            "TRACES_ENDPOINT": f"127.0.0.1:{self.traces.port}",
            "METRICS_ENDPOINT": self.rest.endpoint,
            "LOGS_ENDPOINT": self.rest.endpoint,
        }

    @property
    def spans(self) -> Counter[tuple[str, str]]:
        """How often each span came: (trace id, span id)."""
        everything = self.traces.spans()
        self._spans.update((span.trace_id, span.span_id) for span in everything[self._counted :])
        self._counted = len(everything)
        return self._spans

    @property
    def trace_ids(self) -> set[str]:
        """Of which traces there is something."""
        return {trace_id for trace_id, _span_id in self.spans}

    def missing(self, traces: Iterable[Trace], part: Callable[[Trace], set[str]]) -> dict[str, int]:
        """How many spans of a part of these traces are not here, by trace id."""
        here = self.spans
        gaps = {one.trace_id: sum((one.trace_id, span) not in here for span in part(one)) for one in traces}
        return {trace_id: gap for trace_id, gap in gaps.items() if gap}

    def wait_for(
        self, traces: Sequence[Trace], part: Callable[[Trace], set[str]] = lambda trace: trace.span_ids
    ) -> None:
        """Wait until this part of all these traces is here."""
        wait_for(
            lambda: not self.missing(traces, part),
            60,
            f"spans of {len(traces)} traces at the backend",
            lambda: f"{len(missing := self.missing(traces, part))} traces lack {sum(missing.values())} spans",
        )

    def duplicates(self) -> int:
        """How many spans came that were here before."""
        return sum(count - 1 for count in self.spans.values())

    def calls(self, key: str, **attributes: str) -> Counter[object]:
        """What span_metrics counted, over all collectors, by one of its dimensions."""
        points = [point for point in self.rest.metrics() if point.name == CALLS]
        found: Counter[object] = Counter()
        for service in {point.resource.service for point in points}:
            for point in Series(points, service).last(CALLS, **attributes):
                found[point.attributes.get(key)] += int(point.value or 0)
        return found

    def runs(self) -> Counter[object]:
        """What the workers counted themselves, by outcome: of each series the newest point."""
        points = [point for point in self.rest.metrics() if point.name == RUNS.name]
        points.sort(key=lambda point: point.time)
        services = {point.resource.service for point in points}
        return sum((Series(points, one).by(RUNS.name, semconv.TASK_OUTCOME) for one in services), Counter())


class Tiers:
    """An agent and its sampling collectors, one on each address of the name."""

    def __init__(self, directory: Path, stack: ExitStack, env: Mapping[str, str]) -> None:
        self.directory = directory
        self.backend = Backend(stack)
        self.name = Name("sampling.test", directory)
        self.samplers: list[Collector] = []
        self._port = free_port()
        self._stack = stack
        self._env = {**self.backend.env(), "SPAN_METRICS_INTERVAL": "500ms", **env}

    def start_agent(self) -> Collector:
        """Start the first tier."""
        env = {
            "GATEWAY_HOST": self.name.name,
            "GATEWAY_PORT": str(self._port),
            "GATEWAY_DNS_INTERVAL": "1s",
        }
        running = running_collector(AGENT, self.directory / "agent", env=env, prefix=self.name.prefix)
        self.agent = self._stack.enter_context(running)
        return self.agent

    def add_sampler(self) -> Collector:
        """Start one more of the second tier, on an address of its own."""
        host = f"127.0.0.{len(self.samplers) + 2}"
        directory = self.directory / f"sampling-{len(self.samplers)}"
        env = {**self._env, "OTLP_GRPC_ENDPOINT": f"{host}:{self._port}", **self._identity(directory)}
        self.samplers.append(
            self._stack.enter_context(running_collector(SAMPLING, directory, env=env, host=host))
        )
        return self.samplers[-1]

    def _identity(self, directory: Path) -> Mapping[str, str]:
        """The first one on a host goes by the host's name; each that is added needs one of its own."""
        if not self.samplers:
            return {}
        name = directory.with_suffix(".id")
        name.write_text(f"{directory.name}\n")
        return {"COLLECTOR_ID_FILE": str(name)}

    def point_to(self, *samplers: Collector) -> None:
        """Let the name stand for these."""
        self.name.point_to([sampler.host for sampler in samplers])

    def wait_for_backends(self, count: int) -> None:
        """Wait until the agent knows that so many collectors are behind the name."""
        wait_for(
            lambda: total([self.agent], "otelcol_loadbalancer_num_backends") == count,
            NOTICED,
            f"the agent knows of {count} sampling collectors",
            self.agent.process.tail,
        )

    def accepted(self) -> int:
        """How many spans the sampling collectors that run have taken."""
        running = [sampler for sampler in self.samplers if sampler.process.is_running()]
        return total(running, "otelcol_receiver_accepted_spans")

    @contextmanager
    def resampling(self) -> Iterator[Collector]:
        """The disk channel sampled once more, as docs/two-tiers.md tells."""
        env = {**self._env, "OTELCOL_FILE_DIR": str(self.agent.directory / "files")}
        directory = self.directory / "resampling"
        with running_collector(RESAMPLE, directory, env=env) as collector:
            yield collector


@contextmanager
def running_tiers(directory: Path, samplers: int = 2, **env: str) -> Iterator[Tiers]:
    """An agent and so many sampling collectors, gone at the end."""
    with ExitStack() as stack:
        tiers = Tiers(directory, stack, env)
        for _ in range(samplers):
            tiers.add_sampler()
        tiers.point_to(*tiers.samplers)
        tiers.start_agent()
        tiers.wait_for_backends(samplers)
        yield tiers


def total(collectors: Iterable[Collector], name: str, **labels: str) -> int:
    """The sum of one of the collectors' own metrics, over series with these labels; -1: too busy to say."""
    try:
        texts = [collector.metrics() for collector in collectors]
    except OSError:
        return -1
    values = (series for text in texts for series in _series(text, name))
    return int(sum(value for having, value in values if labels.items() <= having.items()))


def _series(text: str, name: str) -> Iterator[tuple[dict[str, str], float]]:
    for line in text.splitlines():
        found = LINE.match(line)
        if found and found["name"] in {name, f"{name}_total"}:
            yield dict(LABEL.findall(found["labels"] or "")), float(found["value"])
