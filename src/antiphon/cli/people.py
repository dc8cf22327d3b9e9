"""Create, list or remove the people who may log in to the web chat, on this database.

Each person sees only their own threads. The first admin is created here; after that, admins can do
the same in the web chat.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from typing import cast, get_args

from antiphon.api import operations
from antiphon.cli.console import (
    format_table,
    format_time,
    note,
    print_json,
    read_first_line,
    read_secret,
)
from antiphon.engine.accounts import validate_password
from antiphon.ports import AdminStore
from antiphon.runtime.admin.accounts import AccountService
from antiphon.runtime.runtime import mint, open_store
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.settings import Settings
from antiphon.types.accounts import Person, Principal, Role
from antiphon.types.errors import InvalidRequest

FLAGS = ("database",)
NONE = "There is nobody. `antiphon people add NAME --role admin` makes the first."
ROLES = get_args(Role)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    said = "add|list|password|role|remove"
    actions = parser.add_subparsers(dest="action", required=True, metavar=said)
    add = actions.add_parser("add", parents=[flags], help="create a person who may log in")
    add.add_argument("name", help="the name to log in with")
    add.add_argument(
        "--role", choices=ROLES, default="user", help="admins administer the installation"
    )
    _password_argument(add)
    listing = actions.add_parser("list", parents=[flags], help="list all people")
    listing.add_argument("--json", action="store_true", help="as one JSON list")
    password = actions.add_parser(
        "password", parents=[flags], help="set a new password, which ends every login"
    )
    _who_argument(password)
    _password_argument(password)
    role = actions.add_parser("role", parents=[flags], help="change the role")
    _who_argument(role)
    role.add_argument("role", choices=ROLES, help="the new role")
    remove = actions.add_parser("remove", parents=[flags], help="delete a person")
    _who_argument(remove)


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Do it on the database of the settings."""
    asyncio.run(_run_action(args, loaded.settings))
    return 0


def _who_argument(parser: ArgumentParser) -> None:
    parser.add_argument("name", help="the name or the id")


def _password_argument(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--password-stdin",
        action="store_true",
        help="read the password from stdin, for scripts; else you are asked",
    )


async def _run_action(args: Namespace, settings: Settings) -> None:
    async with open_store(settings) as store:
        accounts = AccountService(store, mint)
        match args.action:
            case "add":
                await _add(accounts, args)
            case "list":
                await _list(store, as_json=args.json)
            case "password":
                await _password(accounts, args)
            case "role":
                await _role(accounts, args)
            case _:
                await _remove(accounts, args)


async def _add(accounts: AccountService, args: Namespace) -> None:
    call = operations.CreatePerson(args.name, args.role, _read_password(args))
    person = await accounts.create(call, Principal())
    note(f"{person.name} ({person.id}) may log in, as {_a(person.role)}.")


async def _list(store: AdminStore, *, as_json: bool) -> None:
    people = await store.people()
    if as_json:
        print_json(people)
        return
    if not people:
        note(NONE)
        return
    head = ("id", "name", "role", "state", "made", "logged in")
    print(format_table(head, map(_row, people)))


async def _password(accounts: AccountService, args: Namespace) -> None:
    person = await accounts.find(args.name)
    call = operations.UpdatePerson(person.id, password=_read_password(args))
    await accounts.update(call, Principal())
    note(f"{person.name} has a new password, and is logged out everywhere.")


async def _role(accounts: AccountService, args: Namespace) -> None:
    person = await accounts.find(args.name)
    role = cast("Role", args.role)
    changed = await accounts.update(operations.UpdatePerson(person.id, role=role), Principal())
    note(f"{changed.name} is {_a(changed.role)}.")


async def _remove(accounts: AccountService, args: Namespace) -> None:
    person = await accounts.find(args.name)
    await accounts.delete(person.id, Principal())
    note(f"{person.name} cannot log in any more. Their threads stay, under the owner {person.id}.")


def _row(person: Person) -> tuple[str, ...]:
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


def _a(role: Role) -> str:
    return "an admin" if role == "admin" else "a user"
