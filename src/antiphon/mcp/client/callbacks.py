"""A server's requests, put to a host in our words and answered in the SDK's.

A host's failure is a no, and a server that asks too much at once is refused: its call goes on
without an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import mcp_types as types
import msgspec
from mcp.client.session import ClientRequestContext
from pydantic import FileUrl

from antiphon.mcp.client import results
from antiphon.mcp.client.client_features import (
    AddressAsked,
    Answer,
    FormAsked,
    Host,
    Logged,
    Question,
    SampleAsked,
    SampleMessage,
    openable,
)
from antiphon.mcp.client.forms import form
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.metadata import told, told_line
from antiphon.tools.deadlines import Hush
from antiphon.types.errors import InvalidRequest

MOST_AT_ONCE = 8
"""Questions of one server that may wait for a person: more is no conversation."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class Callbacks:
    """What one server may call back for. `options` are those of the SDK's client.

    It seldom says for which call it asks, so while it waits for an answer the clocks of all its
    calls stand still: they heed `hush`.
    """

    def __init__(self, config: ServerConfig, host: Host, roots: tuple[str, ...]) -> None:
        self._server = config.name
        self._host = host
        self._roots = roots
        self._waiting = 0
        self.hush = Hush()

    def options(self) -> dict[str, Any]:
        """Callbacks for what the host can do; a missing one is not declared to the server."""
        given: dict[str, Any] = {"logging_callback": self._logged}
        if self._host.asks:
            given["elicitation_callback"] = self._elicited
        if self._host.samples:
            given["sampling_callback"] = self._sampled
        if self._roots:
            given["list_roots_callback"] = self._rooted
        return given

    async def ask(self, question: Question) -> Answer:
        """The host's answer, checked where it fills in a form."""
        try:
            answer = await self._one_of_few(lambda: self._host.ask(question))
            if isinstance(question, FormAsked) and answer.accepted:
                return Answer("accept", dict(question.form.checked(answer.values)))
        except InvalidRequest as error:
            log.warning("An answer for %s does not fit its form: %s", self._server, error)
            return Answer("cancel")
        except Exception:  # a wall to the host, which is a face or a plugin
            log.exception("The host failed to answer %s", self._server)
            return Answer("cancel")
        return answer

    async def agreed(self, asked: list[types.ElicitRequestURLParams]) -> bool:
        """Whether somebody will go to all of these addresses."""
        questions = [self.address(each) for each in asked]
        agreed = self._host.asks and 0 < len(questions) <= MOST_AT_ONCE
        for question in questions if agreed else ():
            agreed = agreed and question is not None and (await self.ask(question)).accepted
        return agreed

    def address(self, asked: types.ElicitRequestURLParams) -> AddressAsked | None:
        """The question that sends a person to an address; None for one that nobody should open."""
        if not openable(asked.url):
            return None
        return AddressAsked(
            server=self._server,
            message=told(asked.message, 2_000),
            url=asked.url,
            id=asked.elicitation_id or "",
        )

    async def _elicited(
        self, context: ClientRequestContext, asked: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        question = self._question(asked)
        if question is None:
            return types.ElicitResult(action="decline")
        answer = await self.ask(question)
        values = answer.values if isinstance(question, FormAsked) else None
        accepted = answer.accepted
        return types.ElicitResult(action=answer.action, content=values if accepted else None)

    def _question(self, asked: types.ElicitRequestParams) -> Question | None:
        if isinstance(asked, types.ElicitRequestURLParams):
            return self.address(asked)
        try:
            fields = form(asked.requested_schema)
        except InvalidRequest as error:
            log.warning("%s asks for a form that cannot be shown: %s", self._server, error)
            return None
        return FormAsked(server=self._server, message=told(asked.message, 2_000), form=fields)

    async def _sampled(
        self, context: ClientRequestContext, asked: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult | types.ErrorData:
        wanted = _wanted(self._server, asked)
        try:
            sample = await self._one_of_few(lambda: self._host.sample(wanted))
        except Exception:  # a wall to the host, as above
            log.exception("The host failed to sample for %s", self._server)
            sample = None
        if sample is None:
            return types.ErrorData(code=_REFUSED, message="The user declined the sampling request.")
        return types.CreateMessageResult(
            role="assistant",
            content=types.TextContent(type="text", text=sample.text),
            model=sample.model,
            stop_reason=sample.stop_reason,
        )

    async def _rooted(self, context: ClientRequestContext) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[_root(folder) for folder in self._roots])

    async def _logged(self, line: types.LoggingMessageNotificationParams) -> None:
        text = line.data if isinstance(line.data, str) else _json(line.data)
        self._host.log(
            Logged(
                server=self._server,
                level=line.level,
                text=told(text, 2_000),
                logger=told_line(line.logger, 100),
            )
        )

    async def _one_of_few(self, ask: Callable[[], Awaitable[T]]) -> T:
        if self._waiting >= MOST_AT_ONCE:
            raise InvalidRequest(f"More than {MOST_AT_ONCE} questions wait already.")
        self._waiting += 1
        try:
            with self.hush.asked():
                return await ask()
        finally:
            self._waiting -= 1


_REFUSED = -1  # what the specification's own example of a refused sampling request has


def _wanted(server: str, asked: types.CreateMessageRequestParams) -> SampleAsked:
    hints = asked.model_preferences.hints if asked.model_preferences else None
    return SampleAsked(
        server=server,
        messages=tuple(
            SampleMessage(message.role, results.content(_plain(message.content_as_list)))
            for message in asked.messages
        ),
        system=told(asked.system_prompt, 20_000),
        max_tokens=asked.max_tokens,
        temperature=asked.temperature,
        stop=tuple(asked.stop_sequences or ()),
        models=tuple(told_line(hint.name) for hint in hints or () if hint.name),
    )


def _root(folder: str) -> types.Root:
    path = Path(folder).expanduser().resolve()
    return types.Root(uri=FileUrl(path.as_uri()), name=path.name)


def _plain(blocks: list[types.SamplingMessageContentBlock]) -> list[results.Content]:
    """Without tool calls, which no server was told it may send."""
    plain: list[results.Content] = []
    for block in blocks:
        if isinstance(block, types.TextContent | types.ImageContent | types.AudioContent):
            plain.append(block)  # noqa: PERF401 - a list's type is not narrowed by its condition
    return plain


def _json(value: object) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError):
        return repr(value)
