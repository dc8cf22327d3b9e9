"""Antiphon: a self-hosted assistant runtime in which tools run where your code lives.

    from antiphon import Client, tool

What is named here is loaded when it is first used: importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from antiphon.settings import deprecated

if TYPE_CHECKING:
    from antiphon.api import operations as operations
    from antiphon.client.async_client import AsyncClient as AsyncClient
    from antiphon.client.async_events import AsyncEvents as AsyncEvents
    from antiphon.client.async_events import AsyncStream as AsyncStream
    from antiphon.client.compaction import Compaction as Compaction
    from antiphon.client.result import CompletedCall as CompletedCall
    from antiphon.client.result import Result as Result
    from antiphon.client.sync_client import Client as Client
    from antiphon.client.sync_events import Events as Events
    from antiphon.client.sync_events import Stream as Stream
    from antiphon.mcp.sync_servers import McpServerPool as McpServerPool
    from antiphon.ports import ProgressCallback as ProgressCallback
    from antiphon.ports import Toolbox as Toolbox
    from antiphon.settings.hooks import Hook as Hook
    from antiphon.settings.settings import Settings as Settings
    from antiphon.skills.toolbox import Skills as Skills
    from antiphon.tools.consent import Consent as Consent
    from antiphon.tools.context import ToolContext as ToolContext
    from antiphon.tools.functions import Functions as Functions
    from antiphon.tools.functions import tool as tool
    from antiphon.tools.hooks import ToolHooks as ToolHooks
    from antiphon.tools.permissions import Rules as Rules
    from antiphon.tools.questions import ConsentAnswer as ConsentAnswer
    from antiphon.tools.questions import ConsentRequest as ConsentRequest
    from antiphon.tools.tool_manager import ToolManager as ToolManager
    from antiphon.tools.tool_processor import ToolProcessor as ToolProcessor
    from antiphon.types import errors as errors
    from antiphon.types import events as events
    from antiphon.types.errors import AntiphonError as AntiphonError
    from antiphon.types.errors import InvalidAnswer as InvalidAnswer
    from antiphon.types.errors import RunCancelled as RunCancelled
    from antiphon.types.errors import RunError as RunError
    from antiphon.types.errors import RunExpired as RunExpired
    from antiphon.types.errors import RunFailed as RunFailed
    from antiphon.types.errors import RunIncomplete as RunIncomplete
    from antiphon.types.events import ActionRequired as ActionRequired
    from antiphon.types.events import CitationsAdded as CitationsAdded
    from antiphon.types.events import Event as Event
    from antiphon.types.events import MessageCompleted as MessageCompleted
    from antiphon.types.events import PendingAction as PendingAction
    from antiphon.types.events import ReasoningDelta as ReasoningDelta
    from antiphon.types.events import RefusalDelta as RefusalDelta
    from antiphon.types.events import RunStatus as RunStatus
    from antiphon.types.events import TextDelta as TextDelta
    from antiphon.types.events import ToolCallDelta as ToolCallDelta
    from antiphon.types.events import ToolCallReady as ToolCallReady
    from antiphon.types.events import ToolCallStarted as ToolCallStarted
    from antiphon.types.events import ToolOutputAdded as ToolOutputAdded
    from antiphon.types.events import ToolsListed as ToolsListed
    from antiphon.types.events import TurnEnded as TurnEnded
    from antiphon.types.events import TurnRestarted as TurnRestarted
    from antiphon.types.events import UsageAdded as UsageAdded
    from antiphon.types.folders import Folder as Folder
    from antiphon.types.messages import Blob as Blob
    from antiphon.types.messages import Citation as Citation
    from antiphon.types.messages import Feedback as Feedback
    from antiphon.types.messages import File as File
    from antiphon.types.messages import Image as Image
    from antiphon.types.messages import Link as Link
    from antiphon.types.messages import Message as Message
    from antiphon.types.messages import Part as Part
    from antiphon.types.messages import Progress as Progress
    from antiphon.types.messages import Refusal as Refusal
    from antiphon.types.messages import Text as Text
    from antiphon.types.messages import Tool as Tool
    from antiphon.types.messages import ToolCall as ToolCall
    from antiphon.types.messages import ToolResult as ToolResult
    from antiphon.types.messages import ToolSpec as ToolSpec
    from antiphon.types.messages import Upload as Upload
    from antiphon.types.runs import Action as Action
    from antiphon.types.runs import Assistant as Assistant
    from antiphon.types.runs import Deadlines as Deadlines
    from antiphon.types.runs import McpServer as McpServer
    from antiphon.types.runs import Run as Run
    from antiphon.types.runs import Sampling as Sampling
    from antiphon.types.runs import Status as Status
    from antiphon.types.runs import Thread as Thread
    from antiphon.types.runs import ThreadOptions as ThreadOptions
    from antiphon.types.runs import Usage as Usage

__version__ = "0.1.0"

_NAMES: dict[str, tuple[str, ...]] = {
    "antiphon.client.async_client": ("AsyncClient",),
    "antiphon.client.async_events": ("AsyncEvents", "AsyncStream"),
    "antiphon.client.compaction": ("Compaction",),
    "antiphon.mcp.sync_servers": ("McpServerPool",),
    "antiphon.client.result": ("CompletedCall", "Result"),
    "antiphon.client.sync_client": ("Client",),
    "antiphon.client.sync_events": ("Events", "Stream"),
    "antiphon.types.errors": (
        "AntiphonError",
        "InvalidAnswer",
        "RunCancelled",
        "RunError",
        "RunExpired",
        "RunFailed",
        "RunIncomplete",
    ),
    "antiphon.types.events": (
        "ActionRequired",
        "CitationsAdded",
        "Event",
        "MessageCompleted",
        "PendingAction",
        "ReasoningDelta",
        "RefusalDelta",
        "ToolsListed",
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
    "antiphon.types.folders": ("Folder",),
    "antiphon.types.messages": (
        "Blob",
        "Citation",
        "Feedback",
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
    "antiphon.ports": ("ProgressCallback", "Toolbox"),
    "antiphon.types.runs": (
        "Action",
        "Assistant",
        "Deadlines",
        "McpServer",
        "Run",
        "Sampling",
        "Status",
        "Thread",
        "ThreadOptions",
        "Usage",
    ),
    "antiphon.settings.hooks": ("Hook",),
    "antiphon.settings.settings": ("Settings",),
    "antiphon.skills.toolbox": ("Skills",),
    "antiphon.tools.tool_manager": ("ToolManager",),
    "antiphon.tools.consent": ("Consent",),
    "antiphon.tools.context": ("ToolContext",),
    "antiphon.tools.functions": ("Functions", "tool"),
    "antiphon.tools.hooks": ("ToolHooks",),
    "antiphon.tools.tool_processor": ("ToolProcessor",),
    "antiphon.tools.questions": ("ConsentAnswer", "ConsentRequest"),
    "antiphon.tools.permissions": ("Rules",),
}
_MODULES = {
    "errors": "antiphon.types.errors",
    "events": "antiphon.types.events",
    "operations": "antiphon.api.operations",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [*_MODULES, *_HOME]  # noqa: PLE0604  # pyright: ignore[reportUnsupportedDunderAll]


deprecated.install()


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(_MODULES[name])
    elif name in deprecated.NAMES:
        new = deprecated.NAMES[name]
        deprecated.warn(deprecated.explain_renamed(f"antiphon.{name}", new, both=False))
        return __getattr__(new)
    elif f"antiphon.{name}" in deprecated.MODULES:
        return importlib.import_module(f"antiphon.{name}")
    else:
        raise AttributeError(f"module 'antiphon' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(["__version__", *__all__])
