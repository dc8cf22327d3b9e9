"""`/openai/v1/models`: the models of all providers, and the owner's assistants by name."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from antiphon.api.operations import GetAssistant, ListAssistants, ListModels, Model, ModelList
from antiphon.runtime.services.dispatch import Dispatcher
from antiphon.server.caller_api import PAGE
from antiphon.server.requests import RequestContext, path_parameters
from antiphon.types.accounts import Principal
from antiphon.types.errors import BadSettings, NotFound
from antiphon.types.runs import Assistant

CACHE_SECONDS = 2.0
"""Time for which a name is remembered to be no assistant's."""
MAX_REMEMBERED = 10_000
ASSISTANT_PREFIX = "asst"
ASSISTANT_OWNER = "assistant"
"""`owned_by` of an assistant in the list of models."""


class ModelObject(msgspec.Struct, frozen=True, kw_only=True):
    """A model in OpenAI's form; `created` is in seconds since 1970, 0 where it is not known."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str


class ModelObjects(msgspec.Struct, frozen=True):
    """All models."""

    data: Sequence[ModelObject]
    object: str = "list"


class ModelNames:
    """Lists models and assistants, and finds the assistant that a model's name means.

    The name of a model that runs have is remembered, so that requests in a row ask the store once.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._plain: dict[tuple[str, str], float] = {}  # end of memory by owner and name

    async def list_models(self, by: Principal) -> Sequence[ModelObject]:
        """Return the models of all providers, then the assistants of the owner."""
        listed: ModelList = (await self._dispatcher.dispatch(ListModels(), by)).value
        assistants = await self._list_assistants(by)
        return [*map(_model_object, listed.data), *map(_assistant_object, assistants.values())]

    async def get_model(self, name: str, by: Principal) -> ModelObject:
        """Return the model or assistant of this name. Raises `BadSettings`."""
        assistant = await self.find_assistant(name, by)
        if assistant is not None:
            return _assistant_object(assistant)
        listed: ModelList = (await self._dispatcher.dispatch(ListModels(model=name), by)).value
        for model in listed.data:
            return _model_object(model)
        raise BadSettings("There is no such model.", received=name[:100], where="$.model")

    async def find_assistant(self, name: str, by: Principal) -> Assistant | None:
        """Return the owner's assistant with this name or id; of several, the newest.

        One that gets the name of a model in use is found within `CACHE_SECONDS`.
        """
        if time.monotonic() < self._plain.get((by.owner, name), 0.0):
            return None
        if name.startswith(f"{ASSISTANT_PREFIX}_"):
            with suppress(NotFound):
                found: Assistant = (await self._dispatcher.dispatch(GetAssistant(name), by)).value
                return found
        listed = (await self._dispatcher.dispatch(ListAssistants(1, name=name), by)).value
        return listed.data[0] if listed.data else None

    def remember_model(self, name: str, by: Principal) -> None:
        """Remember that a run has begun with this model, and that no assistant has its name."""
        if len(self._plain) >= MAX_REMEMBERED:
            self._plain.clear()
        now = time.monotonic()
        if now >= self._plain.get((by.owner, name), 0.0):  # else the store was not asked
            self._plain[by.owner, name] = now + CACHE_SECONDS

    async def _list_assistants(self, by: Principal) -> Mapping[str, Assistant]:
        """Return the owner's assistants by the names that they have as models, newest first."""
        found: dict[str, Assistant] = {}
        after = None
        while True:
            page = (await self._dispatcher.dispatch(ListAssistants(PAGE, after), by)).value
            for assistant in page.data:
                found.setdefault(assistant.name or assistant.id, assistant)
            if not page.has_more:
                return found
            after = page.next


class ModelRequests:
    """Answers requests for models.

    A query is ignored: Codex sends its version, clients of Azure that of their API.
    """

    def __init__(self, names: ModelNames) -> None:
        self._names = names

    async def list_models(self, context: RequestContext) -> None:
        """Answer `GET /models`."""
        models = await self._names.list_models(context.caller.principal)
        await context.respond_json(200, ModelObjects(models))

    async def retrieve(self, context: RequestContext) -> None:
        """Answer `GET /models/{model}`."""
        name = path_parameters(context.scope)["model"]
        model = await self._names.get_model(name, context.caller.principal)
        await context.respond_json(200, model)


def _model_object(model: Model) -> ModelObject:
    return ModelObject(id=model.id, owned_by=model.provider)


def _assistant_object(assistant: Assistant) -> ModelObject:
    return ModelObject(
        id=assistant.name or assistant.id,
        created=assistant.created_at // 1000,
        owned_by=ASSISTANT_OWNER,
    )
