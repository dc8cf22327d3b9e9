"""The services behind OpenAI's API. `antiphon.server.openai.paths` has the routes to them."""

from __future__ import annotations

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
from antiphon.settings.settings import Settings


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
