"""What the web chat holds, whichever server runs it: a client, tools, and the runs it carries on.

Everything that waits lives on one loop: the server's own where it has one, else a loop in a thread.
The views of Flask are called in threads of their own, and hand their work over by `run`.
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
from antiphon.web.toolset import Toolset, open_toolset

if TYPE_CHECKING:
    from antiphon.web.people import User

# The secret that signs what browsers keep for us, made once for an installation.


NAME = "web-secret"


def load_secret(environ: Mapping[str, str]) -> bytes:
    """The same bytes for every process of this user. Raises `BadSettings` without a place."""
    return private_files.load_or_create_secret(
        state_folder(environ) / NAME,
        "secret of the web chat",
        "Remove the file: a new one is made, and everybody logs in again.",
    )


T = TypeVar("T")
RETRY_SECONDS = 2.0  # seconds until a backend that was not there is asked again

log = logging.getLogger(__name__)


class Site:
    """An open web chat.

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
        """Where all that waits lives."""
        return self._loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns, awaited on the loop; for threads that may wait."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def client_for_user(self, person: User) -> AsyncClient:
        """A client whose every call is this person's: what is another's is not there for it.

        Where nobody logs in, all is the owner's whose key the installation has.
        """
        return self.client_for_owner(person.owner)

    def client_for_owner(self, owner: str) -> AsyncClient:
        """The same, by the name of the owner."""
        return self.client if owner == LOCAL else self.client.on_behalf_of(owner)

    async def resume_runs(self) -> None:
        """Carry on every run that was left, as by a server that was stopped or killed."""
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
    """The web chat over this client, on the loop that runs now. Runs go on when it closes.

    `tools` are functions, or names of some as `--tools` has them. Raises `BadSettings`.
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
