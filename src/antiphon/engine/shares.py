"""Snapshots of threads for readers of a link: what a share includes, and copies of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from antiphon.api.operations import PastCall, PastMessage
from antiphon.types.messages import File, Image, Message, Text, Upload, list_pages
from antiphon.types.shares import SharedCall, SharedMessage, UnreadFile
from antiphon.types.thread_view import join_replies

PICTURE = "picture"
"""Name of a picture without one, such as a picture at an address, which is not shown."""


def take_snapshot(
    messages: Iterable[Message],
    models: Mapping[str, str],
    files: Mapping[str, Upload],
    *,
    tools: bool,
    reasoning: bool,
) -> tuple[SharedMessage, ...]:
    """Return these messages of a thread as readers of a link see them.

    `models` are the models of runs, `files` the uploads, by id. System messages and summaries
    are left out: they are for models. Tool calls and reasoning are in it only if asked for, and a
    reply that has nothing else is left out.
    """
    shown: list[Message] = []
    outputs: dict[str, Message] = {}
    for message in join_replies(messages):
        if message.role == "tool":
            # ids of calls may repeat in a thread: the place of the last message tells them apart
            outputs[f"{len(shown)} {message.tool_call_id}"] = message
        elif message.role in ("user", "assistant"):
            shown.append(message)
    snapshot: list[SharedMessage] = []
    for place, message in enumerate(shown, 1):
        calls = tuple(
            _to_shared_call(call.name, call.arguments, outputs.get(f"{place} {call.id}"))
            for call in message.tool_calls
            if tools
        )
        shared = SharedMessage(
            role="user" if message.role == "user" else "assistant",
            text=message.full_text,
            created_at=message.created_at,
            model=models.get(message.run_id or "", ""),
            reasoning=message.reasoning if reasoning else None,
            reasoning_seconds=(message.reasoning_seconds or 0) if reasoning else 0,
            attachments=tuple(_list_names(message, files)),
            unread=tuple(_list_unread(message, files)),
            calls=calls,
            citations=list_pages(message.citations),
            incomplete=message.status == "incomplete",
        )
        if shared.text or shared.reasoning or shared.attachments or shared.calls:
            snapshot.append(shared)
    return tuple(snapshot)


def _to_shared_call(name: str, arguments: str, output: Message | None) -> SharedCall:
    if output is None:
        return SharedCall(name, arguments)
    fault = output.metadata.get("fault", "")
    return SharedCall(name, arguments, output.text, output.is_error, fault)


def _list_names(message: Message, files: Mapping[str, Upload]) -> Iterator[str]:
    for part in message.content:
        match part:
            case Image(file_id=str(file_id)) | File(file_id) if file_id in files:
                yield files[file_id].name
            case File():
                yield "file"
            case Image():
                yield PICTURE
            case _:
                pass


def _list_unread(message: Message, files: Mapping[str, Upload]) -> Iterator[UnreadFile]:
    for part in message.content:
        if isinstance(part, File) and (upload := files.get(part.file_id)) is not None:
            state = upload.unread_document
            if state is not None and state.reason is not None:
                yield UnreadFile(upload.name, state.reason)


def to_past_messages(snapshot: Iterable[SharedMessage]) -> Iterator[PastMessage]:
    """Yield the messages of a snapshot for a thread of its reader.

    A call without an output is left out, as a model accepts none. Attached files are named in the
    text, because the reader has no right to their contents.
    """
    for message in snapshot:
        text = message.text
        if message.attachments:
            text = "\n\n".join(filter(None, (text, f"[{', '.join(message.attachments)}]")))
        calls = tuple(
            (PastCall(f"call_{number}", call.name, call.arguments or "{}"), call)
            for number, call in enumerate(message.calls, 1)
            if call.output is not None
        )
        if not text and not calls:
            continue
        yield PastMessage(
            content=(Text(text),) if text else (),
            role=message.role,
            tool_calls=tuple(past for past, _ in calls),
            reasoning=message.reasoning,
        )
        for past, call in calls:
            yield PastMessage(
                content=(Text(call.output or ""),),
                role="tool",
                tool_call_id=past.id,
                is_error=call.is_error,
                metadata={"fault": call.fault} if call.fault else {},
            )
