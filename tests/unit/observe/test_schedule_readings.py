"""The series of schedules: bounded, and one for each name."""

from __future__ import annotations

from otel_taskqueue import meters, semconv
from otel_taskqueue.observe.schedule_readings import ScheduleReadings


def read(readings: ScheduleReadings) -> dict[tuple[str, str], float]:
    """Values by metric and schedule."""
    return {
        (made.metric.name, made.attributes[semconv.SCHEDULE_NAME]): made.value for made in readings.of_all()
    }


def test_schedules_of_one_name_are_one_series() -> None:
    """Two applications may both have a clean-up: the older last run is the one that may have stopped."""
    readings = ScheduleReadings("celery")
    for at, missed in ((200.0, 1), (100.0, 2), (None, 0)):
        readings.last_run("clean", at)
        readings.missed("clean", missed)
    assert read(readings) == {
        (meters.SCHEDULE_LAST_RUN.name, "clean"): 100.0,
        (meters.SCHEDULE_MISSED.name, "clean"): 3,
    }


def test_the_129th_name_and_all_after_it_are_told_together() -> None:
    """No table of schedules can flood a metrics backend."""
    readings = ScheduleReadings("celery")
    for number in range(200):
        readings.last_run(f"n{number}", 1000.0 - number)
        readings.missed(f"n{number}", 1)
    found = read(readings)
    assert len(found) == 2 * 129
    assert found[meters.SCHEDULE_MISSED.name, "_OTHER"] == 72
    assert found[meters.SCHEDULE_LAST_RUN.name, "_OTHER"] == 801.0


def test_a_schedule_that_never_ran_has_no_last_run() -> None:
    """What is not known is absent, never zero; what it missed is counted from 0 on."""
    readings = ScheduleReadings("rq")
    readings.last_run("new", None)
    assert read(readings) == {(meters.SCHEDULE_MISSED.name, "new"): 0}
