"""Routes of OpenAI's API by method and path; the handlers are imported at the first request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from antiphon.server.requests import RequestContext

if TYPE_CHECKING:
    from antiphon.server.openai.routes import OpenAIRoutes

PREFIX = "/openai/v1"
SERVED = "models, chat/completions, responses, conversations, files and audio"
_RESPONSES = f"{PREFIX}/responses"
_RESPONSE = f"{_RESPONSES}/{{response_id}}"
_FILES = f"{PREFIX}/files"
_FILE = f"{_FILES}/{{file_id}}"
_CONVERSATIONS = f"{PREFIX}/conversations"
_CONVERSATION = f"{_CONVERSATIONS}/{{conversation_id}}"

Handler = Callable[[RequestContext], Awaitable[None]]

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
