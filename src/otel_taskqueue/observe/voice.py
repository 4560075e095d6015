"""One line when something stops to answer and one when it answers again, however often it is asked."""

from __future__ import annotations

import logging
import threading

_logger = logging.getLogger("otel_taskqueue.observe")


class Voice:
    """Speaks about changes only; used by several threads."""

    def __init__(self) -> None:
        self._silent: dict[str, str] = {}
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Say something once and for all."""
        _logger.info("%s", text)

    def away(
        self, what: str, why: str, until: str = "trying again; its gauges are absent until then"
    ) -> None:
        """`what` does not answer; said when it did before."""
        with self._lock:
            known = what in self._silent
            self._silent[what] = why
        if not known:
            _logger.warning("%s does not answer: %s; %s", what, why, until)

    def back(self, what: str) -> None:
        """`what` answers; said when it did not before."""
        with self._lock:
            was = self._silent.pop(what, None)
        if was is not None:
            _logger.info("%s answers again", what)
