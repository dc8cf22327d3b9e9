"""Routes of the wires for pages, below `/ai-sdk` and `/ag-ui`, by method and path.

A key with the scope of the method opens them, or the token of a page within its bounds. Errors
before a stream begins are problem documents, which the clients of both protocols show.

The handlers are imported at the first request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

from antiphon.server.requests import RequestContext

if TYPE_CHECKING:
    from antiphon.server.page_wires.routes import PageWireRoutes

AI_SDK = "/ai-sdk/{version}"
AG_UI = "/ag-ui/v1"
PREFIXES = ("/ai-sdk", "/ag-ui")

Handler = Callable[[RequestContext], Awaitable[None]]

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
