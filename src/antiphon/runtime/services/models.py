"""Operations on models: their list, and the one that is used where none is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from antiphon.api import operations
from antiphon.api.operations import Operation
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.ports import ResolvedModel
from antiphon.providers.catalog import Catalog
from antiphon.providers.model_info import ModelWindows
from antiphon.runtime.responses import OperationHandler
from antiphon.settings.settings import Settings
from antiphon.types.accounts import Principal
from antiphon.types.terminal_safe import clean


class ModelService:
    """Finds models by their names in the catalog, and lists them with their context windows."""

    def __init__(self, catalog: Catalog, windows: ModelWindows, settings: Settings) -> None:
        self._catalog = catalog
        self._windows = windows
        self._context_tokens = settings.context_tokens
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.ListModels: self._list_models
        }

    async def find_default(self) -> str:
        """Return the model that is used where none is named."""
        return (await self._catalog.choose()).model

    async def open(self, model: str, owner: str) -> ResolvedModel:
        """Return the provider for runs of this owner, as `Catalog.open`."""
        return await self._catalog.open(model, owner)

    async def _list_models(
        self, operation: operations.ListModels, by: Principal, _: IdempotencyKey | None
    ) -> operations.ModelList:
        default = await self.find_default()
        if (model := operation.model) is not None:
            named = [(model, (await self._catalog.open(model, by.owner)).name)]
            return operations.ModelList(await self._describe(named, default), has_more=False)
        listings = await self._catalog.list_all()
        named = [(each.prefix + name, each.provider) for each in listings for name in each.names]
        named.append(("demo", "demo"))
        if not any(name == default for name, _ in named):
            named.insert(0, (default, default.partition(":")[0]))
        problems = [
            operations.ProviderProblem(each.provider, each.error.code, clean(each.error.message))
            for each in listings
            if each.error
        ]
        return operations.ModelList(
            await self._describe(named, default), has_more=False, problems=problems
        )

    async def _describe(
        self, named: Sequence[tuple[str, str]], default: str
    ) -> Sequence[operations.Model]:
        """Return models by name and provider, with the default marked."""
        windows = await self._windows.of([name for name, _ in named])
        return [
            operations.Model(
                name,
                provider,
                default=name == default,
                context_tokens=min(filter(None, (window, self._context_tokens)), default=None),
                lacks=self._catalog.lacks(name),
            )
            for (name, provider), window in zip(named, windows, strict=True)
        ]
