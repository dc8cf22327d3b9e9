"""What the web chat holds, whichever server runs it: a client, tools, and the runs it carries on.

Everything that waits lives on one loop: the server's own where it has one, else a loop in a thread.
The views of Flask are called in threads of their own, and hand their work over by `run`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from antiphon.client.aio import AsyncClient
from antiphon.settings import Settings
from antiphon.tools.functions import Function
from antiphon.web.limits import limits
from antiphon.web.openid import provider
from antiphon.web.people import People
from antiphon.web.policy import policy
from antiphon.web.relays import Relays
from antiphon.web.secret import kept_secret
from antiphon.web.tooling import Tooling, tooling

if TYPE_CHECKING:
    from antiphon.web.session import Person

T = TypeVar("T")


class Site:
    """An open web chat.

    `client` is the installation's own; what is done for a person goes through `client_of` them.
    """

    def __init__(
        self, settings: Settings, client: AsyncClient, tools: Tooling, secret: bytes
    ) -> None:
        self.settings = settings
        self.client = client
        self.tools = tools
        self.secret = secret
        self.policy = policy(settings)
        self.people = People(client)
        self.limits = limits(settings)
        self.openid = provider(settings)
        self.relays = Relays(settings, tools)
        self._loop = asyncio.get_running_loop()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Where all that waits lives."""
        return self._loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns, awaited on the loop; for threads that may wait."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def client_of(self, person: Person) -> AsyncClient:
        """A client whose every call is this person's: what is another's is not there for it."""
        return self.client.acting_for(person.owner)


@asynccontextmanager
async def opened(
    settings: Settings,
    client: AsyncClient,
    tools: Sequence[str | Function] = (),
    *,
    servers: bool = True,
) -> AsyncGenerator[Site]:
    """The web chat over this client, on the loop that runs now. Runs go on when it closes.

    `tools` are functions, or names of some as `--tools` has them. Raises `BadSettings`.
    """
    async with tooling(settings, tools, servers=servers) as there:
        site = Site(settings, client, there, kept_secret(os.environ))
        async with site.relays:
            yield site
