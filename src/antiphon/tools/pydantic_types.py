"""Pydantic models and fields as types of tools and answers, and types that only pydantic knows.

msgspec knows no model. Its hooks for types of others are here, and the translation of what
`Annotated[..., Field(...)]` says of a value. A type that msgspec cannot express, such as a union of
dataclasses, is left to pydantic where that is installed; nothing else here needs it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from importlib import import_module
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import msgspec
from msgspec import Meta

from antiphon.types.json_values import is_list

_LIMITS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")


class _Instances(type):
    """Class of classes that stand for other types: any value counts as an instance of them."""

    def __instancecheck__(cls, instance: object) -> bool:
        return True


class UnknownType(TypeError):
    """Neither msgspec nor pydantic can validate the type."""


def adapt(kind: Any) -> type[Any]:
    """Return a class that stands for a type which pydantic validates.

    Like a model it has `model_json_schema` and `model_validate`; its values are those of the type.
    Raises `UnknownType` if pydantic is not installed, or does not know the type.
    """
    try:
        adapter = import_module("pydantic").TypeAdapter(kind)
        adapter.json_schema()
    except Exception as error:  # of several classes, some of them pydantic's own
        reason = str(error).partition("\n")[0]
        raise UnknownType(f"pydantic cannot validate it: {reason.rstrip('.')}") from error
    return _Instances(
        getattr(kind, "__name__", "Adapted"),
        (),
        {
            "__pydantic_validator__": adapter.validator,
            "model_json_schema": staticmethod(adapter.json_schema),
            "model_validate": staticmethod(adapter.validate_python),
        },
    )


def has_fields(kind: Any) -> bool:
    """Return whether an `Annotated[..., Field(...)]` is somewhere in this type.

    Models are left out: pydantic reads theirs itself.
    """
    return any(
        is_field(note)
        for part in _walk(kind, set())
        if get_origin(part) is Annotated
        for note in get_args(part)[1:]
    )


def has_unions(kind: Any) -> bool:
    """Return whether a union is somewhere in this type, models left out."""
    return any(get_origin(part) in (Union, UnionType) for part in _walk(kind, set()))


def _walk(kind: Any, seen: set[int]) -> Iterator[Any]:
    """Yield the type and the types that it is made of."""
    if id(kind) in seen or is_model(kind):
        return
    seen.add(id(kind))
    yield kind
    parts: tuple[Any, ...] = get_args(kind)
    if get_origin(kind) is Annotated:
        parts = parts[:1]
    elif dataclasses.is_dataclass(kind) or is_typeddict(kind):
        parts = (*parts, *get_type_hints(kind, include_extras=True).values())
    for part in parts:
        yield from _walk(part, seen)


def is_field(value: object) -> bool:
    """Return whether this is what `pydantic.Field(...)` returns."""
    return type(value).__name__ == "FieldInfo" and hasattr(value, "is_required")


def is_model(kind: object) -> bool:
    """Return whether this is a class that pydantic validates."""
    return isinstance(kind, type) and hasattr(kind, "__pydantic_validator__")


def model_schema(kind: type[Any]) -> dict[str, Any]:
    """Return the JSON Schema of a model (schema hook of msgspec).

    Raises `NotImplementedError` for any other class, and for a model that contains itself.
    """
    if not is_model(kind) or not hasattr(kind, "model_json_schema"):
        raise NotImplementedError
    schema: dict[str, Any] = kind.model_json_schema()
    parts = schema.pop("$defs", {})
    inlined: dict[str, Any] = inline_references(schema, parts)
    return inlined


def validate_model(kind: type[Any], value: object) -> Any:
    """Return the model of this value (decoding hook of msgspec). Raises `ValueError`."""
    if not is_model(kind) or not hasattr(kind, "model_validate"):
        raise NotImplementedError
    try:
        return kind.model_validate(value)
    except ValueError as error:
        raise ValueError(explain_errors(error)) from error


def dump_model(value: object) -> Any:
    """Return what JSON has for a model (encoding hook of msgspec)."""
    if not is_model(type(value)):
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
    return value.model_dump(mode="json")  # type: ignore[attr-defined]  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportAttributeAccessIssue]


def explain_errors(error: ValueError) -> str:
    """Return pydantic's errors on one line, each with its place; without links and values."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    told = [
        f"{'.'.join(map(str, each['loc'])) or 'the value'}: {each['msg']}"
        for each in errors(include_url=False, include_input=False, include_context=False)
    ]
    return "; ".join(told)


def field_notes(note: object) -> list[Meta]:
    """Return what a pydantic `Field` in `Annotated` says; nothing for anything else."""
    parts: Any = getattr(note, "metadata", None)
    if not is_field(note) or not is_list(parts):
        return []
    found = ((name, getattr(part, name, None)) for name in _LIMITS for part in parts)
    limits: dict[str, Any] = {name: limit for name, limit in found if limit is not None}
    description: str | None = getattr(note, "description", None)
    return [Meta(description=description, **limits)] if description or limits else []


def inline_references(schema: Any, parts: dict[str, Any], open_: Iterable[str] = ()) -> Any:
    """Return the schema with these definitions in place of references.

    Raises `NotImplementedError` for a definition that contains itself.
    """
    match schema:
        case {"$ref": str(ref), **beside}:
            name = ref.removeprefix("#/$defs/")
            if name in open_ or name not in parts:
                raise NotImplementedError
            written = inline_references(parts[name], parts, (*open_, name))
            return {**written, **inline_references(beside, parts, open_)}
        case dict():
            return {
                key: inline_references(value, parts, open_)
                for key, value in schema.items()  # pyright: ignore[reportUnknownVariableType]
            }
        case list():
            return [inline_references(item, parts, open_) for item in schema]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return schema


def convert(value: object, kind: Any, *, strict: bool = True) -> Any:
    """Return the value as this type; parts of it may be models. Raises `ValidationError`."""
    return msgspec.convert(value, kind, strict=strict, dec_hook=validate_model)
