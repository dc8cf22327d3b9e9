"""The routes of OpenAI's API, and its form of errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.types import Send

from antiphon.api import problems
from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.server.gateway import Connections, Gateway
from antiphon.server.openai.audio import Audio
from antiphon.server.openai.chat import ChatCompletions
from antiphon.server.openai.contexts import ResponseContexts
from antiphon.server.openai.conversations import Conversations
from antiphon.server.openai.files import Files
from antiphon.server.openai.models import ModelNames, ModelRequests
from antiphon.server.openai.response_sockets import ResponseSockets
from antiphon.server.openai.responses import Responses
from antiphon.server.openai.stored_responses import StoredResponses
from antiphon.server.requests import RequestContext, send_response
from antiphon.settings.settings import Settings
from antiphon.types.errors import AntiphonError
from antiphon.wires.framing import json_line
from antiphon.wires.openai.errors import INSUFFICIENT_QUOTA, status_and_envelope

PREFIX = "/openai/v1"
SERVED = "models, chat/completions, responses, conversations, files and audio"
_RESPONSES = f"{PREFIX}/responses"
_RESPONSE = f"{_RESPONSES}/{{response_id}}"
_FILES = f"{PREFIX}/files"
_FILE = f"{_FILES}/{{file_id}}"
_CONVERSATIONS = f"{PREFIX}/conversations"
_CONVERSATION = f"{_CONVERSATIONS}/{{conversation_id}}"

Handler = Callable[[RequestContext], Awaitable[None]]


class OpenAIRoutes:
    """Answers every path under `/openai/v1`; made once the dispatcher is open."""

    def __init__(
        self, dispatcher: Dispatcher, settings: Settings, connections: Connections
    ) -> None:
        gateway = Gateway(dispatcher, settings, connections)
        names = ModelNames(dispatcher)
        self.models = ModelRequests(names)
        self.chat = ChatCompletions(gateway, names)
        self.responses = Responses(gateway, names)
        self.sockets = ResponseSockets(gateway)
        self.stored = StoredResponses(gateway)
        self.contexts = ResponseContexts(gateway, names)
        self.conversations = Conversations(gateway)
        self.files = Files(gateway)
        self.audio = Audio(gateway)

    async def handle(self, method: str, path: str, context: RequestContext) -> None:
        """Answer a request of this route."""
        await ROUTES[method, path](self)(context)


ROUTES: Mapping[tuple[str, str], Callable[[OpenAIRoutes], Handler]] = {
    ("GET", f"{PREFIX}/models"): lambda api: api.models.list_models,
    ("GET", f"{PREFIX}/models/{{model:path}}"): lambda api: api.models.retrieve,
    ("POST", f"{PREFIX}/chat/completions"): lambda api: api.chat.create,
    ("GET", _RESPONSES): lambda api: api.sockets.open,
    ("POST", _RESPONSES): lambda api: api.responses.create,
    ("POST", f"{_RESPONSES}/input_tokens"): lambda api: api.contexts.count_tokens,
    ("POST", f"{_RESPONSES}/compact"): lambda api: api.contexts.compact,
    ("GET", _RESPONSE): lambda api: api.stored.retrieve,
    ("DELETE", _RESPONSE): lambda api: api.stored.delete,
    ("POST", f"{_RESPONSE}/cancel"): lambda api: api.stored.cancel,
    ("GET", f"{_RESPONSE}/input_items"): lambda api: api.stored.list_input_items,
    ("POST", f"{PREFIX}/audio/transcriptions"): lambda api: api.audio.transcribe,
    ("POST", f"{PREFIX}/audio/speech"): lambda api: api.audio.speak,
    ("POST", _FILES): lambda api: api.files.create,
    ("GET", _FILES): lambda api: api.files.list_files,
    ("GET", _FILE): lambda api: api.files.retrieve,
    ("DELETE", _FILE): lambda api: api.files.delete,
    ("GET", f"{_FILE}/content"): lambda api: api.files.send_content,
    ("POST", _CONVERSATIONS): lambda api: api.conversations.create,
    ("GET", _CONVERSATION): lambda api: api.conversations.retrieve,
    ("POST", _CONVERSATION): lambda api: api.conversations.update,
    ("DELETE", _CONVERSATION): lambda api: api.conversations.delete,
    ("POST", f"{_CONVERSATION}/items"): lambda api: api.conversations.create_items,
    ("GET", f"{_CONVERSATION}/items"): lambda api: api.conversations.list_items,
    ("GET", f"{_CONVERSATION}/items/{{item_id}}"): lambda api: api.conversations.retrieve_item,
    ("DELETE", f"{_CONVERSATION}/items/{{item_id}}"): lambda api: api.conversations.delete_item,
}
"""Every route by method and path, with the method that answers it."""

SOCKETS: tuple[str, ...] = (_RESPONSES,)
"""Paths whose GET opens a WebSocket."""


async def send_error(send: Send, error: AntiphonError) -> None:
    """Send an error in the form of OpenAI's API."""
    status, envelope = status_and_envelope(error)
    body, headers = json_line(envelope), problems.problem_headers(error)
    if envelope.error.code == INSUFFICIENT_QUOTA:
        headers.append((b"x-should-retry", b"false"))
    await send_response(send, status, body, b"application/json", headers)
