"""The runs that are carried on in this process: each once, whoever asks for it."""

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
from antiphon.web.toolset import Toolset

VIA, WEB = "via", "web"
SEAL = "via_seal"
"""Keys of a run's metadata, which say that the web chat carries it on: others are followed only.
The seal proves that the web chat said so: who creates runs elsewhere has no tool of the app run.
"""
MAX_SESSIONS = 10_000
"""Threads in which something was allowed until the server ends; the oldest are asked anew."""
MAX_OWNERS = 100
"""Owners whose grants are kept as they were read; of the others they are read with each run."""
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Relays:
    """Starts relays, finds them, and lets go of those that are over."""

    def __init__(self, settings: Settings, tools: Toolset, secret: bytes) -> None:
        self._settings = settings
        self._secret = secret
        self._tools = tools
        self._relays: dict[str, Relay] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sessions: dict[str, SessionGrants] = {}
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
        """The relay of this run, if it is carried on here."""
        return self._relays.get(run_id)

    def start(self, client: AsyncClient, run: Run, owner: str) -> Relay:
        """The relay of this run, begun now if need be; the task lives until the run ends."""
        relay = self._relays.get(run.id)
        if relay is None:
            grants = self._session_grants(run.thread_id), self._cached_grants(owner)
            relay = self._relays[run.id] = Relay(client, run, self._tools, self._settings, grants)
            task = asyncio.create_task(self._run(relay))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return relay

    def resume(self, client: AsyncClient, run: Run, owner: str) -> Relay | None:
        """The relay of a run that is there; None for one that has ended, or is another face's."""
        if run.id not in self._relays and (run.status.ended or not self.is_ours(run)):
            return None
        return self.start(client, run, owner)

    def run_metadata(self, thread_id: str) -> dict[str, str]:
        """What the metadata of a run of this thread says that is to be carried on here."""
        return {VIA: WEB, SEAL: self._seal(thread_id)}

    def is_ours(self, run: Run) -> bool:
        """Whether the run bears that mark."""
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

    def _session_grants(self, thread_id: str) -> SessionGrants:
        """What was allowed in this thread until the server ends."""
        return self._sessions.setdefault(thread_id, SessionGrants())

    def _drop_session_grants(self, thread_id: str) -> None:
        """Keep what was allowed, in so many threads; most allow nothing."""
        if thread_id in self._sessions and not self._sessions[thread_id].all():
            if all(relay.thread_id != thread_id for relay in self._relays.values()):
                del self._sessions[thread_id]
        elif len(self._sessions) > MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]

    def grants(self, owner: str) -> GrantsFile:
        """Return what this owner always allowed, to be read and revoked.

        That of this machine's user holds in every face.
        """
        return GrantsFile(grants_file(data_folder(os.environ), owner), log.warning)

    def _cached_grants(self, owner: str) -> GrantsFile:
        """The same, with what was read for an earlier run; for the loop's thread alone."""
        grants = self._grants.pop(owner) if owner in self._grants else self.grants(owner)
        self._grants[owner] = grants  # as the one that was used last
        if len(self._grants) > MAX_OWNERS:
            del self._grants[next(iter(self._grants))]
        return grants


def grants_file(folder: Path, owner: str) -> Path:
    """Where what an owner allowed is kept. Who makes an API key may give its owner any name."""
    if owner == LOCAL:
        return folder / NAME
    plain = _PLAIN.fullmatch(owner) is not None
    named = owner if plain else sha256(owner.encode()).hexdigest()
    return folder / "grants" / f"{named}.json"
