"""Limits on messages, streams, logins and heavy responses.

They are counted in this process: several processes allow that many times more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec

from antiphon.engine.accounts import normalize_name
from antiphon.limits.fair_queue import FairQueue
from antiphon.limits.rate_limit import GUESSES_WITHIN, Clock, LinkGuesses, RateLimit, network_key
from antiphon.settings.settings import Settings
from antiphon.types.errors import Overloaded

MINUTE = 60.0
STREAMS_EACH = 50  # of one user: more tabs than anybody reads
STREAM_AGAIN = 2  # seconds after which to retry
GUESSES_OF_A_NAME = 10
GUESSES_OF_AN_ADDRESS = 50  # people in one office share it
LOGINS_AT_ONCE = 4  # a slow provider or a flood of logins must not take all threads
LOGIN_SECONDS = 1.0
LOGIN_AGAIN = 5
ANSWERS_AT_ONCE = 8
"""Heavy responses, or pieces of them, that are made at once; light ones do not wait for them."""
ANSWERS_EACH = 2
"""Of these, the most for one user, or for one address where nobody logs in."""


class StreamTicket:
    """Place of one stream, released once: explicitly, or when the ticket is garbage-collected.

    A stream that never started has nothing that could release it.
    """

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back
        self._lock = threading.Lock()

    def release(self) -> None:
        """Free the place; further calls do nothing."""
        with self._lock:
            give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()

    def __del__(self) -> None:
        self.release()


class StreamLimit:
    """Limit on open streams, in total and for each user."""

    def __init__(self, most: int, each: int | None) -> None:
        self._most = most
        self._each = most if each is None else each
        self._open: dict[str, int] = {}
        self._lock = threading.RLock()  # a ticket may be garbage-collected while it is held

    @property
    def open(self) -> int:
        """Number of open streams."""
        with self._lock:
            return sum(self._open.values())

    def admit(self, who: str) -> StreamTicket:
        """Take a place for one more stream. Raises `Overloaded`."""
        with self._lock:
            mine = self._open.get(who, 0)
            if self.open >= self._most or mine >= self._each:
                raise Overloaded(
                    "Too many answers are being streamed.",
                    expected=f"{self._most} at once, {self._each} for one person",
                    hint="Close a tab, or try again in a moment.",
                    retry_after=STREAM_AGAIN,
                )
            self._open[who] = mine + 1
        return StreamTicket(lambda: self._release(who))

    def _release(self, who: str) -> None:
        with self._lock:
            left = self._open.pop(who) - 1
            if left:
                self._open[who] = left


class LoginGuesses:
    """Rate limits on logins by name and by address, counted before the password is checked.

    Logins from a browser in which the same person logged in before are counted by browser alone, so
    that strangers who guess cannot lock out the person.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._names = RateLimit(GUESSES_OF_A_NAME, GUESSES_WITHIN, "logins", clock)
        self._browsers = RateLimit(GUESSES_OF_A_NAME, GUESSES_WITHIN, "logins", clock)
        self._addresses = RateLimit(GUESSES_OF_AN_ADDRESS, GUESSES_WITHIN, "logins", clock)

    def take(self, name: str, address: str, browser: str | None = None) -> None:
        """Count one. Raises `TooMany`, for names that exist and names that do not."""
        if browser is not None:
            self._browsers.take(browser)
            return
        self._addresses.take(network_key(address))
        self._names.take(_name_key(name))

    def refund(self, name: str, address: str, browser: str | None = None) -> None:
        """Refund a login that was counted: its password was right."""
        if browser is not None:
            self._browsers.refund(browser)
            return
        self._addresses.refund(network_key(address))
        self._names.refund(_name_key(name))


class LoginSlots:
    """Semaphore for logins, each of which holds a thread; the others wait briefly for a slot."""

    def __init__(self, at_once: int, seconds: float) -> None:
        self._free = threading.BoundedSemaphore(at_once)
        self._seconds = seconds

    def __enter__(self) -> None:
        if not self._free.acquire(timeout=self._seconds):
            raise Overloaded("Too many people are logging in.", retry_after=LOGIN_AGAIN)

    def __exit__(self, *_: object) -> None:
        self._free.release()


class WebLimits(msgspec.Struct, frozen=True):
    """All limits of the web chat.

    `messages`, `recordings` and `speech` apply only if people log in: without a login, everybody is
    one user.
    """

    messages: RateLimit
    recordings: RateLimit
    speech: RateLimit
    streams: StreamLimit
    guesses: LoginGuesses
    links: LinkGuesses
    logins: LoginSlots
    answers: FairQueue


def create_limits(settings: Settings) -> WebLimits:
    """Return the limits of the settings."""
    alone = settings.login == "none"
    return WebLimits(
        messages=RateLimit(settings.web_rate, MINUTE, "messages"),
        recordings=RateLimit(settings.web_rate, MINUTE, "recordings"),
        speech=RateLimit(settings.web_rate, MINUTE, "texts to speak"),
        streams=StreamLimit(settings.web_streams, None if alone else STREAMS_EACH),
        guesses=LoginGuesses(),
        links=LinkGuesses(),
        logins=LoginSlots(LOGINS_AT_ONCE, LOGIN_SECONDS),
        answers=FairQueue(ANSWERS_AT_ONCE, ANSWERS_EACH),
    )


def _name_key(name: str) -> str:
    """Return the key of a name, the same for each of its spellings."""
    return normalize_name(" ".join(name.split()))
