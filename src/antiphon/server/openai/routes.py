"""The routes of OpenAI's API, and its form of errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.types import Send

from antiphon.api import problems
from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.server.openai.chat import ChatCompletions, Connections
from antiphon.server.openai.contexts import Contexts
from antiphon.server.openai.conversations import Conversations
from antiphon.server.openai.files import Files
from antiphon.server.openai.models import ModelNames, send_models
from antiphon.server.openai.responses import Responses
from antiphon.server.openai.stored_responses import StoredResponses
from antiphon.server.requests import RequestContext, send_response
from antiphon.settings.settings import Settings
from antiphon.types.errors import AntiphonError
from antiphon.wires.framing import json_line
from antiphon.wires.openai.errors import status_and_envelope

PREFIX = "/openai/v1"
_FILES = f"{PREFIX}/files"
_FILE = f"{_FILES}/{{file_id}}"
_CONVERSATIONS = f"{PREFIX}/conversations"
_CONVERSATION = f"{_CONVERSATIONS}/{{conversation_id}}"

Handler = Callable[[RequestContext], Awaitable[None]]


class OpenAIRoutes:
    """Handles every path under `/openai/v1`; made once the dispatcher is open."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        settings: Settings,
        connections: Connections,
    ) -> None:
        self._names = ModelNames(dispatcher)
        self._chat = ChatCompletions(dispatcher, self._names, settings, connections)
        responses = Responses(dispatcher, self._names, settings, connections)
        stored = StoredResponses(dispatcher, connections)
        conversations = Conversations(dispatcher, settings, connections)
        files = Files(dispatcher, settings, connections)
        contexts = Contexts(dispatcher, self._names, settings, connections)
        self.handlers: Mapping[tuple[str, str], Handler] = {
            ("GET", f"{PREFIX}/models"): self._send_models,
            ("GET", f"{PREFIX}/models/{{model:path}}"): self._send_models,
            ("POST", f"{PREFIX}/chat/completions"): self._chat.handle,
            ("POST", f"{PREFIX}/responses"): responses.handle,
            ("POST", f"{PREFIX}/responses/input_tokens"): contexts.count_tokens,
            ("POST", f"{PREFIX}/responses/compact"): contexts.compact,
            ("GET", f"{PREFIX}/responses/{{response_id}}"): stored.retrieve,
            ("DELETE", f"{PREFIX}/responses/{{response_id}}"): stored.delete,
            ("POST", f"{PREFIX}/responses/{{response_id}}/cancel"): stored.cancel,
            ("GET", f"{PREFIX}/responses/{{response_id}}/input_items"): stored.list_input_items,
            ("POST", _FILES): files.create,
            ("GET", _FILES): files.list_files,
            ("GET", _FILE): files.retrieve,
            ("DELETE", _FILE): files.delete,
            ("GET", f"{_FILE}/content"): files.send_content,
            ("POST", _CONVERSATIONS): conversations.create,
            ("GET", _CONVERSATION): conversations.retrieve,
            ("POST", _CONVERSATION): conversations.update,
            ("DELETE", _CONVERSATION): conversations.delete,
            ("POST", f"{_CONVERSATION}/items"): conversations.create_items,
            ("GET", f"{_CONVERSATION}/items"): conversations.list_items,
            ("GET", f"{_CONVERSATION}/items/{{item_id}}"): conversations.retrieve_item,
            ("DELETE", f"{_CONVERSATION}/items/{{item_id}}"): conversations.delete_item,
        }

    async def _send_models(self, context: RequestContext) -> None:
        await send_models(context, self._names)


ROUTES: tuple[tuple[str, str], ...] = (
    ("GET", f"{PREFIX}/models"),
    ("GET", f"{PREFIX}/models/{{model:path}}"),
    ("POST", f"{PREFIX}/chat/completions"),
    ("POST", f"{PREFIX}/responses"),
    ("POST", f"{PREFIX}/responses/input_tokens"),
    ("POST", f"{PREFIX}/responses/compact"),
    ("GET", f"{PREFIX}/responses/{{response_id}}"),
    ("DELETE", f"{PREFIX}/responses/{{response_id}}"),
    ("POST", f"{PREFIX}/responses/{{response_id}}/cancel"),
    ("GET", f"{PREFIX}/responses/{{response_id}}/input_items"),
    ("POST", _FILES),
    ("GET", _FILES),
    ("GET", _FILE),
    ("DELETE", _FILE),
    ("GET", f"{_FILE}/content"),
    ("POST", _CONVERSATIONS),
    ("GET", _CONVERSATION),
    ("POST", _CONVERSATION),
    ("DELETE", _CONVERSATION),
    ("POST", f"{_CONVERSATION}/items"),
    ("GET", f"{_CONVERSATION}/items"),
    ("GET", f"{_CONVERSATION}/items/{{item_id}}"),
    ("DELETE", f"{_CONVERSATION}/items/{{item_id}}"),
)
"""Method and path of every route."""


async def send_error(send: Send, error: AntiphonError) -> None:
    """Send an error in the form of OpenAI's API."""
    status, envelope = status_and_envelope(error)
    body, headers = json_line(envelope), problems.problem_headers(error)
    await send_response(send, status, body, b"application/json", headers)
