"""Supervisor of one MCP server, which starts it, and restarts it after a delay when it died.

One task owns the server and all its sessions. Callers wait until the server is ready. A call that
was in progress when the server died is never repeated.

Some servers know only older protocols and never answer the newest protocol's first request, which
costs ten seconds at each start. The protocol cache remembers such a server until its version
changes, or until it fails to start with the older protocol.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from antiphon.mcp.client.client_features import ClientFeatures
from antiphon.mcp.client.server_listing import LeftOut, ServerState, Status
from antiphon.mcp.config.server_config import Mode, ServerConfig
from antiphon.mcp.metadata import clean_line, clean_text, model_tool_name, quiet_sdk_logging
from antiphon.settings import private_files
from antiphon.settings.extras import install_hint
from antiphon.settings.paths import data_folder
from antiphon.tools.egress_policy import EgressPolicy
from antiphon.types.errors import Unavailable
from antiphon.types.messages import Hints, Tool, ToolSpec

if TYPE_CHECKING:
    from antiphon.mcp.client.connection import Connection
    from antiphon.mcp.client.tasks import TaskRequests


log = logging.getLogger(__name__)

DELAYS = (0.5, 2.0, 8.0)
"""Seconds before each restart of a server that died; after the last, it restarts on demand."""
RETRIES = (0.0, 5.0, 15.0, 60.0)
"""Seconds after each failure in which calls do not restart the server; the last one repeats.

Each start is a process, and a model may call an absent tool in every turn.
"""
STABLE_SECONDS = 60.0
"""Time after which a server that was ready counts as stable: its counters are reset."""
CANCEL_SECONDS = 5.0
"""Time for the request to cancel a task that is given up."""
CHECK_SECONDS = 2.0
"""Time after which a call that was given up is checked once more."""


class RestartPolicy:
    """Delays before a server is restarted: some automatic restarts, then restarts on demand.

    After each further failure, restarts on demand have to wait longer.
    """

    def __init__(self, delays: tuple[float, ...], retries: tuple[float, ...] = RETRIES) -> None:
        self._delays = delays
        self._retries = retries
        self._ends = 0
        self._failures = 0

    def delay_after(self, lived: float | None) -> float | None:
        """Return seconds until the next restart, None to wait for demand.

        `lived` is the time for which the server was ready, None if it never was. A server whose
        first start fails is not restarted: the cause seldom goes away by itself.
        """
        if lived is not None and lived > STABLE_SECONDS:
            self._ends = self._failures = 0
        if lived is not None or self._ends:
            self._ends += 1
        return self._delays[self._ends - 1] if 0 < self._ends <= len(self._delays) else None

    def after_failure(self) -> float:
        """Count a failure; return the seconds in which no caller can restart the server."""
        self._failures += 1
        return self._retries[min(self._failures, len(self._retries)) - 1]


class ServerSupervisor:
    """One configured server. `start` creates its `task`; `stop` asks it to end.

    With `reach`, requests over HTTP go only where it allows.
    """

    def __init__(
        self,
        config: ServerConfig,
        host: ClientFeatures,
        roots: tuple[str, ...],
        auth: Callable[[ServerConfig], Any] | None,
        changed: Callable[[ServerState], None],
        delays: tuple[float, ...] = DELAYS,
        reach: EgressPolicy | None = None,
        protocol_cache: ProtocolCache | None = None,
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
        self._negotiation = ProtocolNegotiation(config, protocol_cache)
        self._clock = clock
        self._began = 0.0
        self._retry_at = 0.0
        status: Status = "closed" if config.enabled else "disabled"
        self._state = ServerState(server=config.name, status=status, transport=config.transport)
        self._connection: Connection | None = None
        self._session: Connection | None = None
        self._stopping = asyncio.Event()
        self._stopped_because = ""
        self._wanted = asyncio.Event()
        self._state_changed = asyncio.Event()
        self._finishing = asyncio.Event()
        self._checks: set[asyncio.Task[None]] = set()
        self.task: asyncio.Task[None] | None = None

    @property
    def state(self) -> ServerState:
        """Current state of the server."""
        session = self._session
        if session is None:
            return self._state
        return replace(
            self._state,
            notes=session.monitor.notes,
            left_out=tuple(LeftOut(name, why) for name, why in session.monitor.left_out.items()),
            http_status=session.monitor.http_status,
        )

    def announce(self) -> None:
        """Set the state to starting, so that callers wait; `start` follows."""
        if self.config.enabled:
            self._set_status("starting", "")

    def start(self) -> None:
        """Start the server's task, unless `stop` came first."""
        if self.config.enabled and not self._stopping.is_set():
            self._set_status("starting", "")
            self.task = asyncio.create_task(self._run(), name=f"mcp {self.config.name}")

    def stop(self, why: str = "") -> None:
        """Ask the task to end; calls in progress fail with `why`, such as "it was removed"."""
        self._stopped_because = why
        self._stopping.set()
        self._wanted.set()
        if why and self._connection is not None:
            self._connection.monitor.end(why)
        if self.task is None and self.config.enabled:
            self._set_status("closed", why)

    def restart(self) -> None:
        """Restart now, if the server has failed."""
        if self._state.status == "failed":
            self._set_status("restarting", self._state.why)
            self._wanted.set()

    def retry(self) -> None:
        """Restart if the server has failed and its delay has passed."""
        if self._clock() >= self._retry_at:
            self.restart()

    @property
    def is_starting(self) -> bool:
        """True if the server will soon be ready or have failed."""
        return self._has_ended() or (
            self._connection is None and self._state.status in {"starting", "restarting"}
        )

    async def wait_until_settled(self) -> None:
        """Wait until it is ready or has failed."""
        while self.is_starting:
            await self._state_changed.wait()

    async def connection(self) -> Connection:
        """Return the open session, restarting a failed server as `retry` does.

        Raises `Unavailable`.
        """
        while self._has_ended():
            await self._state_changed.wait()
        self.retry()
        await self.wait_until_settled()
        if self._connection is None:
            raise Unavailable(self._describe_absence())
        return self._connection

    async def task_requests(self) -> TaskRequests:
        """Return the requests about tasks of the open session. Raises `Unavailable`."""
        return (await self.connection()).calls.task_requests

    async def cancel_task(self, task_id: str) -> None:
        """Ask the server to cancel a task; it may do so, or not."""
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await (await self.connection()).calls.task_requests.cancel(task_id)
        except Exception as error:  # noqa: BLE001 - raised by the SDK, whose errors load late
            log.warning("a task is not cancelled: %s", clean_line(str(error), 300))

    def run_later(self, check: Callable[[], Awaitable[None]]) -> None:
        """Run the check soon, and at the latest before the server is stopped."""
        checking = asyncio.create_task(self._run_check(check))
        self._checks.add(checking)
        checking.add_done_callback(self._checks.discard)

    async def _run_check(self, check: Callable[[], Awaitable[None]]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_SECONDS):
                await self._finishing.wait()
        await check()

    async def finish_checks(self) -> None:
        """Run the checks that are due later."""
        self._finishing.set()
        if self._checks:
            await asyncio.wait(self._checks, timeout=CHECK_SECONDS)

    def _has_ended(self) -> bool:
        """Return whether the session has ended, and the task has not noticed it yet."""
        return self._connection is not None and self._connection.monitor.ended.is_set()

    async def _run(self) -> None:
        try:
            await self._run_sessions()
        finally:
            self._connection = None
            self._set_status("closed", self._stopped_because)

    async def _run_sessions(self) -> None:
        policy = RestartPolicy(self._delays)
        await self._negotiation.load()
        while not self._stopping.is_set():
            began = self._began = self._clock()
            session, was_ready, why = await self._run_session()
            if self._stopping.is_set():
                return
            died = session is not None and session.monitor.ended.is_set() and not session.protocol
            if not was_ready and await self._negotiation.handle_failure(
                exited_before_handshake=died
            ):
                continue
            delay = policy.delay_after(self._clock() - began if was_ready else None)
            if delay is None:
                self._retry_at = self._clock() + policy.after_failure()
                self._wanted.clear()
                self._record_end("failed", why, session)
                await self._wanted.wait()
                self._set_status("restarting", why)
            else:
                self._record_end("restarting", why, session)
                with suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._stopping.wait()

    async def _run_session(self) -> tuple[Connection | None, bool, str]:
        """Run one session; return it, whether it was ever ready, and why it ended."""
        session: Connection | None = None
        try:
            session = await self._create_connection()
            self._session = session
            await session.run(self._negotiation.mode, self._ready, self._stopping)
            why = session.reason(None)
        except Exception as error:  # noqa: BLE001 - raised by the SDK and the server behind it
            if session is not None:
                why = session.reason(error)
            elif isinstance(error, ImportError):
                why = f"MCP needs an extra that is not installed. {install_hint('mcp')}"
            else:
                why = f"{type(error).__name__}: {clean_line(str(error))}"
        was_ready, self._connection = self._connection is not None, None
        return session, was_ready, why

    async def _create_connection(self) -> Connection:
        module = await asyncio.to_thread(importlib.import_module, _CONNECTION)
        quiet_sdk_logging()
        # In a thread too, because it may import the SDK's part for logins.
        auth = await asyncio.to_thread(self._auth, self.config) if self._auth else None
        connection: Connection = module.Connection(
            self.config, self._host, self._roots, auth, self._tools_changed, self._reach
        )
        return connection

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
        self._set_status("ready", "")
        self._negotiation.handle_ready(
            modern=session.modern,
            version=session.version,
            seconds=self._clock() - self._began,
        )

    def _tools_changed(self) -> None:
        """Publish a changed list of tools."""
        if self._session is not None and self._connection is not None:
            self._offer(self._session)
            self._set_status("ready", "")

    def _offer(self, session: Connection) -> None:
        offered: dict[str, Tool] = {}
        for tool in session.tools:
            if self.config.includes_tool(tool.name):
                converted = self._convert_tool(tool)
                if offered.setdefault(converted.spec.name, converted) is not converted:
                    session.monitor.left_out[tool.name] = "another tool has its name"
        self.tools = tuple(offered.values())

    def _convert_tool(self, tool: Any) -> Tool:
        hints = tool.annotations
        return Tool(
            spec=ToolSpec(
                name=model_tool_name(self.config.name, tool.name),
                description=clean_text(tool.description),
                parameters=tool.input_schema,
            ),
            server=self.config.name,
            own_name=tool.name,
            origin=self.config.origin,
            hints=Hints(
                title=clean_line(tool.title or (hints and hints.title)) or None,
                read_only=hints and hints.read_only_hint,
                destructive=hints and hints.destructive_hint,
                idempotent=hints and hints.idempotent_hint,
                open_world=hints and hints.open_world_hint,
            ),
            trusted=self.config.trusted,
            replaces_own=self.config.replaces_own,
        )

    def _record_end(self, status: Status, why: str, session: Connection | None) -> None:
        stderr = session.monitor.stderr if session else ()
        restarts = self._state.restarts + (status == "restarting")
        self._state = replace(self._state, stderr=stderr, restarts=restarts)
        self._set_status(status, why)

    def _set_status(self, status: Status, why: str) -> None:
        self._state = replace(self._state, status=status, why=why, tools=len(self.tools))
        self._state_changed.set()
        self._state_changed = asyncio.Event()
        self._changed(self.state)

    def _describe_absence(self) -> str:
        """Return why it is not available, with its last lines of stderr."""
        name = clean_line(self.config.name, 60)
        why = self._state.why or f"it is {self._state.status}"
        tail = "\n".join(self._state.stderr[-5:])
        words = f" Its stderr:\n{tail}" if tail else ""
        return f"The server {name} is not available: {why}.{words}"


_CONNECTION = "antiphon.mcp.client.connection"


# The protocol to try first.


CACHE_NAME = "mcp-generations.json"
SECONDS_KEPT = 90 * 24 * 3600
MOST_REMEMBERED = 500


class _LegacyServer(msgspec.Struct, frozen=True):
    version: str
    until: float


class ProtocolCache:
    """Servers known to need the legacy protocol. Never raises: it only makes starts faster."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def is_legacy(self, config: ServerConfig) -> bool:
        """Return whether the server is known to need the legacy protocol."""
        known = self._read().get(fingerprint(config))
        return known is not None and known.until > time.time()

    def update(self, config: ServerConfig, version: str) -> None:
        """Record that the server, which reports this version, needs the legacy protocol.

        A server known by another version is forgotten instead: it may support the new protocol.
        """
        key = fingerprint(config)
        known = self._read().get(key)
        if known is None:
            self._put(key, _LegacyServer(version, time.time() + SECONDS_KEPT))
        elif known.version != version:
            self._put(key, None)

    def forget(self, config: ServerConfig) -> None:
        """Forget the server."""
        self._put(fingerprint(config), None)

    def _put(self, key: str, old: _LegacyServer | None) -> None:
        try:
            with private_files.lock_file(self._file):
                others = [(other, each) for other, each in self._read().items() if other != key]
                kept = others if old is None else [*others, (key, old)]
                private_files.write_private_file(
                    self._file, msgspec.json.encode(dict(kept[-MOST_REMEMBERED:]))
                )
        except OSError as error:
            log.debug("%s cannot be written: %s", self._file, error)

    def _read(self) -> dict[str, _LegacyServer]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, _LegacyServer])
        except (OSError, msgspec.DecodeError):
            return {}


def open_protocol_cache(environ: Mapping[str, str]) -> ProtocolCache:
    """Open this user's cache."""
    return ProtocolCache(data_folder(environ) / CACHE_NAME)


def fingerprint(config: ServerConfig) -> str:
    """Return a digest of the command or URL; neither can be read from it."""
    about = (config.transport, config.command, config.args, config.cwd, config.url)
    return hashlib.sha256(msgspec.json.encode(about)).hexdigest()[:32]


SLOW_START_SECONDS = 5.0
"""A start that takes longer is remembered in the protocol cache."""


class ProtocolNegotiation:
    """Chooses `mode`, the protocol to try next with one server."""

    def __init__(self, config: ServerConfig, cache: ProtocolCache | None) -> None:
        self.mode: Mode = config.mode
        self._config = config
        self._cache = cache
        self._is_from_cache = False
        self._was_ready = False
        self._update: asyncio.Future[None] | None = None  # kept, so that it is not collected

    async def load(self) -> None:
        """Load what is remembered of the server."""
        if self._config.mode != "auto" or self._cache is None:
            return
        if await asyncio.to_thread(self._cache.is_legacy, self._config):
            self.mode, self._is_from_cache = "legacy", True

    def handle_ready(self, *, modern: bool, version: str, seconds: float) -> None:
        """Record that the server became ready after so many seconds."""
        if self._config.mode != "auto" or modern:
            return
        # Legacy mode: it is known to be legacy, or it exited at the first request.
        slow = self.mode == "legacy" or seconds > SLOW_START_SECONDS
        if slow and not self._was_ready and self._cache is not None:
            loop = asyncio.get_running_loop()
            self._update = loop.run_in_executor(None, self._cache.update, self._config, version)
        self.mode, self._is_from_cache, self._was_ready = "legacy", False, True

    async def handle_failure(self, *, exited_before_handshake: bool) -> bool:
        """Record a failed start; return whether to retry at once in another mode."""
        if self._is_from_cache and self._cache is not None:  # it may know a newer protocol now
            self.mode, self._is_from_cache = self._config.mode, False
            await asyncio.to_thread(self._cache.forget, self._config)
            return True
        if self.mode == "auto" and exited_before_handshake:
            self.mode = "legacy"  # some old servers end at the first request they do not know
            return True
        self.mode = self._config.mode
        return False
