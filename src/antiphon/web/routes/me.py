"""What a page has to know before it can show anything: who is there, and what there is."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from flask import Blueprint, Response

from antiphon import __version__
from antiphon.messages import Tool
from antiphon.settings import Settings
from antiphon.tools.consent import Consent
from antiphon.tools.rules import Rules
from antiphon.web import session
from antiphon.web.answers import answer
from antiphon.web.chosen_model import chosen
from antiphon.web.here import site
from antiphon.web.tooling import Tooling

routes = Blueprint("me", __name__)

LANGUAGES = ("en", "de", "es")
MESSAGE_CHARACTERS = 4_000_000
"""The longest text that the backend takes in one message."""


class Myself(msgspec.Struct, frozen=True):
    """Who is at this browser."""

    id: str
    name: str
    role: str


class Usable(msgspec.Struct, frozen=True):
    """A tool of the app's; `asks` says that a person is asked before it runs."""

    name: str
    description: str
    server: str | None
    asks: bool


class Server(msgspec.Struct, frozen=True):
    """An MCP server of the app's, and what is wrong with it.

    `stderr` is the end of what it wrote there. It may hold what only operators should see, so it
    is empty for everybody but administrators.
    """

    name: str
    status: str
    problem: str
    stderr: str = ""


class Limits(msgspec.Struct, frozen=True):
    """How much fits into a request."""

    upload_bytes: int
    message_characters: int


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to the first question of a page; `why` is why the model is that one."""

    person: Myself
    login: str
    csrf: str
    model: str | None
    why: str
    tools: Sequence[Usable]
    servers: Sequence[Server]
    limits: Limits
    languages: Sequence[str]
    version: str
    title: str


@routes.get("/api/me")
def me() -> Response:
    """Who asks, and what they may use."""
    here, person = site(), session.person()
    model, why = here.run(chosen(here.client))
    return answer(
        Me(
            person=Myself(person.id, person.name, person.role),
            login=here.policy.login,
            csrf=session.csrf(),
            model=model,
            why=why,
            tools=_usable(here.tools, here.settings),
            servers=_servers(here.tools, with_stderr=person.is_admin),
            limits=Limits(here.settings.max_body, MESSAGE_CHARACTERS),
            languages=LANGUAGES,
            version=__version__,
            title=here.settings.web_title,
        )
    )


def _usable(tooling: Tooling, settings: Settings) -> list[Usable]:
    """Each tool that is not denied, as the settings have it: what was allowed since is not told."""
    consent = Consent(Rules(allow=settings.allow, ask=settings.ask, deny=settings.deny))
    told = ((tool, consent.verdict(tool)) for tool in tooling.tools())
    return [_tool(tool, asks=verdict == "ask") for tool, verdict in told if verdict != "deny"]


def _tool(tool: Tool, *, asks: bool) -> Usable:
    return Usable(tool.spec.name, tool.spec.description, tool.server, asks)


def _servers(tooling: Tooling, *, with_stderr: bool) -> list[Server]:
    return [
        Server(each.server, each.status, each.why, "\n".join(each.stderr) if with_stderr else "")
        for each in tooling.servers()
    ]
