"""What configuration leaves open: `${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${keyring:a/b}`.

Pure: where a variable or a secret comes from is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar, cast

import msgspec
from msgspec.structs import replace

Value = TypeVar("Value")
Table = dict[str, Any]


class Reference(msgspec.Struct, frozen=True):
    """One thing that is to be filled in: a variable, or a secret as `service/name`."""

    kind: Literal["variable", "secret", "unknown"]
    name: str
    default: str | None = None


Find = Callable[[Reference], str | None]
"""The value of a reference, None where there is none."""


class Missing(Exception):
    """What is referred to, and is not there."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        self.reference = reference

    def __str__(self) -> str:
        name = self.reference.name
        match self.reference.kind:
            case "variable":
                return f"the variable {name} is not set"
            case "secret":
                return f"the keyring holds no {name}"
            case "unknown":
                return f"${{{name}}} is nothing that can be filled in here"


def filled(value: Value, find: Find) -> Value:
    """The value with every text in it filled in, however deep. Raises `Missing`.

    What was filled in is not read again: a variable's value may hold whatever it likes.
    """
    return cast("Value", _filled(value, find))


def references(value: Any) -> Iterator[Reference]:
    """Everything that the value refers to, in its order."""
    met: list[Reference] = []

    def note(reference: Reference) -> str:
        met.append(reference)
        return ""

    filled(value, note)
    yield from met


_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_VARIABLE = re.compile(
    r"(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL
)
_SECRET = re.compile(r"keyring:(?P<name>[^/]+/.+)", re.DOTALL)


def _filled(value: Any, find: Find) -> Any:
    match value:
        case str():
            return _REFERENCE.sub(lambda found: _value(_read(found[1]), find), value)
        case dict():
            return {name: _filled(each, find) for name, each in cast("Table", value).items()}
        case tuple():
            return tuple(_filled(each, find) for each in cast("Sequence[Any]", value))
        case msgspec.Struct():
            fields = {name: _filled(getattr(value, name), find) for name in value.__struct_fields__}
            return replace(value, **fields)
        case _:
            return value


def _read(text: str) -> Reference:
    if variable := _VARIABLE.fullmatch(text):
        return Reference("variable", variable["name"], variable["default"])
    if secret := _SECRET.fullmatch(text):
        return Reference("secret", secret["name"])
    return Reference("unknown", text)


def _value(reference: Reference, find: Find) -> str:
    """As in a shell, a variable that is empty has its default."""
    value = find(reference) if reference.kind != "unknown" else None
    if value is None or (not value and reference.default is not None):
        value = reference.default
    if value is None:
        raise Missing(reference)
    return value
