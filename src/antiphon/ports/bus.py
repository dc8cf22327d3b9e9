"""Bus: wakes readers of a topic."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

QUEUE = "queue"
"""The topic notified when a turn was requested."""
DOCUMENTS = "documents"
"""The topic notified when a file was added whose text is to be read."""
CHAT_IMPORTS = "chat_imports"
"""The topic notified when an import of chats is to be checked, written or cancelled."""
ACTIONS = "actions"
"""The topic notified when a worker for tools may claim an action."""
LEASES = "leases"
"""The topic notified when a worker may have lost a run's lease, as by a cancel."""
SCHEDULES = "schedules"
"""The topic notified when the times of a schedule have changed."""
WEBHOOKS = "webhooks"
"""The topic notified when an event for webhooks happened, or a delivery became due."""


Handle = Callable[[], bool]
"""Handles a notification without waking the task that waits; returns False if the task must."""


class Subscription(Protocol):
    """A subscription to a topic; a notification before `wait` is not lost."""

    async def wait(self, seconds: float, handle: Handle | None = None) -> bool:
        """Return True on a notification, False after `seconds`: one may be lost.

        `handle` is called on the loop soon after a notification, once for those that come together;
        if it returns True, the wait goes on.
        """
        ...


class Bus(Protocol):
    """Notifies subscribers of a topic; carries no data; may lose or repeat a notification."""

    def subscribe(self, topic: str) -> AbstractContextManager[Subscription]:
        """Subscribe to the topic; subscribe first, then read."""
        ...

    def notify(self, topic: str) -> None:
        """Notify subscribers here and, soon, in other processes. Never blocks, never raises."""
        ...

    async def close(self) -> None:
        """Send no further notifications."""
        ...
