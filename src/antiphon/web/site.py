"""The state of an open web chat: a client, tools, and the runs that are carried on.

All tasks live on one loop: the server's own, or else a loop in a thread. Flask calls its views in
other threads, which pass coroutines to the loop with `Site.run`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from antiphon.api.operations import ListLiveRuns
from antiphon.client.async_client import AsyncClient
from antiphon.ports import LOCAL
from antiphon.settings import private_files
from antiphon.settings.paths import state_folder
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function
from antiphon.types.errors import AntiphonError, TryAgain
from antiphon.web.limits import create_limits
from antiphon.web.openid import create_provider
from antiphon.web.people import UserDirectory
from antiphon.web.policy import read_policy
from antiphon.web.relays import Relays
from antiphon.web.tools import Toolset, open_toolset

if TYPE_CHECKING:
    from antiphon.web.people import User

NAME = "web-secret"


def load_secret(environ: Mapping[str, str]) -> bytes:
    """Return the secret that signs cookies, made once for an installation.

    It is the same for every process of this operating-system user. Raises `BadSettings` if it
    cannot be stored.
    """
    return private_files.load_or_create_secret(
        state_folder(environ) / NAME,
        "secret of the web chat",
        "Remove the file: a new one is made, and everybody logs in again.",
    )


T = TypeVar("T")
RETRY_SECONDS = 2.0  # seconds until an unreachable backend is tried again

log = logging.getLogger(__name__)


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
        """Return a client that makes every call on behalf of this user, with access to their data
        only.

        Where nobody logs in, everything belongs to the owner of the installation's key.
        """
        return self.client_for_owner(person.owner)

    def client_for_owner(self, owner: str) -> AsyncClient:
        """Return a client that makes every call on behalf of this owner."""
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
                log.info("runs that were left are taken up when somebody looks: %s", problem)
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
            taking_up = asyncio.create_task(site.resume_runs())
            try:
                yield site
            finally:
                taking_up.cancel()
                await asyncio.wait([taking_up])
