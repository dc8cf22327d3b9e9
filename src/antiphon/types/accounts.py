"""Owners, accounts, keys, limits, usage and audit entries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

Role = Literal["user", "admin"]
Count = Annotated[int, Meta(ge=1, le=2**53 - 1)]


class RedactedRepr(msgspec.Struct, frozen=True):
    """Struct whose `repr` hides its secrets."""

    secrets: ClassVar[tuple[str, ...]] = ("password", "token")

    def __repr__(self) -> str:
        shown = (f"{name}={self._redact_value(name)}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [(name, self._redact_value(name)) for name in self.__struct_fields__]

    def _redact_value(self, name: str) -> str:
        value = getattr(self, name)
        return "..." if name in self.secrets and isinstance(value, str) else repr(value)


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A person who may log in; the id is the owner of the person's data. Times in ms.

    Names are unique regardless of case. `subject` is the identity at an external login.
    `generation` grows when the password changes, on logging out everywhere, and when the account is
    disabled: sessions of an older generation are void. `ended_sessions` are the logins of this
    generation that were ended one by one, each with the time until which it is remembered.
    """

    id: str
    name: str
    role: Role = "user"
    disabled: bool = False
    generation: int = 1
    subject: str | None = None
    created_at: int
    signed_in_at: int | None = None
    ended_sessions: dict[str, int] = {}

    @property
    def is_admin(self) -> bool:
        """True if the person can log in and is an administrator."""
        return self.role == "admin" and not self.disabled


class Account(RedactedRepr, frozen=True):
    """A person with the hash of the password, if there is one; the hash never leaves the server."""

    person: Person
    password: str | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of a key; None is unlimited.

    `runs_at_once` counts unfinished runs begun with the key, `tokens_per_day` the tokens that
    models read and wrote in its runs on a day (UTC).
    """

    requests_per_minute: Count | None = None
    runs_at_once: Count | None = None
    tokens_per_day: Count | None = None

    @property
    def limit_runs(self) -> bool:
        """True if they limit new runs."""
        return self.runs_at_once is not None or self.tokens_per_day is not None


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its secret: `prefix` finds it, a keyed hash proves it. Times in ms.

    It gives access to the data of `owner`; `person_id` is its holder, if known. An expired key
    works no more than a revoked one.
    """

    id: str
    owner: str
    name: str
    prefix: str
    scopes: tuple[str, ...] = ("read", "write")
    limits: Limits = Limits()
    person_id: str | None = None
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """An owner that is not a person: several keys and people share its data.

    Names are unique regardless of case. The keys of a disabled project do not work. Time in ms.
    """

    id: str
    name: str
    created_at: int
    disabled: bool = False


class ProviderKey(msgspec.Struct, frozen=True, kw_only=True):
    """Record of an owner's own key for a provider. Time in ms.

    `hint` is the end of the key; it is empty for a short key, which it would reveal.
    """

    owner: str
    provider: str
    hint: str
    base_url: str | None = None
    created_at: int


class OwnerProviderKey(RedactedRepr, frozen=True, kw_only=True):
    """An owner's own provider key in plain text, for the provider's address or for `base_url`."""

    secrets: ClassVar[tuple[str, ...]] = ("key",)

    key: str
    base_url: str | None = None


class OwnerTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of an owner's objects."""

    owner: str
    threads: int = 0
    runs: int = 0
    files: int = 0
    assistants: int = 0


LOCAL = "local"
"""The owner and actor where nobody logs in: any user of this machine."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """The caller: owner, key, and actor for the audit log.

    `actor` is the id of a key or a person, or `local`; `administering` is true if it is an
    administrator at work on another owner's data. `trace` is the W3C `traceparent` of the request.
    """

    owner: str = LOCAL
    key_id: str | None = None
    actor: str = LOCAL
    administering: bool = False
    limits: Limits = Limits()
    trace: str | None = None

    def on_behalf_of(self, *, owner: str | None = None, actor: str | None = None) -> Principal:
        """Return the principal of an administrator who acts for that owner or that person."""
        owner, actor = owner or self.owner, actor or self.actor
        administering = actor not in (self.key_id, LOCAL, owner)
        return replace(self, owner=owner, actor=actor, administering=administering)


class BrowserGrant(msgspec.Struct, frozen=True, kw_only=True):
    """Rights of a page in a browser, as its token states them. `expires_at` in ms.

    The page acts for `owner`, from these `origins`, with the key of prefix `key`, which is empty
    where no key exists. It uses the one thread `thread_id`, or else those threads that pages of the
    same `session` have started. Its runs use `assistant_id` or `model`, or the default model. A
    person must approve the calls of the page's own tools that a glob of `ask` matches.
    """

    owner: str
    key: str
    origins: tuple[str, ...]
    expires_at: int
    thread_id: str | None = None
    session: str | None = None
    assistant_id: str | None = None
    model: str | None = None
    ask: tuple[str, ...] = ()


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The caller of the API: the owner of its data, and its key, which is None without keys."""

    owner: str
    key_id: str | None = None


ClientAct = Literal[
    "mcp_server.added",
    "mcp_server.changed",
    "mcp_server.enabled",
    "mcp_server.disabled",
    "mcp_server.restarted",
    "mcp_server.removed",
]
"""Actions that a client records; the others are recorded with the change itself."""

AuditAction = Literal[
    "key.created",
    "key.changed",
    "key.revoked",
    "limits.changed",
    "person.created",
    "person.changed",
    "person.removed",
    "project.created",
    "project.changed",
    "project.removed",
    "provider_key.kept",
    "provider_key.removed",
    "owner.erased",
    "owner.exported",
    "owner.imported",
    "run.cancelled_by_admin",
    "assistant.published",
    "assistant.unpublished",
    "webhook.created",
    "webhook.changed",
    "webhook.removed",
    "webhook.rotated",
    "webhook.disabled",
    "schedule.created",
    "schedule.changed",
    "schedule.paused",
    "schedule.resumed",
    "schedule.removed",
    "schedule.started",
    "share.created",
    "share.updated",
    "share.revoked",
    ClientAct,
]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An administrator's action in the audit log; contains no secrets. Time in ms.

    `target` is the id of its object, `owner` the owner of that. An entry that came with an import
    has the id of that import's own entry as the detail `imported`: it says what a file says.
    """

    id: str
    at: int
    actor: str
    what: AuditAction
    target: str
    owner: str | None = None
    details: dict[str, str] = {}


class Counter(msgspec.Struct, frozen=True):
    """A counter of a key: requests per minute, or tokens per day (UTC)."""

    key_id: str
    what: Literal["requests", "tokens"]


class CounterValue(msgspec.Struct, frozen=True):
    """A counter's value in the period of `now`, the store's clock in ms."""

    total: int
    now: int


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Usage of one owner's runs with one model that ended on this day (UTC), and of other requests.

    `cost` is in US dollars, of what has a known cost; `unpriced` counts the runs, titles,
    transcriptions and spoken texts without one. `audio_seconds` are those of transcriptions that
    the provider counts in seconds. Requests outside runs are not in `runs`.
    """

    day: str
    owner: str
    model: str
    runs: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float = 0.0
    audio_seconds: float = 0.0


def day(milliseconds: int) -> str:
    """Return the UTC day of a time in ms since 1970: `2026-11-21`."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).date().isoformat()


MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS
PERIODS = {"requests": MINUTE_MS, "tokens": DAY_MS}
"""Period of each counter in ms; periods begin at multiples of it."""


def period(counter: Counter, now: int) -> int:
    """Return the number of the period that contains a time in ms."""
    return now // PERIODS[counter.what]
