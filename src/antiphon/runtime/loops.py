"""Background loops: work that is repeated as long as the process lives, whatever it raises."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

from antiphon.ports import Bus, Subscription
from antiphon.types import errors

log = logging.getLogger(__name__)

FAULT_PAUSE = 1.0  # seconds after a failure, so that an unavailable store is not overloaded

Work = Callable[[], Awaitable[float]]
"""Does the work that is due; returns the seconds until more may be due."""


class BackgroundLoops:
    """The loops of one part of the runtime, which run until `stop`, whatever their work raises."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def started(self) -> bool:
        """True after the first start of a loop."""
        return bool(self._tasks)

    def start(self, name: str, work: Work, *, topic: str | None = None) -> None:
        """Repeat `work`; a notification of `topic` ends its pause."""
        loop = repeat(name, work, self._bus, topic)
        self._tasks.append(asyncio.create_task(loop, name=f"antiphon {name}"))

    async def stop(self) -> None:
        """Cancel the loops, and wait until they have ended."""
        await cancel_and_wait(self._tasks)


async def repeat(
    name: str,
    work: Work,
    bus: Bus,
    topic: str | None = None,
    until: Callable[[], bool] = lambda: False,
) -> None:
    """Repeat `work` with pauses until `until` is true; see `BackgroundLoops.start`.

    No exception ends the loop. A failure is followed by a pause that no notification ends.
    """
    notifications: AbstractContextManager[Subscription | None] = nullcontext()
    if topic is not None:
        notifications = bus.subscribe(topic)
    with notifications as subscription:
        wait = asyncio.sleep if subscription is None else subscription.wait
        while not until():
            try:
                pause = await work()
            except errors.TryAgain as fault:
                log.warning("%s: %s", name, fault.message)
                await asyncio.sleep(FAULT_PAUSE)
            except Exception:
                log.exception("%s: the loop failed, and goes on", name)
                await asyncio.sleep(FAULT_PAUSE)
            else:
                await (wait(pause) if pause else asyncio.sleep(0))


async def cancel_and_wait(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel the tasks, and wait until they have ended."""
    waiting = list(tasks)
    for task in waiting:
        task.cancel()
    if waiting:
        await asyncio.wait(waiting)
