"""Quirks: how a server differs from other servers with the chat-completions API.

`docs/reference/quirks.md` lists them with their sources.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Quirks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Differences of a server from other servers.

    Replies: `cumulative` text repeats the text before it (`auto`: only if that is unambiguous).
    `think_tags` wrap reasoning at the beginning of the text; with `think_prefilled` the opening tag
    is missing because the prompt contains it. `leaked_calls` come as `<tool_call>` objects in the
    text. With `comments_are_life`, comments are signs of life.

    Requests: `stream` is true if the server can stream, or `without_tools`; `stream_options` is
    true if it accepts that field. `max_tokens` and `seed` are its names of these fields.

    History: `reasoning_back` is its name for the reasoning of earlier replies, None if it accepts
    none; with `reasoning_required` it rejects assistant messages without reasoning. With
    `reasoning_details` it accepts the opaque details that it sent; with `refusal_back` a refusal
    has its own field, else it is sent as text. With `extra_content` it accepts the opaque extras of
    calls. `call_ids` is the form of ids (`short`: at most 40 characters; `nine`: exactly nine
    letters and digits). `roles` restricts the order of messages (`system_first`: one system
    message, at the beginning; `alternate`: and then user and assistant in turn, the user last).
    """

    cumulative: bool | Literal["auto"] = False
    think_tags: bool = False
    think_prefilled: bool = False
    leaked_calls: bool = False
    comments_are_life: bool = False
    stream: bool | Literal["without_tools"] = True
    stream_options: bool = True
    max_tokens: str = "max_tokens"
    seed: str = "seed"
    reasoning_back: str | None = None
    reasoning_required: bool = False
    reasoning_details: bool = True
    refusal_back: bool = False
    extra_content: bool = True
    call_ids: Literal["short", "nine"] = "short"
    roles: Literal["any", "system_first", "alternate"] = "any"


PLAIN = Quirks()
"""A server without quirks."""
