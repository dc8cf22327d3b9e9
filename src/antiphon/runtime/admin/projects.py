"""Projects: owners that are not people and whose data several keys and people share."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Deleted
from antiphon.engine import accounts, sanitize
from antiphon.ports import AdminStore
from antiphon.runtime.admin import audit
from antiphon.types.accounts import AuditAction, AuditEntry, Principal, Project
from antiphon.types.errors import NotFound
from antiphon.types.ids import Mint


class ProjectService:
    """Service for the projects of an installation. `mint` creates their ids."""

    def __init__(self, store: AdminStore, mint: Mint) -> None:
        self._store = store
        self._mint = mint

    async def create(self, call: operations.CreateProject, by: Principal) -> Project:
        """Create a project. Raises `Conflict` for a name that another project has."""
        project = Project(
            id=self._mint("proj"),
            name=accounts.validate_name(call.name),
            created_at=await self._store.now(),
        )
        await self._store.add_project(
            project, await self._create_entry("project.created", project.id, by)
        )
        return project

    async def find(self, asked: str) -> Project:
        """Return the project with this id or name. Raises `NotFound`."""
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
        """Return the project with this id. Raises `NotFound`."""
        for project in await self._store.projects():
            if project.id == project_id:
                return project
        raise NotFound(f"There is no project {project_id!r}.")

    async def update(self, call: operations.UpdateProject, by: Principal) -> Project:
        """Change a project. Raises `NotFound`, and `Conflict` for a name that is taken."""
        changes: dict[str, Any] = {}
        if isinstance(call.name, str):
            changes["name"] = accounts.validate_name(call.name)
        if isinstance(call.disabled, bool):
            changes["disabled"] = call.disabled
        details = {"changed": " ".join(sorted(changes))}
        if "disabled" in changes:
            details["disabled"] = "yes" if call.disabled else "no"
        act = await self._create_entry("project.changed", call.project_id, by, **details)
        changed = await self._store.change_project(
            call.project_id, lambda project: replace(project, **changes), act
        )
        return changed or await self.get(call.project_id)

    async def delete(self, project_id: str, by: Principal) -> Deleted:
        """Delete a project and revoke its keys; its data stays. Raises `NotFound`."""
        act = await self._create_entry("project.removed", project_id, by)
        await self._store.change_project(project_id, lambda _: None, act)
        return Deleted(project_id)

    async def _create_entry(
        self, what: AuditAction, project_id: str, by: Principal, **details: str
    ) -> AuditEntry:
        return await audit.create_entry(
            self._store, self._mint, by, what, project_id, project_id, **details
        )
