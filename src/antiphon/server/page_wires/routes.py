"""The routes of the wires for pages, below `/ai-sdk` and `/ag-ui`.

A key with the scope of the method opens them, or the token of a page within its bounds. Errors
before a stream begins are problem documents, which the clients of both protocols show.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.server.openai.chat import Connections
from antiphon.server.page_wires.ag_ui import AgUiChats
from antiphon.server.page_wires.ai_sdk import AiSdkChats
from antiphon.server.page_wires.page_chats import PageChats
from antiphon.server.page_wires.page_threads import ThreadNames
from antiphon.server.requests import RequestContext
from antiphon.settings.settings import Settings

AI_SDK = "/ai-sdk/{version}"
AG_UI = "/ag-ui/v1"
PREFIXES = ("/ai-sdk", "/ag-ui")

Handler = Callable[[RequestContext], Awaitable[None]]

ROUTES: Mapping[tuple[str, str], tuple[type[PageChats], str]] = {
    ("POST", f"{AI_SDK}/chat"): (AiSdkChats, "post"),
    ("GET", f"{AI_SDK}/chat/{{chat_id}}/stream"): (AiSdkChats, "stream"),
    ("GET", f"{AI_SDK}/chat/{{chat_id}}/messages"): (AiSdkChats, "messages"),
    ("POST", f"{AI_SDK}/chat/{{chat_id}}/stop"): (AiSdkChats, "stop"),
    ("POST", f"{AG_UI}/run"): (AgUiChats, "post"),
    ("GET", f"{AG_UI}/threads/{{chat_id}}/stream"): (AgUiChats, "stream"),
    ("GET", f"{AG_UI}/threads/{{chat_id}}/messages"): (AgUiChats, "messages"),
    ("POST", f"{AG_UI}/threads/{{chat_id}}/stop"): (AgUiChats, "stop"),
}
"""Each route by method and path: whose it is, and the method that answers it."""

_PROTOCOLS: tuple[type[PageChats], ...] = (AiSdkChats, AgUiChats)

STREAMS = frozenset(path for _, path in ROUTES if path.endswith("/stream"))
"""The paths whose answer to GET is a stream."""


class PageWireRoutes:
    """Handles every path of the wires for pages; made once the dispatcher is open."""

    def __init__(
        self, dispatcher: Dispatcher, settings: Settings, connections: Connections
    ) -> None:
        names: ThreadNames = {}
        chats = {kind: kind(dispatcher, settings, connections, names) for kind in _PROTOCOLS}
        self.handlers: Mapping[tuple[str, str], Handler] = {
            route: getattr(chats[kind], name) for route, (kind, name) in ROUTES.items()
        }


def is_page_route(path: str) -> bool:
    """Return whether the token of a page may open this path."""
    return path.startswith(PREFIXES)
