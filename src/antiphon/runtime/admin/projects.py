"""Projects: owners that are no persons, whose things several keys and people share."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Deleted
from antiphon.engine import accounts, sanitize
from antiphon.ports import Store
from antiphon.runtime.admin import audit
from antiphon.types.accounts import Act, Deed, Principal, Project
from antiphon.types.errors import NotFound
from antiphon.types.ids import Mint


class ProjectService:
    """The projects of an installation. `mint` makes their ids."""

    def __init__(self, store: Store, mint: Mint) -> None:
        self._store = store
        self._mint = mint

    async def create(self, call: operations.CreateProject, by: Principal) -> Project:
        """Raises `Conflict` for a name that another has."""
        project = Project(
            id=self._mint("proj"),
            name=accounts.validate_name(call.name),
            created_at=await self._store.now(),
        )
        await self._store.add_project(project, await self._act("project.created", project.id, by))
        return project

    async def find(self, asked: str) -> Project:
        """The one with this id, or that is called this. Raises `NotFound`."""
        sanitize.validate_text(asked, "name")
        projects = await self._store.projects()
        fitting = [project for project in projects if project.id == asked] or [
            project
            for project in projects
            if accounts.normalize_name(project.name) == accounts.normalize_name(asked)
        ]
        if not fitting:
            raise NotFound(
                f"There is no project called {asked!r}.",
                hint="`antiphon projects list` shows them.",
            )
        return fitting[0]

    async def get(self, project_id: str) -> Project:
        """Raises `NotFound`."""
        for project in await self._store.projects():
            if project.id == project_id:
                return project
        raise NotFound(f"There is no project {project_id!r}.")

    async def update(self, call: operations.UpdateProject, by: Principal) -> Project:
        """Raises `NotFound`, and `Conflict` for a name that another has."""
        changes: dict[str, Any] = {}
        if isinstance(call.name, str):
            changes["name"] = accounts.validate_name(call.name)
        if isinstance(call.disabled, bool):
            changes["disabled"] = call.disabled
        details = {"changed": " ".join(sorted(changes))}
        if "disabled" in changes:
            details["disabled"] = "yes" if call.disabled else "no"
        act = await self._act("project.changed", call.project_id, by, **details)
        changed = await self._store.change_project(
            call.project_id, lambda project: replace(project, **changes), act
        )
        return changed or await self.get(call.project_id)

    async def delete(self, project_id: str, by: Principal) -> Deleted:
        """Its keys open nothing any more; its things stay. Raises `NotFound`."""
        act = await self._act("project.removed", project_id, by)
        await self._store.change_project(project_id, lambda _: None, act)
        return Deleted(project_id)

    async def _act(self, what: Deed, project_id: str, by: Principal, **details: str) -> Act:
        return await audit.create_entry(
            self._store, self._mint, by, what, project_id, project_id, **details
        )
