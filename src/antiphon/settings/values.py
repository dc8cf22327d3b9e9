"""Kinds of value of a setting: what is valid, and the words for it in an error."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from antiphon.types.addresses import ORIGIN
from antiphon.types.runs import MAX_TOOL_CALLS

Words = Annotated[str, Meta(min_length=1, title="text")]
Address = Annotated[
    str, Meta(pattern=r"^https?://[^\s/]+", title="an address such as http://127.0.0.1:8000")
]
Site = Annotated[
    str,
    Meta(pattern=r"^https?://[^\s/?#@]+/?\Z", title="an address such as https://chat.example.org"),
]
Origin = Annotated[
    str, Meta(pattern=ORIGIN, title="an origin such as https://shop.example.org, without a path")
]
RedisAddress = Annotated[
    str, Meta(pattern=r"^rediss?://[^\s/]+", title="an address such as redis://127.0.0.1:6379/0")
]
Seconds = Annotated[
    float, Meta(gt=0, le=86_400, title="a number of seconds above 0, at most 86400")
]
Count = Annotated[int, Meta(ge=1, title="a whole number from 1 up")]
ToolCalls = Annotated[
    int, Meta(ge=1, le=MAX_TOOL_CALLS, title=f"a whole number from 1 to {MAX_TOOL_CALLS}")
]
Header = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z][A-Za-z0-9-]*$", title="the name of a header, of letters and dashes"),
]
Several = Annotated[
    tuple[Annotated[str, Meta(min_length=1)], ...],
    Meta(title="a list of texts, or one text with commas between them", extra={"several": True}),
]
HostedTools = Annotated[
    tuple[
        Annotated[
            str,
            Meta(
                pattern=r"^(web_search|file_search|code_interpreter|image_generation)"
                r"=[A-Za-z0-9][A-Za-z0-9_. -]{0,63}(/[^/\s]{1,128})?$(?!\n)"
            ),
        ],
        ...,
    ],
    Meta(
        title="a list such as web_search=SERVER/TOOL; the tools are web_search, file_search,"
        " code_interpreter and image_generation",
        extra={"several": True},
    ),
]
STATUS_PARTS = (
    *("model", "mode", "title", "context", "cost", "servers"),
    *("queued", "activity", "folder", "git_branch"),
)
"""Names of the parts of a status row."""
StatusTemplate = Annotated[
    str,
    Meta(
        pattern=rf"^([^{{}}\r\n]|\{{({'|'.join(STATUS_PARTS)})\}})*\Z",
        max_length=500,
        title="a line of text with "
        + ", ".join(f"{{{name}}}" for name in STATUS_PARTS[:-1])
        + f" or {{{STATUS_PARTS[-1]}}} in it",
    ),
]
Switch = Annotated[bool, Meta(title="true or false", extra={"switch": True})]
Port = Annotated[int, Meta(ge=0, le=65_535, title="a whole number from 0 (any free port) to 65535")]
