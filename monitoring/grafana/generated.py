"""The files that are made of the dashboards, one for each, named after its uid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from monitoring.grafana.boards import BOARDS
from monitoring.grafana.build import dashboard

FOLDER: Final = Path(__file__).parent / "dashboards"


def files() -> dict[Path, str]:
    """Where each file belongs, and what is in it."""
    return {
        FOLDER / f"{board.uid}.json": json.dumps(dashboard(board), indent=2, ensure_ascii=False) + "\n"
        for board in BOARDS
    }


def stale() -> list[Path]:
    """Files that are missing, differ, or belong to no dashboard."""
    wanted = files()
    differ = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    return differ + sorted(set(FOLDER.glob("*.json")) - set(wanted))


def write() -> None:
    """Write all of them, and remove those of dashboards that are gone."""
    FOLDER.mkdir(exist_ok=True)
    wanted = files()
    for path in set(FOLDER.glob("*.json")) - set(wanted):
        path.unlink()
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
