"""What a page has to know before it can show anything: who is there, and what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec
from flask import Blueprint, Response

from antiphon import __version__
from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.tools.consent import Consent
from antiphon.tools.permissions import Rules
from antiphon.types.messages import Tool
from antiphon.web import session
from antiphon.web.context import current_site
from antiphon.web.http import json_response
from antiphon.web.toolset import Toolset

# Which model answers where none is named, and why.


class DefaultModel(Protocol):
    """A model as `provider:name`, and the reason in words."""

    @property
    def model(self) -> str:
        """The model."""
        ...

    @property
    def why(self) -> str:
        """The reason."""
        ...


class _Choosing(Protocol):
    async def choice(self) -> DefaultModel: ...


@runtime_checkable
class _HasRuntime(Protocol):
    """A line into this process, known by its shape: the web chat knows no runtime."""

    async def runtime(self) -> _Choosing:
        """What answers there."""
        ...


async def default_model(client: AsyncClient) -> tuple[str | None, str]:
    """The model, None where it is not known, and why it is that one."""
    if isinstance(client.transport, _HasRuntime):
        choice = await (await client.transport.runtime()).choice()
        return choice.model, choice.why
    listed = (await client.list_models()).data
    usual = next((model.id for model in listed if model.default), None)
    return usual, "the server's choice"


routes = Blueprint("me", __name__)

LANGUAGES = ("en", "de", "es")
MESSAGE_CHARACTERS = 4_000_000
"""The longest text that the backend takes in one message."""


class UserView(msgspec.Struct, frozen=True):
    """Who is at this browser."""

    id: str
    name: str
    role: str


class UsableTool(msgspec.Struct, frozen=True):
    """A tool of the app's; `asks` says that a person is asked before it runs."""

    name: str
    description: str
    server: str | None
    asks: bool


class ServerStatus(msgspec.Struct, frozen=True):
    """An MCP server of the app's, and what is wrong with it.

    `stderr` is the end of what it wrote there. It may hold what only operators should see, so it
    is empty for everybody but administrators.
    """

    name: str
    status: str
    problem: str
    stderr: str = ""


class RequestLimits(msgspec.Struct, frozen=True):
    """How much fits into a request."""

    upload_bytes: int
    message_characters: int


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to the first question of a page; `why` is why the model is that one."""

    person: UserView
    login: str
    csrf: str
    model: str | None
    why: str
    tools: Sequence[UsableTool]
    servers: Sequence[ServerStatus]
    limits: RequestLimits
    languages: Sequence[str]
    version: str
    title: str


@routes.get("/api/me")
def get_me() -> Response:
    """Who asks, and what they may use."""
    here, person = current_site(), session.current_user()
    model, why = here.run(default_model(here.client))
    return json_response(
        Me(
            person=UserView(person.id, person.name, person.role),
            login=here.policy.login,
            csrf=session.csrf_token(),
            model=model,
            why=why,
            tools=_usable_tools(here.tools, here.settings),
            servers=_servers(here.tools, with_stderr=person.is_admin),
            limits=RequestLimits(here.settings.max_body, MESSAGE_CHARACTERS),
            languages=LANGUAGES,
            version=__version__,
            title=here.settings.web_title,
        )
    )


def _usable_tools(tooling: Toolset, settings: Settings) -> list[UsableTool]:
    """Each tool that is not denied, as the settings have it: what was allowed since is not told."""
    consent = Consent(Rules(allow=settings.allow, ask=settings.ask, deny=settings.deny))
    told = ((tool, consent.verdict(tool)) for tool in tooling.tools())
    return [_tool(tool, asks=verdict == "ask") for tool, verdict in told if verdict != "deny"]


def _tool(tool: Tool, *, asks: bool) -> UsableTool:
    return UsableTool(tool.spec.name, tool.spec.description, tool.server, asks)


def _servers(tooling: Toolset, *, with_stderr: bool) -> list[ServerStatus]:
    return [
        ServerStatus(
            each.server, each.status, each.why, "\n".join(each.stderr) if with_stderr else ""
        )
        for each in tooling.servers()
    ]
