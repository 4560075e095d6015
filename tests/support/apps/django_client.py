"""A Django application that enqueues when its transaction commits."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "support.apps.django_settings")

import django
from django.db import transaction

django.setup()

# Celery's Django fixup looks at the settings when the application is made.
from support.apps import celery_app  # noqa: E402
from support.apps.client import serve  # noqa: E402
from support.apps.notes import note  # noqa: E402


def publish_on_commit() -> str:
    """Enqueue inside a transaction; return the id that the message got."""
    ids: list[str] = []

    def remember(**kwargs: object) -> None:
        ids.append(str(kwargs["headers"]["id"]))  # type: ignore[index]

    from celery.signals import after_task_publish

    after_task_publish.connect(remember)
    try:
        with transaction.atomic():
            celery_app.ok.delay_on_commit("committed")
            assert ids == []
    finally:
        after_task_publish.disconnect(remember)
    note(ids[0], "committed")
    return ids[0]


if __name__ == "__main__":
    serve({"publish_on_commit": publish_on_commit})
