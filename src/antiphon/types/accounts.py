"""Whose things there are, who asks for them, how much they may, and what was done about them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

Role = Literal["user", "admin"]
Count = Annotated[int, Meta(ge=1, le=2**53 - 1)]


class RedactedRepr(msgspec.Struct, frozen=True):
    """A value whose secrets are not printed, wherever it is logged or shown."""

    secrets: ClassVar[tuple[str, ...]] = ("password", "token")

    def __repr__(self) -> str:
        shown = (f"{name}={self._redacted_value(name)}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [(name, self._redacted_value(name)) for name in self.__struct_fields__]

    def _redacted_value(self, name: str) -> str:
        value = getattr(self, name)
        return "..." if name in self.secrets and isinstance(value, str) else repr(value)


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may log in; their id is the owner of what they have. Times in ms.

    No two names are alike but for case. `subject` is who they are where somebody else lets them
    log in. `generation` grows when the password changes, when they are signed out everywhere, and
    when they are disabled: what was given out to an older one is void. `ended_sessions` are logins
    of this generation that were ended one by one, each with the time until which it is remembered.
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
    def governs(self) -> bool:
        """Whether they can log in and administer."""
        return self.role == "admin" and not self.disabled


class Account(RedactedRepr, frozen=True):
    """A person with the hash of their password, if they have one; it stays on this side."""

    person: Person
    password: str | None = None


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a key may; None is without bound.

    `runs_at_once` counts the runs begun with it that have not ended, `tokens_per_day` what models
    read and wrote in them on a day (UTC).
    """

    requests_per_minute: Count | None = None
    runs_at_once: Count | None = None
    tokens_per_day: Count | None = None

    @property
    def bind_runs(self) -> bool:
        """Whether a new run has to be held against them."""
        return self.runs_at_once is not None or self.tokens_per_day is not None


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its secret: `prefix` finds it, the keyed hash proves it. Times in ms.

    It opens the things of `owner`; `person_id` is who has it, where that is known. From
    `expires_at` on it opens nothing, as one that was revoked.
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
    """An owner that is no person: its id owns things that several keys and people share.

    No two names are alike but for case. Of one that is disabled no key opens anything. Time in ms.
    """

    id: str
    name: str
    created_at: int
    disabled: bool = False


class ProviderKey(msgspec.Struct, frozen=True, kw_only=True):
    """That an owner has a key of their own for a provider. Time in ms.

    `hint` is how it ends; it is empty for a short one, of which so much would tell too much.
    """

    owner: str
    provider: str
    hint: str
    base_url: str | None = None
    created_at: int


class OwnerProviderKey(RedactedRepr, frozen=True, kw_only=True):
    """An owner's own key as a provider gets it, at the provider's address or at `base_url`."""

    secrets: ClassVar[tuple[str, ...]] = ("key",)

    key: str
    base_url: str | None = None


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what an owner has."""

    owner: str
    threads: int = 0
    runs: int = 0
    files: int = 0
    assistants: int = 0


LOCAL = "local"
"""The one owner where nobody logs in, and the actor: whoever is on this machine."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: whose things, by which key, and who the audit log says it was.

    `actor` is a key or a person by id, or `local`; `governing` where that is an administrator at
    work on what is another's. `trace` is the W3C `traceparent` of the request.
    """

    owner: str = LOCAL
    key_id: str | None = None
    actor: str = LOCAL
    governing: bool = False
    limits: Limits = Limits()
    trace: str | None = None

    def acting(self, *, owner: str | None = None, actor: str | None = None) -> Principal:
        """As an administrator, for that owner and on behalf of that person."""
        owner, actor = owner or self.owner, actor or self.actor
        governing = actor not in (self.key_id, LOCAL, owner)
        return replace(self, owner=owner, actor=actor, governing=governing)


Deed = Literal[
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
    "run.cancelled_by_admin",
]


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """Something an administrator did, as the audit log keeps it: never a secret. Time in ms.

    `target` is what it was done to, by id; `owner` whose that is.
    """

    id: str
    at: int
    actor: str
    what: Deed
    target: str
    owner: str | None = None
    details: dict[str, str] = {}


class Counter(msgspec.Struct, frozen=True):
    """What of a key is counted: requests by the minute, tokens by the day (UTC)."""

    key_id: str
    what: Literal["requests", "tokens"]


class CounterValue(msgspec.Struct, frozen=True):
    """What a key has used in the period that `now` is in, by the store's clock in ms."""

    total: int
    now: int


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What the runs of one owner with one model used, of those that ended on this day (UTC).

    `cost` is in US dollars, of the runs whose cost is known; `unpriced` counts the others.
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


def day(milliseconds: int) -> str:
    """The day of a time in ms since 1970, in UTC: `2026-11-21`."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).date().isoformat()


MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS
PERIODS = {"requests": MINUTE_MS, "tokens": DAY_MS}
"""Over how long each is counted, in ms; a period begins where the time is a multiple of that."""


def period(counter: Counter, now: int) -> int:
    """The number of the minute or the day that a time in ms is in."""
    return now // PERIODS[counter.what]
