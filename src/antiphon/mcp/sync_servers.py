"""`Servers`: MCP servers for code that waits; they live on a loop in a thread of their own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from antiphon.client.portal import Portal
from antiphon.mcp.client.authorization import authorizing
from antiphon.mcp.client.client_features import Host
from antiphon.mcp.client.protocol_versions import generations
from antiphon.mcp.client.server_listing import (
    Completion,
    FilledPrompt,
    Prompt,
    Resource,
    ResourceTemplate,
    State,
)
from antiphon.mcp.client.toolbox import McpServers
from antiphon.mcp.config import discovery
from antiphon.mcp.config.server_config import LogLevel, ServerConfig
from antiphon.ports import Tell, quiet
from antiphon.settings.loading import load
from antiphon.settings.settings import Settings
from antiphon.tools.blocking import Telling
from antiphon.types.messages import Given, Tool, ToolCall, ToolResult

T = TypeVar("T")


class Servers:
    """MCP servers as a toolbox for `Client`, in a `with` block; threads may share it.

        with Servers.written("server_config.json") as servers, Client() as client:
            servers.ready(30)
            for event in client.converse("...", toolbox=servers):
                ...

    Takes what `McpServers` takes, which is the same for `async with`; the host is called on the
    servers' loop. What the methods do and raise is told there.
    """

    def __init__(
        self, configs: Iterable[ServerConfig], host: Host | None = None, **options: Any
    ) -> None:
        self._servers = McpServers(configs, host, **options)
        self._portal = Portal()
        self._entered = False
        self._unusable: tuple[State, ...] = ()

    @classmethod
    def written(
        cls,
        file: str | os.PathLike[str] | None = None,
        host: Host | None = None,
        *,
        settings: Settings | None = None,
    ) -> Self:
        """The servers of a file, else those of the settings, with the logins of this user.

        One that refers to something missing is told by `ready`. Raises `BadSettings` for a file
        that cannot be read.
        """
        flags = {} if file is None else {"config": os.fspath(file)}
        meant = settings or load(flags, os.environ, Path.cwd())
        found = discovery.find(meant, os.environ, Path.cwd())
        usable = discovery.usable(found.servers, os.environ)
        servers = cls(
            usable.configs,
            host,
            auth=authorizing(meant, os.environ),
            generations=generations(os.environ),
        )
        servers._unusable = tuple(
            State(server=each.server, status="failed", why=each.why) for each in usable.problems
        )
        return servers

    def __enter__(self) -> Self:
        """Start every server that is enabled; wait for none."""
        self._portal.run(self._servers.__aenter__())
        self._entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every server, and what it started."""
        if not self._entered:
            return
        self._entered = False
        try:
            self._portal.run(self._servers.__aexit__(kind, error, trace))
        finally:
            self._portal.close()

    def tools(self) -> tuple[Tool, ...]:
        """The tools that are there just now."""
        return self._servers.tools()

    async def call(self, call: ToolCall, tell: Tell = quiet) -> ToolResult:
        """Call the tool, from whatever loop."""
        if not self._entered:
            return _ended("are not started")
        with Telling(tell) as telling:
            future = self._portal.start(self._servers.call(call, telling))
            try:
                return await asyncio.wrap_future(future)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                return _ended("have ended")

    def ready(self, seconds: float) -> tuple[State, ...]:
        """Wait for the slow ones, at most so long; returns those that are not ready, and why."""
        return (*self._unusable, *self._run(self._servers.ready(seconds)))

    def states(self) -> tuple[State, ...]:
        """How each server is just now."""

        async def states() -> tuple[State, ...]:
            return self._servers.states()

        return (*self._unusable, *self._run(states()))

    def restart(self, server: str) -> None:
        """Have a server that failed tried again."""

        async def restart() -> None:
            self._servers.restart(server)

        self._run(restart())

    def resources(self, server: str) -> tuple[Resource, ...]:
        """What can be read."""
        return self._run(self._servers.resources(server))

    def resource_templates(self, server: str) -> tuple[ResourceTemplate, ...]:
        """Families of what can be read."""
        return self._run(self._servers.resource_templates(server))

    def read_resource(self, server: str, uri: str) -> tuple[Given, ...]:
        """What a resource holds."""
        return self._run(self._servers.read_resource(server, uri))

    def subscribe(self, server: str, uri: str) -> None:
        """Have the host's `updated` called when the resource changes."""
        self._run(self._servers.subscribe(server, uri))

    def unsubscribe(self, server: str, uri: str) -> None:
        """Have it called no more."""
        self._run(self._servers.unsubscribe(server, uri))

    def prompts(self, server: str) -> tuple[Prompt, ...]:
        """Messages that the server has ready."""
        return self._run(self._servers.prompts(server))

    def get_prompt(
        self, server: str, name: str, arguments: Mapping[str, str] | None = None
    ) -> FilledPrompt:
        """The prompt, filled in with its arguments."""
        return self._run(self._servers.get_prompt(server, name, arguments))

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
        """Values for the argument of a prompt or of a template that begin so."""
        return self._run(
            self._servers.complete(
                server, argument, begun, prompt=prompt, template=template, known=known
            )
        )

    def set_logging_level(self, server: str, level: LogLevel) -> None:
        """Ask for the server's log lines from this level on."""
        self._run(self._servers.set_logging_level(server, level))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._portal.run(coroutine)


def _ended(what: str) -> ToolResult:
    return ToolResult(f"The servers {what}.", is_error=True, fault="unavailable")
