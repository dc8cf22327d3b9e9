"""The commands on access: people of the web chat, projects, and keys of the server."""

from __future__ import annotations

import asyncio
import re
import sys
from abc import ABC, abstractmethod
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import get_args

import msgspec

from antiphon.api import operations
from antiphon.api.operation import convert
from antiphon.cli.console import format_time, note, print_list, read_first_line, read_secret
from antiphon.engine.accounts import validate_password
from antiphon.ports import Store
from antiphon.runtime.admin.accounts import AccountService, ProjectService
from antiphon.runtime.admin.browser_tokens import BrowserTokenService
from antiphon.runtime.admin.keys import SCOPES, KeyService
from antiphon.runtime.runtime import mint, open_store
from antiphon.settings.loading import LoadedSettings
from antiphon.types.accounts import LOCAL, Key, Limits, Person, Principal, Project, Role
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.runs import DAY


class _AccessCommand(ABC):
    """Base of the commands on access, each with actions on the database of the settings."""

    FLAGS = ("database",)

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
        """Open the database and run the action."""

        async def run_action() -> None:
            async with open_store(loaded.settings) as store:
                await self.run_action(args, store)

        asyncio.run(run_action())
        return 0

    @abstractmethod
    async def run_action(self, args: Namespace, store: Store) -> None:
        """Run the action."""


class People(_AccessCommand):
    """Create, list or remove the people who may log in to the web chat, on this database.

    Each person sees only their own threads. The first admin is created here; after that, admins can
    do the same in the web chat.
    """

    NONE = "There is nobody. `antiphon people add NAME --role admin` makes the first."
    ROLES = get_args(Role)

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the actions and their arguments."""
        action_names = "add|list|password|role|remove"
        actions = parser.add_subparsers(dest="action", required=True, metavar=action_names)
        add = actions.add_parser("add", parents=[flags], help="create a person who may log in")
        add.add_argument("name", help="the name to log in with")
        add.add_argument(
            "--role", choices=self.ROLES, default="user", help="admins administer the installation"
        )
        listing = actions.add_parser("list", parents=[flags], help="list all people")
        listing.add_argument("--json", action="store_true", help="as one JSON list")
        password = actions.add_parser(
            "password", parents=[flags], help="set a new password, which ends every login"
        )
        role = actions.add_parser("role", parents=[flags], help="change the role")
        remove = actions.add_parser("remove", parents=[flags], help="delete a person")
        for action in (password, role, remove):
            action.add_argument("name", help="the name or the id")
        role.add_argument("role", choices=self.ROLES, help="the new role")
        for action in (add, password):
            action.add_argument(
                "--password-stdin",
                action="store_true",
                help="read the password from stdin, for scripts; else you are asked",
            )

    async def run_action(self, args: Namespace, store: Store) -> None:
        """Run the action."""
        accounts = AccountService(store, mint)
        match args.action:
            case "add":
                create = operations.CreatePerson(args.name, args.role, _read_password(args))
                person = await accounts.create(create, Principal())
                note(f"{person.name} ({person.id}) may log in, as {_with_article(person.role)}.")
            case "list":
                head = ("id", "name", "role", "state", "made", "logged in")
                people = await store.people()
                print_list(people, head, self._row, self.NONE, as_json=args.json)
            case "password":
                person = await accounts.find(args.name)
                update = operations.UpdatePerson(person.id, password=_read_password(args))
                await accounts.update(update, Principal())
                note(f"{person.name} has a new password, and is logged out everywhere.")
            case "role":
                person = await accounts.find(args.name)
                update = operations.UpdatePerson(person.id, role=args.role)
                changed = await accounts.update(update, Principal())
                note(f"{changed.name} is {_with_article(changed.role)}.")
            case _:
                person = await accounts.find(args.name)
                await accounts.delete(person.id, Principal())
                note(
                    f"{person.name} cannot log in any more. Their threads stay, under the owner"
                    f" {person.id}."
                )

    def _row(self, person: Person) -> tuple[str, ...]:
        return (
            person.id,
            person.name,
            person.role,
            "disabled" if person.disabled else "active",
            format_time(person.created_at),
            format_time(person.signed_in_at),
        )


def _read_password(args: Namespace) -> str:
    """Return the first line of stdin if so requested, else a password that is typed twice."""
    if args.password_stdin:
        return validate_password(read_first_line("password"))
    if not sys.stdin.isatty():
        raise InvalidRequest(
            "Nobody is here to type a password.",
            expected="a terminal, or --password-stdin",
            hint="printf '%s' \"$PASSWORD\" | antiphon people add NAME --password-stdin",
        )
    password = validate_password(read_secret("Password: ", "password"))
    if read_secret("Once more: ", "password") != password:
        raise InvalidRequest("The two passwords are not the same.", hint="Try again.")
    return password


def _with_article(role: Role) -> str:
    return "an admin" if role == "admin" else "a user"


class Projects(_AccessCommand):
    """Make, list, rename, disable or delete projects: owners whose things several keys share.

    `antiphon keys create NAME --owner proj_...` makes a key for one.
    """

    NONE = "There is no project. `antiphon projects create NAME` makes one."

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the actions and their arguments."""
        action_names = "create|list|rename|disable|enable|delete"
        actions = parser.add_subparsers(dest="action", required=True, metavar=action_names)
        create = actions.add_parser("create", parents=[flags], help="create a project")
        create.add_argument("name", help="the name")
        listing = actions.add_parser("list", parents=[flags], help="list all projects")
        listing.add_argument("--json", action="store_true", help="as one JSON list")
        for name, meaning in (
            ("rename", "rename a project"),
            ("disable", "disable a project and revoke its keys, for good"),
            ("enable", "enable a project, for new keys"),
            ("delete", "delete a project and revoke its keys; its data stays"),
        ):
            action = actions.add_parser(name, parents=[flags], help=meaning)
            action.add_argument("name", help="the name or the id")
            if name == "rename":
                action.add_argument("to", metavar="NEW", help="the new name")

    async def run_action(self, args: Namespace, store: Store) -> None:
        """Run the action."""
        projects = ProjectService(store, mint)
        match args.action:
            case "create":
                made = await projects.create(operations.CreateProject(args.name), Principal())
                print(made.id)
                note(f"{made.name} is a project. `antiphon keys create NAME --owner {made.id}`")
            case "list":
                head = ("id", "name", "state", "made")
                known = await store.projects()
                print_list(known, head, self._row, self.NONE, as_json=args.json)
            case "delete":
                project = await projects.find(args.name)
                await projects.delete(project.id, Principal())
                note(f"{project.name} is gone. Its things stay, under the owner {project.id}.")
            case action:
                project = await projects.find(args.name)
                update = (
                    operations.UpdateProject(project.id, name=args.to)
                    if action == "rename"
                    else operations.UpdateProject(project.id, disabled=action == "disable")
                )
                changed = await projects.update(update, Principal())
                note(f"{changed.name} ({changed.id}) is {self._state(changed)}.")

    def _row(self, project: Project) -> tuple[str, ...]:
        return (project.id, project.name, self._state(project), format_time(project.created_at))

    def _state(self, project: Project) -> str:
        return "disabled" if project.disabled else "active"


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": DAY, "w": 7 * DAY}
_LIMITS = {
    "requests_per_minute": ("how many requests a minute", "a minute"),
    "runs_at_once": ("how many runs at once", "runs"),
    "tokens_per_day": ("how many tokens a day (UTC), read and written", "tokens a day"),
}


class Keys(_AccessCommand):
    """Create, list, limit or revoke the keys of a server on this database.

    Once there is a key, every request under /v1 needs one.
    """

    NONE = "There is no key: only this machine is answered. `antiphon keys create NAME` makes one."
    HEAD = ("id", "name", "owner", "scopes", "limits", "created", "expires", "revoked")

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the actions and their arguments."""
        action_names = "create|list|limit|revoke|browser-token"
        actions = parser.add_subparsers(dest="action", required=True, metavar=action_names)
        create = actions.add_parser(
            "create", parents=[flags], help="create a key and print it once"
        )
        create.add_argument("name", help="a name of your choice")
        create.add_argument(
            "--owner", default=LOCAL, help="the owner of the data; by default that of this machine"
        )
        create.add_argument(
            "--scope", action="append", choices=SCOPES, help="a scope; by default read and write"
        )
        create.add_argument(
            "--expires-in", type=_parse_seconds, metavar="TIME", help="the lifetime, such as 90d"
        )
        listing = actions.add_parser(
            "list", parents=[flags], help="list all keys, without their secrets"
        )
        listing.add_argument("--json", action="store_true", help="as one JSON list")
        limit = actions.add_parser(
            "limit", parents=[flags], help="change the limits of a key; others stay"
        )
        revoke = actions.add_parser("revoke", parents=[flags], help="revoke a key")
        page = actions.add_parser(
            "browser-token",
            parents=[flags],
            help="create a short-lived token for a page in a browser, and print it",
        )
        for action in (limit, revoke, page):
            action.add_argument("id", help="the key's id, as in `antiphon keys list`")
        for action, more in ((create, "; by default as many as it likes"), (limit, ", or `none`")):
            for name, (meaning, _) in _LIMITS.items():
                action.add_argument(
                    f"--{name.replace('_', '-')}",
                    type=_parse_limit,
                    default=msgspec.UNSET,
                    metavar="N",
                    help=meaning + more,
                )
        _add_token_arguments(page)

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
        """Open the database and run the action."""
        args.max_token_age = loaded.settings.max_token_age
        return super().run(args, loaded)

    async def run_action(self, args: Namespace, store: Store) -> None:
        """Run the action."""
        keys = KeyService(store, mint)
        match args.action:
            case "create":
                await self._create(keys, args)
            case "list":
                known = await store.keys()
                print_list(known, self.HEAD, self._row, self.NONE, as_json=args.json)
            case "limit":
                limits = operations.NewLimits(**{name: getattr(args, name) for name in _LIMITS})
                update = operations.UpdateKey(args.id, limits=limits)
                key = await keys.update(update, Principal())
                limited = _describe_limits(key.limits) or "whatever it likes"
                note(f"{key.id} ({key.name}) may: {limited}.")
            case "browser-token":
                await self._create_browser_token(args, store)
            case _:
                key = await keys.revoke(args.id, Principal())
                note(f"{key.id} ({key.name}) opens nothing any more.")

    async def _create(self, keys: KeyService, args: Namespace) -> None:
        limits = {name: getattr(args, name) for name in _LIMITS}
        operation = operations.CreateKey(
            args.name,
            args.owner,
            tuple(args.scope or ("read", "write")),
            limits=Limits(**{k: each for k, each in limits.items() if each is not msgspec.UNSET}),
            expires_in=args.expires_in,
        )
        key, token = await keys.create(operation, Principal())
        print(token)
        until = f" Good until {format_time(key.expires_at)}." if key.expires_at else ""
        note(
            f"{key.id} for owner {key.owner}: {', '.join(key.scopes)}.{until} Keep the key: it is"
            " not shown again."
        )

    async def _create_browser_token(self, args: Namespace, store: Store) -> None:
        key = next((key for key in await store.keys() if key.id == args.id), None)
        if key is None or key.revoked_at is not None:
            raise NotFound(f"There is no key {args.id!r}, or it is revoked.")
        call = convert(
            {
                "origins": tuple(args.origin),
                "thread_id": args.thread,
                "session": args.session,
                "assistant_id": args.assistant,
                "model": args.model,
                "ask": tuple(args.ask or ()),
                "expires_in": args.expires_in,
            },
            operations.CreateBrowserToken,
        )
        by = Principal(owner=key.owner, key_id=key.id, actor=key.id)
        made = await BrowserTokenService(store, args.max_token_age).create(call, by)
        print(made.token)
        opens = f"thread {made.thread_id}" if made.thread_id else f"session {made.session}"
        note(
            f"For pages of {', '.join(made.origins)}: {opens} of owner {made.owner}, until"
            f" {format_time(made.expires_at)}."
        )

    def _row(self, key: Key) -> tuple[str, ...]:
        return (
            key.id,
            key.name,
            key.owner,
            ",".join(key.scopes),
            _describe_limits(key.limits),
            format_time(key.created_at),
            format_time(key.expires_at),
            format_time(key.revoked_at),
        )


def _add_token_arguments(parser: ArgumentParser) -> None:
    """Add what a token for a page is bound to."""
    parser.add_argument(
        "--origin",
        action="append",
        required=True,
        metavar="ORIGIN",
        help="an origin of the page, such as https://shop.example.org",
    )
    opens = parser.add_mutually_exclusive_group()
    opens.add_argument("--thread", metavar="ID", help="the one thread that it opens")
    opens.add_argument(
        "--session", metavar="NAME", help="the threads that it opens: those that this name starts"
    )
    runs = parser.add_mutually_exclusive_group()
    runs.add_argument("--assistant", metavar="ID", help="the assistant that answers")
    runs.add_argument("--model", metavar="NAME", help="the model that answers")
    parser.add_argument(
        "--ask",
        action="append",
        metavar="GLOB",
        help="tools of the page whose calls a person must approve, such as delete_*",
    )
    parser.add_argument(
        "--expires-in", type=_parse_seconds, metavar="TIME", help="the lifetime; by default 15m"
    )


def _describe_limits(limits: Limits) -> str:
    """Return the limits in a few words."""
    bounds = {unit: getattr(limits, name) for name, (_, unit) in _LIMITS.items()}
    return ", ".join(f"{bound} {unit}" for unit, bound in bounds.items() if bound is not None)


def _parse_limit(text: str) -> int | None:
    if text == "none":
        return None
    if not re.fullmatch("[1-9][0-9]{0,14}", text):
        raise ArgumentTypeError(f"wanted a number from 1 on, or none; got {text!r}")
    return int(text)


def _parse_seconds(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhdw])", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= operations.MAX_KEY_LENGTH:
        raise ArgumentTypeError(
            f"wanted a number and s, m, h, d or w, ten years at most; got {text!r}"
        )
    return seconds
