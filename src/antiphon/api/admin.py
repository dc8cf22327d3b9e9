"""Operations of administrators: people, projects, keys, live runs and usage.

An operation whose body holds a password, or whose response holds a token, takes no idempotency key,
because the response and a digest of the body are stored under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from antiphon.api.fields import OwnerName
from antiphon.api.operation import Deleted, Id, Limit, Listed, Name, Operation
from antiphon.types.accounts import (
    AuditEntry,
    ClientAct,
    Count,
    Key,
    Limits,
    Person,
    Project,
    RedactedRepr,
    Role,
    UsageRow,
)
from antiphon.types.runs import DAY, Run

ServerName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$(?!\n)")]


class LiveRun(msgspec.Struct, frozen=True):
    """A run that has not ended, and its owner."""

    run: Run
    owner: str


class NewKey(RedactedRepr, frozen=True):
    """A new key with its secret text, which is returned this once only."""

    key: Key
    token: str


class UsageReport(msgspec.Struct, frozen=True):
    """Usage since a day, latest day first; `cut` is true if there are more rows than these."""

    since: str
    rows: Sequence[UsageRow]
    cut: bool = False


class BackendServer(msgspec.Struct, frozen=True):
    """State of an MCP server that runs may name.

    `status` is `idle` until a run names it, then `starting`, `ready`, `restarting`, `failed` or
    `closed`; `unusable` if its configuration is wrong. `problem` gives the reason in one line.
    """

    name: str
    status: str
    transport: str = ""
    tools: int = 0
    problem: str = ""


MAX_KEY_LENGTH = 3650 * DAY  # seconds; a key that is to last longer has no expiry
KeySeconds = Annotated[int, Meta(ge=1, le=MAX_KEY_LENGTH)]
PersonName = Annotated[str, Meta(max_length=128)]
Subject = Annotated[str, Meta(max_length=512)]
Password = Annotated[str, Meta(max_length=1024)]
KeyScope = Literal["read", "write", "metrics", "admin"]


class CreatePerson(RedactedRepr, Operation[Person], frozen=True):
    """Create a person who may log in, by password or as `subject` of an external login.

    A password has at least 8 characters. Names are unique regardless of case. Raises `Conflict` if
    the name is taken.
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
    """List the people who may log in, including disabled ones, oldest first."""

    route: ClassVar[str] = "GET /v1/people"
    answer: ClassVar[Any] = Listed[Person]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None


class GetPerson(Operation[Person], frozen=True):
    """Get one person."""

    route: ClassVar[str] = "GET /v1/people/{person_id}"
    answer: ClassVar[Any] = Person
    scope: ClassVar[str | None] = "admin"

    person_id: Id


class UpdatePerson(RedactedRepr, Operation[Person], frozen=True):
    """Change the given fields of a person; the others stay.

    `sign_out` ends every login of the person. So does a new password, and `disabled`, which also
    revokes the person's keys. The last admin can be neither demoted nor disabled. `end_session`
    ends one login, by the id that the web chat gave it; it is not written to the audit log.
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
    """Delete a person and revoke their keys. Their threads stay.

    Raises `Conflict` for the last admin."""

    route: ClassVar[str] = "DELETE /v1/people/{person_id}"
    answer: ClassVar[Any] = Deleted
    scope: ClassVar[str | None] = "admin"

    person_id: Id


class SignIn(RedactedRepr, Operation[Person], frozen=True):
    """Return the person who logs in with this name and password, or with this `subject`.

    `subject` is the identity at an external login, which the caller has verified. With `create`, an
    unknown subject becomes a new person in that `role`, called `name` (a number is added if the
    name is taken). Raises `SignInRefused` for an unknown name, a wrong password or a disabled
    person.
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
    """Create an API key. Once there is a key, every request needs one.

    The key gives access to the data of `owner`: a person's or project's id, or any name of yours.
    `expires_in` is in seconds. `person_id` is the key's holder, for the audit log.
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
    """List the keys, including revoked ones, without their secrets, oldest first."""

    route: ClassVar[str] = "GET /v1/keys"
    answer: ClassVar[Any] = Listed[Key]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None


class NewLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New limits of a key: the given ones change, null removes a limit."""

    requests_per_minute: Count | msgspec.UnsetType | None = msgspec.UNSET
    runs_at_once: Count | msgspec.UnsetType | None = msgspec.UNSET
    tokens_per_day: Count | msgspec.UnsetType | None = msgspec.UNSET


class UpdateKey(Operation[Key], frozen=True):
    """Change the given fields of a key; the others stay. New limits apply within seconds."""

    route: ClassVar[str] = "PATCH /v1/keys/{key_id}"
    answer: ClassVar[Any] = Key
    scope: ClassVar[str | None] = "admin"

    key_id: Id
    name: Name | msgspec.UnsetType = msgspec.UNSET
    limits: NewLimits = NewLimits()


class RevokeKey(Operation[Key], frozen=True):
    """Revoke a key, at once and for good."""

    route: ClassVar[str] = "DELETE /v1/keys/{key_id}"
    answer: ClassVar[Any] = Key
    scope: ClassVar[str | None] = "admin"

    key_id: Id


class CreateProject(Operation[Project], frozen=True):
    """Create a project: an owner that is not a person. Its id is the `owner` of its keys.

    Names are unique regardless of case. Raises `Conflict` if the name is taken.
    """

    route: ClassVar[str] = "POST /v1/projects"
    answer: ClassVar[Any] = Project
    http_status: ClassVar[int] = 201
    scope: ClassVar[str | None] = "admin"

    name: PersonName


class ListProjects(Operation[Listed[Project]], frozen=True):
    """List the projects, oldest first."""

    route: ClassVar[str] = "GET /v1/projects"
    answer: ClassVar[Any] = Listed[Project]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None


class GetProject(Operation[Project], frozen=True):
    """Get one project."""

    route: ClassVar[str] = "GET /v1/projects/{project_id}"
    answer: ClassVar[Any] = Project
    scope: ClassVar[str | None] = "admin"

    project_id: Id


class UpdateProject(Operation[Project], frozen=True):
    """Change the given fields of a project; the others stay. Disabling it revokes its keys."""

    route: ClassVar[str] = "PATCH /v1/projects/{project_id}"
    answer: ClassVar[Any] = Project
    scope: ClassVar[str | None] = "admin"

    project_id: Id
    name: PersonName | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET


class DeleteProject(Operation[Deleted], frozen=True):
    """Delete a project and revoke its keys. Its data stays until its owner is erased."""

    route: ClassVar[str] = "DELETE /v1/projects/{project_id}"
    answer: ClassVar[Any] = Deleted
    scope: ClassVar[str | None] = "admin"

    project_id: Id


class ListActs(Operation[Listed[AuditEntry]], frozen=True):
    """List the audit log of administrators' actions, newest first.

    `owner` selects the actions on this owner's objects."""

    route: ClassVar[str] = "GET /v1/acts"
    answer: ClassVar[Any] = Listed[AuditEntry]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None
    owner: Id | None = None


class RecordAct(Operation[AuditEntry], frozen=True):
    """Record an administrator's action on an MCP server of a client, which is not stored here.

    `target` is the name of the server. The web chat records what is done to its servers."""

    route: ClassVar[str] = "POST /v1/acts"
    answer: ClassVar[Any] = AuditEntry
    scope: ClassVar[str | None] = "admin"

    what: ClientAct
    target: ServerName


class ListLiveRuns(Operation[Listed[LiveRun]], frozen=True):
    """List the runs of all owners that have not ended, newest first."""

    route: ClassVar[str] = "GET /v1/live_runs"
    answer: ClassVar[Any] = Listed[LiveRun]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None


class GetUsage(Operation[UsageReport], frozen=True):
    """Get the tokens and cost of runs in the last `days`, by day of their end, model and owner.

    Deleting a thread does not change its usage.
    """

    route: ClassVar[str] = "GET /v1/usage"
    answer: ClassVar[Any] = UsageReport
    scope: ClassVar[str | None] = "admin"

    days: Annotated[int, Meta(ge=1, le=366)] = 30


class ListServers(Operation[Listed[BackendServer]], frozen=True):
    """List the MCP servers that the backend runs, with their state."""

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
    RecordAct,
    ListLiveRuns,
    GetUsage,
    ListServers,
)
