"""References in configuration: `${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${keyring:a/b}`.

Pure: variables and secrets come from an argument.
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
    """Reference to a variable, or to a secret as `service/name`."""

    kind: Literal["variable", "secret", "unknown"]
    name: str
    default: str | None = None


Lookup = Callable[[Reference], str | None]
"""Returns the value of a reference, None if there is none."""


class MissingReference(Exception):
    """Reference to something that does not exist."""

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


def interpolate(value: Value, find: Lookup) -> Value:
    """Replace the references in every text of the value, however deep. Raises `MissingReference`.

    Substituted text is not interpolated again.
    """
    return cast("Value", _interpolate(value, find))


def find_references(value: Any) -> Iterator[Reference]:
    """Yield every reference in the value, in order."""
    met: list[Reference] = []

    def note(reference: Reference) -> str:
        met.append(reference)
        return ""

    interpolate(value, note)
    yield from met


_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_VARIABLE = re.compile(
    r"(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL
)
_SECRET = re.compile(r"keyring:(?P<name>[^/]+/.+)", re.DOTALL)


def _interpolate(value: Any, find: Lookup) -> Any:
    match value:
        case str():
            return _REFERENCE.sub(lambda found: _value(_parse(found[1]), find), value)
        case dict():
            return {name: _interpolate(each, find) for name, each in cast("Table", value).items()}
        case tuple():
            return tuple(_interpolate(each, find) for each in cast("Sequence[Any]", value))
        case msgspec.Struct():
            fields = {
                name: _interpolate(getattr(value, name), find) for name in value.__struct_fields__
            }
            return replace(value, **fields)
        case _:
            return value


def _parse(text: str) -> Reference:
    if variable := _VARIABLE.fullmatch(text):
        return Reference("variable", variable["name"], variable["default"])
    if secret := _SECRET.fullmatch(text):
        return Reference("secret", secret["name"])
    return Reference("unknown", text)


def _value(reference: Reference, find: Lookup) -> str:
    """Return the value; an empty variable gets its default, as in a shell."""
    value = find(reference) if reference.kind != "unknown" else None
    if value is None or (not value and reference.default is not None):
        value = reference.default
    if value is None:
        raise MissingReference(reference)
    return value
