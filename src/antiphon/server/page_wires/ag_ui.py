"""`/ag-ui/v1`: AG-UI, for CopilotKit and other users of `@ag-ui/client`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from antiphon.api.operations import NewToolOutput
from antiphon.server.page_wires.page_chats import CHAT, MakeWire, PageChats, Visit, read_entries
from antiphon.server.page_wires.page_requests import MESSAGE, PageRequest, PageRun
from antiphon.server.requests import RequestContext
from antiphon.types.messages import parts
from antiphon.types.runs import Run
from antiphon.types.thread_view import Entry
from antiphon.wires import framing
from antiphon.wires.ag_ui.encoder import AgUi, Reader
from antiphon.wires.ag_ui.history import as_messages
from antiphon.wires.ag_ui.run_input import parse_run_input
from antiphon.wires.framing import Cursor


class AgUiChats(PageChats):
    """Answers AG-UI clients."""

    headers = framing.HEADERS

    def parse(
        self, body: Mapping[str, Any], path: Mapping[str, str]
    ) -> tuple[PageRequest, MakeWire]:
        """Return the request, and how its run is encoded. Raises `InvalidRequest`."""
        sent = parse_run_input(body)
        answered = frozenset(output.tool_call_id for output in sent.outputs)
        request = PageRequest(
            name=sent.thread_id,
            client_run=sent.run_id,
            message=None if sent.message is None else parts(sent.message.content),
            message_id=sent.message_id or "",
            files=sent.files,
            context=sent.context,
            outputs=tuple(
                NewToolOutput(each.tool_call_id, each.output, is_error=each.is_error)
                for each in sent.outputs
            ),
            approvals=sent.approvals,
            tools=sent.tools,
            assistant_id=sent.wants.assistant_id,
            model=sent.wants.model,
        )

        def make_wire(run: PageRun, _: Cursor | None) -> AgUi:
            return AgUi(
                Reader(
                    version=sent.version,
                    thread_id=sent.thread_id,
                    run_id=sent.run_id,
                    after=run.after,
                    history=sent.history,
                    answered=answered,
                    page_tools=run.page_tools,
                    ask=run.ask,
                    approved=run.approved,
                )
            )

        return request, make_wire

    def make_wire(self, path: Mapping[str, str]) -> MakeWire:
        """Return how a run is encoded for a page that joins it."""
        return lambda run, cursor: AgUi(
            Reader(
                thread_id=path[CHAT],
                after=run.after,
                history=tuple(run.history),
                page_tools=run.page_tools,
                ask=run.ask,
            )
        )

    async def read_earlier(self, context: RequestContext, visit: Visit, run: Run) -> Sequence[Any]:
        """Return the messages before those of the run: a snapshot replaces all of the client's."""
        reading = read_entries(visit.api, run.thread_id)
        entries = await self._gateway.connections.run_in_slot(context, reading)
        return as_messages(
            (
                replace(entry, messages=tuple(m for m in entry.messages if m.run_id != run.id))
                for entry in entries
            ),
            MESSAGE,
        )

    async def as_history(self, visit: Visit, entries: Sequence[Entry]) -> Sequence[Any]:
        """Return these entries as messages of an AG-UI client."""
        return as_messages(entries, MESSAGE)
