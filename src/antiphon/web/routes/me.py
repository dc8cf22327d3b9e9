"""Requests about the user: who they are, what they can use, and which tools they always allow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Protocol, runtime_checkable

import msgspec
from flask import Blueprint, Response
from msgspec import Meta

from antiphon import __version__
from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.tools.consent import Consent
from antiphon.tools.permissions import rules_from_settings
from antiphon.types.errors import NotFound
from antiphon.types.terminal_safe import clean
from antiphon.web import session
from antiphon.web.http import json_response, read_json
from antiphon.web.session import current_client, current_site, current_user
from antiphon.web.streamed_responses import send_file
from antiphon.web.tools import Toolset
from antiphon.web.voice_providers import find_voice_providers


class DefaultModel(Protocol):
    """Model as `provider:name`, and the reason for it."""

    @property
    def model(self) -> str:
        """The model."""
        ...

    @property
    def why(self) -> str:
        """The reason, in words."""
        ...


class _Choosing(Protocol):
    async def choice(self) -> DefaultModel: ...


@runtime_checkable
class _HasRuntime(Protocol):
    """Transport into this process, known by its shape: the web chat does not import the runtime."""

    async def runtime(self) -> _Choosing:
        """Return the runtime."""
        ...


async def default_model(client: AsyncClient) -> tuple[str | None, str]:
    """Return the model that answers by default, None if unknown, and the reason."""
    if isinstance(client.transport, _HasRuntime):
        choice = await (await client.transport.runtime()).choice()
        return choice.model, choice.why
    listed = (await client.list_models()).data
    usual = next((model.id for model in listed if model.default), None)
    return usual, "the server's choice"


routes = Blueprint("me", __name__)

LANGUAGES = ("en", "de", "es")
MESSAGE_CHARACTERS = 4_000_000
"""Longest text that the backend accepts in one message."""


class UserView(msgspec.Struct, frozen=True):
    """User of this browser."""

    id: str
    name: str
    role: str


class UsableTool(msgspec.Struct, frozen=True):
    """Tool of the app; `asks` if the user is asked before it runs."""

    name: str
    description: str
    server: str | None
    asks: bool


class ServerStatus(msgspec.Struct, frozen=True):
    """State of an MCP server of the app, and its problem.

    `stderr` is the end of its error output. It may hold details for operators, so only
    administrators get it.
    """

    name: str
    status: str
    problem: str
    stderr: str = ""


class RequestLimits(msgspec.Struct, frozen=True):
    """Largest upload and longest message."""

    upload_bytes: int
    message_characters: int


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Response of `/api/me`; `why` is the reason for the model.

    `transcribed_by` is the provider that gets dictation, `spoken_by` the one that gets what is read
    aloud; empty if there is none. `previews` is true if there is a second origin, which shows
    artifacts. `manages_servers` is true if the user may change the MCP servers.
    """

    person: UserView
    login: str
    csrf: str
    model: str | None
    why: str
    tools: Sequence[UsableTool]
    servers: Sequence[ServerStatus]
    limits: RequestLimits
    dictation: bool
    transcribed_by: str
    spoken_by: str
    languages: Sequence[str]
    version: str
    title: str
    previews: bool
    manages_servers: bool


@routes.get("/api/me/export")
def export_own() -> Response:
    """Send everything of the user as a ZIP file, made while it is sent."""
    site, user = current_site(), current_user()
    if not site.run(site.client.list_owners(owner=user.owner)).data:
        raise NotFound("There is nothing of yours yet.")
    day = datetime.now(UTC).date().isoformat()
    export = partial(site.client.as_actor(user.id).export_owner, user.owner)
    return send_file(f"antiphon-{day}.zip", export, "application/zip")


@routes.get("/api/me")
def get_me() -> Response:
    """Return the current user, and what they can use."""
    site, person = current_site(), session.current_user()
    model, why = site.run(default_model(site.client))
    voice = site.run(find_voice_providers(site.client))
    return json_response(
        Me(
            person=UserView(person.id, person.name, person.role),
            login=site.policy.login,
            csrf=session.csrf_token(),
            model=model,
            why=why,
            tools=_usable_tools(site.tools, site.settings),
            servers=_servers(site.tools, with_stderr=person.is_admin),
            limits=RequestLimits(site.settings.max_upload, MESSAGE_CHARACTERS),
            dictation=site.settings.web_dictation == "browser",
            transcribed_by=voice.transcribed_by,
            spoken_by=voice.spoken_by,
            languages=LANGUAGES,
            version=__version__,
            title=site.settings.web_title,
            previews=session.artifact_origin() is not None,
            manages_servers=person.is_admin and site.tools.manager is not None,
        )
    )


def _usable_tools(toolset: Toolset, settings: Settings) -> list[UsableTool]:
    """Return the tools that are not denied by the settings; grants are not considered."""
    consent = Consent(rules_from_settings(settings))
    verdicts = ((tool, consent.verdict(tool)) for tool in toolset.tools())
    return [
        UsableTool(tool.spec.name, tool.spec.description, tool.server, verdict == "ask")
        for tool, verdict in verdicts
        if verdict != "deny"
    ]


def _servers(toolset: Toolset, *, with_stderr: bool) -> list[ServerStatus]:
    return [
        ServerStatus(
            each.server, each.status, each.why, "\n".join(each.stderr) if with_stderr else ""
        )
        for each in toolset.servers()
    ]


@routes.get("/api/models")
def list_models() -> Response:
    """List the models; the default one is marked."""
    return json_response({"data": current_site().run(current_client().list_models()).data})


# Tools that the user always allows: list and revoke.


ToolName = Annotated[str, Meta(max_length=1024)]


class GrantView(msgspec.Struct, frozen=True):
    """Tool that runs without a question; `server` is empty for a function of the app.

    `description` is the tool's own at the time it was allowed. `asked_by` are the model servers
    whose calls run; grants of older versions name none, and the user is asked.
    """

    server: str
    tool: str
    description: str
    asked_by: tuple[str, ...] = ()


class GrantList(msgspec.Struct, frozen=True):
    """All grants of the user, in the order in which they were given."""

    data: Sequence[GrantView]


class ToolsToRevoke(msgspec.Struct, frozen=True):
    """Tool to revoke, as in `GrantView`; without `tool` all tools of the server."""

    server: ToolName
    tool: ToolName | None = None


class Revoked(msgspec.Struct, frozen=True):
    """Number of tools about which the user is asked again."""

    revoked: int


@routes.get("/api/grants")
def list_grants() -> Response:
    """List the tools that this user always allows."""
    servers: dict[tuple[str, str], list[str]] = {}
    newest: dict[tuple[str, str], str] = {}
    for each in current_site().relays.grants(current_user().owner).all():
        tool = each.server, each.own_name
        newest[tool] = clean(each.description)
        servers.setdefault(tool, []).extend([clean(str(each.asked_by))] if each.asked_by else [])
    return json_response(
        GrantList([GrantView(*tool, newest[tool], tuple(by)) for tool, by in servers.items()])
    )


@routes.post("/api/grants/revoke")
def revoke_grants() -> Response:
    """Revoke grants, also for runs under way."""
    body = read_json(ToolsToRevoke)
    grants = current_site().relays.grants(current_user().owner)
    return json_response(Revoked(grants.revoke(body.server, body.tool)))
