"""Make, list, rename, disable or delete projects: owners whose things several keys share.

`antiphon keys create NAME --owner proj_...` makes a key for one.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace

from antiphon.api import operations
from antiphon.cli.console import format_table, format_time, note, print_json
from antiphon.ports import AdminStore
from antiphon.runtime.admin.accounts import ProjectService
from antiphon.runtime.runtime import mint, open_store
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import Settings
from antiphon.types.accounts import Principal, Project

FLAGS = ("database",)
NONE = "There is no project. `antiphon projects create NAME` makes one."


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    said = "create|list|rename|disable|enable|delete"
    actions = parser.add_subparsers(dest="action", required=True, metavar=said)
    create = actions.add_parser("create", parents=[flags], help="create a project")
    create.add_argument("name", help="the name")
    listing = actions.add_parser("list", parents=[flags], help="list all projects")
    listing.add_argument("--json", action="store_true", help="as one JSON list")
    rename = actions.add_parser("rename", parents=[flags], help="rename a project")
    _which_argument(rename)
    rename.add_argument("to", metavar="NEW", help="the new name")
    disable = actions.add_parser(
        "disable", parents=[flags], help="disable a project and revoke its keys, for good"
    )
    _which_argument(disable)
    enable = actions.add_parser("enable", parents=[flags], help="enable a project, for new keys")
    _which_argument(enable)
    delete = actions.add_parser(
        "delete", parents=[flags], help="delete a project and revoke its keys; its data stays"
    )
    _which_argument(delete)


def _which_argument(parser: ArgumentParser) -> None:
    parser.add_argument("name", help="the name or the id")


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Do it on the database of the settings."""
    asyncio.run(_run_action(args, loaded.settings))
    return 0


async def _run_action(args: Namespace, settings: Settings) -> None:
    async with open_store(settings) as store:
        projects = ProjectService(store, mint)
        match args.action:
            case "create":
                made = await projects.create(operations.CreateProject(args.name), Principal())
                print(made.id)
                note(f"{made.name} is a project. `antiphon keys create NAME --owner {made.id}`")
            case "list":
                await _list(store, as_json=args.json)
            case "delete":
                project = await projects.find(args.name)
                await projects.delete(project.id, Principal())
                note(f"{project.name} is gone. Its things stay, under the owner {project.id}.")
            case _:
                await _change(projects, args)


async def _change(projects: ProjectService, args: Namespace) -> None:
    project = await projects.find(args.name)
    match args.action:
        case "rename":
            call = operations.UpdateProject(project.id, name=args.to)
        case action:
            call = operations.UpdateProject(project.id, disabled=action == "disable")
    changed = await projects.update(call, Principal())
    note(f"{changed.name} ({changed.id}) is {_state(changed)}.")


async def _list(store: AdminStore, *, as_json: bool) -> None:
    projects = await store.projects()
    if as_json:
        print_json(projects)
        return
    if not projects:
        note(NONE)
        return
    print(format_table(("id", "name", "state", "made"), map(_row, projects)))


def _row(project: Project) -> tuple[str, ...]:
    return (project.id, project.name, _state(project), format_time(project.created_at))


def _state(project: Project) -> str:
    return "disabled" if project.disabled else "active"
