"""The options: where a value comes from, what happens to a bad one, what is hidden by default."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
from typing import TYPE_CHECKING

import pytest

from otel_taskqueue import settings as module
from otel_taskqueue.core import telemetry
from otel_taskqueue.semconv import Category
from otel_taskqueue.settings import OPTIONS, PREFIX, Settings, exception_signal, sdk_disabled

if TYPE_CHECKING:
    from collections.abc import Iterator

Warnings = list[logging.LogRecord]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the person who runs the tests reaches them, no warning counts as told."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    module._warn.cache_clear()


@pytest.fixture
def warnings() -> Iterator[Warnings]:
    """Collect what is logged on the logger of the package."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("otel_taskqueue")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def test_without_environment_and_keywords_everything_is_the_default(warnings: Warnings) -> None:
    """The defaults are the ones the documentation promises, and nothing is logged."""
    loaded = Settings.load()

    patterns = loaded.redact_patterns
    expected = Settings(
        trace_style="parent",
        span_naming="task",
        excluded_tasks=(),
        capture_arguments=False,
        capture_arguments_max_length=256,
        redact_patterns=patterns,
        baggage_keys=(),
        failure_rules=(),
        suppress_broker_spans=True,
        relay=True,
        take_over=True,
        schedules=True,
        flush_timeout=1.0,
        logs=True,
        log_dir="",
        log_max_bytes=10 * 1024 * 1024,
        log_backups=5,
        log_level_file="",
        log_sampling=1.0,
    )
    assert expected == loaded == Settings()
    assert {"default"} == {loaded.source_of(name) for name in OPTIONS}
    assert [] == warnings


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("trace_style", "link", "link"),
        ("trace_style", " LINK ", "link"),
        ("span_naming", "queue", "queue"),
        ("excluded_tasks", "health.*, reports.nightly,", ("health.*", "reports.nightly")),
        ("capture_arguments", "true", True),
        ("capture_arguments", "Yes", True),
        ("capture_arguments_max_length", "1000", 1000),
        ("baggage_keys", "tenant,request.id", ("tenant", "request.id")),
        (
            "failure_rules",
            "shop.PaymentDown=dependency, vendor.*=DATA",
            (("shop.PaymentDown", "dependency"), ("vendor.*", "data")),
        ),
        ("suppress_broker_spans", "false", False),
        ("relay", "0", False),
        ("take_over", "off", False),
        ("flush_timeout", "0.25", 0.25),
        ("flush_timeout", "0", 0.0),
        ("logs", "no", False),
        ("log_dir", "logs/jobs", "logs/jobs"),
        ("log_max_bytes", "10 MiB", 10 * 1024 * 1024),
        ("log_max_bytes", "4096", 4096),
        ("log_backups", "3", 3),
        ("log_sampling", "0.1", 0.1),
        ("log_sampling", "off", 1.0),
    ],
)
def test_a_variable_is_read(
    monkeypatch: pytest.MonkeyPatch, warnings: Warnings, name: str, text: str, expected: object
) -> None:
    """Each variable replaces its default, whatever its case and blanks, and says where it is from."""
    monkeypatch.setenv(PREFIX + name.upper(), text)

    loaded = Settings.load()

    assert expected == getattr(loaded, name)
    assert "environment" == loaded.source_of(name)
    assert [] == warnings


def test_a_keyword_wins_over_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the code says stands above what the environment says, also for a falsy value."""
    monkeypatch.setenv(PREFIX + "RELAY", "true")
    monkeypatch.setenv(PREFIX + "TRACE_STYLE", "link")

    loaded = Settings.load(relay=False, trace_style=None)

    assert (False, "keyword") == (loaded.relay, loaded.source_of("relay"))
    assert ("link", "environment") == (loaded.trace_style, loaded.source_of("trace_style"))


@pytest.mark.parametrize("given", [Settings(trace_style="link", relay=False), {"trace_style": "link"}])
def test_a_keyword_wins_over_given_settings_and_these_over_variables(
    monkeypatch: pytest.MonkeyPatch, warnings: Warnings, given: object
) -> None:
    """As `instrument(settings=..., span_naming=...)` has it."""
    monkeypatch.setenv(PREFIX + "TRACE_STYLE", "parent")

    loaded = telemetry.make(settings=given, span_naming="queue").settings
    both = telemetry.make(settings=given, trace_style="parent").settings

    assert ("link", "queue", "parent") == (loaded.trace_style, loaded.span_naming, both.trace_style)
    assert {"keyword"} == {loaded.source_of(name) for name in ("trace_style", "span_naming")}
    assert "default" == loaded.source_of("logs")
    assert [] == warnings


def test_what_given_settings_hold_is_parsed_too(warnings: Warnings) -> None:
    """Nobody checks the fields of a `Settings` object: a text that says false must switch nothing on."""
    loaded = telemetry.make(
        settings=Settings(capture_arguments="false", excluded_tasks="shop.*", log_sampling=7)  # type: ignore[arg-type]
    ).settings

    assert (False, ("shop.*",), 1.0) == (loaded.capture_arguments, loaded.excluded_tasks, loaded.log_sampling)
    assert ["log_sampling=7"] == [record.getMessage().partition(" ")[0] for record in warnings]


@pytest.mark.parametrize("given", ["link", 1, ["trace_style"]])
def test_settings_that_are_none_are_one_warning(warnings: Warnings, given: object) -> None:
    """And everything else is as without them."""
    assert Settings.load() == telemetry.make(settings=given).settings
    assert [True] == ["a Settings object or a mapping" in record.getMessage() for record in warnings]


def test_keywords_take_python_values() -> None:
    """Lists, compiled patterns and numbers need not be written as text."""
    loaded = Settings.load(
        excluded_tasks=["a", "b"], redact_patterns=[re.compile("iban"), "card"], flush_timeout=2
    )

    assert ("a", "b") == loaded.excluded_tasks
    assert ["iban", "card"] == [pattern.pattern for pattern in loaded.redact_patterns]
    assert 2.0 == loaded.flush_timeout


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("trace_style", "child", "parent or link"),
        ("span_naming", "job", "task or queue"),
        ("capture_arguments", "maybe", "true or false"),
        ("capture_arguments_max_length", "0", "at least 1"),
        ("capture_arguments_max_length", "1k", "a whole number"),
        ("flush_timeout", "-1", "at least 0"),
        ("flush_timeout", "nan", "seconds"),
        ("redact_patterns", "iban,(unclosed", "regular expressions"),
        ("failure_rules", "shop.PaymentDown", "name=category"),
        ("failure_rules", "shop.PaymentDown=broken", "timeout, connection, resource"),
        ("failure_rules", "=data", "name=category"),
        ("log_max_bytes", "0", "a size of at least 1"),
        ("log_max_bytes", "ten", "a size of at least 1"),
        ("log_sampling", "1.5", "a share from 0 to 1"),
        ("log_sampling", "nan", "a share from 0 to 1"),
    ],
)
def test_a_bad_value_is_one_warning_and_the_default(
    monkeypatch: pytest.MonkeyPatch, warnings: Warnings, name: str, text: str, allowed: str
) -> None:
    """The warning has all that is needed to repair it; loading again does not repeat it."""
    variable = PREFIX + name.upper()
    monkeypatch.setenv(variable, text)

    loaded = [Settings.load(), Settings.load()][-1]

    assert OPTIONS[name].default == getattr(loaded, name)
    assert "default" == loaded.source_of(name)
    assert ["WARNING"] == [record.levelname for record in warnings]
    message = warnings[0].getMessage()
    default = OPTIONS[name].kind.show(OPTIONS[name].default)
    for part in (variable, repr(text), allowed, repr(default)):
        assert part in message


def test_a_bad_keyword_is_a_warning_and_the_default(warnings: Warnings) -> None:
    """Even an object which cannot be shown is survived."""

    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError

    loaded = Settings.load(trace_style=Hostile(), excluded_tasks=5)

    assert Settings() == loaded
    assert 2 == len(warnings)
    assert "trace_style=<Hostile>" in warnings[0].getMessage()


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch, warnings: Warnings) -> None:
    """As OpenTelemetry has it for its own variables."""
    monkeypatch.setenv(PREFIX + "TRACE_STYLE", " ")

    assert "default" == Settings.load().source_of("trace_style")
    assert [] == warnings


def test_an_unknown_variable_is_a_warning_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, warnings: Warnings
) -> None:
    """A slip of the pen is named, the value of the variable is not shown."""
    monkeypatch.setenv(PREFIX + "EXCLUDE_TASK", "hunter2")

    Settings.load()
    Settings.load()

    [record] = warnings
    assert f"{PREFIX}EXCLUDE_TASK is not a setting" in record.getMessage()
    assert f"did you mean {PREFIX}EXCLUDED_TASKS?" in record.getMessage()
    assert "hunter2" not in record.getMessage()


def test_an_unknown_variable_like_no_other_points_to_the_list(
    monkeypatch: pytest.MonkeyPatch, warnings: Warnings
) -> None:
    """No far-fetched guess."""
    monkeypatch.setenv(PREFIX + "XYZZY", "1")

    Settings.load()

    [record] = warnings
    assert "otel-taskqueue settings" in record.getMessage()


def test_an_unknown_keyword_is_a_warning_and_not_an_error(warnings: Warnings) -> None:
    """A setting of a later version must not stop a worker."""
    assert Settings() == Settings.load(trace_stile="link")

    [record] = warnings
    assert "trace_stile is not a setting" in record.getMessage()
    assert "did you mean trace_style?" in record.getMessage()


def test_settings_cannot_be_changed() -> None:
    """What was decided at instrument() stays decided."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().relay = False
    assert not hasattr(Settings(), "__dict__")


def test_settings_made_by_hand_say_so() -> None:
    """A value which differs from the default and was not loaded came from the code."""
    made = Settings(trace_style="link")

    assert ("keyword", "default") == (made.source_of("trace_style"), made.source_of("relay"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=hunter2 user=ann", "*** user=ann"),
        ("""{"passwd": "hunter two", "user": "ann"}""", """{"***, "user": "ann"}"""),
        ("{'password': b'hunter two', 'n': 1}", "{'***, 'n': 1}"),
        (r"{'password': 'hun\'ter two', 'n': 1}", "{'***, 'n': 1}"),
        ("{'tokens': ('hunter2', 'hunter3'), 'n': 1}", "{'***, 'n': 1}"),
        ("{'secret-key': 'hunter2', 'n': 1}", "{'***, 'n': 1}"),
        ("{'token': {'a': 'hunter2'}, 'n': 1}", "{'***, 'n': 1}"),
        ("{'secret': ['hunter2', 'hunter3'], 'n': 1}", "{'***, 'n': 1}"),
        ("login(pwd=hunter2)", "login(***)"),
        ("{'password': 'cut in the mid", "{'***"),
        ("pass_phrase", "pass_phrase"),
        ("PASSPHRASE: hunter2", "***"),
        ("client_secret=hunter2&a=1", "client_***&a=1"),
        ("access_token: hunter2", "access_***"),
        ("Authorization: Bearer hunter2", "***"),
        ("X-Api-Key=hunter2", "X-***"),
        ("apikey", "***"),
        ("amqp://ann:hunter2@rabbit:5672//", "amqp://***@rabbit:5672//"),
        ("redis://:hunt@er2@redis/0", "redis://***@redis/0"),
        ("https://shop.example/orders?id=7", "https://shop.example/orders?id=7"),
        ("mail to ann@shop.example", "mail to ann@shop.example"),
    ],
)
def test_the_default_patterns_hide_secrets(text: str, expected: str) -> None:
    """Names of secrets with the value behind them, and the user part of an URL."""
    for pattern in Settings().redact_patterns:
        text = pattern.sub("***", text)

    assert expected == text


def test_a_comma_in_a_pattern_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commas separate patterns, and a regular expression can need one."""
    monkeypatch.setenv(PREFIX + "REDACT_PATTERNS", r"iban,\d{4\,19}")

    patterns = Settings.load().redact_patterns

    assert ["iban", r"\d{4,19}"] == [pattern.pattern for pattern in patterns]
    assert r"iban,\d{4\,19}" == OPTIONS["redact_patterns"].kind.show(patterns)


def test_the_word_default_keeps_the_default_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who adds a pattern must not have to repeat ours."""
    monkeypatch.setenv(PREFIX + "REDACT_PATTERNS", "iban,default")

    patterns = Settings.load().redact_patterns

    assert {"iban", *(pattern.pattern for pattern in Settings().redact_patterns)} == {
        pattern.pattern for pattern in patterns
    }
    assert "default,iban" == OPTIONS["redact_patterns"].kind.show(patterns)


@pytest.mark.parametrize(
    "given",
    [
        {"shop.PaymentDown": "dependency", KeyError: Category.DATA},
        [("shop.PaymentDown", "dependency"), (KeyError, "data")],
        ["shop.PaymentDown=dependency", "KeyError=data"],
    ],
)
def test_failure_rules_are_given_in_code_as_a_mapping_or_a_list(given: object) -> None:
    """Names or classes, words or members of the enumeration."""
    loaded = Settings.load(failure_rules=given)

    assert (("shop.PaymentDown", "dependency"), ("KeyError", "data")) == loaded.failure_rules
    shown = OPTIONS["failure_rules"].kind.show(loaded.failure_rules)
    assert "shop.PaymentDown=dependency,KeyError=data" == shown
    assert loaded.failure_rules == OPTIONS["failure_rules"].kind.parse(shown)


def test_shown_values_can_be_read_again() -> None:
    """What `otel-taskqueue settings` prints can be put into the variable."""
    for option in OPTIONS.values():
        assert option.default == option.kind.parse(option.kind.show(option.default))


def test_every_field_is_in_the_table_with_a_meaning() -> None:
    """No option without documentation."""
    fields = [row.name for row in dataclasses.fields(Settings) if row.init and row.repr]

    assert list(OPTIONS) == fields
    assert all(option.meaning.endswith(".") for option in OPTIONS.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, False), ("true", True), (" TRUE", True), ("1", False), ("false", False)],
)
def test_the_sdk_is_disabled_by_the_word_true_only(
    monkeypatch: pytest.MonkeyPatch, text: str | None, *, expected: bool
) -> None:
    """OpenTelemetry's rule for its boolean variables."""
    if text is not None:
        monkeypatch.setenv("OTEL_SDK_DISABLED", text)

    assert expected is sdk_disabled()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "events"),
        ("logs", "logs"),
        ("logs/dup", "both"),
        ("messaging, logs", "logs"),
        ("logs,logs/dup", "both"),
        ("events", "events"),
    ],
)
def test_the_exception_signal_is_an_opt_in_list(
    monkeypatch: pytest.MonkeyPatch, text: str | None, expected: str
) -> None:
    """Span events unless logs are asked for; the duplicate wins."""
    if text is not None:
        monkeypatch.setenv("OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN", text)

    assert expected == exception_signal()
