"""`otel-taskqueue observe`: what it refuses, and which exporters it takes."""

from __future__ import annotations

import pytest

from otel_taskqueue.cli import main
from otel_taskqueue.cli.observe import exports, table
from otel_taskqueue.observe import errors
from otel_taskqueue.observe.errors import MissingLibraryError, UsageError
from otel_taskqueue.observe.management import check, derive
from otel_taskqueue.observe.target import Tls, parse

VARIABLES = (
    "CELERY_BROKER_URL",
    "RQ_REDIS_URL",
    "REDIS_URL",
    "OTEL_METRICS_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_SDK_DISABLED",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said by the environment."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "no broker"),
        (["--broker", "kafka://user:s3cret@host"], "kafka:// cannot be observed"),
        (["--broker", "redis://:s3cret@host:none"], "no usable host and port"),
        (["--rq", "--broker", "amqp://:s3cret@host"], "RQ runs on Redis"),
        (["--rq", "--app", "shop:app"], "start one observer for each"),
        (["--broker", "redis://host", "--interval", "0.5"], "--interval"),
        (["--broker", "redis://host", "--interval", "nan"], "--interval"),
        (["--broker", "redis://host", "--ca-file", "/no/such/file"], "there is no such file"),
        (["--broker", "amqp://host", "--management-url", "ftp://host"], "--management-url"),
        (["--broker", "amqp://host", "--schedules", "amqp://host"], "--schedules must be a Redis"),
        (["--app", "no_such_module:app"], "ModuleNotFoundError"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_with_status_2(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a password."""
    assert main(["observe", *arguments]) == 2
    told = capsys.readouterr().err
    assert text in told
    assert told.count("\n") == 1
    assert "s3cret" not in told


@pytest.mark.parametrize(
    ("arguments", "missing", "install"),
    [
        (["--rq", "--broker", "redis://host"], "rq", "otel-taskqueue[rq]"),
        (["--rq", "--broker", "redis://host"], "redis", "otel-taskqueue[rq]"),
        (["--broker", "amqp://host"], "celery", "otel-taskqueue[celery]"),
        (["--broker", "redis://host"], "redis", "celery[redis]"),
    ],
)
def test_a_library_that_is_missing_is_named_with_what_brings_it(
    arguments: list[str],
    missing: str,
    install: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Status 1, one line."""
    monkeypatch.setattr(errors, "has", lambda module: module != missing)
    assert main(["observe", *arguments]) == 1
    assert f"{missing} is missing" in (told := capsys.readouterr().err)
    assert f"pip install '{install}'" in told


def test_metrics_go_where_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing said: nowhere. An endpoint means OTLP, `none` means none."""
    assert [] == exports.configured()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert ["otlp"] == exports.configured()
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    assert [] == exports.configured()
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "console, otlp")
    assert ["console", "otlp"] == exports.configured()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert [] == exports.configured()


@pytest.mark.parametrize(("name", "raised"), [("otlp_no_such", MissingLibraryError), ("nowhere", UsageError)])
def test_an_exporter_that_is_not_there_is_named(name: str, raised: type[Exception]) -> None:
    """What is ours to bring is an extra, the rest is a name nobody knows."""
    with pytest.raises(raised, match=name):
        exports.factories([name])


def test_the_management_api_is_looked_for_where_it_usually_is() -> None:
    """By the broker's scheme."""
    assert derive(parse("amqp://host:1/", Tls())) == "http://host:15672"
    assert derive(parse("amqps://host:1/", Tls())) == "https://host:15671"
    check("https://user:pw@host:1/prefix")
    with pytest.raises(UsageError):
        check("host:15672")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (11.6, "12 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7200, "2.0 h"),
        (2e5, "2.3 d"),
    ],
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    """One unit, few digits."""
    assert text == table.seconds(seconds)
