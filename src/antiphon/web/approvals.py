"""Questions to the user whether a tool call may run; answers come by another request."""

from __future__ import annotations

import asyncio

from antiphon.tools.questions import ConsentAnswer, ConsentRequest
from antiphon.types.errors import NotFound, OutputConflict
from antiphon.types.terminal_safe import clean
from antiphon.wires.ai_sdk import parts as ui


class PendingApprovals:
    """Open questions of one run. A call runs only after an answer."""

    def __init__(self) -> None:
        self.open: dict[str, ConsentRequest] = {}
        self._answers: dict[str, asyncio.Future[ConsentAnswer]] = {}

    async def __call__(self, question: ConsentRequest) -> ConsentAnswer:
        """Ask the user and return the answer; cancellation withdraws the question."""
        self.add(question)
        try:
            return await self._answers[question.call.id]
        finally:
            self.open.pop(question.call.id, None)
            self._answers.pop(question.call.id, None)

    def add(self, question: ConsentRequest) -> None:
        """Add an open question."""
        if question.call.id not in self._answers:
            self._answers[question.call.id] = asyncio.get_running_loop().create_future()
        self.open[question.call.id] = question

    def answer(self, tool_call_id: str, digest: str, answer: ConsentAnswer) -> None:
        """Answer the question that the user saw, identified by `digest`.

        Raises `NotFound` if the call has no open question, `OutputConflict` if the question has
        changed or was answered already.
        """
        question, waiting = self.open.get(tool_call_id), self._answers.get(tool_call_id)
        if question is None or waiting is None:
            raise NotFound(
                "Nothing is asked about this call now.",
                hint="It was answered, perhaps in another tab, or its run has ended.",
            )
        if waiting.done():
            raise OutputConflict("This call was answered already.")
        if digest != question.digest:
            raise OutputConflict(
                "The answer is to another question: the call or its tool has changed.",
                expected="the args_hash of the question as it stands now",
                hint="Read it again, and answer that.",
            )
        waiting.set_result(answer)


MOST_OTHERS = 50
"""Most tools of the same server that are listed; an answer for the server covers all of them."""


def approval_details(question: ConsentRequest) -> ui.CallFacts:
    """Return the details of a call that the page shows with the question."""
    tool = question.tool
    return ui.CallFacts(
        args_hash=question.digest,
        arguments=question.call.arguments,
        description=clean(tool.spec.description),
        server=clean(tool.server or ""),
        others=tuple(clean(each.own_name) for each in question.others[:MOST_OTHERS]),
        changed=question.before is not None,
        elsewhere=bool(question.elsewhere),
        asked_by=clean(str(question.asked_by)) if question.asked_by else "",
        destructive=tool.hints.destructive is True,
        read_only=tool.hints.read_only is True,
    )
