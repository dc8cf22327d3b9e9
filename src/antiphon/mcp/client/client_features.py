"""Requests that an MCP server may make of its client: a form, a URL to open, a reply of the model.

A face implements `ClientFeatures`. A feature that it lacks is not declared, so servers never
request it. Every text passed to it is cleaned. URLs are passed as the server wrote them; check them
with `is_openable`.
"""

from __future__ import annotations

import re
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from antiphon.mcp.client.forms import Form
from antiphon.mcp.config.server_config import LogLevel
from antiphon.types.addresses import is_loopback
from antiphon.types.messages import ResultPart


class FormElicitation(msgspec.Struct, frozen=True, kw_only=True):
    """Request that a person fill in a form."""

    server: str
    message: str
    form: Form


class UrlElicitation(msgspec.Struct, frozen=True, kw_only=True):
    """Request that a person open a URL in a browser; accepting says only that they will.

    Show the whole `url` before opening it. `ClientFeatures.elicitation_completed` receives the
    `id`.
    """

    server: str
    message: str
    url: str
    id: str = ""


Elicitation = FormElicitation | UrlElicitation


class ElicitationAnswer(msgspec.Struct, frozen=True):
    """Answer of a person: `values` by field if a form was accepted."""

    action: Literal["accept", "decline", "cancel"]
    values: dict[str, Any] = {}

    @property
    def accepted(self) -> bool:
        """True if the person accepted."""
        return self.action == "accept"


class SamplingMessage(msgspec.Struct, frozen=True):
    """One message of the prompt that a server sends to the model."""

    role: Literal["user", "assistant"]
    content: tuple[ResultPart, ...]


class SamplingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Request for a reply of the model; `models` are preferred names, best first."""

    server: str
    messages: tuple[SamplingMessage, ...]
    system: str = ""
    max_tokens: int
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


class SamplingReply(msgspec.Struct, frozen=True, kw_only=True):
    """Reply of the model; `stop_reason` is one of MCP's: endTurn, stopSequence, maxTokens."""

    text: str
    model: str
    stop_reason: str = "endTurn"


class ServerLogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One log line of a server."""

    server: str
    level: LogLevel
    text: str
    logger: str = ""


class ClientFeatures(Protocol):
    """Handler of requests from servers. Methods are called on the event loop, also concurrently.

    `asks` and `samples` are read once per connection. An exception counts as a refusal.
    """

    @property
    def asks(self) -> bool:
        """True if there is a person to put questions to."""
        ...

    @property
    def samples(self) -> bool:
        """True if servers may request replies of the model."""
        ...

    async def ask(self, question: Elicitation) -> ElicitationAnswer:
        """Ask the question of a person; cancelled when the server no longer needs the answer."""
        ...

    async def sample(self, wanted: SamplingRequest) -> SamplingReply | None:
        """Return the model's reply, or None if a person does not consent."""
        ...

    def log(self, line: ServerLogLine) -> None:
        """Handle a log line; must not raise."""
        ...

    def resource_updated(self, server: str, uri: str) -> None:
        """Handle a change of a subscribed resource; must not raise."""
        ...

    def elicitation_completed(self, server: str, id: str) -> None:
        """Handle the end of the interaction that a URL was opened for; must not raise."""
        ...


class NoClientFeatures:
    """Client without a person and without a model: declines everything."""

    asks = False
    samples = False

    async def ask(self, question: Elicitation) -> ElicitationAnswer:
        """Decline."""
        return ElicitationAnswer("decline")

    async def sample(self, wanted: SamplingRequest) -> SamplingReply | None:
        """Return None: there is no model."""
        return None

    def log(self, line: ServerLogLine) -> None:
        """Ignore the line."""

    def resource_updated(self, server: str, uri: str) -> None:
        """Ignore the change."""

    def elicitation_completed(self, server: str, id: str) -> None:
        """Ignore the event."""


# URLs that servers want opened in a browser.


def is_openable(url: str) -> bool:
    """Return whether the URL is https or on this machine, and has only harmless characters."""
    if not _ADDRESS.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    )


# RFC 3986, without characters that a shell or a script could interpret.
_ADDRESS = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&*+,;=%._~-]{1,8192}")
