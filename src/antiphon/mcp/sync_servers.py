"""MCP servers for synchronous code; they run on an event loop in a thread of their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from antiphon.client.portal import Portal
from antiphon.mcp.client.client_features import ClientFeatures
from antiphon.mcp.client.server_listing import (
    Completion,
    FilledPrompt,
    Prompt,
    ResourceTemplate,
    ServerResource,
    ServerState,
)
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.server_config import LogLevel, ServerConfig
from antiphon.mcp.startup import resolve_servers
from antiphon.ports import ProgressCallback, quiet
from antiphon.settings import deprecated
from antiphon.settings.loading import load
from antiphon.settings.settings import Settings
from antiphon.tools.deadlines import ThreadSafeProgress
from antiphon.types.messages import ResultPart, TaskHandle, Tool, ToolCall, ToolResult


class McpServerPool:
    """MCP servers as a toolbox for `Client`, in a `with` block; threads may share it.

        with McpServerPool.from_config("server_config.json") as servers, Client() as client:
            servers.ready(30)
            for event in client.converse("...", toolbox=servers):
                ...

    Takes the arguments of `AsyncMcpServerPool`, which is the same for `async with` and documents
    the methods. The host is called on the servers' loop.
    """

    def __init__(
        self, configs: Iterable[ServerConfig], host: ClientFeatures | None = None, **options: Any
    ) -> None:
        self._servers = AsyncMcpServerPool(configs, host, **options)
        self._portal = Portal()
        self._entered = False
        self._unusable: tuple[ServerState, ...] = ()

    @classmethod
    def from_config(
        cls,
        file: str | os.PathLike[str] | None = None,
        host: ClientFeatures | None = None,
        *,
        settings: Settings | None = None,
    ) -> Self:
        """Return the servers of a file, else those of the settings, with this user's logins.

        `ready` reports a server with a missing reference. Raises `BadSettings` for a file that
        cannot be read.
        """
        flags = {} if file is None else {"config": os.fspath(file)}
        resolved = settings or load(flags, os.environ, Path.cwd())
        usable = resolve_servers(resolved)
        servers = cls(
            usable.configs,
            host,
            auth=usable.auth,
            guard=usable.guard,
            protocol_cache=usable.protocol_cache,
        )
        servers._unusable = usable.problem_states
        return servers

    @classmethod
    def written(
        cls,
        file: str | os.PathLike[str] | None = None,
        host: ClientFeatures | None = None,
        *,
        settings: Settings | None = None,
    ) -> Self:
        """Call `from_config`; deprecated."""
        deprecated.warn(deprecated.explain_renamed("written", "from_config", both=False))
        return cls.from_config(file, host, settings=settings)

    def __enter__(self) -> Self:
        """Start every enabled server without waiting for it."""
        self._portal.run(self._servers.__aenter__())
        self._entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every server and its process."""
        if not self._entered:
            return
        self._entered = False
        try:
            self._portal.run(self._servers.__aexit__(kind, error, trace))
        finally:
            self._portal.close()

    def tools(self) -> tuple[Tool, ...]:
        """Return the tools that are available now."""
        return self._servers.tools()

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        """Call the tool, from any event loop."""
        if not self._entered:
            return _unavailable("are not started")
        with ThreadSafeProgress(tell) as report:
            future = self._portal.start(self._servers.call(call, report))
            try:
                return await asyncio.wrap_future(future)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                return _unavailable("have ended")

    async def cancel_task(self, handle: TaskHandle) -> None:
        """Ask the server that has this task to cancel it, from any event loop; never raises."""
        if self._entered:
            await asyncio.wrap_future(self._portal.start(self._servers.cancel_task(handle)))

    def ready(self, seconds: float) -> tuple[ServerState, ...]:
        """Wait for the servers, at most so long; return the states of those that are not ready."""
        return (*self._unusable, *self._portal.run(self._servers.ready(seconds)))

    def states(self) -> tuple[ServerState, ...]:
        """Return the state of each server."""

        async def states() -> tuple[ServerState, ...]:
            return self._servers.states()

        return (*self._unusable, *self._portal.run(states()))

    def restart(self, server: str) -> None:
        """Restart a failed server."""

        async def restart() -> None:
            self._servers.restart(server)

        self._portal.run(restart())

    def update(self, configs: Iterable[ServerConfig]) -> None:
        """Run these servers from now on: start new ones, stop others, restart changed ones."""
        self._portal.run(self._servers.update(configs))

    def relaunch(self, server: str) -> None:
        """Stop the server if it runs, and start it again."""
        self._portal.run(self._servers.relaunch(server))

    def resources(self, server: str) -> tuple[ServerResource, ...]:
        """Return the resources of a server."""
        return self._portal.run(self._servers.resources(server))

    def resource_templates(self, server: str) -> tuple[ResourceTemplate, ...]:
        """Return the resource templates of a server."""
        return self._portal.run(self._servers.resource_templates(server))

    def read_resource(self, server: str, uri: str) -> tuple[ResultPart, ...]:
        """Return the content of a resource."""
        return self._portal.run(self._servers.read_resource(server, uri))

    def subscribe(self, server: str, uri: str) -> None:
        """Subscribe to changes of a resource; `ClientFeatures.resource_updated` reports them."""
        self._portal.run(self._servers.subscribe(server, uri))

    def unsubscribe(self, server: str, uri: str) -> None:
        """End the subscription."""
        self._portal.run(self._servers.unsubscribe(server, uri))

    def prompts(self, server: str) -> tuple[Prompt, ...]:
        """Return the prompts of a server."""
        return self._portal.run(self._servers.prompts(server))

    def get_prompt(
        self, server: str, name: str, arguments: Mapping[str, str] | None = None
    ) -> FilledPrompt:
        """Return the prompt with its arguments filled in."""
        return self._portal.run(self._servers.get_prompt(server, name, arguments))

    def complete(
        self,
        server: str,
        argument: str,
        begun: str,
        *,
        prompt: str | None = None,
        template: str | None = None,
        known: Mapping[str, str] | None = None,
    ) -> Completion:
        """Return values that begin with `begun`, for the argument of a prompt or a template."""
        return self._portal.run(
            self._servers.complete(
                server, argument, begun, prompt=prompt, template=template, known=known
            )
        )

    def set_logging_level(self, server: str, level: LogLevel) -> None:
        """Request the server's log lines from this level on."""
        self._portal.run(self._servers.set_logging_level(server, level))


def _unavailable(what: str) -> ToolResult:
    return ToolResult(f"The servers {what}.", is_error=True, fault="unavailable")
