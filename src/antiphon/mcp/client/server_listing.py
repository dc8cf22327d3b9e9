"""State, resources and prompts of a server as plain values, cleaned for display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from antiphon.types.messages import ResultPart

Status = Literal["disabled", "starting", "ready", "restarting", "failed", "closed"]


class LeftOut(msgspec.Struct, frozen=True):
    """Tool that a server lists but that is not offered, and the reason."""

    tool: str
    why: str


class ServerState(msgspec.Struct, frozen=True, kw_only=True):
    """State of a server.

    `why` is the reason of `failed` and `restarting`, in one line; `stderr` holds the last lines
    then. `title` and `version` are the server's own, `protocol` is the negotiated revision,
    `capabilities` are its features: tools, resources, resources.subscribe, prompts, completions,
    logging. `notes` are oddities worth a person's attention. `http_status` is the last HTTP error;
    401 means that the server wants a login.
    """

    server: str
    status: Status
    why: str = ""
    stderr: tuple[str, ...] = ()
    transport: str = "stdio"
    protocol: str = ""
    title: str = ""
    version: str = ""
    instructions: str = ""
    capabilities: tuple[str, ...] = ()
    tools: int = 0
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    restarts: int = 0
    http_status: int | None = None


class ServerResource(msgspec.Struct, frozen=True, kw_only=True):
    """Resource that can be read; `size` is in bytes. `uri` is the server's, not cleaned."""

    uri: str
    name: str
    title: str = ""
    description: str = ""
    media_type: str = ""
    size: int | None = None


class ResourceTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """Family of resources: a URI template (RFC 6570)."""

    uri_template: str
    name: str
    title: str = ""
    description: str = ""
    media_type: str = ""


class PromptArgument(msgspec.Struct, frozen=True, kw_only=True):
    """Argument of a prompt; `name` is the server's, not cleaned."""

    name: str
    description: str = ""
    required: bool = False


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """Prepared message or messages of a server; `name` is the server's, not cleaned."""

    name: str
    title: str = ""
    description: str = ""
    arguments: tuple[PromptArgument, ...] = ()


class PromptMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a filled-in prompt."""

    role: Literal["user", "assistant"]
    content: tuple[ResultPart, ...]


class FilledPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """Prompt with its arguments filled in."""

    messages: tuple[PromptMessage, ...]
    description: str = ""


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """Values that an argument may have; `more` is True if there are others."""

    values: Sequence[str]
    more: bool = False
