"""The alert rules that we ship, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from support.backends.programs import ROOT

FOLDER = ROOT / "monitoring" / "prometheus"
#: Where the alerts of each severity go.
TIERS: Mapping[str, str] = {"critical": "chat", "warning": "mail", "ticket": "ticket"}


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert rule; labels and annotations as they stand in the file."""

    name: str
    expr: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def tier(self) -> str:
        """The receiver that its severity asks for."""
        return TIERS[self.labels["severity"]]


def shipped_alerts() -> list[Alert]:
    """All of them, in the order of the file."""
    document = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    rows = [rule for group in document["groups"] for rule in group["rules"] if "alert" in rule]
    return [
        Alert(row["alert"], row["expr"], row.get("labels", {}), row.get("annotations", {})) for row in rows
    ]
