"""One address of the server: who may ask there, and what each method does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager

from starlette.types import Receive, Scope, Send

from antiphon.calls import CALLS
from antiphon.problems import MethodNotAllowed
from antiphon.server.access import Caller
from antiphon.server.exchange import Exchange
from antiphon.telemetry.asgi_spans import ROUTE
from antiphon.telemetry.logs import about

Handler = Callable[[Exchange], Awaitable[None]]


class Resource:
    """One address: who may ask, and what each method does."""

    def __init__(
        self,
        path: str,
        does: Mapping[str, Handler],
        admit: Callable[[Scope], Awaitable[Caller]],
        held: Callable[[Caller], AbstractContextManager[None]],
    ) -> None:
        self._path = path
        self._does = does
        self._admit = admit
        self._held = held
        self._allow = ", ".join(sorted({*does, *_implied(path, does)}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, behind the router."""
        scope[ROUTE] = self._path
        method = scope["method"]
        if method == "OPTIONS":
            allow = [(b"allow", self._allow.encode())]
            await send({"type": "http.response.start", "status": 204, "headers": allow})
            await send({"type": "http.response.body"})
            return
        caller = await self._admit(scope)
        handler = self._does.get(method)
        if method == "HEAD" and "HEAD" in self._allow:
            handler = self._does["GET"]
        if handler is None:
            raise MethodNotAllowed(
                f"{method[:32]} is not done here.",
                expected=self._allow,
                received=method[:32],
                allow=self._allow,
            )
        named = {name: scope["path_params"].get(name) for name in ("run_id", "thread_id")}
        with self._held(caller), about(key_id=caller.principal.key_id, **named):
            await handler(Exchange(scope, receive, send, caller, time.monotonic()))


def pattern(path: str) -> str:
    """The path as the router knows it: an owner may have slashes in it."""
    return path.replace("{owner}", "{owner:path}")


def _implied(path: str, does: Mapping[str, Handler]) -> set[str]:
    """Methods that follow from others: HEAD from GET, but where an answer has no end."""
    return {"OPTIONS", "HEAD"} if "GET" in does and path not in _ENDLESS else {"OPTIONS"}


_ENDLESS = frozenset(kind.route.split(" ")[1] for kind in CALLS if kind.streams or kind.file)
