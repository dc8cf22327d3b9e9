"""Writes the parts of the documentation that the code knows best.

    python docs/reference/make.py

A page holds `<!-- begin: NAME -->` and `<!-- end: NAME -->`; what stands between is made here, what
stands around is written by hand. A test fails where a page is behind the code. Raises `LookupError`
for a type of the HTTP API that is not in `RECORDS`.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
from argparse import SUPPRESS, Action, ArgumentParser, _SubParsersAction
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta

import antiphon
from antiphon.api import problems
from antiphon.api.operations import (
    OPERATIONS,
    BackendServer,
    BrowserToken,
    Deleted,
    Erasure,
    EventList,
    FileSearchResults,
    Listed,
    LiveRun,
    LoggedEvent,
    MemoriesDeleted,
    Model,
    ModelList,
    NewKey,
    NewLimits,
    NewMessage,
    NewProgress,
    NewShare,
    NewToolOutput,
    NewWebhook,
    Operation,
    OwnedSchedule,
    OwnedWebhook,
    OwnerImport,
    PageHit,
    PastCall,
    PastMessage,
    ProviderProblem,
    PublishedAssistant,
    ScheduledTime,
    ScheduledTimes,
    SearchHit,
    SearchResults,
    Speech,
    TagCount,
    ThreadOutcome,
    ThreadOutcomes,
    Transcription,
    UsageReport,
    path_fields,
)
from antiphon.cli import command_names
from antiphon.cli.exit_codes import MEANINGS
from antiphon.cli.flags import import_command
from antiphon.client.sync_client import Client
from antiphon.providers.servers import SERVERS, VENDORS, ServerTerms
from antiphon.settings.settings import TABLE, Settings
from antiphon.types import errors
from antiphon.types.accounts import (
    AuditEntry,
    Caller,
    Key,
    Limits,
    OwnerTotals,
    Person,
    Project,
    ProviderKey,
    UsageRow,
)
from antiphon.types.chat_imports import ChatImport, FoundChats
from antiphon.types.documents import Document, DocumentPage, PagePicture
from antiphon.types.events import Event, PendingAction
from antiphon.types.folders import Folder
from antiphon.types.messages import (
    Citation,
    Feedback,
    File,
    Hints,
    Image,
    IndexProgress,
    ListedTool,
    Message,
    Progress,
    ReasoningDetails,
    Refusal,
    TaskHandle,
    Text,
    ToolCall,
    ToolListing,
    ToolSpec,
    Upload,
)
from antiphon.types.personal import Memory, PersonalSettings
from antiphon.types.run_ends import RUN_ENDS
from antiphon.types.runs import (
    TRANSITIONS,
    Assistant,
    Deadlines,
    Fault,
    InstructionPart,
    McpServer,
    ResponseRecord,
    Run,
    Sampling,
    Status,
    Thread,
    ThreadOptions,
    Usage,
)
from antiphon.types.runs import Action as ActionRecord
from antiphon.types.schedules import Occurrence, Schedule
from antiphon.types.shares import Share, SharedCall, SharedMessage, SharedThread, UnreadFile
from antiphon.types.webhooks import Webhook, WebhookDelivery
from antiphon.wires.openai import chat_request, response_request

DOCS = Path(__file__).resolve().parent.parent
sys.path.append(str(DOCS.parent))

from tests.support.providers.quirks import CATALOGUE  # noqa: E402

RECORDS: tuple[type[Any], ...] = (
    Assistant,
    Thread,
    Folder,
    Message,
    Citation,
    Feedback,
    Run,
    InstructionPart,
    ResponseRecord,
    ActionRecord,
    PendingAction,
    Upload,
    Document,
    DocumentPage,
    PagePicture,
    FileSearchResults,
    PageHit,
    Listed,
    Deleted,
    Model,
    ModelList,
    ProviderProblem,
    Transcription,
    Speech,
    SearchHit,
    SearchResults,
    IndexProgress,
    TagCount,
    ThreadOutcomes,
    ThreadOutcome,
    PublishedAssistant,
    ChatImport,
    FoundChats,
    NewShare,
    Share,
    SharedThread,
    SharedMessage,
    SharedCall,
    UnreadFile,
    NewMessage,
    PastCall,
    PastMessage,
    NewProgress,
    NewToolOutput,
    LoggedEvent,
    EventList,
    Progress,
    TaskHandle,
    Text,
    Image,
    File,
    Refusal,
    ReasoningDetails,
    ToolSpec,
    ToolListing,
    ListedTool,
    Hints,
    ToolCall,
    McpServer,
    Sampling,
    ThreadOptions,
    Deadlines,
    Usage,
    Fault,
    Person,
    Key,
    Limits,
    NewLimits,
    NewKey,
    Project,
    AuditEntry,
    LiveRun,
    UsageReport,
    UsageRow,
    BackendServer,
    ProviderKey,
    BrowserToken,
    Webhook,
    NewWebhook,
    OwnedWebhook,
    WebhookDelivery,
    Schedule,
    OwnedSchedule,
    Occurrence,
    ScheduledTimes,
    ScheduledTime,
    PersonalSettings,
    Memory,
    MemoriesDeleted,
    Caller,
    OwnerTotals,
    OwnerImport,
    Erasure,
)


def calls() -> Iterator[str]:
    """Every call: its route, what it takes, what it answers."""
    group = ""
    for call in OPERATIONS:
        if (found := call.route.split("/")[2]) != group:
            group = found
            yield f"## {group.replace('_', ' ').capitalize()}\n"
        yield f"### `{call.route}`\n"
        yield f"{_docstring(call)}\n"
        yield f"{_outcome(call)}\n"
        yield from _fields(call, place=partial(_place, call))


def records() -> Iterator[str]:
    """Yield the fields of all records of requests and responses."""
    for record in RECORDS:
        yield f"### {record.__name__}\n"
        yield f"{_docstring(record)}\n"
        yield from _fields(record)


def events() -> Iterator[str]:
    """Every event with what it carries."""
    for kind in get_args(Event):
        yield f"### `{kind.__struct_config__.tag}`\n"
        yield f"{_docstring(kind)} In Python: `{kind.__name__}`.\n"
        yield from _fields(kind)


def settings() -> Iterator[str]:
    """The table of settings."""
    rows = [
        (
            f"`{name}`",
            f"`{row.variable}`",
            f"`{row.flag}`" if row.on_the_line else "",
            _default(Settings, name) if name != "database" else "in your data folder",
            row.meaning,
        )
        for name, row in TABLE.items()
    ]
    yield from _table(("in `antiphon.toml`", "environment", "flag", "default", "meaning"), rows)


def quirks() -> Iterator[str]:
    """Yield the catalogue of quirks: the fault, its source and its handling."""
    rows = [
        (
            str(quirk.number),
            quirk.arrives,
            quirk.does,
            ", ".join(quirk.reports),
            " ".join(f"`{name}`" for name in quirk.scenarios),
        )
        for quirk in CATALOGUE
    ]
    yield from _table(("#", "what arrives", "what Antiphon does", "reports", "scenarios"), rows)


def providers() -> Iterator[str]:
    """The servers that a model can be named of."""
    rows = [
        (
            f"`{name}:`",
            f"`{server.key_env}`" if server.key_env else "none",
            f"`{server.default}`" if server.default else "",
            f"`{server.base_url}`",
            ", ".join(f"`{lack}`" for lack in server.lacks),
            ", ".join(_differences(server)),
        )
        for name, server in SERVERS.items()
    ]
    head = ("model starts with", "key", "model by default", "address", "not supported", "differs")
    yield from _table(head, rows)


def _differences(server: ServerTerms) -> Iterator[str]:
    """Yield the settings of an entry beyond its names, as in TOML."""
    plain = ServerTerms(base_url=server.base_url)
    for field in ("key_header", "key_parameter", "models", *_LIMITS):
        if (value := getattr(server, field)) != getattr(plain, field):
            yield f"`{field} = {msgspec.json.encode(value).decode()}`"
    for field in server.quirks.__struct_fields__:
        if (value := getattr(server.quirks, field)) != getattr(plain.quirks, field):
            yield f"`{field} = {msgspec.json.encode(value).decode()}`"


_LIMITS = [name for name in ServerTerms.__struct_fields__ if name.endswith("_timeout")] + [
    "pool",
    "retries",
]


def vendors() -> Iterator[str]:
    """The vendors that the extra knows."""
    rows = [
        (
            f"`{name}:`",
            " or ".join(f"`{key}`" for key in vendor.keys) or "its own credentials",
            f"`{vendor.default}`" if vendor.default else "",
        )
        for name, vendor in VENDORS.items()
    ]
    yield from _table(("model begins with", "key", "model by default"), rows)


def commands() -> Iterator[str]:
    """Every command: what it is for, its arguments, the settings that are its flags."""
    for name in command_names.COMMANDS:
        command = import_command(name)
        parser = ArgumentParser(add_help=False)
        command.arguments(parser, ArgumentParser(add_help=False))
        yield f"## `antiphon {name}`\n"
        yield f"{inspect.cleandoc(command.__doc__ or '')}\n"
        for words, action in _actions(parser, f"antiphon {name}"):
            if words:
                yield f"**`{words}`**\n"
            yield from _table(("argument", "meaning"), action)
        yield f"Settings: {_flags(command.FLAGS)}.\n"
        for words, further in _further(parser, f"antiphon {name}"):
            yield f"Further settings of `{words}`: {_flags(further)}.\n"


def exit_codes() -> Iterator[str]:
    """Every exit code of the program, with the commands that end with it."""
    rows = [(str(code), of, meaning) for code, (of, meaning) in sorted(MEANINGS.items())]
    yield from _table(("code", "commands", "meaning"), rows)


def problem_codes() -> Iterator[str]:
    """Every error that has a code of its own, with its HTTP status."""
    rows = [
        (f"`{kind.code}`", _statuses(kind), f"`{kind.__name__}`", _docstring(kind))
        for kind in _family(errors.AntiphonError)
        if kind is not errors.AntiphonError and "code" in vars(kind)
    ]
    yield from _table(("code", "HTTP status", "Python", "meaning"), rows)


def _statuses(kind: type[errors.AntiphonError]) -> str:
    """All statuses under which the code comes: special cases of an error have one of their own."""
    same = (each for each in kind.__subclasses__() if "code" not in vars(each))
    return ", ".join(
        sorted({str(problems.status_and_title(each(""))[0]) for each in (kind, *same)})
    )


def reasons() -> Iterator[str]:
    """Every reason of an incomplete run."""
    rows = [(f"`{end.reason}`", end.meaning) for end in RUN_ENDS if end.reason]
    yield from _table(("reason", "meaning"), rows)


def tree() -> Iterator[str]:
    """The tree of errors, as the module draws it."""
    drawn = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")[2]
    yield f"```text\n{drawn}\n```\n"


def methods() -> Iterator[str]:
    """Every method of the client that is a call."""
    rows = [
        (f"`{name}({_parameters(method)})`", f"`{call.route}`", _first(call))
        for call in OPERATIONS
        for name, method in _methods()
        if method.__qualname__ == re.sub(r"(?<!^)(?=[A-Z])", "_", call.__name__).lower()
    ]
    yield from _table(("method", "call", "what it does"), rows)


def loops() -> Iterator[str]:
    """Every method of the client that is more than one call."""
    for name, method in _methods():
        if method.__qualname__.endswith(f".{name}"):  # not made from an operation
            yield f"### `{name}({_parameters(method)})`\n"
            yield f"{inspect.getdoc(method)}\n"


def names() -> Iterator[str]:
    """The names of the package, with the first sentence about each."""
    rows: list[tuple[str, str]] = []
    for name in sorted(antiphon.__all__):
        value = getattr(antiphon, name)
        is_alias = not (inspect.isclass(value) or inspect.isroutine(value)) and name not in MODULES
        text = "an alias for type hints" if is_alias else (inspect.getdoc(value) or "")
        rows.append((f"`{name}`", text.partition("\n\n")[0]))
    yield from _table(("name", "what it is"), rows)


MODULES = ("errors", "events", "operations")


def moves() -> Iterator[str]:
    """The legal moves of a run, drawn."""
    lines = ["stateDiagram-v2", "    [*] --> queued"]
    for status, nexts in TRANSITIONS.items():
        lines += [f"    {status} --> {after}" for after in Status if after in nexts]
    lines += [f"    {status} --> [*]" for status in Status if status.ended]
    yield "```mermaid\n" + "\n".join(lines) + "\n```\n"


def chat_fields() -> Iterator[str]:
    """Every field of a request of Chat Completions, and what happens to it."""
    yield from _treatments(chat_request.FIELDS)


def response_fields() -> Iterator[str]:
    """Every field of a request of Responses, and what happens to it."""
    yield from _treatments(response_request.FIELDS)


def _treatments(fields: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    rows = [(f"`{name}`", treatment, remark) for name, (treatment, remark) in fields.items()]
    yield from _table(("field", "treatment", "remark"), rows)


SECTIONS: dict[str, Callable[[], Iterator[str]]] = {
    "calls": calls,
    "records": records,
    "events": events,
    "settings": settings,
    "providers": providers,
    "quirks": quirks,
    "vendors": vendors,
    "commands": commands,
    "codes": problem_codes,
    "exit_codes": exit_codes,
    "reasons": reasons,
    "tree": tree,
    "methods": methods,
    "names": names,
    "loops": loops,
    "moves": moves,
    "chat_fields": chat_fields,
    "response_fields": response_fields,
}

_SECTION = re.compile(r"(<!-- begin: (\w+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def current(page: str) -> str:
    """The page with every section as the code has it now."""
    return _SECTION.sub(lambda found: found[1] + "\n" + _render_section(found[2]) + found[3], page)


def main() -> None:
    """Bring every page up to date."""
    for file in sorted(DOCS.rglob("*.md")):
        page = file.read_text("utf-8")
        if (made := current(page)) != page:
            file.write_text(made, "utf-8")


def _render_section(section: str) -> str:
    return "".join(f"{block}\n" for block in SECTIONS[section]())


def _docstring(kind: type[Any]) -> str:
    return inspect.cleandoc(kind.__doc__ or "")


def _first(kind: type[Any]) -> str:
    return " ".join(_docstring(kind).partition("\n\n")[0].split())


def _outcome(call: type[Operation[Any]]) -> str:
    said: list[str] = [f"Needs the scope `{call.scope}`."] if call.scope else []
    if call.streams:
        said.append("Returns a stream of [events](events.md).")
    elif call.file:
        said.append(f"Returns {call.http_status} with a file, `{call.file}`.")
    elif call.answer is not None:
        said.append(f"Returns {call.http_status} with {_kind(call.answer)}.")
    if call.creates:
        said.append("Takes an `Idempotency-Key`.")
    return " ".join(said)


def _place(call: type[Operation[Any]], name: str) -> str:
    if name in path_fields(call):
        return "path"
    in_query = call.upload or call.route.startswith(("GET", "DELETE"))
    return "query" if in_query else "body"


def _fields(kind: type[Any], place: Callable[[str], str] | None = None) -> Iterator[str]:
    rows = [
        (
            f"`{field.name}`",
            *((place(field.name),) if place else ()),
            _kind(field.type),
            _default(kind, field.name),
        )
        for field in msgspec.structs.fields(kind)
    ]
    if tag := kind.__struct_config__.tag:  # by which one of several is known: never left out
        rows.insert(0, (f"`{kind.__struct_config__.tag_field}`", f'`"{tag}"`', "required"))
    if rows:
        yield from _table(("field", *(("in",) if place else ()), "type", "default"), rows)


def _default(kind: type[Any], name: str) -> str:
    field = next(field for field in msgspec.structs.fields(kind) if field.name == name)
    if field.required:
        return "required"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if value is msgspec.UNSET:
        return "stays"
    if value is None or value == "":
        return ""
    if isinstance(value, float):
        return f"`{value:g}`" if value < 1e5 else f"`{value:.0f}`"
    return f"`{msgspec.json.encode(value).decode()}`"


def _kind(kind: Any, limits: Meta | None = None) -> str:
    """A type as a reader of JSON would say it."""
    if kind in _PLAIN:
        return _PLAIN[kind] + _describe_limits(limits)
    arguments = get_args(kind)
    match get_origin(kind):
        case None:
            return _link_kind(kind)
        case origin if origin is Annotated:
            meta = next((note for note in kind.__metadata__ if isinstance(note, Meta)), None)
            return _kind(arguments[0], meta)
        case origin if origin in (Union, types.UnionType):
            return " or ".join(_kind(each) for each in arguments if each is not msgspec.UnsetType)
        case origin if origin is Literal:
            return ", ".join(f'`"{word}"`' for word in arguments)
        case origin:
            return _container(origin, arguments, limits)


def _link_kind(kind: Any) -> str:
    if not inspect.isclass(kind):
        return "anything"  # a type variable
    if kind in get_args(Event):
        return f"[`{kind.__struct_config__.tag}`](events.md)"
    if issubclass(kind, StrEnum):
        return "[status](../explanation/runs.md)"
    if kind not in RECORDS:
        raise LookupError(f"{kind.__name__} is in the HTTP API: add it to RECORDS in {__file__}")
    return f"[{kind.__name__}](http-api.md#{kind.__name__.lower()})"


def _container(origin: Any, arguments: tuple[Any, ...], limits: Meta | None) -> str:
    if origin is dict:
        return "object" if arguments[1] is Any else f"object of {_kind(arguments[1]).split()[0]}s"
    if origin is Listed:
        return f"a [page](#listed) of {_kind(arguments[0])}"
    return f"list of {_kind(arguments[0])}{_describe_limits(limits)}"


_PLAIN: dict[Any, str] = {
    Any: "anything",
    str: "string",
    bytes: "base64",
    int: "integer",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
}


def _describe_limits(limits: Meta | None) -> str:
    match limits:
        case Meta(max_length=int(most)):
            return f" (at most {most})"
        case Meta(ge=int(least), le=int(most)):
            return f" ({least} to {most})"
        case Meta(ge=int(least)):
            return f" (from {least})"
        case _:
            return ""


def _actions(parser: ArgumentParser, words: str) -> Iterator[tuple[str, Sequence[tuple[str, str]]]]:
    """The arguments of a command, and then of each of its actions."""
    own: list[tuple[str, str]] = []
    below: list[tuple[str, ArgumentParser]] = []
    for action in parser._actions:  # argparse tells nobody else what a parser takes
        if isinstance(action, _SubParsersAction):
            below += [(f"{words} {name}", each) for name, each in action.choices.items()]
        elif not _is_setting(action) and action.dest != "help" and action.help is not SUPPRESS:
            own.append((_usage(action), action.help or ""))
    if own:
        yield "", own
    for name, each in below:
        told = [row for _, rows in _actions(each, name) for row in rows]
        yield name, told


def _is_setting(action: Action) -> bool:
    return action.dest in TABLE and TABLE[action.dest].flag in action.option_strings


def _flags(names: Iterable[str]) -> str:
    return " ".join(f"`{TABLE[name].flag}`" for name in names) or "none"


def _further(parser: ArgumentParser, words: str) -> Iterator[tuple[str, Sequence[str]]]:
    """The actions that take settings of their own, and which."""
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for name, below in action.choices.items():
                if further := below.get_default("flags"):
                    yield f"{words} {name}", further


def _usage(action: Action) -> str:
    name = action.metavar or action.dest.upper()
    if not action.option_strings:
        return f"`{name}`"
    value = "" if action.nargs == 0 else f" {name}"
    return ", ".join(f"`{flag}{value}`" for flag in action.option_strings)


def _methods() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public methods of the client; those made from a call bear the call's name."""
    for kind in Client.__mro__:
        for name in vars(kind):
            method = getattr(kind, name)  # those made from a call are made when first read
            if inspect.isfunction(method) and not name.startswith("_"):
                yield name, method


def _parameters(method: Callable[..., Any]) -> str:
    """Names alone: types and defaults are in the call, and `help()` has them."""
    names = [
        ("**" if parameter.kind is parameter.VAR_KEYWORD else "") + name
        for name, parameter in inspect.signature(method).parameters.items()
        if name != "self"
    ]
    return ", ".join(names)


def _family(kind: type[errors.AntiphonError]) -> Iterator[type[errors.AntiphonError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    lines = [[_cell(cell) for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    if len(lines) > 2:
        yield "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main()
