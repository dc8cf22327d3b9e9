"""One server over time: started, ready, restarted with patience, failed for a reason, closed.

One task owns it, enters its sessions and leaves them. Whoever wants to call it waits until it is
ready; a call that was under way when it died is never repeated.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from antiphon.mcp.client.client_features import Host
from antiphon.mcp.client.protocol_versions import Approach, Generations
from antiphon.mcp.client.server_listing import LeftOut, State, Status
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.metadata import named, told, told_line
from antiphon.mcp.sdk_logging import hush
from antiphon.tools.egress_policy import Reach
from antiphon.types.errors import Unavailable, install_hint
from antiphon.types.messages import Hints, Tool, ToolSpec

if TYPE_CHECKING:
    from antiphon.mcp.client.connection import Connection

DELAYS = (0.5, 2.0, 8.0)
"""Seconds before each restart of a server that died; after the last, it waits to be wanted."""
RETRIES = (0.0, 5.0, 15.0, 60.0)
"""Seconds after each failure in which calls do not start the server again; the last for all more.

A model may call a tool that is not there in each of its turns, and each start is a process."""
SOUND_SECONDS = 60.0
"""A server that lived so long is counted as sound: its next end is the first again."""


class Patience:
    """When a server that ended is started again: after each of some delays, then not by itself.

    After each failure of one that is sound no more, callers have to wait longer for another start.
    """

    def __init__(self, delays: tuple[float, ...], retries: tuple[float, ...] = RETRIES) -> None:
        self._delays = delays
        self._retries = retries
        self._ends = 0
        self._failures = 0

    def after(self, lived: float | None) -> float | None:
        """Seconds to wait now that it has ended, None to wait until it is wanted.

        `lived` is how long it was ready, None where it never was. One that never was ready at all
        is not tried again: what keeps it from starting seldom goes away by itself.
        """
        if lived is not None and lived > SOUND_SECONDS:
            self._ends = self._failures = 0
        if lived is not None or self._ends:
            self._ends += 1
        return self._delays[self._ends - 1] if 0 < self._ends <= len(self._delays) else None

    def after_failure(self) -> float:
        """Count a failure; return the seconds in which no caller has the server started again."""
        self._failures += 1
        return self._retries[min(self._failures, len(self._retries)) - 1]


class Server:
    """One configured server. `start` makes it live, in `task`; `leave` asks it to end."""

    def __init__(
        self,
        config: ServerConfig,
        host: Host,
        roots: tuple[str, ...],
        auth: Callable[[ServerConfig], Any] | None,
        changed: Callable[[State], None],
        delays: tuple[float, ...] = DELAYS,
        reach: Reach | None = None,
        generations: Generations | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.tools: tuple[Tool, ...] = ()
        self._host = host
        self._roots = roots
        self._auth = auth
        self._changed = changed
        self._delays = delays
        self._reach = reach
        self._approach = Approach(config, generations)
        self._clock = clock
        self._began = 0.0
        self._retry_at = 0.0
        status: Status = "closed" if config.enabled else "disabled"
        self._state = State(server=config.name, status=status, transport=config.transport)
        self._connection: Connection | None = None
        self._session: Connection | None = None
        self._stopping = asyncio.Event()
        self._wanted = asyncio.Event()
        self._turned = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        """How it is just now."""
        session = self._session
        if session is None:
            return self._state
        return replace(
            self._state,
            notes=session.watch.notes,
            left_out=tuple(LeftOut(name, why) for name, why in session.watch.left_out.items()),
            http_status=session.watch.http_status,
        )

    def start(self) -> None:
        """Begin to live, in a task of its own."""
        if self.config.enabled:
            self._begin("starting", "")
            self.task = asyncio.create_task(self._live(), name=f"mcp {self.config.name}")

    def leave(self) -> None:
        """Ask it to end."""
        self._stopping.set()
        self._wanted.set()

    def restart(self) -> None:
        """Try again now, if it has failed."""
        if self._state.status == "failed":
            self._begin("restarting", self._state.why)
            self._wanted.set()

    def retry(self) -> None:
        """Try again, if it has failed, but not at once where it has failed more than once."""
        if self._clock() >= self._retry_at:
            self.restart()

    @property
    def is_starting(self) -> bool:
        """True while it is neither ready nor failed, but will be soon."""
        return self._between()

    async def settled(self) -> None:
        """Wait until it is ready or has failed."""
        while self._between():
            await self._turned.wait()

    async def connection(self) -> Connection:
        """The living session; a failed server is tried as by `retry`. Raises `Unavailable`."""
        while self._over():
            await self._turned.wait()
        self.retry()
        await self.settled()
        if self._connection is None:
            raise Unavailable(self._told())
        return self._connection

    def _between(self) -> bool:
        """Whether its next state is near."""
        return self._over() or (
            self._connection is None and self._state.status in {"starting", "restarting"}
        )

    def _over(self) -> bool:
        """Whether its session has ended, and its task has not seen it yet."""
        return self._connection is not None and self._connection.watch.over.is_set()

    async def _live(self) -> None:
        try:
            await self._lives()
        finally:
            self._connection = None
            self._begin("closed", "")

    async def _lives(self) -> None:
        patience = Patience(self._delays)
        await self._approach.recall()
        while not self._stopping.is_set():
            began = self._began = self._clock()
            session, was_ready, why = await self._session_over()
            if self._stopping.is_set():
                return
            died = _died_of_the_question(session)
            if not was_ready and await self._approach.failed(died_of_the_question=died):
                continue
            delay = patience.after(self._clock() - began if was_ready else None)
            if delay is None:
                self._retry_at = self._clock() + patience.after_failure()
                await self._until_wanted(why, session)
            else:
                self._end("restarting", why, session)
                await self._pause(delay)

    async def _until_wanted(self, why: str, session: Connection | None) -> None:
        self._wanted.clear()
        self._end("failed", why, session)
        await self._wanted.wait()
        self._begin("restarting", why)

    async def _session_over(self) -> tuple[Connection | None, bool, str]:
        """One session from beginning to end: itself, whether it was ever ready, why it ended."""
        session: Connection | None = None
        try:
            session = await self._made()
            self._session = session
            await session.live(self._approach.mode, self._ready, self._stopping)
            why = session.reason(None)
        except Exception as error:  # noqa: BLE001 - a wall to the SDK and the server behind it
            why = session.reason(error) if session else _unloadable(error)
        was_ready, self._connection = self._connection is not None, None
        return session, was_ready, why

    async def _made(self) -> Connection:
        connection = await asyncio.to_thread(importlib.import_module, _CONNECTION)
        hush()
        # In a thread too, for it may load the SDK's part for logins.
        auth = await asyncio.to_thread(self._auth, self.config) if self._auth else None
        made: Connection = connection.Connection(
            self.config, self._host, self._roots, auth, self._listed, self._reach
        )
        return made

    def _ready(self) -> None:
        session = self._connection = self._session
        if session is None:
            return
        self._state = replace(
            self._state,
            protocol=session.protocol,
            title=session.title,
            version=session.version,
            instructions=session.instructions,
            capabilities=session.capabilities,
            stderr=(),
        )
        self._offer(session)
        self._begin("ready", "")
        self._approach.ready(
            modern=session.modern,
            version=session.version,
            seconds=self._clock() - self._began,
        )

    def _listed(self) -> None:
        """The tools are others than they were."""
        if self._session is not None and self._connection is not None:
            self._offer(self._session)
            self._begin("ready", "")

    def _offer(self, session: Connection) -> None:
        offered: dict[str, Tool] = {}
        for tool in session.tools:
            if self.config.uses(tool.name):
                made = self._tool(tool)
                if offered.setdefault(made.spec.name, made) is not made:
                    session.watch.left_out[tool.name] = "another tool has its name"
        self.tools = tuple(offered.values())

    def _tool(self, tool: Any) -> Tool:
        hints = tool.annotations
        return Tool(
            spec=ToolSpec(
                name=named(self.config.name, tool.name),
                description=told(tool.description),
                parameters=tool.input_schema,
            ),
            server=self.config.name,
            own_name=tool.name,
            origin=self.config.origin,
            hints=Hints(
                title=told_line(tool.title or (hints and hints.title)) or None,
                read_only=hints and hints.read_only_hint,
                destructive=hints and hints.destructive_hint,
                idempotent=hints and hints.idempotent_hint,
                open_world=hints and hints.open_world_hint,
            ),
            trusted=self.config.trusted,
        )

    def _end(self, status: Status, why: str, session: Connection | None) -> None:
        stderr = session.watch.stderr if session else ()
        restarts = self._state.restarts + (status == "restarting")
        self._state = replace(self._state, stderr=stderr, restarts=restarts)
        self._begin(status, why)

    def _begin(self, status: Status, why: str) -> None:
        self._state = replace(self._state, status=status, why=why, tools=len(self.tools))
        self._turned.set()
        self._turned = asyncio.Event()
        self._changed(self.state)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _told(self) -> str:
        """Why it is not there, with its last words."""
        name = told_line(self.config.name, 60)
        why = self._state.why or f"it is {self._state.status}"
        tail = "\n".join(self._state.stderr[-5:])
        words = f" Its stderr:\n{tail}" if tail else ""
        return f"The server {name} is not available: {why}.{words}"


_CONNECTION = "antiphon.mcp.client.connection"


def _unloadable(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"MCP needs an extra that is not installed. {install_hint('mcp')}"
    return f"{type(error).__name__}: {told_line(str(error))}"


def _died_of_the_question(session: Connection | None) -> bool:
    return session is not None and session.watch.over.is_set() and not session.protocol
