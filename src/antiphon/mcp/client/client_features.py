"""What servers may ask of whoever runs them: to answer a form, open an address, ask the model.

A face implements `Host`. What it says it cannot do is not declared to servers, so that they never
ask. Every text in what it is given is cleaned; addresses are as the server wrote them, and
`pages.openable`.
"""

from __future__ import annotations

import re
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from antiphon.mcp.client.forms import Form
from antiphon.mcp.config.server_config import LogLevel
from antiphon.types.addresses import loopback
from antiphon.types.messages import Given


class FormAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A server asks a person to fill in a form."""

    server: str
    message: str
    form: Form


class AddressAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A server asks a person to open an address in a browser; accepting says only that they will.

    The whole `url` is shown before anything is opened. `id` comes back in `Host.finished`.
    """

    server: str
    message: str
    url: str
    id: str = ""


Question = FormAsked | AddressAsked


class Answer(msgspec.Struct, frozen=True):
    """What a person says: `values` by field, where a form was accepted."""

    action: Literal["accept", "decline", "cancel"]
    values: dict[str, Any] = {}

    @property
    def accepted(self) -> bool:
        """Whether it is a yes."""
        return self.action == "accept"


class SampleMessage(msgspec.Struct, frozen=True):
    """One message of what a server wants to say to the model."""

    role: Literal["user", "assistant"]
    content: tuple[Given, ...]


class SampleAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A server asks for a reply of the model; `models` are names that it would like, best first."""

    server: str
    messages: tuple[SampleMessage, ...]
    system: str = ""
    max_tokens: int
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The model's reply; `stop_reason` as MCP has it: endTurn, stopSequence, maxTokens."""

    text: str
    model: str
    stop_reason: str = "endTurn"


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """A line that a server logs."""

    server: str
    level: LogLevel
    text: str
    logger: str = ""


class Host(Protocol):
    """Who answers servers. The methods are called on the loop; several may be asked at once.

    `asks`: there is a person to put questions to. `samples`: there is a model, and somebody to
    consent to its use. Both are read once per connection. An exception counts as a no.
    """

    @property
    def asks(self) -> bool:
        """Whether there is a person to put questions to."""
        ...

    @property
    def samples(self) -> bool:
        """Whether a server may ask for the model's replies."""
        ...

    async def ask(self, question: Question) -> Answer:
        """Put the question to a person; cancelled when the server needs no answer any more."""
        ...

    async def sample(self, wanted: SampleAsked) -> Sample | None:
        """The model's reply, if somebody consents to it; None is a refusal."""
        ...

    def log(self, line: Logged) -> None:
        """A server says something; must not raise."""
        ...

    def updated(self, server: str, uri: str) -> None:
        """A resource that was subscribed to has changed; must not raise."""
        ...

    def finished(self, server: str, id: str) -> None:
        """What a person was to do at the address asked for is done; must not raise."""
        ...


class Nobody:
    """A host without a person and without a model: declines, and hears nothing."""

    asks = False
    samples = False

    async def ask(self, question: Question) -> Answer:
        """Nobody answers."""
        return Answer("decline")

    async def sample(self, wanted: SampleAsked) -> Sample | None:
        """There is no model."""
        return None

    def log(self, line: Logged) -> None:
        """Nobody listens."""

    def updated(self, server: str, uri: str) -> None:
        """Nobody reads."""

    def finished(self, server: str, id: str) -> None:
        """Nobody waits."""


# Pages that strangers want a browser to be sent to, and which of them it may be sent to.


def openable(url: str) -> bool:
    """Whether it is a page over https, or on this machine, in letters that act nowhere."""
    if not _ADDRESS.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and loopback(host)))


# RFC 3986, without what a shell or a script around a browser could take for its own.
_ADDRESS = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&*+,;=%._~-]{1,8192}")
