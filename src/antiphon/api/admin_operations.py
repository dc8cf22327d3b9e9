"""The calls of administration: people, projects, keys, what runs, what it cost.

What holds a password or gives a token takes no idempotency key, for the answer, and a digest of the
body, are kept under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from antiphon.api.operation import Deleted, Id, Limit, Listed, Name, Operation
from antiphon.types.accounts import (
    AuditEntry,
    Count,
    Key,
    Limits,
    OwnerTotals,
    Person,
    Project,
    ProviderKey,
    RedactedRepr,
    Role,
    UsageRow,
)
from antiphon.types.runs import DAY, Run


class LiveRun(msgspec.Struct, frozen=True):
    """A run that has not ended, and whose it is."""

    run: Run
    owner: str


class NewKey(RedactedRepr, frozen=True):
    """A key with its text, which is told now and never again."""

    key: Key
    token: str


class UsageReport(msgspec.Struct, frozen=True):
    """What was spent since a day, latest day first; `cut` where there were more rows than these."""

    since: str
    rows: Sequence[UsageRow]
    cut: bool = False


class BackendServer(msgspec.Struct, frozen=True):
    """An MCP server that runs may name, and how it is.

    `status` is `idle` until a run has named it, then `starting`, `ready`, `restarting`, `failed` or
    `closed`; `unusable` where its configuration is at fault. `problem` says why, in one line.
    """

    name: str
    status: str
    transport: str = ""
    tools: int = 0
    problem: str = ""


MAX_KEY_LENGTH = 3650 * DAY  # seconds: a key that shall be good for longer has no end
KeySeconds = Annotated[int, Meta(ge=1, le=MAX_KEY_LENGTH)]
PersonName = Annotated[str, Meta(max_length=128)]
OwnerName = Annotated[
    str, Meta(max_length=128, extra_json_schema={"minLength": 1, "pattern": "^[!-~]+$"})
]
Subject = Annotated[str, Meta(max_length=512)]
Password = Annotated[str, Meta(max_length=1024)]
KeyScope = Literal["read", "write", "metrics", "admin"]


class CreatePerson(RedactedRepr, Operation[Person], frozen=True):
    """Let somebody log in: by a password of at least 8 characters, or as `subject` elsewhere.

    Names are unique whatever their case. Raises `Conflict` for one that is taken.
    """

    route: ClassVar[str] = "POST /v1/people"
    answer: ClassVar[Any] = Person
    http_status: ClassVar[int] = 201
    scope: ClassVar[str | None] = "admin"

    name: PersonName
    role: Role = "user"
    password: Password | None = None
    subject: Subject | None = None


class ListPeople(Operation[Listed[Person]], frozen=True):
    """Everybody who may log in, or might if they were not disabled; oldest first."""

    route: ClassVar[str] = "GET /v1/people"
    answer: ClassVar[Any] = Listed[Person]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None


class GetPerson(Operation[Person], frozen=True):
    """One person."""

    route: ClassVar[str] = "GET /v1/people/{person_id}"
    answer: ClassVar[Any] = Person
    scope: ClassVar[str | None] = "admin"

    person_id: Id


class UpdatePerson(RedactedRepr, Operation[Person], frozen=True):
    """Change what is given; the rest stays. `sign_out` voids every login there is.

    So does a new password, and `disabled`, which revokes their keys besides. The last admin can be
    neither demoted nor disabled. `end_session` voids one login, by what the face that let them in
    calls it; the audit log does not hold it.
    """

    route: ClassVar[str] = "PATCH /v1/people/{person_id}"
    answer: ClassVar[Any] = Person
    scope: ClassVar[str | None] = "admin"

    person_id: Id
    name: PersonName | msgspec.UnsetType = msgspec.UNSET
    role: Role | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET
    password: Password | msgspec.UnsetType = msgspec.UNSET
    sign_out: bool = False
    end_session: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class DeletePerson(Operation[Deleted], frozen=True):
    """Remove somebody, and revoke their keys. Their threads stay; the last admin does too."""

    route: ClassVar[str] = "DELETE /v1/people/{person_id}"
    answer: ClassVar[Any] = Deleted
    scope: ClassVar[str | None] = "admin"

    person_id: Id


class SignIn(RedactedRepr, Operation[Person], frozen=True):
    """Who it is that logs in with this name and password, or whom the caller has proven.

    `subject` is who they are where they have just logged in; with `create` they are made where they
    are unknown, called `name` (a number is added where that is taken), in that `role`. An unknown
    name, a wrong password and somebody disabled are `SignInRefused`.
    """

    route: ClassVar[str] = "POST /v1/sign_in"
    answer: ClassVar[Any] = Person
    scope: ClassVar[str | None] = "admin"

    name: PersonName | None = None
    password: Password | None = None
    subject: Subject | None = None
    create: bool = False
    role: Role = "user"


class CreateKey(Operation[NewKey], frozen=True):
    """Make an API key. The first one locks the server: from then on every call needs one.

    `owner` is whose things it opens: a person's or a project's id, or any word of yours. It expires
    in so many seconds; `person_id` is who has it, for the audit log.
    """

    route: ClassVar[str] = "POST /v1/keys"
    answer: ClassVar[Any] = NewKey
    http_status: ClassVar[int] = 201
    scope: ClassVar[str | None] = "admin"

    name: Name
    owner: OwnerName
    scopes: Annotated[tuple[KeyScope, ...], Meta(min_length=1, max_length=4)] = ("read", "write")
    limits: Limits = Limits()
    expires_in: KeySeconds | None = None
    person_id: Id | None = None


class ListKeys(Operation[Listed[Key]], frozen=True):
    """The keys without their secrets, the revoked ones too; oldest first."""

    route: ClassVar[str] = "GET /v1/keys"
    answer: ClassVar[Any] = Listed[Key]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None


class NewLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is given changes; null takes the limit away."""

    requests_per_minute: Count | msgspec.UnsetType | None = msgspec.UNSET
    runs_at_once: Count | msgspec.UnsetType | None = msgspec.UNSET
    tokens_per_day: Count | msgspec.UnsetType | None = msgspec.UNSET


class UpdateKey(Operation[Key], frozen=True):
    """Change what is given; the rest stays. New limits hold within seconds."""

    route: ClassVar[str] = "PATCH /v1/keys/{key_id}"
    answer: ClassVar[Any] = Key
    scope: ClassVar[str | None] = "admin"

    key_id: Id
    name: Name | msgspec.UnsetType = msgspec.UNSET
    limits: NewLimits = NewLimits()


class RevokeKey(Operation[Key], frozen=True):
    """From now on the key opens nothing."""

    route: ClassVar[str] = "DELETE /v1/keys/{key_id}"
    answer: ClassVar[Any] = Key
    scope: ClassVar[str | None] = "admin"

    key_id: Id


class CreateProject(Operation[Project], frozen=True):
    """Make an owner that is no person: make keys for it by its id.

    Names are unique whatever their case. Raises `Conflict` for one that is taken.
    """

    route: ClassVar[str] = "POST /v1/projects"
    answer: ClassVar[Any] = Project
    http_status: ClassVar[int] = 201
    scope: ClassVar[str | None] = "admin"

    name: PersonName


class ListProjects(Operation[Listed[Project]], frozen=True):
    """The projects, oldest first."""

    route: ClassVar[str] = "GET /v1/projects"
    answer: ClassVar[Any] = Listed[Project]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None


class GetProject(Operation[Project], frozen=True):
    """One project."""

    route: ClassVar[str] = "GET /v1/projects/{project_id}"
    answer: ClassVar[Any] = Project
    scope: ClassVar[str | None] = "admin"

    project_id: Id


class UpdateProject(Operation[Project], frozen=True):
    """Change what is given; the rest stays. Disabling revokes its keys, for good."""

    route: ClassVar[str] = "PATCH /v1/projects/{project_id}"
    answer: ClassVar[Any] = Project
    scope: ClassVar[str | None] = "admin"

    project_id: Id
    name: PersonName | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET


class DeleteProject(Operation[Deleted], frozen=True):
    """Remove a project, and revoke its keys. Its things stay until the owner is erased."""

    route: ClassVar[str] = "DELETE /v1/projects/{project_id}"
    answer: ClassVar[Any] = Deleted
    scope: ClassVar[str | None] = "admin"

    project_id: Id


class ListActs(Operation[Listed[AuditEntry]], frozen=True):
    """The audit log: what administrators did, newest first; with `owner` to what is theirs."""

    route: ClassVar[str] = "GET /v1/acts"
    answer: ClassVar[Any] = Listed[AuditEntry]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None
    owner: Id | None = None


class ListLiveRuns(Operation[Listed[LiveRun]], frozen=True):
    """The runs of everybody that have not ended, newest first."""

    route: ClassVar[str] = "GET /v1/live_runs"
    answer: ClassVar[Any] = Listed[LiveRun]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None


class GetUsage(Operation[UsageReport], frozen=True):
    """What runs used and cost in the last `days`, by the day they ended, the model and the owner.

    What a thread has used stays when the thread is deleted.
    """

    route: ClassVar[str] = "GET /v1/usage"
    answer: ClassVar[Any] = UsageReport
    scope: ClassVar[str | None] = "admin"

    days: Annotated[int, Meta(ge=1, le=366)] = 30


class ListServers(Operation[Listed[BackendServer]], frozen=True):
    """The MCP servers that this side runs, and how they are."""

    route: ClassVar[str] = "GET /v1/servers"
    answer: ClassVar[Any] = Listed[BackendServer]
    scope: ClassVar[str | None] = "admin"


ADMIN_OPERATIONS: tuple[type[Operation[Any]], ...] = (
    CreatePerson,
    ListPeople,
    GetPerson,
    UpdatePerson,
    DeletePerson,
    SignIn,
    CreateKey,
    ListKeys,
    UpdateKey,
    RevokeKey,
    CreateProject,
    ListProjects,
    GetProject,
    UpdateProject,
    DeleteProject,
    ListActs,
    ListLiveRuns,
    GetUsage,
    ListServers,
)


# The calls about owners: what each has, the keys they have at providers, and an end to all of it.


ProviderName = Annotated[str, Meta(max_length=64)]
ProviderSecret = Annotated[str, Meta(min_length=1, max_length=4096)]
BaseUrl = Annotated[str, Meta(max_length=2048)]


class Erasure(msgspec.Struct, frozen=True):
    """How far an owner is erased: so many things now, and `done` when nothing is left."""

    owner: str
    erased: int
    done: bool


class _HidesKey(RedactedRepr, frozen=True):
    secrets: ClassVar[tuple[str, ...]] = ("key",)


class SetProviderKey(_HidesKey, Operation[ProviderKey], frozen=True):
    """From now on the caller's runs ask this provider with this key, in place of any other.

    Nobody else's do. It is kept encrypted and can be replaced or deleted, but not read.
    """

    route: ClassVar[str] = "PUT /v1/provider_keys/{provider}"
    answer: ClassVar[Any] = ProviderKey

    provider: ProviderName
    key: ProviderSecret


class ListProviderKeys(Operation[Listed[ProviderKey]], frozen=True):
    """The providers for which the caller has a key of their own, and how each key ends."""

    route: ClassVar[str] = "GET /v1/provider_keys"
    answer: ClassVar[Any] = Listed[ProviderKey]


class DeleteProviderKey(Operation[Deleted], frozen=True):
    """The caller has no key of their own there any more; within seconds no run is asked with it."""

    route: ClassVar[str] = "DELETE /v1/provider_keys/{provider}"
    answer: ClassVar[Any] = Deleted

    provider: ProviderName


class SetOwnersProviderKey(_HidesKey, Operation[ProviderKey], frozen=True):
    """As `SetProviderKey`, for any owner, and with the address of a server of their own.

    At `base_url` the provider's language is spoken; it is only ever asked with this key.
    """

    route: ClassVar[str] = "PUT /v1/owners/{owner}/provider_keys/{provider}"
    answer: ClassVar[Any] = ProviderKey
    scope: ClassVar[str | None] = "admin"

    owner: OwnerName
    provider: ProviderName
    key: ProviderSecret
    base_url: BaseUrl | None = None


class ListAllProviderKeys(Operation[Listed[ProviderKey]], frozen=True):
    """The providers for which anybody has a key of their own, by owner."""

    route: ClassVar[str] = "GET /v1/all_provider_keys"
    answer: ClassVar[Any] = Listed[ProviderKey]
    scope: ClassVar[str | None] = "admin"


class ListOwners(Operation[Listed[OwnerTotals]], frozen=True):
    """Everybody who has something, with how much; with `owner` that one alone."""

    route: ClassVar[str] = "GET /v1/owners"
    answer: ClassVar[Any] = Listed[OwnerTotals]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None
    owner: Id | None = None


class ExportOwner(Operation[None], frozen=True):
    """Everything of an owner as a zip: JSON lines of each kind, and the files.

    Secrets are not in it. What is written while it is read may be in it or not.
    """

    route: ClassVar[str] = "GET /v1/owners/{owner}/export"
    answer: ClassVar[Any] = None
    file: ClassVar[str | None] = "application/zip"
    scope: ClassVar[str | None] = "admin"

    owner: OwnerName


class EraseOwner(Operation[Erasure], frozen=True):
    """Delete everything of an owner, for good: ask again until it is `done`.

    Their runs are cancelled and their keys revoked first. A person or a project goes with it. What
    is in the audit log stays. Raises `Conflict` for the last admin, and for the owner of the key
    that asks.
    """

    route: ClassVar[str] = "DELETE /v1/owners/{owner}"
    answer: ClassVar[Any] = Erasure
    scope: ClassVar[str | None] = "admin"

    owner: OwnerName


OWNER_OPERATIONS: tuple[type[Operation[Any]], ...] = (
    SetProviderKey,
    ListProviderKeys,
    DeleteProviderKey,
    ListAllProviderKeys,
    ListOwners,
    ExportOwner,
    SetOwnersProviderKey,
    EraseOwner,  # last, for an owner may look like the end of the others' addresses
)
