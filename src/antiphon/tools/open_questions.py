"""Questions that stay open until a person answers them elsewhere, such as in a browser."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec

from antiphon.tools.questions import ConsentAnswer, ConsentRequest
from antiphon.types.errors import InvalidRequest, NotFound


class OpenQuestion(msgspec.Struct, frozen=True):
    """Question under an unguessable id."""

    id: str
    question: ConsentRequest


class _Waiting(msgspec.Struct, frozen=True):
    opened: OpenQuestion
    answer: asyncio.Future[ConsentAnswer]


def _unseen(opened: OpenQuestion) -> None:
    """Do nothing: `open` returns the questions."""


class OpenQuestions:
    """Asker for `Consent` that keeps each question open until `answer` is called, on any thread.

    `show` is called on the event loop with each new question, `gone` with each that was answered or
    withdrawn. Use one instance for each person: knowing an id and its digest suffices to answer.
    """

    def __init__(
        self,
        show: Callable[[OpenQuestion], None] = _unseen,
        gone: Callable[[OpenQuestion], None] = _unseen,
    ) -> None:
        self._show = show
        self._gone = gone
        self._waiting: dict[str, _Waiting] = {}
        self._lock = threading.Lock()

    async def __call__(self, question: ConsentRequest) -> ConsentAnswer:
        """Wait for the answer; cancelling withdraws the question."""
        opened = OpenQuestion(secrets.token_urlsafe(24), question)
        answer: asyncio.Future[ConsentAnswer] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting[opened.id] = _Waiting(opened, answer)
        try:
            self._show(opened)
            return await answer
        finally:
            with self._lock:
                self._waiting.pop(opened.id, None)
            self._gone(opened)

    def open(self) -> tuple[OpenQuestion, ...]:
        """Return the open questions, oldest first."""
        with self._lock:
            return tuple(each.opened for each in self._waiting.values())

    def answer(self, id: str, digest: str, answer: ConsentAnswer) -> None:
        """Answer a question, once; `digest` is that of the question which the person saw.

        Raises `NotFound` if it is no longer open, and `InvalidRequest` for another digest (another
        call, run, tool or arguments); then it stays open.
        """
        with self._lock:
            waiting = self._waiting.get(id)
            if waiting is None:
                raise NotFound("This question is not open: it was answered, or its call is over.")
            if not hmac.compare_digest(waiting.opened.question.digest.encode(), digest.encode()):
                raise InvalidRequest(
                    "The answer is for another call than the one that is asked about.",
                    expected="the digest of the question",
                )
            del self._waiting[id]
        with suppress(RuntimeError):  # its loop has ended, and the call with it
            waiting.answer.get_loop().call_soon_threadsafe(_settle, waiting.answer, answer)


def _settle(future: asyncio.Future[ConsentAnswer], answer: ConsentAnswer) -> None:
    if not future.done():
        future.set_result(answer)
