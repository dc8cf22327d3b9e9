"""Requests of a page in any protocol, and their meaning for the runs of its thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from antiphon.api.operations import NewToolOutput
from antiphon.engine.actions import refusal_text
from antiphon.engine.page_tools import page_tools
from antiphon.server.page_wires.page_tools import asking_tools
from antiphon.types.errors import NotFound
from antiphon.types.events import ActionRequired, Numbered, TurnEnded
from antiphon.types.messages import File, Message, MessagePart, Part, ToolSpec
from antiphon.types.runs import Action, Approval, Run
from antiphon.wires.framing import InlineFile

MESSAGE = "client_message"
"""Metadata key of a message and its run with the client's id of the message."""
CLIENT_RUN = "client_run"
"""Metadata key of a run with the client's name of it."""
ANSWERS_AGAIN = "answers_again"
"""Metadata key of a run with the client's id of the answer that it replaces."""
HAS_CONTEXT = "page_context"
"""Metadata key of a message whose last part is what its page said about itself."""
SHOWN = {HAS_CONTEXT: "yes"}
CONTEXT_HEAD = "\n\nThe page shows:\n"
CONTINUES = "continues"
"""Metadata key of a run with the id of the run whose answer it goes on with other tools."""


def own_content(message: Message) -> tuple[MessagePart, ...]:
    """Return the content of a message without what its page said about itself."""
    return message.content[:-1] if HAS_CONTEXT in message.metadata else message.content


class PageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A page's request, whatever its protocol.

    `name` is the client's name of the thread. `message` is the content of a new message, which the
    client calls `message_id`; `files` stand for its `File` parts without an id. `context` is what
    the page says about itself, which the model reads after the message. `approvals` are keyed by
    the ids of actions. `regenerate` is the message to answer again, "" for the last answer.

    `client_run` is the client's name of the run, if it gives one: the same message under another
    name is to be answered again. `tools` are run by the page; None leaves those of a run as they
    are. A person must approve the calls of those that `ask`, of which a page without
    `can_ask_people` may have none. `approved` are actions that the page says were approved, None if
    it does not say.
    """

    name: str
    client_run: str = ""
    message: tuple[Part, ...] | None = None
    message_id: str = ""
    files: tuple[InlineFile, ...] = ()
    context: str = ""
    outputs: tuple[NewToolOutput, ...] = ()
    approvals: Mapping[str, Approval] = {}
    regenerate: str | None = None
    tools: tuple[ToolSpec, ...] | None = None
    ask: frozenset[str] = frozenset()
    can_ask_people: bool = True
    approved: frozenset[str] | None = None
    assistant_id: str | None = None
    model: str | None = None


class PageRun(NamedTuple):
    """A run to read for a page.

    The reader has all events up to `after`. The stream may end from event `rests_from` on, as soon
    as the run waits for the page. `approved` are actions that a person has approved. `history` are
    the messages before those of the run, in the form of the page, where its encoder needs them.
    """

    run: Run
    after: int = 0
    rests_from: int = 0
    approved: frozenset[str] = frozenset()
    history: Sequence[Any] = ()

    @property
    def page_tools(self) -> frozenset[str]:
        """Names of the tools that the page runs."""
        return frozenset(tool.name for tool in page_tools(self.run))

    @property
    def ask(self) -> frozenset[str]:
        """Names of those whose calls a person must approve."""
        return asking_tools(self.run)


def client_run_marks(request: PageRequest) -> dict[str, str]:
    """Return the metadata of a run that its client has named."""
    return {CLIENT_RUN: request.client_run} if request.client_run else {}


def wants_another_answer(run: Run, request: PageRequest) -> bool:
    """Return whether a message that a run has answered is sent as that of another run."""
    if not request.client_run or not run.status.ended:
        return False
    return run.metadata.get(CLIENT_RUN) != request.client_run


def is_with_page(run: Run, actions: Sequence[Action]) -> bool:
    """Return whether a page or a person has, or had, to act on the run's last turn."""
    pages = {tool.name for tool in page_tools(run)}
    last = [action for action in actions if action.turn == run.turn]
    return any(action.name in pages or action.approval is not None for action in last)


def is_same_message(stored: Message, request: PageRequest) -> bool:
    """Return whether a stored message is that of the request, but for the ids of its files."""
    contents = own_content(stored), request.message or ()
    kept, sent = (
        [File("") if isinstance(part, File) else part for part in content] for content in contents
    )
    return kept == sent


def page_outputs(
    request: PageRequest, run: Run, actions: Sequence[Action]
) -> Iterator[NewToolOutput]:
    """Yield the outputs for which the run waits, of tools that the page runs.

    Of a call that asks, the output counts only if the page does not contradict its approval.
    """
    pages, ask = {tool.name for tool in page_tools(run)}, asking_tools(run)
    waiting = {
        action.tool_call_id: action
        for action in actions
        if action.awaited and action.runs_on == "client" and action.name in pages
    }
    for output in request.outputs:
        action = waiting.get(output.tool_call_id)
        if action is None:
            continue
        is_asked = action.name in ask and request.approved is not None
        if not is_asked or action.id in (request.approved or ()):
            yield output


def person_answers(
    request: PageRequest, run: Run, actions: Sequence[Action]
) -> Iterator[NewToolOutput]:
    """Yield what a person has answered about calls of MCP servers, and refusals of the page's.

    An approval of the page's own call is not stored: the page runs the call now. Raises `NotFound`
    for a question of another run.
    """
    ask = asking_tools(run)
    asked = {each.id: each for each in actions if each.approval is not None or each.name in ask}
    for action_id, approval in request.approvals.items():
        action = asked.get(action_id)
        if action is None:
            raise NotFound("This answers nothing that is asked in this chat now.")
        if not action.awaited:
            continue
        if action.runs_on == "server":
            yield NewToolOutput(action.tool_call_id, approval.to_output())
        elif not approval.approve:
            metadata = {"fault": "refused"}
            text = refusal_text(approval)
            yield NewToolOutput(action.tool_call_id, text, is_error=True, metadata=metadata)


def find_named_calls(request: PageRequest, actions: Sequence[Action]) -> frozenset[str]:
    """Return the calls of a run about which the request says something."""
    given = {each.tool_call_id for each in request.outputs}
    return frozenset(
        each.tool_call_id
        for each in actions
        if each.tool_call_id in given or each.id in request.approvals
    )


def find_hand_off(log: Sequence[Numbered], calls: frozenset[str]) -> int:
    """Return the number of the last event of the newest turn that handed one of these over."""
    found, waits = 0, False
    for number, event in log:
        match event:
            case ActionRequired(actions=actions):
                waits = any(action.tool_call_id in calls for action in actions)
            case TurnEnded() if waits:
                found, waits = number, False
            case _:
                pass
    return found
