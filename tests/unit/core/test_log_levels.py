"""The level file: what it may say, what becomes of mistakes, and that consoles print what they printed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_taskqueue.core.logs import levels
from otel_taskqueue.core.logs.levels import Levels, Wanted, parse

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
OLD = Wanted(ERROR, DEBUG, {"shop": ERROR})


@pytest.fixture(autouse=True)
def own_levels() -> Iterator[None]:
    """Every logger has its level back."""
    names = ("root", "celery.task", "shop", "shop.orders", "urllib3")
    before = {name: logging.getLogger(name if name != "root" else None).level for name in names}
    for name in names:
        logging.getLogger(name if name != "root" else None).setLevel(WARNING if name == "root" else 0)
    yield
    for name, level in before.items():
        logging.getLogger(name if name != "root" else None).setLevel(level)


def record(name: str, level: int) -> logging.LogRecord:
    """A record of a logger."""
    return logging.LogRecord(name, level, __file__, 1, "m", (), None)


def passing(found: Levels, name: str, level: int) -> str:
    """Where a record of this logger and level gets: shipped, file, console."""
    if not logging.getLogger(None if name == "root" else name).isEnabledFor(level):
        return ""
    it = record(name, level)
    ways = {"s": found.ships(it), "f": found.writes(it), "c": found.passed_before(it)}
    return "".join(way for way, open_ in ways.items() if open_)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Wanted()),
        ("# nothing\n\n   \n", Wanted()),
        ("ship=INFO", Wanted(ship=INFO)),
        ("  ship =  warning  # quieter\r\nfile=debug\n", Wanted(WARNING, DEBUG)),
        ("ship=WARN\nfile=FATAL", Wanted(WARNING, logging.CRITICAL)),
        ("ship=INFO\nship=ERROR", Wanted(ship=ERROR)),
        ("logger.a.b=DEBUG\nlogger.root=ERROR", Wanted(loggers={"a.b": DEBUG, "root": ERROR})),
        ("logger.ship=DEBUG", Wanted(loggers={"ship": DEBUG})),
    ],
)  # fmt: skip
def test_what_the_file_may_say(text: str, expected: Wanted) -> None:
    """Channels, loggers, comments; spaces and case do not matter, the last word stands."""
    assert (expected, []) == parse(text, Wanted())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ship=LOUD", OLD._replace(file=None, loggers={})),
        ("ship", OLD._replace(file=None, loggers={})),
        ("file=", OLD._replace(ship=None, loggers={})),
        ("logger.shop=7", OLD._replace(ship=None, file=None)),
        ("logger.other=LOUD", Wanted()),
        ("shp=INFO", Wanted()),
        ("logger.=INFO", Wanted()),
        ("=INFO", Wanted()),
        ("\x00\ufffd", Wanted()),
    ],
)
def test_where_a_line_is_bad_the_old_level_stays(line: str, expected: Wanted) -> None:
    """And the line is told; the other lines are as they say."""
    found, bad = parse(line, OLD)

    assert (expected, [line]) == (found, bad)
    assert ERROR == parse(f"{line}\nship=ERROR", Wanted())[0].ship


def test_without_a_file_info_is_shipped_and_everything_that_passes_is_written() -> None:
    """No logger is touched."""
    logging.getLogger("shop").setLevel(DEBUG)
    found = Levels("")
    found.check()

    assert ["fc", "sfc", "", "sfc"] == [
        passing(found, name, level)
        for name, level in (("shop", DEBUG), ("shop.orders", INFO), ("other", INFO), ("other", WARNING))
    ]


def test_a_named_channel_gets_its_level_and_the_console_prints_what_it_printed(tmp_path: Path) -> None:
    """The root is opened for the file; what would not have passed reaches neither console nor collector."""
    path = tmp_path / "levels"
    path.write_text("file=DEBUG")
    logging.getLogger("urllib3").setLevel(ERROR)
    found = Levels(str(path))
    found.check()

    ways = {
        (name, level): passing(found, name, level)
        for name in ("root", "shop.orders", "urllib3")
        for level in (DEBUG, INFO, WARNING, ERROR)
    }
    for name in ("root", "shop.orders"):
        assert ["f", "f", "sfc", "sfc"] == [ways[name, level] for level in (DEBUG, INFO, WARNING, ERROR)]
    assert ["", "", "", "sfc"] == [ways["urllib3", level] for level in (DEBUG, INFO, WARNING, ERROR)]


def test_a_channel_may_be_quieter_than_its_loggers(tmp_path: Path) -> None:
    """Nothing is opened, nothing is closed to the others."""
    path = tmp_path / "levels"
    path.write_text("ship=ERROR\nfile=ERROR\n")
    found = Levels(str(path))
    found.check()

    assert ["", "c", "sfc"] == [passing(found, "shop", level) for level in (INFO, WARNING, ERROR)]
    assert WARNING == logging.getLogger().level


def test_a_logger_that_is_named_opens_for_the_console_too(tmp_path: Path) -> None:
    """DEBUG stays local: it is shipped only when `ship` says so."""
    path = tmp_path / "levels"
    path.write_text("logger.shop.orders=DEBUG\n")
    found = Levels(str(path))
    found.check()

    assert ["fc", "sfc"] == [passing(found, "shop.orders", level) for level in (DEBUG, INFO)]
    assert "" == passing(found, "shop", INFO)
    path.write_text("logger.shop.orders=DEBUG\nship=DEBUG\n")
    found.check()
    assert ["sfc", "s", "s"] == [passing(found, name, DEBUG) for name in ("shop.orders", "shop", "root")]


def test_a_file_that_is_gone_gives_every_level_back(tmp_path: Path) -> None:
    """Also those of loggers that the library levels itself, and in any order of changes."""
    path = tmp_path / "levels"
    logging.getLogger("celery.task").setLevel(INFO)
    logging.getLogger("shop").setLevel(ERROR)
    found = Levels(str(path), ("celery.task",))
    for text in (
        "file=DEBUG",
        "file=DEBUG\nlogger.root=INFO\nlogger.shop=DEBUG",
        "logger.celery.task=ERROR\nship=DEBUG",
        "ship=INFO\nlogger.shop=INFO",
    ):
        path.write_text(text)
        found.check()
    assert (INFO, INFO, INFO) == tuple(logging.getLogger(n).level for n in (None, "celery.task", "shop"))
    path.unlink()
    found.check()

    assert (WARNING, INFO, ERROR) == tuple(logging.getLogger(n).level for n in (None, "celery.task", "shop"))
    assert Wanted() == found.wanted


def test_what_the_application_sets_meanwhile_is_its_own(tmp_path: Path) -> None:
    """The root is opened again, and its new level is the one it gets back."""
    path = tmp_path / "levels"
    path.write_text("file=DEBUG")
    found = Levels(str(path))
    found.check()
    logging.getLogger().setLevel(ERROR)
    found.check()

    assert ["f", "sfc"] == [passing(found, "shop", level) for level in (WARNING, ERROR)]
    path.unlink()
    found.check()
    assert ERROR == logging.getLogger().level


def test_a_mistake_is_told_once(tmp_path: Path, told: list[str]) -> None:
    """However often the file is read."""
    path = tmp_path / "levels"
    found = Levels(str(path))
    for number in range(3):
        path.write_text("ship = LOUD\nfile = INFO\n" + "\n" * number)
        found.check()

    assert 1 == len(told)
    assert "ship = LOUD" in told[0]
    assert INFO == found.wanted.file


def test_a_file_that_cannot_be_read_leaves_the_levels(tmp_path: Path, told: list[str]) -> None:
    """A folder stands in its place."""
    path = tmp_path / "levels"
    path.write_text("ship=ERROR")
    found = Levels(str(path))
    found.check()
    path.unlink()
    path.mkdir()
    found.check()
    found.check()

    assert ERROR == found.wanted.ship
    assert 1 == len(told)


def test_a_file_that_was_replaced_is_read(tmp_path: Path) -> None:
    """A ConfigMap of Kubernetes is another file with the same name, size and time."""
    path, other = tmp_path / "levels", tmp_path / "other"
    path.write_text("ship=ERROR")
    found = Levels(str(path))
    found.check()
    other.write_text("ship=DEBUG")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    found.check()

    assert DEBUG == found.wanted.ship


def test_the_process_keeps_its_levels_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a thread: a job that is stuck logs nothing that could remind us."""
    from support.wait import wait_for

    monkeypatch.setattr(levels, "INTERVAL", 0.05)
    path = tmp_path / "levels"
    found = levels.start(str(path))
    try:
        assert levels.start(str(path)) is found
        path.write_text("file=DEBUG")
        wait_for(lambda: logging.getLogger().level == DEBUG, 5, "the root is open")
    finally:
        levels.stop()
    assert WARNING == logging.getLogger().level
