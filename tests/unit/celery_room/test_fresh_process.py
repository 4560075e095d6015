"""Instrument, uninstrument and loading, each in an interpreter of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from support.env import base_env

OURS = ["CONSUMER otel_taskqueue", "PRODUCER otel_taskqueue"]
OFFICIAL = ["CONSUMER opentelemetry.instrumentation.celery", "PRODUCER opentelemetry.instrumentation.celery"]
STAY_OUT = {"OTEL_PYTHON_TASKQUEUE_TAKE_OVER": "false"}


def fresh(name: str, **env: str) -> Any:
    """What the function of that name told in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-m", "support.apps.celery_fresh", name],
        env=base_env(**env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_uninstrument_restores_every_wrapped_name() -> None:
    """Every row of the patch table is replaced by instrument() (also called twice) and given back."""
    told = fresh("every_name_is_restored")
    second_names = [
        ["celery.worker.strategy", "create_request_cls"],
        ["celery.worker.consumer.consumer", "build_tracer"],
    ]
    assert [name for name in told["names"] if name not in told["changed"] and name not in second_names] == []
    assert told["still"] == []
    assert len(told["names"]) > 20


def test_after_uninstrument_jobs_make_no_spans_and_instrument_works_again() -> None:
    """Also for an application that has sent messages before."""
    assert fresh("uninstrumented_makes_no_span") == [OURS, [], OURS]


def test_what_somebody_wrapped_over_us_is_left_to_them() -> None:
    """Their wrapper stays and works; ours inside of it does nothing any more."""
    assert fresh("wrapped_over") == {"kept": True, "called": ["echo"], "spans": []}


def test_loading_imports_nothing_of_celery() -> None:
    """A worker patches for gevent first; what is imported before that never works."""
    assert fresh("loading_imports_nothing_of_celery") == []


@pytest.mark.parametrize("order", ["loaded_ours_first", "loaded_ours_last"])
def test_ours_takes_over_in_either_load_order(order: str) -> None:
    """The official one is not even imported."""
    assert fresh(order) == {"spans": OURS, "official": False}


@pytest.mark.parametrize("order", ["loaded_ours_first", "loaded_ours_last"])
def test_told_to_stay_out_ours_stays_out_in_either_load_order(order: str) -> None:
    """Nothing is doubled, and nothing is missing."""
    assert fresh(order, **STAY_OUT) == {"spans": OFFICIAL, "official": True}


@pytest.mark.parametrize("disabled", ["otel_taskqueue_celery", "celery"])
def test_what_is_disabled_by_name_leaves_the_field_to_the_other(disabled: str) -> None:
    """OTEL_PYTHON_DISABLED_INSTRUMENTATIONS of OpenTelemetry is honoured by both."""
    told = fresh("loaded_ours_last", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=disabled)
    assert told["spans"] == (OURS if disabled == "celery" else OFFICIAL)


def test_told_to_stay_out_ours_speaks_where_the_official_one_is_disabled() -> None:
    """Somebody has to."""
    told = fresh("loaded_ours_first", OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="celery", **STAY_OUT)
    assert told["spans"] == OURS


@pytest.mark.parametrize("order", ["by_hand_official_first", "by_hand_official_last"])
def test_a_producer_that_instruments_both_by_hand_sends_one_span(order: str) -> None:
    """Whichever came first, and also when messages were sent in between."""
    assert fresh(order) == ["PRODUCER otel_taskqueue"]


def test_a_disabled_sdk_switches_everything_off() -> None:
    """OTEL_SDK_DISABLED=true: nothing is replaced."""
    told = fresh("every_name_is_restored", OTEL_SDK_DISABLED="true")
    assert told["changed"] == []
