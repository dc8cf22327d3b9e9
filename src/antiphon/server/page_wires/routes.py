"""The services behind the wires for pages; `antiphon.server.page_wires.paths` names their paths."""

from __future__ import annotations

from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.server.gateway import Connections, Gateway
from antiphon.server.page_wires.ag_ui import AgUiChats
from antiphon.server.page_wires.ai_sdk import AiSdkChats
from antiphon.server.page_wires.page_threads import ThreadNames
from antiphon.settings.settings import Settings


class PageWireRoutes:
    """Answers every path of the wires for pages; made once the dispatcher is open."""

    def __init__(
        self, dispatcher: Dispatcher, settings: Settings, connections: Connections
    ) -> None:
        gateway = Gateway(dispatcher, settings, connections)
        names: ThreadNames = {}
        self.ai_sdk = AiSdkChats(gateway, names)
        self.ag_ui = AgUiChats(gateway, names)
