"""What a dashboard consists of, as values: queries, panels, rows, variables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = Literal["heatmap", "logs", "stat", "state-timeline", "status-history", "table", "timeseries"]


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel; ``legend`` names its series, ``instant`` asks for now alone."""

    expr: str
    legend: str = ""
    instant: bool = False
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """Where a click on a value, or on a panel's title, leads."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Args:
        title: unique on its dashboard.
        queries: PromQL; LogQL where ``source`` is ``loki``.
        kind: Grafana's panel type.
        text: what it shows, and how to read it.
        unit: Grafana's id of a unit.
        width: columns of 24.
        height: rows of 30 pixels.
        links: on each value.
        defaults: more of the field's defaults (min, max, thresholds ...).
        custom: more of the panel type's own field options.
        options: more of the panel type's options.
        columns: of a table, the names of labels and ``Value`` (``Value #A`` ...), each with its heading.
        source: whom its queries go to.
    """

    title: str
    queries: Sequence[Query]
    kind: Kind = "timeseries"
    text: str = ""
    unit: str = "short"
    width: int = 12
    height: int = 8
    links: Sequence[Link] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    custom: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    source: Literal["prometheus", "loki"] = "prometheus"


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels below it."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the dashboard: values of a label, the data sources of a type, or what is typed in."""

    name: str
    label: str
    query: str
    kind: Literal["query", "datasource", "textbox"] = "query"
    hidden: bool = False
    several: bool = True


@dataclass(frozen=True, slots=True)
class Annotation:
    """Lines across all graphs, where a query has points."""

    name: str
    expr: str
    title: str
    color: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; ``uid`` is its address and the name of its file."""

    uid: str
    title: str
    text: str
    rows: Sequence[Row]
    variables: Sequence[Variable]
    annotations: Sequence[Annotation] = ()
    since: str = "now-1h"
