"""The table of the programs: how each is called, where it may come from, what builds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Recipe = Literal["collector", "go", "maven", "system"]


@dataclass(frozen=True, slots=True)
class Source:
    """What is built in one go: a folder of this package, or a package of the system."""

    name: str
    recipe: Recipe
    # Import paths for `go build`; for a package of the system: its name.
    targets: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    # Seconds that it takes with empty caches on 2 cores, for whoever waits.
    usual: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """One program: the variable that names it, its names on PATH, the lowest version that will do."""

    name: str
    variable: str
    source: Source
    on_path: tuple[str, ...] = ()
    lowest: tuple[int, ...] = ()


COLLECTOR = Source("collector", "collector", needs=("go",), usual=150)
JAEGER = Source("jaeger", "go", ("github.com/jaegertracing/jaeger/cmd/jaeger",), ("go",), 170)
PROMETHEUS = Source(
    "prometheus",
    "go",
    ("github.com/prometheus/prometheus/cmd/prometheus", "github.com/prometheus/prometheus/cmd/promtool"),
    ("go",),
    210,
)
KAFKA = Source("kafka", "maven", needs=("mvn", "java"), usual=20)
ALERTMANAGER = Source("alertmanager", "system", ("prometheus-alertmanager",), usual=10)

# A collector on PATH must have all components of collector-config/: the contrib distribution has.
PROGRAMS = {
    program.name: program
    for program in (
        Program("otelcol", "OTELCOL_BIN", COLLECTOR, ("otelcol-contrib",), (0, 154)),
        Program("jaeger", "JAEGER_BIN", JAEGER, ("jaeger",)),
        Program("prometheus", "PROMETHEUS_BIN", PROMETHEUS, ("prometheus",), (3,)),
        Program("promtool", "PROMTOOL_BIN", PROMETHEUS, ("promtool",), (3,)),
        Program("alertmanager", "ALERTMANAGER_BIN", ALERTMANAGER, ("alertmanager", ALERTMANAGER.targets[0])),
        Program("amtool", "AMTOOL_BIN", ALERTMANAGER, ("amtool",)),
        Program("kafka", "KAFKA_JARS", KAFKA),
    )
}  # fmt: skip
