"""A function's parameters as a JSON Schema, and a model's arguments as what the function takes."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from antiphon.ports import Tell, quiet
from antiphon.types.messages import ToolCall


class Unfit(Exception):
    """Arguments that the function cannot take; a model reads what is wrong with them."""


def decoded(arguments: str) -> dict[str, Any]:
    """The arguments of a call, by name. Raises `Unfit`."""
    try:
        return msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Unfit(f"The arguments are not a JSON object: {error}.") from error


class Parameters:
    """The parameters of one function, by its signature.

    A parameter annotated as `ToolCall` is no argument of the model's: it gets the call itself,
    whose id is the key by which a tool can tell that it did a thing before. Nor is one annotated as
    `Tell`: it gets what tells how far the tool is.
    """

    def __init__(self, function: Callable[..., Any], descriptions: Mapping[str, str]) -> None:
        self._fields: dict[str, Any] = {}
        self._required: set[str] = set()
        self._defaults: dict[str, Any] = {}
        self._given: dict[str, Any] = {}  # what is ours to give, by the parameter's name
        hints = _hints(function)
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
        if kind is ToolCall or kind == Tell:
            self._given[name] = kind
            return
        self._fields[name] = _annotated(kind, descriptions.get(name))
        if parameter.default is parameter.empty:
            self._required.add(name)
        else:
            self._defaults[name] = parameter.default

    def schema(self) -> dict[str, Any]:
        """The JSON Schema, of type object. References are written out, as not every model server
        follows them; only what refers to itself stays under `$defs`. Raises `TypeError` for a
        parameter of a type that JSON cannot bring.
        """
        for name, kind in self._fields.items():
            _check(name, kind)
        (root,), parts = msgspec.json.schema_components(
            [self._struct], ref_template="#/$defs/{name}"
        )
        own = parts.pop(_target(root))
        written_out = _Inlined(parts)
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

    def arguments(self, call: ToolCall, tell: Tell = quiet) -> dict[str, Any]:
        """The keyword arguments for this call. Raises `Unfit`."""
        given = decoded(call.arguments)
        self._check_names(given)
        arguments = self._converted(given)
        taken = {
            name: value for name in self._fields if (value := getattr(arguments, name)) is not UNSET
        }
        ours = {name: call if kind is ToolCall else tell for name, kind in self._given.items()}
        return {**taken, **ours}

    def _check_names(self, given: Mapping[str, Any]) -> None:
        unknown = [name for name in given if name not in self._fields]
        missing = [name for name in self._fields if name in self._required and name not in given]
        faults = [
            *(["unknown: " + ", ".join(unknown)] if unknown else []),
            *(["missing: " + ", ".join(missing)] if missing else []),
        ]
        if faults:
            raise Unfit(f"Wrong arguments ({'; '.join(faults)}). {self._expected()}")

    def _expected(self) -> str:
        if not self._fields:
            return "The tool takes no arguments."
        names = [name if name in self._required else f"{name} (optional)" for name in self._fields]
        return f"The tool takes: {', '.join(names)}."

    def _converted(self, given: dict[str, Any]) -> Any:
        try:
            return msgspec.convert(given, self._struct)
        except msgspec.ValidationError:
            return self._converted_kindly(given)

    def _converted_kindly(self, given: dict[str, Any]) -> Any:
        """Models write 3 as "3" every so often; what is meant is still plain."""
        try:
            return msgspec.convert(given, self._struct, strict=False)
        except msgspec.ValidationError as error:
            raise Unfit(_in_words(str(error))) from error


class _Inlined:
    """Schemas with their references written out, except those that lead back to themselves."""

    def __init__(self, parts: dict[str, Any]) -> None:
        self._parts = parts
        self._open: list[str] = []
        self.kept: dict[str, Any] = {}

    def schema(self, schema: Any) -> Any:
        match schema:
            case {"$ref": str(ref), **beside}:
                return self._referred(ref, cast("dict[str, Any]", beside))
            case dict():
                return {key: self.schema(value) for key, value in schema.items()}  # pyright: ignore[reportUnknownVariableType]
            case list():
                return [self.schema(item) for item in schema]  # pyright: ignore[reportUnknownVariableType]
            case _:
                return schema

    def _referred(self, ref: str, beside: dict[str, Any]) -> dict[str, Any]:
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


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    while isinstance(function, functools.partial):
        function = function.func
    annotated = function if inspect.isroutine(function) else type(function).__call__
    return get_type_hints(inspect.unwrap(annotated), include_extras=True)


def _annotated(kind: Any, description: str | None) -> Any:
    """The type with its description; a string in `Annotated` is one, and beats the docstring."""
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
        raise TypeError(
            f"The parameter `{name}` is annotated as {_spelled(kind)}, which a model cannot write."
            " Annotate it as what JSON brings: str, int, float, bool, list, dict, Literal, an Enum,"
            " a dataclass, a TypedDict; Any takes everything."
        ) from error


def _spelled(kind: Any) -> str:
    """A type as it is written in an annotation."""
    return kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else str(kind)


def _target(schema: Mapping[str, str]) -> str:
    return schema["$ref"].removeprefix("#/$defs/")


def _in_words(said: str) -> str:
    """What msgspec says of the arguments, with the argument named first."""
    what, _, where = said.partition(" - at `")
    name = where.rstrip("`").removeprefix("$.")
    return f"Wrong argument {name}: {what}." if name else f"Wrong arguments: {what}."


# What a docstring says of a function and of its parameters: Google, NumPy or Sphinx style.


class Described(msgspec.Struct, frozen=True):
    """The text before the first section, and one line for each parameter that has one."""

    text: str
    parameters: dict[str, str]


def described(docstring: str | None) -> Described:
    """What this docstring says, in whichever style it is written."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    headers = [at for at in range(len(lines)) if _begins_section(lines, at)]
    parameters: dict[str, str] = {}
    for at in headers:
        parameters.update(_parameters(lines, at))
    return Described("\n".join(lines[: headers[0]] if headers else lines).strip(), parameters)


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


def _begins_section(lines: list[str], at: int) -> bool:
    return bool(_google_header(lines[at]) or _numpy_header(lines, at) or _SPHINX.match(lines[at]))


def _google_header(line: str) -> str | None:
    """The section's name in a line such as `Args:`."""
    name = line.rstrip().removesuffix(":").lower()
    return name if line.rstrip().endswith(":") and name in _SECTIONS else None


def _numpy_header(lines: list[str], at: int) -> str | None:
    """The section's name where the next line is a rule of dashes."""
    below = lines[at + 1].strip() if at + 1 < len(lines) else ""
    name = lines[at].strip().lower()
    return name if name in _SECTIONS and len(below) >= 3 and set(below) == {"-"} else None


def _parameters(lines: list[str], at: int) -> Iterator[tuple[str, str]]:
    if (field := _SPHINX.match(lines[at])) and field["field"] in _SPHINX_PARAMETERS:
        name = field["words"].split()[-1:] or [""]
        yield name[0].lstrip("*"), _joined([field["text"], *_indented(lines[at + 1 :])])
    elif _numpy_header(lines, at) in _PARAMETERS:
        yield from _entries(_until_section(lines, at + 2), _NUMPY_ENTRY.fullmatch)
    elif _google_header(lines[at]) in _PARAMETERS:
        body = inspect.cleandoc("\n" + "\n".join(_indented(lines[at + 1 :]))).splitlines()
        yield from _entries(body, _GOOGLE_ENTRY.fullmatch)


def _indented(lines: list[str]) -> Iterator[str]:
    """The lines from here that belong to the one above."""
    for line in lines:
        if line and not line[0].isspace():
            return
        yield line


def _until_section(lines: list[str], start: int) -> list[str]:
    end = next((at for at in range(start, len(lines)) if _numpy_header(lines, at)), len(lines))
    return lines[start:end]


def _entries(lines: list[str], entry: _Entry) -> Iterator[tuple[str, str]]:
    """Each entry, which stands at the margin, with the indented lines below it."""
    for at, line in enumerate(lines):
        if found := entry(line):
            text = _joined([found["text"], *_indented(lines[at + 1 :])])
            for name in found["names"].split(","):
                yield name.strip(), text


def _joined(lines: Iterable[str]) -> str:
    return " ".join(" ".join(lines).split())
