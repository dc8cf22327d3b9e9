"""The relays of this process: one for each run that it carries on."""

from __future__ import annotations

import asyncio
import hmac
import os
import re
from hashlib import blake2b, sha256
from pathlib import Path
from types import TracebackType
from typing import Self

from antiphon.client.async_client import AsyncClient
from antiphon.ports import LOCAL
from antiphon.settings.paths import data_folder
from antiphon.settings.settings import Settings
from antiphon.tools.consent import SessionGrants
from antiphon.tools.permissions import NAME, GrantsFile
from antiphon.types.runs import Run
from antiphon.web.relay import Relay, log
from antiphon.web.tools import Toolset

VIA, WEB = "via", "web"
SEAL = "via_seal"
"""Keys of a run's metadata by which the web chat knows its own runs; others are only followed.

The seal proves that the web chat created the run: other clients cannot make it run the app's tools.
"""
MAX_SESSIONS = 10_000
"""Most threads whose grants for the session are kept; the oldest are dropped."""
MAX_OWNERS = 100
"""Most owners whose grants are cached; those of others are read with each run."""
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Relays:
    """Starts relays, finds them, and drops those whose runs are over."""

    def __init__(self, settings: Settings, tools: Toolset, secret: bytes) -> None:
        self._settings = settings
        self._secret = secret
        self._tools = tools
        self._relays: dict[str, Relay] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sessions: dict[str, SessionGrants] = {}  # by thread; they hold until the server ends
        self._grants: dict[str, GrantsFile] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def find(self, run_id: str) -> Relay | None:
        """Return the relay of this run; None if it is not carried on here."""
        return self._relays.get(run_id)

    def start(self, client: AsyncClient, run: Run, owner: str) -> Relay:
        """Return the relay of this run, started if necessary; its task lives until the run ends."""
        relay = self._relays.get(run.id)
        if relay is None:
            session_grants = self._sessions.setdefault(run.thread_id, SessionGrants())
            grants = session_grants, self._load_grants(owner)
            relay = self._relays[run.id] = Relay(client, run, self._tools, self._settings, grants)
            task = asyncio.create_task(self._run(relay))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return relay

    def resume(self, client: AsyncClient, run: Run, owner: str) -> Relay | None:
        """Return the relay of an existing run; None if the run has ended or is another face's."""
        if run.id not in self._relays and (run.status.ended or not self.is_ours(run)):
            return None
        return self.start(client, run, owner)

    def run_metadata(self, thread_id: str) -> dict[str, str]:
        """Return the metadata that marks a run of this thread as the web chat's."""
        return {VIA: WEB, SEAL: self._seal(thread_id)}

    def is_ours(self, run: Run) -> bool:
        """Return true if the run has the web chat's mark."""
        sealed = run.metadata.get(SEAL, "").encode()
        return hmac.compare_digest(sealed, self._seal(run.thread_id).encode())

    def _seal(self, thread_id: str) -> str:
        said, person = thread_id.encode(), b"antiphon run"
        return blake2b(said, key=self._secret, digest_size=16, person=person).hexdigest()

    async def _run(self, relay: Relay) -> None:
        try:
            await relay.run()
        finally:
            del self._relays[relay.run_id]
            self._drop_session_grants(relay.thread_id)

    def _drop_session_grants(self, thread_id: str) -> None:
        """Drop the thread's grants if there are none, or the oldest if there are too many."""
        if thread_id in self._sessions and not self._sessions[thread_id].all():
            if all(relay.thread_id != thread_id for relay in self._relays.values()):
                del self._sessions[thread_id]
        elif len(self._sessions) > MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]

    def grants(self, owner: str) -> GrantsFile:
        """Return the grants that this owner gave for always, to list and revoke them.

        The local user's are shared by all faces.
        """
        return GrantsFile(grants_file(data_folder(os.environ), owner), log.warning)

    def _load_grants(self, owner: str) -> GrantsFile:
        """Like `grants`, cached from earlier runs; for the loop's thread only."""
        grants = self._grants.pop(owner) if owner in self._grants else self.grants(owner)
        self._grants[owner] = grants  # move it to the end: last used
        if len(self._grants) > MAX_OWNERS:
            del self._grants[next(iter(self._grants))]
        return grants


def grants_file(folder: Path, owner: str) -> Path:
    """Return the path of an owner's grants, with a safe file name: owners may have any name."""
    if owner == LOCAL:
        return folder / NAME
    plain = _PLAIN.fullmatch(owner) is not None
    named = owner if plain else sha256(owner.encode()).hexdigest()
    return folder / "grants" / f"{named}.json"
