"""Types of the fields of operations, with their bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from antiphon.types.messages import Part, ToolSpec
from antiphon.types.runs import (
    DAY,
    MAX_TOOL_CALLS,
    McpServer,
)

OwnerName = Annotated[
    str, Meta(max_length=128, extra_json_schema={"minLength": 1, "pattern": "^[!-~]+$"})
]
Title = Annotated[str, Meta(max_length=512)]
Long = Annotated[str, Meta(max_length=1_000_000)]
Content = (
    Annotated[str, Meta(max_length=4_000_000)] | Annotated[tuple[Part, ...], Meta(max_length=256)]
)
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16),
]
Tag = Annotated[str, Meta(min_length=1, max_length=32)]
MAX_TAGS = 20
Tags = Annotated[tuple[Tag, ...], Meta(max_length=MAX_TAGS)]
MaxToolCalls = Annotated[int, Meta(ge=1, le=MAX_TOOL_CALLS)]
MaxTokens = Annotated[int, Meta(ge=1, le=1_000_000_000)]
MaxCost = Annotated[float, Meta(gt=0, le=1_000_000)]
FileIds = Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], Meta(max_length=100)]
Tools = Annotated[tuple[ToolSpec, ...], Meta(max_length=512)]
Servers = Annotated[tuple[McpServer, ...], Meta(max_length=32)]
Seconds = Annotated[int, Meta(ge=1, le=365 * DAY)]
IfBusy = Literal["reject", "wait", "interrupt", "rollback"]
ListOrder = Literal["newest", "oldest"]
ToolName = Annotated[str, Meta(min_length=1, max_length=128)]
Attempt = Annotated[int, Meta(ge=1)]
LeaseSeconds = Annotated[float, Meta(ge=1, le=3_600)]
Time = Annotated[int, Meta(ge=0)]
