"""Checks of requests beyond their types."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from antiphon.api import operations
from antiphon.engine.context_window import Context
from antiphon.engine.snapshot import Snapshot
from antiphon.types import errors
from antiphon.types.messages import File, Image, Message, Part, Text, ToolSpec, parts
from antiphon.types.runs import TOOL_CHOICES, Sampling, Thread
from antiphon.types.terminal_safe import one_line

_IMAGE_SCHEMES = ("https://", "data:image/")


def validate_has_input(operation: operations.Process) -> None:
    """Raise `InvalidRequest` without a message and a thread: there is nothing to answer."""
    if operation.message is None and operation.thread_id is None and not operation.history:
        raise errors.InvalidRequest(
            "There is nothing to answer.",
            expected="message, thread_id or run_id",
            received="none of them",
            hint='Send {"message": {"role": "user", "content": "..."}}.',
        )


def validate_continues(operation: operations.CreateRun | operations.Process) -> None:
    """Raise `InvalidRequest` if there is no thread to go on with, or something new to answer."""
    if not operation.continues:
        return
    added = isinstance(operation, operations.Process) and (
        operation.message is not None or operation.history
    )
    if operation.thread_id is None or added:
        raise errors.InvalidRequest(
            "The rest of an answer needs a thread, and no message.",
            expected="continues with thread_id alone",
            received="no thread_id" if operation.thread_id is None else "message or history",
            where="$.continues",
        )


def validate_temporary(operation: operations.Process) -> None:
    """Raise `InvalidRequest` if a thread that exists would become temporary."""
    if operation.temporary and operation.thread_id is not None:
        raise errors.InvalidRequest(
            "Only a new thread can be temporary.",
            expected="temporary without thread_id",
            received="both",
            where="$.temporary",
        )


def validate_temporary_change(operation: operations.UpdateThread, thread: Thread) -> None:
    """Raise `InvalidRequest` if a thread that is kept would become temporary."""
    if operation.temporary is True and not thread.temporary:
        raise errors.InvalidRequest(
            "Only a new thread can be temporary.",
            expected="temporary: false, or none",
            received="true, for a thread that is kept",
            where="$.temporary",
        )


def validate_past_messages(messages: Sequence[operations.PastMessage], name: str) -> None:
    """Raise `InvalidRequest` unless each tool call of these messages has exactly one output.

    `name` is that of the field that holds them.
    """
    waiting: dict[str, str] = {}
    for place, message in enumerate(messages):
        where = f"$.{name}[{place}]"
        if message.role == "tool":
            call_id = message.tool_call_id
            if call_id is None or waiting.pop(call_id, None) is None:
                raise errors.InvalidRequest(
                    "A tool output answers a call of the reply before it, once.",
                    expected=", ".join(waiting) or "no tool output here",
                    received=call_id or "no tool_call_id",
                    where=f"{where}.tool_call_id",
                )
            continue
        _require_no_open_calls(waiting)
        if message.tool_call_id is not None or message.is_error:
            raise errors.InvalidRequest(
                "Only a tool output has these fields.",
                expected="tool_call_id and is_error with role `tool`",
                received=f"role `{message.role}`",
                where=where,
            )
        if message.role != "assistant" and (message.tool_calls or message.reasoning):
            raise errors.InvalidRequest(
                "Only a reply has these fields.",
                expected="tool_calls and reasoning with role `assistant`",
                received=f"role `{message.role}`",
                where=where,
            )
        for number, call in enumerate(message.tool_calls):
            at = f"{where}.tool_calls[{number}]"
            if call.id in waiting:
                raise errors.InvalidRequest(
                    "Two calls of one reply have one id.",
                    expected="an id of its own for each",
                    received=call.id,
                    where=f"{at}.id",
                )
            _require_object(call, at)
            waiting[call.id] = at
    _require_no_open_calls(waiting)


def _require_no_open_calls(waiting: Mapping[str, str]) -> None:
    for call_id, where in waiting.items():
        raise errors.InvalidRequest(
            f"Tool call {call_id} has no output.",
            expected="a message of role `tool` with its tool_call_id, right after the reply",
            received="none",
            where=where,
        )


def _require_object(operation: operations.PastCall, where: str) -> None:
    try:
        msgspec.json.decode(operation.arguments, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError) as error:
        raise errors.InvalidRequest(
            "The arguments of a call are a JSON object as text.",
            expected='such as "{}"',
            received=operation.arguments[:100],
            where=f"{where}.arguments",
        ) from error


def validate_only_run_id(operation: operations.Process) -> None:
    """Raise `InvalidRequest` if fields for a new run accompany `run_id`."""
    alone = operations.Process(
        run_id=operation.run_id,
        force_refresh=operation.force_refresh,
        background=operation.background,
    )
    given = [
        name
        for name in operation.__struct_fields__
        if getattr(operation, name) != getattr(alone, name)
    ]
    if given:
        raise errors.InvalidRequest(
            "A run that exists takes no new " + ", ".join(given) + ".",
            expected="run_id alone, or a new run without run_id",
            received="run_id with " + ", ".join(given),
            hint="Leave run_id out to start a run in the thread.",
        )


def validate_replaceable(first: Message, operation: operations.AppendMessages) -> None:
    """Raise unless the thread's messages can be replaced from this one on."""
    if first.thread_id != operation.thread_id:
        raise errors.NotFound(f"Thread {operation.thread_id} has no message {first.id}.")
    if first.role == "tool":
        raise errors.InvalidRequest(
            "A tool output cannot be deleted without its call.",
            expected="the reply with the call",
            received=first.id,
            where="$.replace_from",
        )


def validate_fork(operation: operations.ForkThread) -> None:
    """Raise `InvalidRequest` if a fork that ends before a message does not name it."""
    if operation.message_id is None:
        raise errors.InvalidRequest(
            "A branch that ends before a message needs to know which.",
            expected="message_id",
            received="before without message_id",
        )


def validate_unique_tools(tools: Sequence[ToolSpec] | msgspec.UnsetType | None) -> None:
    """Raise `InvalidRequest` if two tools have one name."""
    names = Counter(tool.name for tool in tools) if tools else Counter[str]()
    twins = [name for name, times in names.items() if times > 1]
    if twins:
        raise errors.InvalidRequest(
            "Several tools have one name.",
            expected="a name of its own for each tool",
            received=", ".join(twins),
        )


def validate_sampling(sampling: Sampling) -> None:
    """Raise `InvalidRequest` for a tool choice or response format of an unknown shape."""
    match sampling.response_format:
        case None | {"type": "text" | "json_object"}:
            pass
        case {"type": "json_schema", "json_schema": {"name": str(name), "schema": dict()}} if name:
            pass
        case {"type": "json_schema"}:
            raise errors.InvalidRequest(
                "A response_format of type json_schema needs a name and a schema.",
                expected='{"type": "json_schema", "json_schema": {"name": ..., "schema": {...}}}',
                where="$.sampling.response_format",
            )
        case _:
            raise errors.InvalidRequest(
                "There is no such response_format.",
                expected='an object with the "type" "text", "json_object" or "json_schema"',
                where="$.sampling.response_format",
            )
    if isinstance(sampling.tool_choice, dict) and sampling.chosen_tool is None:
        raise errors.InvalidRequest(
            "This tool_choice has an unknown shape.",
            expected='{"type": "function", "function": {"name": ...}}',
            where="$.sampling.tool_choice",
        )


def validate_tool_choice(sampling: Sampling, tools: Sequence[ToolSpec]) -> None:
    """Raise `InvalidRequest` if the chosen tool is not offered."""
    names = [tool.name for tool in tools]
    chosen = sampling.chosen_tool
    forced = "required" if chosen is None else chosen
    if (chosen is not None and chosen not in names) or (
        sampling.tool_choice == "required" and not names
    ):
        raise errors.InvalidRequest(
            "The model cannot be made to call a tool that is not offered to it.",
            expected=", ".join([*TOOL_CHOICES[: 3 if names else 2], *names]),
            received=forced,
            where="$.sampling.tool_choice",
        )


def validate_provider_support(
    provider: str, lacks: AbstractSet[str], sampling: Sampling, tools: Sequence[object]
) -> None:
    """Raise `UnsupportedByProvider` for settings that the provider lacks."""
    if missing := [name for name in _list_features(sampling, tools) if name in lacks]:
        raise lacks_error(provider, missing)


def lacks_error(provider: str, missing: Sequence[str]) -> errors.UnsupportedByProvider:
    """Return the error for features that this provider lacks."""
    named = ", ".join(missing)
    return errors.UnsupportedByProvider(
        f"The provider {provider} does not support {named}.",
        expected=f"a run without {named}, or another provider's model",
        received=named,
        hint=f"If it has by now, say so by `lacks` of [providers.{provider}] in antiphon.toml.",
        provider=provider,
        settings=list(missing),
    )


def _list_features(sampling: Sampling, tools: Sequence[object]) -> Iterator[str]:
    """Yield the settings that a run uses, and the values that not every provider supports.

    Defaults of every provider count as unused, as do settings about tools without any.
    """
    if tools:
        yield "tools"
    for name in sampling.__struct_fields__:
        match name, getattr(sampling, name):
            case (_, None) | ("tool_choice", "auto") | ("response_format", {"type": "text"}):
                pass
            case ("tool_choice" | "parallel_tool_calls", _) if not tools:
                pass
            case "tool_choice", value:
                yield name
                yield f"{name}.{value if sampling.chosen_tool is None else 'function'}"
            case "response_format", value:
                yield name
                yield f"{name}.{value['type']}"
            case _:
                yield name


def validate_output_thread(snapshot: Snapshot, operation: operations.CreateMessage) -> None:
    """Raise `NotFound` or `UnknownToolCall` if the output is not for a run of this thread."""
    if snapshot.thread is None or snapshot.thread.id != operation.thread_id:
        raise errors.NotFound("There is no such thread, or the run is another thread's.")
    if snapshot.run is None:
        raise errors.UnknownToolCall(
            "The thread has no active run that waits for an output.",
            expected="run_id, where the run is not active any more",
        )


def validate_not_approval(snapshot: Snapshot, tool_call_id: str) -> None:
    """Raise `InvalidRequest` if a message answers a call that waits for approval."""
    for action in snapshot.actions:
        if action.tool_call_id == tool_call_id and action.approval is not None:
            raise errors.InvalidRequest(
                "This call waits to be approved, which no message does.",
                expected="POST /v1/submit_tool_output",
                received="a message with role tool",
            )


def validate_no_output_fields(operation: operations.CreateMessage) -> None:
    """Raise `InvalidRequest` if a user or system message has fields of a tool output."""
    given = [name for name in ("tool_call_id", "run_id") if getattr(operation, name) is not None]
    if given or operation.is_error:
        raise errors.InvalidRequest(
            f"A {operation.role} message answers no tool call.",
            expected="role tool with tool_call_id",
            received=f"role {operation.role} with {', '.join(given) or 'is_error'}",
        )


def validate_summary(operation: operations.CreateMessage, compacts: int, context: Context) -> None:
    """Raise `InvalidRequest` unless a summary is system text that ends between exchanges."""
    if operation.role != "system":
        raise errors.InvalidRequest(
            "A summary is a system message.",
            expected="role system with compacts",
            received=f"role {operation.role} with compacts",
        )
    content = parts(operation.content)
    text = "".join(part.text for part in content if isinstance(part, Text))
    if not all(isinstance(part, Text) for part in content) or (compacts and not text.strip()):
        raise errors.InvalidRequest(
            "A summary is text that models get in place of messages.",
            expected="content that is text and not blank, or compacts 0",
            where="$.content",
        )
    begins = {mark.number for mark in context.landmarks}
    if compacts not in (0, context.messages) and compacts + 1 not in begins:
        raise errors.InvalidRequest(
            f"The thread cannot be parted after message {compacts}.",
            expected="the number of a message before a user message, or of the last message; "
            "0 to compact nothing",
            received=str(compacts),
            where="$.compacts",
        )


def parse_tool_output(operation: operations.CreateMessage) -> tuple[str, str]:
    """Return the tool call that this message answers, and the output as text."""
    if operation.tool_call_id is None:
        raise errors.InvalidRequest(
            "A message with role tool answers a tool call, and this one names none.",
            expected="tool_call_id",
            received="none",
            hint="GET /v1/actions?run_id= lists the calls that wait.",
        )
    content = parts(operation.content)
    if not all(isinstance(part, Text) for part in content):
        raise errors.InvalidRequest(
            "A tool output is text.", expected="a string or text parts", received="another part"
        )
    return operation.tool_call_id, "".join(part.text for part in content if isinstance(part, Text))


def normalize_tag(tag: str) -> str:
    """Return the tag in the form in which it is stored: composed, without blanks around it."""
    return unicodedata.normalize("NFC", tag).strip()


def parse_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return the tags without blanks around them, and without those that differ only in case.

    Raises `InvalidRequest` for a tag that is empty, or that could not be shown as it is.
    """
    parsed: dict[str, str] = {}
    for place, tag in enumerate(tags):
        stripped = normalize_tag(tag)
        visible = any(unicodedata.category(each)[0] in "LNPS" for each in stripped)
        if not visible or one_line(stripped) != stripped or "," in stripped:
            raise errors.InvalidRequest(
                "A tag is a word or some words on one line.",
                expected="text without commas, line breaks and control characters",
                received=ascii(tag),
                where=f"$.tags[{place}]",
            )
        parsed.setdefault(stripped.casefold(), stripped)
    return tuple(parsed.values())


def parse_folder_name(name: str) -> str:
    """Return the name of a folder without blanks around it.

    Raises `InvalidRequest` for one that is empty, or that could not be shown as it is.
    """
    stripped = unicodedata.normalize("NFC", name).strip()
    visible = any(unicodedata.category(each)[0] in "LNPS" for each in stripped)
    if not visible or one_line(stripped) != stripped:
        raise errors.InvalidRequest(
            "The name of a folder is text on one line.",
            expected="text without line breaks and control characters",
            received=ascii(name)[:100],
            where="$.name",
        )
    return stripped


def attachment_ids(content: str | tuple[Part, ...]) -> Iterator[str]:
    """Yield the ids of uploads in this content.

    Raises `InvalidRequest` for an image without a source."""
    for part in () if isinstance(content, str) else content:
        match part:
            case Image(url=None, file_id=str(file_id)) | File(file_id):
                yield file_id
            case Image(url=str(url), file_id=None) if url.startswith(_IMAGE_SCHEMES):
                pass
            case Image():
                raise errors.InvalidRequest(
                    "An image needs an address that a model can be given, or a file.",
                    expected="url with https: or data:image/, or file_id, one of them",
                )
            case Text():
                pass
