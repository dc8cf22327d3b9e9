"""Handlers of a server's requests: SDK types in, `ClientFeatures` called, SDK types out.

A failure of `ClientFeatures` counts as a refusal. Too many requests at once are refused.
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
    ClientFeatures,
    Elicitation,
    ElicitationAnswer,
    FormElicitation,
    SamplingMessage,
    SamplingRequest,
    ServerLogLine,
    UrlElicitation,
    is_openable,
)
from antiphon.mcp.client.forms import parse_form
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.metadata import clean_line, clean_text
from antiphon.tools.deadlines import DeadlineGroup
from antiphon.types.errors import InvalidRequest

MOST_AT_ONCE = 8
"""Questions of one server that may wait for a person at the same time."""

T = TypeVar("T")
log = logging.getLogger(__name__)


class Callbacks:
    """Callbacks for one server; `options` are those of the SDK's client.

    A server seldom says which call a request belongs to, so the deadlines of all its calls pause
    while one waits for an answer: `deadlines` pauses them.
    """

    def __init__(self, config: ServerConfig, host: ClientFeatures, roots: tuple[str, ...]) -> None:
        self._server = config.name
        self._host = host
        self._roots = roots
        self._waiting = 0
        self.deadlines = DeadlineGroup()

    def options(self) -> dict[str, Any]:
        """Return callbacks for the features there are; others are not declared to the server."""
        given: dict[str, Any] = {"logging_callback": self._log}
        if self._host.asks:
            given["elicitation_callback"] = self._elicit
        if self._host.samples:
            given["sampling_callback"] = self._sample
        if self._roots:
            given["list_roots_callback"] = self._list_roots
        return given

    async def ask(self, question: Elicitation) -> ElicitationAnswer:
        """Return the answer of the person, validated if it fills in a form."""
        try:
            answer = await self._ask_limited(lambda: self._host.ask(question))
            if isinstance(question, FormElicitation) and answer.accepted:
                return ElicitationAnswer("accept", dict(question.form.validate(answer.values)))
        except InvalidRequest as error:
            log.warning("An answer for %s does not fit its form: %s", self._server, error)
            return ElicitationAnswer("cancel")
        except Exception:  # raised by the host, which is a face or a plugin
            log.exception("The host failed to answer %s", self._server)
            return ElicitationAnswer("cancel")
        return answer

    async def confirm_urls(self, params: list[types.ElicitRequestURLParams]) -> bool:
        """Return whether a person agrees to open all of these URLs."""
        questions = [self.url_elicitation(each) for each in params]
        agreed = self._host.asks and 0 < len(questions) <= MOST_AT_ONCE
        for question in questions if agreed else ():
            agreed = agreed and question is not None and (await self.ask(question)).accepted
        return agreed

    def url_elicitation(self, params: types.ElicitRequestURLParams) -> UrlElicitation | None:
        """Return the request to open a URL, or None if the URL must not be opened."""
        if not is_openable(params.url):
            return None
        return UrlElicitation(
            server=self._server,
            message=clean_text(params.message, 2_000),
            url=params.url,
            id=params.elicitation_id or "",
        )

    async def _elicit(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        question = self._elicitation(params)
        if question is None:
            return types.ElicitResult(action="decline")
        answer = await self.ask(question)
        values = answer.values if isinstance(question, FormElicitation) else None
        accepted = answer.accepted
        return types.ElicitResult(action=answer.action, content=values if accepted else None)

    def _elicitation(self, params: types.ElicitRequestParams) -> Elicitation | None:
        if isinstance(params, types.ElicitRequestURLParams):
            return self.url_elicitation(params)
        try:
            fields = parse_form(params.requested_schema)
        except InvalidRequest as error:
            log.warning("%s asks for a form that cannot be shown: %s", self._server, error)
            return None
        return FormElicitation(
            server=self._server, message=clean_text(params.message, 2_000), form=fields
        )

    async def _sample(
        self, context: ClientRequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult | types.ErrorData:
        wanted = _sampling_request(self._server, params)
        try:
            sample = await self._ask_limited(lambda: self._host.sample(wanted))
        except Exception:  # raised by the host, as above
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

    async def _list_roots(self, context: ClientRequestContext) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[_root(folder) for folder in self._roots])

    async def _log(self, line: types.LoggingMessageNotificationParams) -> None:
        text = line.data
        if not isinstance(text, str):
            try:
                text = msgspec.json.encode(text).decode()
            except (TypeError, ValueError, RecursionError):
                text = repr(text)
        self._host.log(
            ServerLogLine(
                server=self._server,
                level=line.level,
                text=clean_text(text, 2_000),
                logger=clean_line(line.logger, 100),
            )
        )

    async def _ask_limited(self, ask: Callable[[], Awaitable[T]]) -> T:
        if self._waiting >= MOST_AT_ONCE:
            raise InvalidRequest(f"More than {MOST_AT_ONCE} questions wait already.")
        self._waiting += 1
        try:
            with self.deadlines.pause():
                return await ask()
        finally:
            self._waiting -= 1


_REFUSED = -1  # what the specification's own example of a refused sampling request has


def _sampling_request(server: str, params: types.CreateMessageRequestParams) -> SamplingRequest:
    hints = params.model_preferences.hints if params.model_preferences else None
    return SamplingRequest(
        server=server,
        messages=tuple(
            SamplingMessage(
                message.role, results.convert_content(_without_tool_calls(message.content_as_list))
            )
            for message in params.messages
        ),
        system=clean_text(params.system_prompt, 20_000),
        max_tokens=params.max_tokens,
        temperature=params.temperature,
        stop=tuple(params.stop_sequences or ()),
        models=tuple(clean_line(hint.name) for hint in hints or () if hint.name),
    )


def _root(folder: str) -> types.Root:
    path = Path(folder).expanduser().resolve()
    return types.Root(uri=FileUrl(path.as_uri()), name=path.name)


def _without_tool_calls(blocks: list[types.SamplingMessageContentBlock]) -> list[results.Content]:
    """Return the blocks without tool calls, which the client does not declare."""
    plain: list[results.Content] = []
    for block in blocks:
        if isinstance(block, types.TextContent | types.ImageContent | types.AudioContent):
            plain.append(block)  # noqa: PERF401 - a list's type is not narrowed by its condition
    return plain
