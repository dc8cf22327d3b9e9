"""The routes of the wires for pages, below `/ai-sdk` and `/ag-ui`.

A key with the scope of the method opens them, or the token of a page within its bounds. Errors
before a stream begins are problem documents, which the clients of both protocols show.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.server.gateway import Connections, Gateway
from antiphon.server.page_wires.ag_ui import AgUiChats
from antiphon.server.page_wires.ai_sdk import AiSdkChats
from antiphon.server.page_wires.page_threads import ThreadNames
from antiphon.server.requests import RequestContext
from antiphon.settings.settings import Settings

AI_SDK = "/ai-sdk/{version}"
AG_UI = "/ag-ui/v1"
PREFIXES = ("/ai-sdk", "/ag-ui")

Handler = Callable[[RequestContext], Awaitable[None]]


class PageWireRoutes:
    """Answers every path of the wires for pages; made once the dispatcher is open."""

    def __init__(
        self, dispatcher: Dispatcher, settings: Settings, connections: Connections
    ) -> None:
        gateway = Gateway(dispatcher, settings, connections)
        names: ThreadNames = {}
        self.ai_sdk = AiSdkChats(gateway, names)
        self.ag_ui = AgUiChats(gateway, names)

    async def handle(self, method: str, path: str, context: RequestContext) -> None:
        """Answer a request of this route."""
        await ROUTES[method, path](self)(context)


ROUTES: Mapping[tuple[str, str], Callable[[PageWireRoutes], Handler]] = {
    ("POST", f"{AI_SDK}/chat"): lambda wires: wires.ai_sdk.post,
    ("GET", f"{AI_SDK}/chat/{{chat_id}}/stream"): lambda wires: wires.ai_sdk.stream,
    ("GET", f"{AI_SDK}/chat/{{chat_id}}/messages"): lambda wires: wires.ai_sdk.messages,
    ("POST", f"{AI_SDK}/chat/{{chat_id}}/stop"): lambda wires: wires.ai_sdk.stop,
    ("POST", f"{AG_UI}/run"): lambda wires: wires.ag_ui.post,
    ("GET", f"{AG_UI}/threads/{{chat_id}}/stream"): lambda wires: wires.ag_ui.stream,
    ("GET", f"{AG_UI}/threads/{{chat_id}}/messages"): lambda wires: wires.ag_ui.messages,
    ("POST", f"{AG_UI}/threads/{{chat_id}}/stop"): lambda wires: wires.ag_ui.stop,
}
"""Every route by method and path, with the method that answers it."""

STREAMS = frozenset(path for _, path in ROUTES if path.endswith("/stream"))
"""The paths whose answer to GET is a stream."""


def is_page_route(path: str) -> bool:
    """Return whether the token of a page may open this path."""
    return path.startswith(PREFIXES)
