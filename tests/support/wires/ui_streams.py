"""Streams of the AI SDK's wire, encoded for each version of the SDK."""

from __future__ import annotations

from collections.abc import Iterable

from antiphon.types.events import Numbered
from antiphon.wires.ai_sdk.message_stream import UIMessageStream
from antiphon.wires.ai_sdk.parts import Sdk
from antiphon.wires.ai_sdk.tool_parts import PageCalls
from antiphon.wires.framing import Cursor
from tests.support.wires.ui_judge import Parts

SDKS: tuple[Sdk, ...] = (5, 6, 7)


def encode_events(
    events: Iterable[Numbered],
    sdk: Sdk = 5,
    after: Cursor | None = None,
    page: PageCalls | None = None,
) -> list[bytes]:
    stream = UIMessageStream(sdk, after, page)
    frames = [frame for number, event in events for frame in stream.feed(number, event)]
    return [*frames, *stream.close()]


def text(step: Parts, kind: str) -> str:
    return "".join(part["text"] for part in step if part["type"] == kind)
