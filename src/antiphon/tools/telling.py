"""How a tool in a thread tells how far it is: on the loop, in order, and not after its end."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from antiphon.messages import Progress
from antiphon.ports import Tell


class Telling:
    """A `Tell` for any thread, as long as its block lasts; what is told later is told to nobody.

    Told in the thread of the loop, it is told at once.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell: Tell | None = tell
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tell = None

    def __call__(self, progress: Progress) -> None:
        """Tell how far the tool is."""
        if self._tell is None:
            return
        if threading.get_ident() == self._thread:
            self._say(progress)
        else:
            with suppress(RuntimeError):  # the loop is closed, and nobody listens any more
                self._loop.call_soon_threadsafe(self._say, progress)

    def _say(self, progress: Progress) -> None:
        if self._tell is not None:
            self._tell(progress)
