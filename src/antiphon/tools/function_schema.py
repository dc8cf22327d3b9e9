"""Function parameters as a JSON Schema, parsing of a model's arguments, and docstrings."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from antiphon.ports import ProgressCallback, quiet
from antiphon.types.messages import ToolCall


class InvalidArguments(Exception):
    """The function cannot take these arguments; the message is for the model."""


def decode_arguments(arguments: str) -> dict[str, Any]:
    """Return the arguments of a call, by name. Raises `InvalidArguments`."""
    try:
        return msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidArguments(f"The arguments are not a JSON object: {error}.") from error


class Parameters:
    """Parameters of one function, from its signature.

    A parameter annotated as `ToolCall` receives the call itself, whose id lets a tool recognize a
    repeated call. A parameter annotated as `ProgressCallback` receives the progress callback. The
    model sees neither.
    """

    def __init__(self, function: Callable[..., Any], descriptions: Mapping[str, str]) -> None:
        self._fields: dict[str, Any] = {}
        self._required: set[str] = set()
        self._defaults: dict[str, Any] = {}
        self._injected: dict[str, Any] = {}  # what is ours to give, by the parameter's name
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
        if kind is ToolCall or kind == ProgressCallback:
            self._injected[name] = kind
            return
        self._fields[name] = _with_description(kind, descriptions.get(name))
        if parameter.default is parameter.empty:
            self._required.add(name)
        else:
            self._defaults[name] = parameter.default

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema, of type object.

        References are inlined, because not every model server follows them; only recursive ones
        stay under `$defs`. Raises `TypeError` for a parameter of a type that JSON cannot express.
        """
        for name, kind in self._fields.items():
            _check(name, kind)
        (root,), parts = msgspec.json.schema_components(
            [self._struct], ref_template="#/$defs/{name}"
        )
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

    def arguments(self, call: ToolCall, tell: ProgressCallback = quiet) -> dict[str, Any]:
        """Return the keyword arguments for this call. Raises `InvalidArguments`."""
        given = decode_arguments(call.arguments)
        self._check_names(given)
        arguments = self._convert(given)
        taken = {
            name: value for name in self._fields if (value := getattr(arguments, name)) is not UNSET
        }
        ours = {name: call if kind is ToolCall else tell for name, kind in self._injected.items()}
        return {**taken, **ours}

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
            return msgspec.convert(given, self._struct)
        try:
            return msgspec.convert(given, self._struct, strict=False)
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at `")
            name = where.rstrip("`").removeprefix("$.")
            text = f"Wrong argument {name}: {what}." if name else f"Wrong arguments: {what}."
            raise InvalidArguments(text) from error


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
    if get_origin(kind) is Annotated:
        kind, *notes = get_args(kind)
        texts = [note for note in notes if isinstance(note, str)]
        metas = [note for note in notes if isinstance(note, Meta)]
        for meta in metas:
            kind = Annotated[kind, meta]
        if any(meta.description for meta in metas):
            return kind
        description = texts[0] if texts else description
    return Annotated[kind, Meta(description=description)] if description else kind


def _check(name: str, kind: Any) -> None:
    try:
        msgspec.json.schema_components([kind])
    except TypeError as error:
        is_class = isinstance(kind, type) and get_origin(kind) is None
        raise TypeError(
            f"The parameter `{name}` is annotated as {kind.__name__ if is_class else kind},"
            " which a model cannot write."
            " Annotate it as what JSON brings: str, int, float, bool, list, dict, Literal, an Enum,"
            " a dataclass, a TypedDict; Any takes everything."
        ) from error


def _target(schema: Mapping[str, str]) -> str:
    return schema["$ref"].removeprefix("#/$defs/")


# Docstrings in Google, NumPy or Sphinx style.


class Docstring(msgspec.Struct, frozen=True):
    """Text before the first section, and the description of each parameter that has one."""

    text: str
    parameters: dict[str, str]


def parse_docstring(docstring: str | None) -> Docstring:
    """Parse a docstring of any of the three styles."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    headers = [
        at
        for at, line in enumerate(lines)
        if _google_header(line) or _numpy_header(lines, at) or _SPHINX.match(line)
    ]
    parameters: dict[str, str] = {}
    for at in headers:
        parameters.update(_parameters(lines, at))
    return Docstring("\n".join(lines[: headers[0]] if headers else lines).strip(), parameters)


_PARAMETERS = frozenset({"args", "arguments", "parameters", "params"})
_SECTIONS = _PARAMETERS | {
    *("returns", "return", "yields", "raises", "warns", "attributes", "other parameters"),
    *("example", "examples", "note", "notes", "see also", "references", "todo", "warning"),
}
_SPHINX = re.compile(r":(?P<field>\w+)(?P<words>(?:\s+[^\s:]+)*)\s*:\s*(?P<text>.*)")
_SPHINX_PARAMETERS = frozenset({"param", "parameter", "arg", "argument", "key", "keyword"})
_GOOGLE_ENTRY = re.compile(r"\*{0,2}(?P<names>\w+)\s*(?:\([^:]*\))?\s*:\s*(?P<text>.*)")
_NUMPY_ENTRY = re.compile(r"\*{0,2}(?P<names>\w+(?:\s*,\s*\w+)*)\s*(?::.*)?(?P<text>)")

_Entry = Callable[[str], "re.Match[str] | None"]


def _google_header(line: str) -> str | None:
    """Return the section named in a line such as `Args:`."""
    name = line.rstrip().removesuffix(":").lower()
    return name if line.rstrip().endswith(":") and name in _SECTIONS else None


def _numpy_header(lines: list[str], at: int) -> str | None:
    """Return the section named in a line above a rule of dashes."""
    below = lines[at + 1].strip() if at + 1 < len(lines) else ""
    name = lines[at].strip().lower()
    return name if name in _SECTIONS and len(below) >= 3 and set(below) == {"-"} else None


def _parameters(lines: list[str], at: int) -> Iterator[tuple[str, str]]:
    if (field := _SPHINX.match(lines[at])) and field["field"] in _SPHINX_PARAMETERS:
        name = field["words"].split()[-1:] or [""]
        yield name[0].lstrip("*"), _join([field["text"], *_leading_block(lines[at + 1 :])])
    elif _numpy_header(lines, at) in _PARAMETERS:
        below = range(at + 2, len(lines))
        end = next((line for line in below if _numpy_header(lines, line)), len(lines))
        yield from _entries(lines[at + 2 : end], _NUMPY_ENTRY.fullmatch)
    elif _google_header(lines[at]) in _PARAMETERS:
        body = inspect.cleandoc("\n" + "\n".join(_leading_block(lines[at + 1 :]))).splitlines()
        yield from _entries(body, _GOOGLE_ENTRY.fullmatch)


def _leading_block(lines: list[str]) -> Iterator[str]:
    """Yield the leading indented lines."""
    for line in lines:
        if line and not line[0].isspace():
            return
        yield line


def _entries(lines: list[str], entry: _Entry) -> Iterator[tuple[str, str]]:
    """Yield each entry at the margin, with the indented lines below it."""
    for at, line in enumerate(lines):
        if found := entry(line):
            text = _join([found["text"], *_leading_block(lines[at + 1 :])])
            for name in found["names"].split(","):
                yield name.strip(), text


def _join(lines: Iterable[str]) -> str:
    return " ".join(" ".join(lines).split())
