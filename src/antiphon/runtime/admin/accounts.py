"""Accounts of people, and projects. `engine/accounts` decides what is allowed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from itertools import count
from typing import Any, ClassVar, NamedTuple

import msgspec
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Deleted
from antiphon.engine import accounts, sanitize
from antiphon.ports import Store
from antiphon.runtime.admin import audit
from antiphon.runtime.published import find_author
from antiphon.settings.extras import install_hint
from antiphon.types.accounts import (
    Account,
    AuditAction,
    AuditEntry,
    Person,
    Principal,
    Project,
    Role,
)
from antiphon.types.errors import (
    BadSettings,
    Conflict,
    InvalidRequest,
    NotFound,
    SignInRefused,
    Unauthorized,
)
from antiphon.types.ids import Mint

# Password hashes (argon2id), computed in threads, few at once.


AT_ONCE = 2
"""Hashes at a time: each takes 64 MiB and tens of milliseconds, so a flood of logins queues."""


class PasswordCheck(NamedTuple):
    """The result of a password check; `outdated` when the hash is weaker than a new one."""

    fits: bool
    outdated: bool = False


class PasswordHasher:
    """Hashes and verifies passwords; imports argon2 on first use."""

    cost: ClassVar[Mapping[str, int]] = {}
    """Parameters of argon2 other than its library's defaults; tests lower them."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._argon2: Any = None
        self._hasher: Any = None
        self._dummy_hash = ""

    async def hash(self, password: str) -> str:
        """Return the password's hash. Raises `BadSettings` where argon2 is not installed."""
        async with self._turns:
            return await asyncio.to_thread(self._hash, password)

    async def verify(self, password: str, kept: str | None) -> PasswordCheck:
        """Verify a password against its hash; without a hash the check takes as long and fails."""
        async with self._turns:
            return await asyncio.to_thread(self._try, password, kept)

    def _hash(self, password: str) -> str:
        hashed: str = self._load_hasher().hash(password)
        return hashed

    def _try(self, password: str, kept: str | None) -> PasswordCheck:
        hasher = self._load_hasher()
        self._dummy_hash = self._dummy_hash or hasher.hash(secrets.token_hex(16))
        hashed = kept or self._dummy_hash
        try:
            hasher.verify(hashed, password)
        except self._argon2.exceptions.VerificationError:
            return PasswordCheck(fits=False)
        return PasswordCheck(kept is not None, hasher.check_needs_rehash(hashed))

    def _load_hasher(self) -> Any:
        if self._hasher is None:
            try:
                self._argon2 = import_module("argon2")
            except ModuleNotFoundError as missing:
                raise BadSettings(
                    "Passwords need argon2, which is not installed.",
                    expected="the extra `web`",
                    hint=install_hint("web"),
                ) from missing
            self._hasher = self._argon2.PasswordHasher(**self.cost)
        return self._hasher


_PLAIN = ("role", "disabled")
_FIELDS = ("name", *_PLAIN, "password")
_NAME_ROOM = 8  # characters that a number behind a name may take


class AccountService:
    """Service for the people of an installation. `mint` creates their ids."""

    def __init__(self, store: Store, mint: Mint) -> None:
        self._store = store
        self._mint = mint
        self._passwords = PasswordHasher()

    async def create(self, operation: operations.CreatePerson, by: Principal) -> Person:
        """Create a person. Raises `Conflict` for a name or a subject that another person has."""
        name = accounts.validate_name(operation.name)
        hashed = None
        if operation.password is not None:
            hashed = await self._passwords.hash(accounts.validate_password(operation.password))
        return await self._add(name, operation.role, operation.subject or None, hashed, by)

    async def find(self, name: str) -> Person:
        """Return the person with this id or name. Raises `NotFound`."""
        sanitize.validate_text(name, "name")
        account = await self._store.find_person(id=name)
        account = account or await self._store.find_person(name=name)
        if account is None:
            raise NotFound(
                f"There is nobody called {name!r}.", hint="`antiphon people list` shows everybody."
            )
        return account.person

    async def get(self, person_id: str) -> Person:
        """Return the person with this id. Raises `NotFound`."""
        account = await self._store.find_person(id=person_id)
        if account is None:
            raise _unknown(person_id)
        return account.person

    async def update(self, operation: operations.UpdatePerson, by: Principal) -> Person:
        """Change a person. Raises `NotFound`, and `Conflict` for a taken name or the last admin."""
        changes: dict[str, Any] = {
            name: value
            for name in _PLAIN
            if (value := getattr(operation, name)) is not msgspec.UNSET
        }
        if isinstance(operation.name, str):
            changes["name"] = accounts.validate_name(operation.name)
        hashed = None
        if isinstance(operation.password, str):
            password = accounts.validate_password(operation.password)
            await self.get(operation.person_id)
            hashed = await self._passwords.hash(password)

        now = await self._store.now() if operation.end_session else 0

        def amend(account: Account, others: bool) -> Account:
            if operation.end_session:
                account = accounts.end_session(account, operation.end_session, now)
            return accounts.amend_account(
                account, changes, hashed, sign_out=operation.sign_out, others=others
            )

        entry = None
        if changed_fields := _describe_changes(operation):
            entry = await self._create_entry(
                "person.changed", operation.person_id, by, changed=changed_fields
            )
        changed = await self._store.change_person(operation.person_id, amend, entry)
        if changed is None:
            raise _unknown(operation.person_id)
        if changed.person.disabled:
            await _stop_sharing(self._store, self._mint, operation.person_id, by)
        return changed.person

    async def delete(self, person_id: str, by: Principal) -> Deleted:
        """Delete a person and revoke their links; their threads stay.

        Raises `NotFound`, and `Conflict` for the last admin.
        """

        def amend(account: Account, others: bool) -> None:
            accounts.validate_admin_remains(account.person, None, others=others)

        entry = await self._create_entry("person.removed", person_id, by)
        await self._store.change_person(person_id, amend, entry)
        await _stop_sharing(self._store, self._mint, person_id, by)
        return Deleted(person_id)

    async def sign_in(self, operation: operations.SignIn, by: Principal) -> Person:
        """Return the person who signs in. Raises `SignInRefused`."""
        match operation:
            case operations.SignIn(subject=str(subject), password=None) if subject:
                account, hashed = await self._by_subject(operation, by), None
            case operations.SignIn(name=str(name), password=str(password), subject=None):
                account, hashed = await self._by_password(name, password)
            case _:
                raise InvalidRequest(
                    "The name of the person is missing.",
                    expected="name and password, or subject",
                    received="another combination",
                )
        return await self._record_sign_in(account, hashed)

    async def _by_password(self, name: str, password: str) -> tuple[Account, str | None]:
        """Return the account, and a stronger hash to replace the current one, if it is outdated."""
        account = await self._store.find_person(name=name)
        tried = await self._passwords.verify(password, account.password if account else None)
        if account is None or not tried.fits:
            raise accounts.sign_in_error()
        return account, await self._passwords.hash(password) if tried.outdated else None

    async def _by_subject(self, operation: operations.SignIn, by: Principal) -> Account:
        known = await self._store.find_person(subject=operation.subject)
        if known is None and operation.create:
            known = await self._create_from_subject(operation, by)
        if known is None:
            raise SignInRefused(
                "Nobody is known by this login.", hint="An admin can make an account for it."
            )
        return known

    async def _create_from_subject(
        self, operation: operations.SignIn, by: Principal
    ) -> Account | None:
        """Create an account under the given name, or that name with a number."""
        wanted = accounts.validate_name(operation.name or "somebody")
        for number in count(1):
            name = wanted if number == 1 else f"{wanted[: accounts.MAX_NAME - _NAME_ROOM]} {number}"
            if await self._store.find_person(name=name) is not None:
                continue
            with suppress(Conflict):  # a concurrent sign-in has taken the name or the subject
                await self._add(name, operation.role, operation.subject, None, by)
            if (known := await self._store.find_person(subject=operation.subject)) is not None:
                return known
        return None

    async def _record_sign_in(self, account: Account, hashed: str | None) -> Person:
        now = await self._store.now()

        def amend(current: Account, others: bool) -> Account:
            signed_in = accounts.sign_in(current, account.person.generation, now)
            return replace(signed_in, password=hashed) if hashed else signed_in

        try:
            known = await self._store.change_person(account.person.id, amend)
        except NotFound as gone:
            raise accounts.sign_in_error() from gone
        if known is None:
            raise accounts.sign_in_error()
        return known.person

    async def _add(
        self, name: str, role: Role, subject: str | None, hashed: str | None, by: Principal
    ) -> Person:
        person = Person(
            id=self._mint("person"),
            name=name,
            role=role,
            subject=subject,
            created_at=await self._store.now(),
        )
        entry = await self._create_entry("person.created", person.id, by, role=role)
        await self._store.add_person(Account(person, hashed), entry)
        return person

    async def _create_entry(
        self, what: AuditAction, person_id: str, by: Principal, **details: str
    ) -> AuditEntry:
        return await audit.create_entry(
            self._store, self._mint, by, what, person_id, person_id, **details
        )


def _describe_changes(operation: operations.UpdatePerson) -> str:
    """Return the changed fields for the audit log, without the values of secret ones."""
    given = [name for name in _FIELDS if getattr(operation, name) is not msgspec.UNSET]
    words = [
        f"{name}={getattr(operation, name)}".lower() if name in _PLAIN else name for name in given
    ]
    return " ".join([*words, *(["sign_out"] if operation.sign_out else [])])


def _unknown(person_id: str) -> NotFound:
    return NotFound(f"There is no person {person_id!r}.")


# Projects: owners that are not people and whose data several keys and people share.


class ProjectService:
    """Service for the projects of an installation. `mint` creates their ids."""

    def __init__(self, store: Store, mint: Mint) -> None:
        self._store = store
        self._mint = mint

    async def create(self, operation: operations.CreateProject, by: Principal) -> Project:
        """Create a project. Raises `Conflict` for a name that another project has."""
        project = Project(
            id=self._mint("proj"),
            name=accounts.validate_name(operation.name),
            created_at=await self._store.now(),
        )
        await self._store.add_project(
            project, await self._create_entry("project.created", project.id, by)
        )
        return project

    async def find(self, name: str) -> Project:
        """Return the project with this id or name. Raises `NotFound`."""
        sanitize.validate_text(name, "name")
        projects = await self._store.projects()
        fitting = [project for project in projects if project.id == name] or [
            project
            for project in projects
            if accounts.normalize_name(project.name) == accounts.normalize_name(name)
        ]
        if not fitting:
            raise NotFound(
                f"There is no project called {name!r}.",
                hint="`antiphon projects list` shows them.",
            )
        return fitting[0]

    async def get(self, project_id: str) -> Project:
        """Return the project with this id. Raises `NotFound`."""
        for project in await self._store.projects():
            if project.id == project_id:
                return project
        raise NotFound(f"There is no project {project_id!r}.")

    async def update(self, operation: operations.UpdateProject, by: Principal) -> Project:
        """Change a project. Raises `NotFound`, and `Conflict` for a name that is taken."""
        changes: dict[str, Any] = {}
        if isinstance(operation.name, str):
            changes["name"] = accounts.validate_name(operation.name)
        if isinstance(operation.disabled, bool):
            changes["disabled"] = operation.disabled
        details = {"changed": " ".join(sorted(changes))}
        if "disabled" in changes:
            details["disabled"] = "yes" if operation.disabled else "no"
        entry = await self._create_entry("project.changed", operation.project_id, by, **details)
        changed = await self._store.change_project(
            operation.project_id, lambda project: replace(project, **changes), entry
        )
        if operation.disabled is True:
            await _stop_sharing(self._store, self._mint, operation.project_id, by)
        return changed or await self.get(operation.project_id)

    async def delete(self, project_id: str, by: Principal) -> Deleted:
        """Delete a project, and revoke its keys and links; its data stays. Raises `NotFound`."""
        entry = await self._create_entry("project.removed", project_id, by)
        await self._store.change_project(project_id, lambda _: None, entry)
        await _stop_sharing(self._store, self._mint, project_id, by)
        return Deleted(project_id)

    async def _create_entry(
        self, what: AuditAction, project_id: str, by: Principal, **details: str
    ) -> AuditEntry:
        return await audit.create_entry(
            self._store, self._mint, by, what, project_id, project_id, **details
        )


BATCH = 100
"""Published assistants that are taken back in one round."""


async def check_standing(store: Store, by: Principal) -> None:
    """Raise `Unauthorized` if the caller lost its rights after the request was admitted.

    Servers know keys for seconds. What would outlast the key is checked once it is written: it is
    either there when the links of a disabled owner are revoked, or the owner is disabled here.
    """
    now = await store.now()
    keys = [key for key in await store.keys() if key.id == by.key_id]
    ended = any(
        key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now)
        for key in keys
    )
    author = await find_author(store, by.owner)
    is_gone = author == "" and by.owner == by.actor and by.owner.startswith("person_")
    if ended or author is None or is_gone:
        raise Unauthorized(
            "The key was revoked, or its owner disabled, while this was done.",
            hint="What it shared was taken back. Use a key that is valid.",
        )


async def _stop_sharing(store: Store, mint: Mint, owner: str, by: Principal) -> None:
    """Revoke the owner's links, and take back assistants: others could go on with them."""
    more = True
    while more:
        page = await store.list_published_assistants(owner, BATCH)
        for _, assistant in page.data:
            entry = await audit.create_entry(
                store, mint, by, "assistant.unpublished", assistant.id, owner
            )
            with suppress(NotFound):  # deleted meanwhile
                await store.publish_assistant(owner, assistant.id, None, BATCH, entry)
        more = page.has_more
    for share in await store.shares(owner):
        entry = await audit.create_entry(
            store, mint, by, "share.revoked", share.id, owner, thread=share.thread_id
        )
        with suppress(NotFound):  # expired or revoked meanwhile
            await store.delete_share(owner, share.id, entry)
