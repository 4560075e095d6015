"""What a user gets by installing the wheel."""

from __future__ import annotations

import configparser
import email
import zipfile
from pathlib import Path

import pytest

import otel_taskqueue
from support.places import Place, build_wheel

EAGER = """
import celery
app = celery.Celery("shop")
@app.task(name="shop.pack")
def pack(): return "packed"
print("returned", pack.apply().get())
"""
IMPORTS = "import {}; print('imported')"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built once."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def contents(wheel: Path) -> dict[str, str]:
    """Its small files by name, text where it is text."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_the_wheel_holds_the_package_its_licence_and_nothing_else(wheel: Path) -> None:
    """Tests, scripts and caches stay at home; the marker of a typed package goes along."""
    names = contents(wheel)
    info = f"otel_taskqueue-{otel_taskqueue.__version__}.dist-info"
    assert {"otel_taskqueue", info} == {name.partition("/")[0] for name in names}
    assert "otel_taskqueue/py.typed" in names
    assert f"{info}/licenses/LICENSE" in names
    assert [] == [name for name in names if name.endswith(".pyc")]


def test_the_wheel_announces_its_entry_points(wheel: Path) -> None:
    """Names of our own, so that either instrumentation of Celery can be turned off."""
    text = next(text for name, text in contents(wheel).items() if name.endswith("entry_points.txt"))
    parsed = configparser.ConfigParser()
    parsed.read_string(text)
    assert {
        "console_scripts": {"otel-taskqueue": "otel_taskqueue.cli:main"},
        "opentelemetry_instrumentor": {
            "otel_taskqueue_celery": "otel_taskqueue.celery:CeleryInstrumentor",
            "otel_taskqueue_rq": "otel_taskqueue.rq:RQInstrumentor",
        },
        "opentelemetry_pre_instrument": {
            "otel_taskqueue_take_over": "otel_taskqueue.celery.takeover:prefer_ours"
        },
    } == {section: dict(parsed[section]) for section in parsed.sections()}


def test_the_wheel_requires_the_api_and_never_the_sdk_or_a_queue(wheel: Path) -> None:
    """Four requirements; everything else is an extra."""
    text = next(text for name, text in contents(wheel).items() if name.endswith("/METADATA"))
    required = [
        line
        for line in email.message_from_string(text).get_all("Requires-Dist", [])
        if "extra ==" not in line
    ]
    names = sorted(line.replace("<", ">").partition(">")[0].strip() for line in required)
    expected = ["api", "instrumentation", "semantic-conventions"]
    assert [*(f"opentelemetry-{name}" for name in expected), "wrapt"] == names


def test_with_celery_alone_rq_is_passed_over_without_a_word(wheel: Path, tmp_path: Path) -> None:
    """Celery is traced; nobody hears of an absent RQ."""
    ended = Place.make(tmp_path / "venv", wheel, "celery").run(EAGER)
    assert ended.returncode == 0, ended.stderr
    assert "returned packed" in ended.stdout
    assert '"name": "process shop.pack"' in ended.stdout
    assert ended.stderr == ""


def test_with_rq_alone_celery_is_passed_over_without_a_word(wheel: Path, tmp_path: Path) -> None:
    """RQ is instrumented; nobody hears of an absent Celery."""
    code = "import rq.queue; print(rq.queue.Queue._enqueue_job.__code__.co_filename)"
    ended = Place.make(tmp_path / "venv", wheel, "rq").run(code)
    assert ended.returncode == 0, ended.stderr
    assert "/otel_taskqueue/" in ended.stdout
    assert ended.stderr == ""


@pytest.mark.parametrize(
    ("library", "other", "old", "oldest"),
    [("rq", "celery", "1.15.1", "1.16"), ("celery", "rq", "5.2.7", "5.3")],
)
def test_a_library_that_is_too_old_is_refused_with_one_line(
    wheel: Path, tmp_path: Path, library: str, other: str, old: str, oldest: str
) -> None:
    """The line says which version was found and which is needed; the application runs."""
    place = Place.make(tmp_path / "venv", wheel, other)
    place.pretend(library, old)
    ended = place.run(IMPORTS.format(library))
    assert ended.returncode == 0, ended.stderr
    assert "imported" in ended.stdout
    expected = f"{library} {old} is not instrumented: otel-taskqueue needs {library} >= {oldest}"
    assert [expected] == [line for line in ended.stderr.splitlines() if line]


def test_with_neither_queue_nothing_happens(wheel: Path, tmp_path: Path) -> None:
    """The package is there, the application has no queue: no word, no failure."""
    ended = Place.make(tmp_path / "venv", wheel).run("print('ran')")
    assert (0, "ran\n", "") == (ended.returncode, ended.stdout, ended.stderr)
