"""Users of the web chat, read from the backend and cached for two seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from antiphon.client.async_client import AsyncClient
from antiphon.types.accounts import LOCAL as OWNER_OF_ALL
from antiphon.types.accounts import Person as Record
from antiphon.types.accounts import Role
from antiphon.types.errors import NotFound


class User(msgspec.Struct, frozen=True, kw_only=True):
    """User of a request. `generation` grows when all logins end; `session` names this login."""

    id: str
    name: str
    role: Role = "user"
    generation: int = 0
    session: str = ""

    @property
    def owner(self) -> str:
        """The owner of the threads that the user sees."""
        return self.id

    @property
    def is_admin(self) -> bool:
        """True if the user may administrate the installation."""
        return self.role == "admin"


LOCAL_USER = User(id=OWNER_OF_ALL, name=OWNER_OF_ALL, role="admin")
"""User of every request where nobody logs in; has the same threads as the terminal."""

MEMORY_SECONDS = 2.0  # revoked access must end within 5
MAX_REMEMBERED = 10_000


T = TypeVar("T")


class _CachedUser(NamedTuple):
    """Cached record of a user; `user` is None if the account is gone or disabled.

    `ended` holds the names of logins that were ended, `until` when the entry expires. Of two
    records the one with the higher `number` is newer.
    """

    until: float
    person: User | None
    ended: frozenset[str]
    number: int


class UserDirectory:
    """Finds users in the backend and caches each for `MEMORY_SECONDS`.

    Runs on the web chat's loop only.
    """

    def __init__(self, client: AsyncClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._known: dict[str, _CachedUser] = {}
        self._number = 0  # of the last read or change
        self._ids: dict[str, str] = {}

    async def find(self, person_id: str, generation: int, session: str = "") -> User | None:
        """Return the user of a login; None if they are disabled, gone or logged out."""
        known = await self._look_up(person_id)
        found = known.person
        if found is None or found.generation != generation or session in known.ended:
            return None
        return replace(found, session=session)

    async def is_signed_in(self, person: User) -> bool:
        """Return true if the login of this user is still valid."""
        if person == LOCAL_USER:
            return True
        return await self.find(person.id, person.generation, person.session) is not None

    async def log_in(self, name: str, password: str) -> User:
        """Return the user of this name and password.

        Raises the same `SignInRefused` for every reason.
        """
        return self._remember(await self._client.sign_in(name=name, password=password))

    async def find_or_create(self, subject: str, name: str, *, admin: bool = False) -> User:
        """Return the user whom a provider or a proxy calls `subject`; create them at first sight.

        `admin` makes the user an administrator. Raises `SignInRefused` if the account is disabled.
        """
        record = await self._client.sign_in(
            subject=subject, name=name, create=True, role="admin" if admin else "user"
        )
        if admin and record.role != "admin":
            record = await self._client.update_person(record.id, role="admin")
        return self._remember(record)

    async def find_or_create_by_proxy_name(self, name: str) -> User:
        """Like `find_or_create`, cached, for the user that a proxy names with every request."""
        subject = f"proxy|{name}"
        person_id = self._ids.get(subject)
        person = (await self._look_up(person_id)).person if person_id else None
        if person is None:
            person = await self.find_or_create(subject, name)
            self._ids = _with_room(self._ids)
            self._ids[subject] = person.id
        return person

    async def change_password(self, person: User, old: str, new: str) -> User:
        """Set a new password and return the user; all their other logins end.

        Raises `SignInRefused` for a wrong old password, and the backend's error for a new one.
        """
        await self._client.sign_in(name=person.name, password=old)
        return self._remember(await self._client.update_person(person.id, password=new))

    async def log_out(self, person: User, session: str) -> None:
        """End this login, on every copy of its cookie, and no other."""
        self._remember(await self._client.update_person(person.id, end_session=session))

    async def log_out_everywhere(self, person: User) -> None:
        """End all logins of the user, this one too."""
        self._remember(await self._client.update_person(person.id, sign_out=True))

    async def _look_up(self, person_id: str) -> _CachedUser:
        known = self._known.get(person_id)
        if known is not None and self._clock() < known.until:
            return known
        number = self._next_number()
        try:
            record = await self._client.get_person(person_id)
        except NotFound:
            return self._keep(person_id, None, frozenset(), number)
        person = None if record.disabled else _person(record)
        return self._keep(person_id, person, frozenset(record.ended_sessions), number)

    def _remember(self, record: Record) -> User:
        """Cache the record that a change returned; a record requested earlier is older."""
        person, ended = _person(record), frozenset(record.ended_sessions)
        self._keep(record.id, None if record.disabled else person, ended, self._next_number())
        return person

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _keep(
        self, key: str, person: User | None, ended: frozenset[str], number: int
    ) -> _CachedUser:
        """Cache the record unless a newer one is there; return the newest."""
        known = self._known.get(key)
        if known is None or known.number < number:
            known = _CachedUser(self._clock() + MEMORY_SECONDS, person, ended, number)
            self._known = _with_room(self._known)
            self._known[key] = known
        return known


def _person(record: Record) -> User:
    return User(id=record.id, name=record.name, role=record.role, generation=record.generation)


def _with_room(known: dict[str, T]) -> dict[str, T]:
    """Return the cache, or an empty one if it is full."""
    return known if len(known) < MAX_REMEMBERED else {}
