"""What a server is and offers beside its tools, as plain values: all that is shown is cleaned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from antiphon.types.messages import Given

Status = Literal["disabled", "starting", "ready", "restarting", "failed", "closed"]


class LeftOut(msgspec.Struct, frozen=True):
    """A tool that a server lists and that is not offered, with the reason."""

    tool: str
    why: str


class State(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is just now.

    `why` is the reason of `failed` and `restarting`, in one line; `stderr` its last lines there.
    `title` and `version` are what the server calls itself, `protocol` the revision agreed on,
    `capabilities` what it says it can: tools, resources, resources.subscribe, prompts, completions,
    logging. `notes` are oddities a person should know of. `http_status` is the last refusal of a
    server over HTTP: 401 means that it wants a login.
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


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be read; `size` is in bytes. `uri` is as the server has it."""

    uri: str
    name: str
    title: str = ""
    description: str = ""
    media_type: str = ""
    size: int | None = None


class ResourceTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A family of resources: a URI with `{variables}` in it (RFC 6570)."""

    uri_template: str
    name: str
    title: str = ""
    description: str = ""
    media_type: str = ""


class PromptArgument(msgspec.Struct, frozen=True, kw_only=True):
    """A word that a prompt is filled in with; `name` is as the server has it."""

    name: str
    description: str = ""
    required: bool = False


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A message, or several, that a server has ready; `name` is as the server has it."""

    name: str
    title: str = ""
    description: str = ""
    arguments: tuple[PromptArgument, ...] = ()


class PromptMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a filled-in prompt."""

    role: Literal["user", "assistant"]
    content: tuple[Given, ...]


class FilledPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """What a server made of a prompt and its arguments."""

    messages: tuple[PromptMessage, ...]
    description: str = ""


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """Values that an argument may have; `more` when there are others."""

    values: Sequence[str]
    more: bool = False
