"""Worker classes of users: what they override is patched when the first worker of the class is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otel_taskqueue.core.patch import Applied, switchable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


class Owners:
    """Patches a method on every class in the method resolution order that defines it."""

    def __init__(self, methods: Mapping[str, Wrapper]) -> None:
        self._methods = methods
        self._seen: set[type] = set()
        self._applied: list[Applied] = []

    def adopt(self, kind: type) -> None:
        """Patch what this class and its base classes define and is not patched yet."""
        for base in kind.__mro__:
            if base in self._seen:
                continue
            self._seen.add(base)
            for name, wrapper in self._methods.items():
                if name in vars(base):
                    self._patch(base, name, wrapper)

    def restore(self) -> None:
        """Give every replaced method back."""
        for applied in self._applied:
            applied.restore()
        self._applied.clear()
        self._seen.clear()

    def _patch(self, owner: type, name: str, wrapper: Wrapper) -> None:
        original = vars(owner)[name]
        marker = getattr(original, "__otel_taskqueue_active__", None)
        if not callable(original) or (marker is not None and marker[0]):
            return
        replacement = switchable(original, wrapper)
        setattr(owner, name, replacement)
        self._applied.append(Applied(owner, name, original, replacement, owned=True))
