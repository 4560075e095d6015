"""What is taken out of a message: our keys, text, of sane length, wherever the sender wrote it."""

from __future__ import annotations

import pytest

from otel_taskqueue.celery.job import carrier_of, rfc3339

PARENT = f"00-{1:032x}-{2:016x}-01"


@pytest.mark.parametrize(
    ("request_", "carrier"),
    [
        ({"traceparent": PARENT, "id": "1", "task": "x"}, {"traceparent": PARENT}),
        ({"headers": {"traceparent": PARENT, "tenant": "acme"}}, {"traceparent": PARENT}),
        ({"traceparent": PARENT, "baggage": "a" * 8192}, {"traceparent": PARENT, "baggage": "a" * 8192}),
        ({"traceparent": PARENT, "baggage": "a" * 8193}, {"traceparent": PARENT}),
        ({"traceparent": PARENT, "tracestate": "a" * 65536}, {"traceparent": PARENT}),
        ({"traceparent": 17, "baggage": ["a=b"], "taskqueue-previous": {}}, {}),
        ({"headers": "no dict"}, {}),
        ({"headers": None}, {}),
        ({}, {}),
    ],
)
def test_only_our_keys_text_and_sane_lengths_are_taken(
    request_: dict[str, object], carrier: dict[str, str]
) -> None:
    """Anything else is as if it were not there."""
    assert carrier_of(request_) == carrier


@pytest.mark.parametrize(
    ("eta", "text"),
    [
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02T03:04:05.500+02:00", "2026-01-02T03:04:05.500000+02:00"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        ("tomorrow", None),
        (None, None),
        (17, None),
    ],
)
def test_an_eta_is_told_as_rfc_3339(eta: object, text: str | None) -> None:
    """Celery writes ISO 8601; without a zone that is UTC."""
    assert rfc3339(eta) == text
