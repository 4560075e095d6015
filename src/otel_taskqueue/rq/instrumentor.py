"""The door of the RQ room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

if TYPE_CHECKING:
    from collections.abc import Collection


class RQInstrumentor(BaseInstrumentor):
    """Instruments RQ."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """No requirement is checked by the loader."""
        return ()

    def _instrument(self, **kwargs: Any) -> None: ...

    def _uninstrument(self, **kwargs: Any) -> None: ...
