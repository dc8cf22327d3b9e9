"""People who log in, keys that programs have, and what each of them has spent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar, Literal

import msgspec

Role = Literal["user", "admin"]


class Discreet(msgspec.Struct, frozen=True):
    """A value whose secrets are not printed, wherever it is logged or shown."""

    secrets: ClassVar[tuple[str, ...]] = ("password", "token")

    def __repr__(self) -> str:
        shown = (f"{name}={self._shown(name)}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [(name, self._shown(name)) for name in self.__struct_fields__]

    def _shown(self, name: str) -> str:
        value = getattr(self, name)
        return "..." if name in self.secrets and isinstance(value, str) else repr(value)


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may log in; their id is the owner of what they have. Times in ms.

    No two names are alike but for case. `subject` is who they are where somebody else lets them
    log in. `generation` grows when the password changes, when they are signed out everywhere, and
    when they are disabled: what was given out to an older one is void.
    """

    id: str
    name: str
    role: Role = "user"
    disabled: bool = False
    generation: int = 1
    subject: str | None = None
    created_at: int
    signed_in_at: int | None = None

    @property
    def governs(self) -> bool:
        """Whether they can log in and administer."""
        return self.role == "admin" and not self.disabled


class Account(Discreet, frozen=True):
    """A person with the hash of their password, if they have one; it stays on this side."""

    person: Person
    password: str | None = None


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its secret: `prefix` finds it, the keyed hash proves it. Times in ms."""

    id: str
    owner: str
    name: str
    prefix: str
    scopes: tuple[str, ...] = ("read", "write")
    created_at: int
    revoked_at: int | None = None


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
