"""`/ai-sdk/v5`, `v6` and `v7`: the UI message stream, for `useChat` and what is built on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from antiphon.api.operations import GetFile, ListActions
from antiphon.engine.page_tools import page_tools
from antiphon.server.caller_api import PAGE
from antiphon.server.page_wires.page_chats import MakeWire, PageChats, Visit
from antiphon.server.page_wires.page_requests import (
    CONTINUES,
    MESSAGE,
    PageRequest,
    PageRun,
)
from antiphon.types.errors import NotFound
from antiphon.types.messages import Upload
from antiphon.types.runs import Action
from antiphon.types.terminal_safe import clean
from antiphon.types.thread_view import Entry, file_ids
from antiphon.wires.ai_sdk import message_stream
from antiphon.wires.ai_sdk import parts as ui
from antiphon.wires.ai_sdk.history import PageFacts, as_ui_message
from antiphon.wires.ai_sdk.message_stream import UIMessageStream
from antiphon.wires.ai_sdk.page_request import parse_page_request
from antiphon.wires.ai_sdk.parts import Sdk
from antiphon.wires.ai_sdk.tool_parts import PageCalls
from antiphon.wires.framing import Cursor

VERSION = "version"
SDKS: Mapping[str, Sdk] = {"v5": 5, "v6": 6, "v7": 7}


class AiSdkChats(PageChats):
    """Answers `useChat`; the path names the major version of the page's package `ai`."""

    headers = message_stream.HEADERS

    def parse(
        self, body: Mapping[str, Any], path: Mapping[str, str]
    ) -> tuple[PageRequest, MakeWire]:
        """Return the request, and how its run is encoded. Raises `CallerError`."""
        sdk = _read_version(path)
        sent = parse_page_request(body)
        answered = frozenset(output.tool_call_id for output in sent.outputs)
        request = PageRequest(
            name=sent.chat_id,
            message=sent.message,
            message_id=sent.message_id,
            files=sent.files,
            outputs=sent.outputs,
            approvals=sent.approvals,
            regenerate=sent.regenerate,
            tools=sent.tools,
            ask=sent.ask,
            can_ask_people=sdk >= ui.ToolApprovalRequest.since,
            approved=sent.approved,
            assistant_id=sent.assistant_id,
            model=sent.model,
        )

        def make_wire(run: PageRun, _: Cursor | None) -> UIMessageStream:
            after = Cursor(run.run.id, run.after) if run.after else None
            page = PageCalls(
                tools=run.page_tools, ask=run.ask, approved=run.approved, answered=answered
            )
            return UIMessageStream(sdk, after, page, _message_id(run))

        return request, make_wire

    def make_wire(self, path: Mapping[str, str]) -> MakeWire:
        """Return how a run is encoded for a page that joins it. Raises `NotFound`."""
        sdk = _read_version(path)
        return lambda run, cursor: UIMessageStream(
            sdk, cursor, PageCalls(tools=run.page_tools, ask=run.ask), _message_id(run)
        )

    async def as_history(self, visit: Visit, entries: Sequence[Entry]) -> Sequence[Any]:
        """Return these entries as messages of `useChat`."""
        files: dict[str, Upload] = {}
        for entry in entries:
            for message in entry.messages:
                for file_id in file_ids(message):
                    with suppress(NotFound):  # deleted since
                        files[file_id] = await visit.api.ask(GetFile(file_id))
        messages: list[Any] = []
        for entry in entries:
            actions: list[Action] = []
            tools = frozenset(tool.name for run in entry.runs for tool in page_tools(run))
            for run in entry.runs:
                if run.mcp_servers:  # they may have asked a person
                    actions += await visit.api.list_all(ListActions(run.id, limit=PAGE))
            page = PageFacts(tools=tools, names=MESSAGE)
            messages.append(as_ui_message(entry, actions=actions, files=files, page=page))
        return messages


def _message_id(run: PageRun) -> str | None:
    """Return the id of the page's message that the run goes on, if it is an earlier run's."""
    return run.run.metadata.get(CONTINUES)


def _read_version(path: Mapping[str, str]) -> Sdk:
    sdk = SDKS.get(path[VERSION])
    if sdk is None:
        raise NotFound(
            "This version of the AI SDK is not known.",
            expected=", ".join(SDKS),
            received=clean(path[VERSION][:32]),
            hint="It is the major version of the npm package `ai` of the page.",
        )
    return sdk
