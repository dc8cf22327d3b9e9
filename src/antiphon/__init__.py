"""Antiphon: a self-hosted assistant runtime in which tools run where your code lives.

    from antiphon import Client, tool

What is named here is loaded when it is first used: importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from antiphon import calls as calls
    from antiphon import errors as errors
    from antiphon import events as events
    from antiphon.client.aio import AsyncClient as AsyncClient
    from antiphon.client.aio import AsyncEvents as AsyncEvents
    from antiphon.client.aio import AsyncStream as AsyncStream
    from antiphon.client.compaction import Compaction as Compaction
    from antiphon.client.servers import Servers as Servers
    from antiphon.client.sync import Client as Client
    from antiphon.client.sync import Events as Events
    from antiphon.client.sync import Stream as Stream
    from antiphon.errors import AntiphonError as AntiphonError
    from antiphon.errors import RunCancelled as RunCancelled
    from antiphon.errors import RunError as RunError
    from antiphon.errors import RunExpired as RunExpired
    from antiphon.errors import RunFailed as RunFailed
    from antiphon.errors import RunIncomplete as RunIncomplete
    from antiphon.events import ActionRequired as ActionRequired
    from antiphon.events import Event as Event
    from antiphon.events import MessageCompleted as MessageCompleted
    from antiphon.events import PendingAction as PendingAction
    from antiphon.events import ReasoningDelta as ReasoningDelta
    from antiphon.events import RefusalDelta as RefusalDelta
    from antiphon.events import RunStatus as RunStatus
    from antiphon.events import TextDelta as TextDelta
    from antiphon.events import ToolCallDelta as ToolCallDelta
    from antiphon.events import ToolCallReady as ToolCallReady
    from antiphon.events import ToolCallStarted as ToolCallStarted
    from antiphon.events import ToolOutputAdded as ToolOutputAdded
    from antiphon.events import TurnEnded as TurnEnded
    from antiphon.events import TurnRestarted as TurnRestarted
    from antiphon.events import UsageAdded as UsageAdded
    from antiphon.messages import Blob as Blob
    from antiphon.messages import File as File
    from antiphon.messages import Image as Image
    from antiphon.messages import Link as Link
    from antiphon.messages import Message as Message
    from antiphon.messages import Part as Part
    from antiphon.messages import Progress as Progress
    from antiphon.messages import Refusal as Refusal
    from antiphon.messages import Text as Text
    from antiphon.messages import Tool as Tool
    from antiphon.messages import ToolCall as ToolCall
    from antiphon.messages import ToolResult as ToolResult
    from antiphon.messages import ToolSpec as ToolSpec
    from antiphon.messages import Upload as Upload
    from antiphon.ports import Tell as Tell
    from antiphon.ports import Toolbox as Toolbox
    from antiphon.runs import Action as Action
    from antiphon.runs import Assistant as Assistant
    from antiphon.runs import Deadlines as Deadlines
    from antiphon.runs import McpServer as McpServer
    from antiphon.runs import Run as Run
    from antiphon.runs import Sampling as Sampling
    from antiphon.runs import Status as Status
    from antiphon.runs import Thread as Thread
    from antiphon.runs import Usage as Usage
    from antiphon.settings import Settings as Settings
    from antiphon.tools.bundle import ToolManager as ToolManager
    from antiphon.tools.consent import Consent as Consent
    from antiphon.tools.functions import Functions as Functions
    from antiphon.tools.functions import tool as tool
    from antiphon.tools.processor import ToolProcessor as ToolProcessor
    from antiphon.tools.questions import Answer as Answer
    from antiphon.tools.questions import Question as Question
    from antiphon.tools.rules import Rules as Rules

__version__ = "0.1.0"

_NAMES: dict[str, tuple[str, ...]] = {
    "antiphon.client.aio": ("AsyncClient", "AsyncEvents", "AsyncStream"),
    "antiphon.client.compaction": ("Compaction",),
    "antiphon.client.servers": ("Servers",),
    "antiphon.client.sync": ("Client", "Events", "Stream"),
    "antiphon.errors": (
        "AntiphonError",
        "RunCancelled",
        "RunError",
        "RunExpired",
        "RunFailed",
        "RunIncomplete",
    ),
    "antiphon.events": (
        "ActionRequired",
        "Event",
        "MessageCompleted",
        "PendingAction",
        "ReasoningDelta",
        "RefusalDelta",
        "RunStatus",
        "TextDelta",
        "ToolCallDelta",
        "ToolCallReady",
        "ToolCallStarted",
        "ToolOutputAdded",
        "TurnEnded",
        "TurnRestarted",
        "UsageAdded",
    ),
    "antiphon.messages": (
        "Blob",
        "File",
        "Image",
        "Link",
        "Message",
        "Part",
        "Refusal",
        "Progress",
        "Text",
        "Tool",
        "ToolCall",
        "ToolResult",
        "ToolSpec",
        "Upload",
    ),
    "antiphon.ports": ("Tell", "Toolbox"),
    "antiphon.runs": (
        "Action",
        "Assistant",
        "Deadlines",
        "McpServer",
        "Run",
        "Sampling",
        "Status",
        "Thread",
        "Usage",
    ),
    "antiphon.settings": ("Settings",),
    "antiphon.tools.bundle": ("ToolManager",),
    "antiphon.tools.consent": ("Consent",),
    "antiphon.tools.functions": ("Functions", "tool"),
    "antiphon.tools.processor": ("ToolProcessor",),
    "antiphon.tools.questions": ("Answer", "Question"),
    "antiphon.tools.rules": ("Rules",),
}
_MODULES = ("calls", "errors", "events")
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [*_MODULES, *_HOME]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"antiphon.{name}")
    else:
        raise AttributeError(f"module 'antiphon' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
