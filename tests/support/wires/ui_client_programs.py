"""The AI SDK's own clients as programs in Node, and a judge of their frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from antiphon.wires.ai_sdk.parts import Sdk
from tests.support.wires.ui_judge import Judge

HERE = Path(__file__).parent


CLIENTS: dict[str, Sdk] = {"ai5.0": 5, "ai5": 5, "ai6": 6, "ai7": 7}


Frames = Sequence[bytes]


def essence(message: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a message on which all versions agree.

    They differ in how they show incomplete arguments and empty steps.
    """
    parts = [_essence(part) for part in message["parts"]]
    if parts and parts[-1]["type"] == "step-start":
        parts.pop()
    return {"id": message["id"], "metadata": message.get("metadata"), "parts": parts}


def _essence(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"].startswith("data-"):
        return {"type": part["type"], "id": part.get("id"), "data": part["data"]}
    fields = {key: part[key] for key in _KEPT if key in part}
    if fields.get("state") == "input-streaming" or fields.get("errorText", "").endswith(_CUT):
        fields.pop("input", None)
    return fields


_KEPT = ("type", "text", "state", "toolCallId", "toolName", "input", "output", "errorText")


_CUT = "was not carried out."


def run_judge(sdk: Sdk, streams: Iterable[Frames]) -> Judge:
    judge = Judge(sdk)
    for frames in streams:
        judge.finished = False
        judge.read(frames)
    return judge
