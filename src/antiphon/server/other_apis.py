"""The APIs of other protocols over the same runtime, imported at the first request for each.

Together they are a twentieth of the memory of a server, and many servers are asked for none.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, cast

from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.server.openai import paths as openai
from antiphon.server.page_wires import paths as page_wires
from antiphon.server.requests import RequestContext
from antiphon.settings.settings import Settings

if TYPE_CHECKING:
    from antiphon.server.gateway import Connections
    from antiphon.server.openai.routes import OpenAIRoutes
    from antiphon.server.page_wires.routes import PageWireRoutes

_OPENAI = "antiphon.server.openai.routes"
_PAGE_WIRES = "antiphon.server.page_wires.routes"

_imported: set[str] = set()  # modules whose import has ended; `sys.modules` has them before


class OtherApis:
    """Answers the paths of OpenAI's API and of the wires for pages, over an open dispatcher."""

    def __init__(
        self, dispatcher: Dispatcher, settings: Settings, connections: Connections
    ) -> None:
        self._dispatcher = dispatcher
        self._settings = settings
        self._connections = connections

    async def answer_openai(self, method: str, path: str, context: RequestContext) -> None:
        """Answer a request of this route of OpenAI's API."""
        await import_in_thread(_OPENAI)
        await openai.ROUTES[method, path](self._openai)(context)

    async def answer_page(self, method: str, path: str, context: RequestContext) -> None:
        """Answer a request of this route of a wire for pages."""
        await import_in_thread(_PAGE_WIRES)
        await page_wires.ROUTES[method, path](self._page_wires)(context)

    @cached_property
    def _openai(self) -> OpenAIRoutes:
        kind = import_module(_OPENAI).OpenAIRoutes
        return cast("OpenAIRoutes", kind(self._dispatcher, self._settings, self._connections))

    @cached_property
    def _page_wires(self) -> PageWireRoutes:
        kind = import_module(_PAGE_WIRES).PageWireRoutes
        return cast("PageWireRoutes", kind(self._dispatcher, self._settings, self._connections))


async def import_in_thread(module: str) -> None:
    """Import the module beside the event loop, so that no stream waits for it."""
    # A module that another thread is importing is in `sys.modules` already: wait for it there too.
    if module not in _imported:
        await asyncio.to_thread(import_module, module)
        _imported.add(module)
