"""The state of an open web chat: a client, tools, and a relay for each run that is carried on.

All tasks live on one loop: the server's own, or else a loop in a thread. Flask calls its views in
other threads, which pass coroutines to the loop with `Site.run`.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import re
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b, sha256
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from antiphon.api.operations import ListLiveRuns
from antiphon.client.async_client import AsyncClient
from antiphon.settings import private_files
from antiphon.settings.paths import data_folder, state_folder
from antiphon.settings.settings import Settings
from antiphon.tools.consent import SessionGrants
from antiphon.tools.functions import Function
from antiphon.tools.permissions import FOLDER, NAME, GrantsFile, revoke_server_grants
from antiphon.types.accounts import LOCAL
from antiphon.types.errors import AntiphonError, TryAgain
from antiphon.types.runs import Run
from antiphon.web.limits import create_limits
from antiphon.web.openid import create_provider
from antiphon.web.people import UserDirectory
from antiphon.web.policy import read_policy
from antiphon.web.prompts import PromptStore
from antiphon.web.relay import Relay
from antiphon.web.tools import Toolset, open_toolset

if TYPE_CHECKING:
    from antiphon.web.people import User

COOKIE_KEY_FILE = "web-secret"
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


def load_secret(environ: Mapping[str, str]) -> bytes:
    """Return the secret that signs cookies, made once for an installation.

    It is the same for every process of this operating-system user. Raises `BadSettings` if it
    cannot be stored.
    """
    return private_files.load_or_create_secret(
        state_folder(environ) / COOKIE_KEY_FILE,
        "secret of the web chat",
        "Remove the file: a new one is made, and everybody logs in again.",
    )


T = TypeVar("T")
RETRY_SECONDS = 2.0  # seconds until an unreachable backend is tried again

log = logging.getLogger(__name__)


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
        """Return the relay of an existing run; None if it has ended or is not the web chat's."""
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
        content, person = thread_id.encode(), b"antiphon run"
        return blake2b(content, key=self._secret, digest_size=16, person=person).hexdigest()

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

    async def revoke_server_grants(self, server: str) -> None:
        """Revoke what anybody has allowed for the tools of an MCP server, for always or a session.

        Raises `BadSettings` if this cannot be saved.
        """
        for session_grants in self._sessions.values():
            session_grants.revoke(server)
        await asyncio.to_thread(revoke_server_grants, data_folder(os.environ), server)

    def _load_grants(self, owner: str) -> GrantsFile:
        """Return the same as `grants`, cached from earlier runs; for the loop's thread only."""
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
    return folder / FOLDER / f"{named}.json"


class Site:
    """State of an open web chat, shared by all its requests.

    `client` is the installation's own. Requests on behalf of a user go through `client_for_user`.
    """

    def __init__(
        self, settings: Settings, client: AsyncClient, tools: Toolset, secret: bytes
    ) -> None:
        self.settings = settings
        self.client = client
        self.tools = tools
        self.secret = secret
        self.policy = read_policy(settings)
        self.people = UserDirectory(client)
        self.limits = create_limits(settings)
        self.openid = create_provider(settings)
        self.prompts = PromptStore()
        self.relays = Relays(settings, tools, secret)
        self._loop = asyncio.get_running_loop()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which all tasks of the web chat run."""
        return self._loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine on the loop and return its result; blocks the calling thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def client_for_user(self, person: User) -> AsyncClient:
        """Return a client that sends every request on behalf of this user.

        Without a login, everything belongs to the owner of the installation's key.
        """
        return self.client_for_owner(person.owner)

    def client_for_owner(self, owner: str) -> AsyncClient:
        """Return a client that sends every request on behalf of this owner."""
        return self.client if owner == LOCAL else self.client.on_behalf_of(owner)

    async def resume_runs(self) -> None:
        """Resume every run that an earlier process left, stopped or killed."""
        while True:
            try:
                async for live in self.client.paginate(ListLiveRuns()):
                    client = self.client_for_owner(live.owner)
                    self.relays.resume(client, live.run, live.owner)
            except TryAgain:
                await asyncio.sleep(RETRY_SECONDS)
            except AntiphonError as problem:
                log.info("interrupted runs are resumed when a page shows them: %s", problem)
                return
            else:
                return


@asynccontextmanager
async def open_site(
    settings: Settings,
    client: AsyncClient,
    tools: Sequence[str | Function] = (),
    *,
    servers: bool = True,
) -> AsyncGenerator[Site]:
    """Open the web chat over this client on the running loop. Runs go on when it closes.

    `tools` are functions, or names of functions in the form of `--tools`. Raises `BadSettings`.
    """
    async with open_toolset(settings, tools, servers=servers) as there:
        site = Site(settings, client, there, load_secret(os.environ))
        async with site.relays:
            resuming = asyncio.create_task(site.resume_runs())
            try:
                yield site
            finally:
                resuming.cancel()
                await asyncio.wait([resuming])
