"""JSON Schemas of Python functions and types, and a call's arguments as Python values."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from antiphon.ports import ProgressCallback
from antiphon.tools import pydantic_types
from antiphon.tools.context import ToolContext
from antiphon.tools.deadlines import ThreadSafeProgress
from antiphon.types.enum_values import add_enum_values
from antiphon.types.messages import ToolCall


class InvalidArguments(Exception):
    """The function cannot take these arguments; the message is for the model."""


def decode_arguments(arguments: str) -> dict[str, Any]:
    """Return the arguments of a call, by name. Raises `InvalidArguments`."""
    try:
        return msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidArguments(f"The arguments are not a JSON object: {error}.") from error


_Injected = Callable[[ToolCall, ThreadSafeProgress], Any]
_INJECTED: dict[Any, _Injected] = {
    ToolContext: ToolContext,
    ToolCall: lambda call, _: call,
    ProgressCallback: lambda _, progress: progress,
}
"""Values of parameters by their annotation, unseen by the model."""


def _find_injected(kind: Any) -> _Injected | None:
    """Return what a parameter of this type receives; it may say that it could be None."""
    if get_origin(kind) in (Union, UnionType):
        (kind, *others) = [each for each in get_args(kind) if each is not type(None)]
        if others:
            return None
    return _INJECTED.get(kind) if isinstance(kind, Hashable) else None


class Parameters:
    """Parameters of one function, from its signature.

    A parameter annotated as `ToolContext`, `ToolCall` (the call itself, whose id lets a tool
    recognize a repeated call) or `ProgressCallback` receives that. The model sees none of them.
    """

    def __init__(self, function: Callable[..., Any], descriptions: Mapping[str, str]) -> None:
        self._fields: dict[str, Any] = {}
        self._required: set[str] = set()
        self._defaults: dict[str, Any] = {}
        self._filled: dict[str, Any] = {}  # defaults that the function does not have itself
        self._injected: dict[str, _Injected] = {}  # by the parameter's name
        annotated = function
        while isinstance(annotated, functools.partial):
            annotated = annotated.func
        if not inspect.isroutine(annotated):
            annotated = type(annotated).__call__
        hints = get_type_hints(inspect.unwrap(annotated), include_extras=True)
        for parameter in inspect.signature(function).parameters.values():
            self._add(parameter, hints.get(parameter.name, Any), descriptions)
        self._struct = msgspec.defstruct(
            "Arguments",
            [
                (name, kind) if name in self._required else (name, Union[kind, UnsetType], UNSET)  # noqa: UP007 - of a runtime value
                for name, kind in self._fields.items()
            ],
            kw_only=True,
            forbid_unknown_fields=True,
        )

    def _add(
        self, parameter: inspect.Parameter, kind: Any, descriptions: Mapping[str, str]
    ) -> None:
        name = parameter.name
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(
                f"A tool's parameters must each have a name, and `{parameter}` has none."
            )
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"A tool is called by keyword, and `{name}` is positional only.")
        if (injected := _find_injected(kind)) is not None:
            self._injected[name] = injected
            return
        default: Any = parameter.default
        if pydantic_types.is_field(default):  # as in `stars: int = Field(3, ge=1)`
            kind, field = Annotated[kind, default], default
            default = parameter.empty if field.is_required() else field.get_default()
            if default is not parameter.empty:
                self._filled[name] = default
        self._fields[name] = _with_description(kind, descriptions.get(name))
        if default is parameter.empty:
            self._required.add(name)
        else:
            self._defaults[name] = default

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema, of type object.

        References are inlined, because not every model server follows them; only recursive ones
        stay under `$defs`. Raises `TypeError` for a parameter of a type that JSON cannot express.
        """
        for name, kind in self._fields.items():
            _check(name, kind)
        (root,), parts = _schema_components([self._struct])
        own = parts.pop(_target(root))
        written_out = _RefInliner(parts)
        properties = {
            name: {**written_out.schema(own["properties"][name]), **self._default(name)}
            for name in self._fields
        }
        return {
            "type": "object",
            "properties": properties,
            "required": [name for name in self._fields if name in self._required],
            "additionalProperties": False,
            **({"$defs": written_out.kept} if written_out.kept else {}),
        }

    def _default(self, name: str) -> dict[str, Any]:
        if name not in self._defaults:
            return {}
        try:
            return {"default": msgspec.to_builtins(self._defaults[name], str_keys=True)}
        except (TypeError, ValueError):  # a sentinel, which means nothing to a model
            return {}

    def arguments(self, call: ToolCall, progress: ThreadSafeProgress) -> dict[str, Any]:
        """Return the keyword arguments for this call. Raises `InvalidArguments`."""
        given = decode_arguments(call.arguments)
        self._check_names(given)
        arguments = self._convert(given)
        taken = {
            name: value for name in self._fields if (value := getattr(arguments, name)) is not UNSET
        }
        ours = {name: injected(call, progress) for name, injected in self._injected.items()}
        return {**self._filled, **taken, **ours}

    def _check_names(self, given: Mapping[str, Any]) -> None:
        unknown = [name for name in given if name not in self._fields]
        missing = [name for name in self._fields if name in self._required and name not in given]
        faults = [
            *(["unknown: " + ", ".join(unknown)] if unknown else []),
            *(["missing: " + ", ".join(missing)] if missing else []),
        ]
        if not faults:
            return
        names = [name if name in self._required else f"{name} (optional)" for name in self._fields]
        takes = f"takes: {', '.join(names)}" if names else "takes no arguments"
        raise InvalidArguments(f"Wrong arguments ({'; '.join(faults)}). The tool {takes}.")

    def _convert(self, given: dict[str, Any]) -> Any:
        """Convert strictly, else leniently: models sometimes write 3 as "3"."""
        with suppress(msgspec.ValidationError):
            return pydantic_types.convert(given, self._struct)
        try:
            return pydantic_types.convert(given, self._struct, strict=False)
        except msgspec.ValidationError as error:
            what, _, where = add_enum_values(str(error), self.schema()).partition(" - at `")
            name = where.rstrip("`").removeprefix("$.")
            text = f"Wrong argument {name}: {what}." if name else f"Wrong arguments: {what}."
            raise InvalidArguments(text) from error


def adapt_type(kind: Any) -> Any:
    """Return the type, or a class that stands for it if only pydantic can validate it.

    That is a type with a `Field` in it, and a union of classes. Raises `UnknownType` for a `Field`
    in a type that pydantic does not know: its limits would be lost.
    """
    if pydantic_types.has_fields(kind):
        return pydantic_types.adapt(kind)
    if pydantic_types.has_unions(kind):
        try:
            _schema_components([kind])
        except TypeError:
            with suppress(pydantic_types.UnknownType):
                return pydantic_types.adapt(kind)
    return kind


def type_schema(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type; only recursive references stay, under `$defs`.

    Raises `TypeError` for a type that JSON cannot express.
    """
    (root,), parts = _schema_components([kind])
    inliner = _RefInliner(parts)
    schema = inliner.schema(root)
    return {**schema, **({"$defs": inliner.kept} if inliner.kept else {})}


def _schema_components(kinds: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return msgspec.json.schema_components(
        kinds, schema_hook=pydantic_types.model_schema, ref_template="#/$defs/{name}"
    )


class _RefInliner:
    """Schemas with references inlined, except recursive ones."""

    def __init__(self, parts: dict[str, Any]) -> None:
        self._parts = parts
        self._open: list[str] = []
        self.kept: dict[str, Any] = {}

    def schema(self, schema: Any) -> Any:
        match schema:
            case {"$ref": str(ref), **beside}:
                return self._resolve(ref, cast("dict[str, Any]", beside))
            case dict():
                return {key: self.schema(value) for key, value in schema.items()}  # pyright: ignore[reportUnknownVariableType]
            case list():
                return [self.schema(item) for item in schema]  # pyright: ignore[reportUnknownVariableType]
            case _:
                return schema

    def _resolve(self, ref: str, beside: dict[str, Any]) -> dict[str, Any]:
        name = _target({"$ref": ref})
        if name in self._open or name in self.kept:
            self.kept.setdefault(name, {})
            return {**beside, "$ref": ref}
        self._open.append(name)
        written = self.schema(self._parts[name])
        self._open.pop()
        if name in self.kept:
            self.kept[name] = written
            return {**beside, "$ref": ref}
        return {**written, **self.schema(beside)}


def _with_description(kind: Any, description: str | None) -> Any:
    """Return the type with its description; a string in `Annotated` overrides the docstring."""
    if get_origin(kind) is not Annotated:
        kind = adapt_type(kind)
    else:
        kind, *notes = get_args(kind)
        kind = adapt_type(kind)
        texts = [note for note in notes if isinstance(note, str)]
        metas = [
            meta
            for note in notes
            for meta in ([note] if isinstance(note, Meta) else pydantic_types.field_notes(note))
        ]
        for meta in metas:
            kind = Annotated[kind, meta]
        if any(meta.description for meta in metas):
            return kind
        description = texts[0] if texts else description
    return Annotated[kind, Meta(description=description)] if description else kind


def _check(name: str, kind: Any) -> None:
    try:
        _schema_components([kind])
    except TypeError as error:
        is_class = isinstance(kind, type) and get_origin(kind) is None
        raise TypeError(
            f"The parameter `{name}` is annotated as {kind.__name__ if is_class else kind},"
            " which a model cannot write."
            " Annotate it as what JSON brings: str, int, float, bool, list, dict, Literal, an Enum,"
            " a dataclass, a TypedDict, a pydantic model; Any takes everything."
        ) from error


def _target(schema: Mapping[str, str]) -> str:
    return schema["$ref"].removeprefix("#/$defs/")
