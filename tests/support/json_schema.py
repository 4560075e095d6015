"""As much of JSON Schema (draft 7) as the Compose Specification's schema uses.

An unknown keyword is refused, so a newer schema cannot be checked less than it asks for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
#: Keywords that ask for nothing; `format` in the Compose schema names Docker's own formats.
SAID = {
    "$schema",
    "$id",
    "title",
    "description",
    "default",
    "definitions",
    "deprecated",
    "format",
    "examples",
}
OBJECT = {"properties", "patternProperties", "additionalProperties", "required"}


class Schema:
    """A schema document, whose references stay inside of it."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def complaints(self, value: Any) -> list[str]:
        """What is wrong with a value; empty when nothing is."""
        return list(self._check(self._document, value, "$"))

    def _check(self, schema: Any, value: Any, where: str) -> Iterator[str]:
        if isinstance(schema, bool):
            if not schema:
                yield f"{where}: not allowed"
            return
        for keyword, asked in schema.items():
            if keyword in SAID or keyword in OBJECT:
                continue
            yield from getattr(self, f"_{keyword.lstrip('$').lower()}")(asked, value, where)
        if isinstance(value, dict) and OBJECT & schema.keys():
            yield from self._object(schema, value, where)

    def _object(self, schema: Mapping[str, Any], value: Mapping[str, Any], where: str) -> Iterator[str]:
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{where}: {name} is missing"
        for name, one in value.items():
            found = [schema["properties"][name]] if name in schema.get("properties", {}) else []
            patterns = schema.get("patternProperties", {}).items()
            found += [asked for pattern, asked in patterns if re.search(pattern, name)]
            for asked in found or [schema.get("additionalProperties", True)]:
                yield from self._check(asked, one, f"{where}.{name}")

    def _ref(self, reference: str, value: Any, where: str) -> Iterator[str]:
        target: Any = self._document
        for name in reference.removeprefix("#/").split("/"):
            target = target[name]
        yield from self._check(target, value, where)

    def _type(self, names: str | list[str], value: Any, where: str) -> Iterator[str]:
        wanted = [names] if isinstance(names, str) else names
        if not any(TYPES[name](value) for name in wanted):
            yield f"{where}: {value!r} is not {' or '.join(wanted)}"

    def _oneof(self, schemas: list[Any], value: Any, where: str) -> Iterator[str]:
        tried = [list(self._check(schema, value, where)) for schema in schemas]
        if tried.count([]) != 1:
            reasons = "; ".join(one for complaints in tried for one in complaints)
            yield f"{where}: fits {tried.count([])} of {len(schemas)} forms ({reasons})"

    def _anyof(self, schemas: list[Any], value: Any, where: str) -> Iterator[str]:
        tried = [list(self._check(schema, value, where)) for schema in schemas]
        if [] not in tried:
            yield from tried[0]

    def _enum(self, allowed: list[Any], value: Any, where: str) -> Iterator[str]:
        if value not in allowed:
            yield f"{where}: {value!r} is none of {allowed}"

    def _items(self, schema: Any, value: Any, where: str) -> Iterator[str]:
        for number, one in enumerate(value if isinstance(value, list) else ()):
            yield from self._check(schema, one, f"{where}[{number}]")

    def _uniqueitems(self, asked: bool, value: Any, where: str) -> Iterator[str]:  # noqa: FBT001
        if asked and isinstance(value, list) and any(value.count(one) > 1 for one in value):
            yield f"{where}: something is there twice"

    def _pattern(self, pattern: str, value: Any, where: str) -> Iterator[str]:
        if isinstance(value, str) and not re.search(pattern, value):
            yield f"{where}: {value!r} does not fit {pattern}"

    def _minimum(self, least: float, value: Any, where: str) -> Iterator[str]:
        if TYPES["number"](value) and value < least:
            yield f"{where}: {value} is less than {least}"

    def _maximum(self, most: float, value: Any, where: str) -> Iterator[str]:
        if TYPES["number"](value) and value > most:
            yield f"{where}: {value} is more than {most}"
