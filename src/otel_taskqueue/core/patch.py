"""The patch table: one list of replaced names, used to apply and to restore.

Modules are patched when they are imported, never before: importing parts of Celery ahead of
gevent's monkey patching breaks a worker.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import wrapt

from otel_taskqueue.core.guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

_ABSENT = object()

Wrapper = "Callable[[Callable[..., Any]], Callable[..., Any]]"


class Patch(NamedTuple):
    """Replace ``module.path`` by ``wrapper(original)`` once the module is imported.

    The replacement is a plain function with the original's module and qualified name, so that a
    process pool can pickle it by reference. A path that this version lacks is passed over.
    """

    module: str
    path: str
    wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]


class Patches:
    """Applies a table of patches once and restores every name that it replaced."""

    def __init__(self, table: Sequence[Patch]) -> None:
        self._table = tuple(table)
        self._hooked = False
        self._active = False
        self._applied: dict[int, Applied] = {}

    def apply(self) -> None:
        """Patch what is imported and, when it gets imported, the rest."""
        self._active = True
        if self._hooked:
            self._apply_imported()
            return
        self._hooked = True
        for index, patch in enumerate(self._table):
            wrapt.register_post_import_hook(functools.partial(self._on_import, index), patch.module)

    def restore(self) -> None:
        """Give every replaced name back; what somebody wrapped over becomes a pass-through."""
        self._active = False
        for applied in self._applied.values():
            applied.restore()
        self._applied.clear()

    def _apply_imported(self) -> None:
        for index, patch in enumerate(self._table):
            module = sys.modules.get(patch.module)
            if module is not None:
                self._on_import(index, module)

    def _on_import(self, index: int, module: ModuleType) -> None:
        if not self._active or index in self._applied:
            return
        with Guarded(f"patching {self._table[index].path}"):
            applied = replace(module, self._table[index])
            if applied is not None:
                self._applied[index] = applied


class Applied:
    """One replaced name: who holds it, what was there, what is there now."""

    __slots__ = ("_name", "_original", "_owned", "_owner", "_replacement")

    def __init__(self, owner: Any, name: str, original: Any, replacement: Any, *, owned: bool) -> None:
        self._owner = owner
        self._name = name
        self._original = original
        self._replacement = replacement
        self._owned = owned

    def restore(self) -> None:
        """Switch off, and give the name back unless somebody has wrapped over it."""
        self._replacement.__otel_taskqueue_active__[0] = False
        found = self._owner.__dict__.get(self._name)
        if (found.__func__ if isinstance(found, staticmethod) else found) is not self._replacement:
            return
        if self._owned:
            setattr(self._owner, self._name, self._original)
        else:
            delattr(self._owner, self._name)


def replace(module: ModuleType, patch: Patch) -> Applied | None:
    """Put the wrapper into its place; None when this version has no such name."""
    *parents, name = patch.path.split(".")
    owner: Any = module
    for parent in parents:
        owner: Any = getattr(owner, parent, _ABSENT)
        if owner is _ABSENT:
            return None
    original: Any = getattr(owner, name, _ABSENT)
    if original is _ABSENT:
        return None
    marker = getattr(original, "__otel_taskqueue_active__", None)
    if marker is not None and marker[0]:
        return None  # the same function under a second name, patched at its home already
    if marker is not None:
        original = original.__wrapped__
    members: Mapping[str, Any] = owner.__dict__
    owned = name in members
    raw = members[name] if owned and marker is None else original
    replacement = switchable(original, patch.wrapper)
    # What was bound to its class already must not be bound again.
    bound = isinstance(raw, (classmethod, staticmethod))
    setattr(owner, name, staticmethod(replacement) if bound else replacement)
    return Applied(owner, name, raw, replacement, owned=owned)


def switchable(
    original: Callable[..., Any], wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[..., Any]:
    """Wrap in a plain function that becomes a pass-through when it is switched off."""
    wrapped = wrapper(original)
    active = [True]

    @functools.wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        if active[0]:
            return wrapped(*args, **kwargs)
        return original(*args, **kwargs)

    replacement.__otel_taskqueue_active__ = active  # type: ignore[attr-defined]
    return replacement


def owner_of(kind: type, name: str) -> type | None:
    """The class in the method resolution order that defines ``name``."""
    return next((base for base in kind.__mro__ if name in vars(base)), None)
