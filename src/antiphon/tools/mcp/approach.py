"""In which protocol a server is spoken to next, from what is remembered and how it went."""

from __future__ import annotations

import asyncio

from antiphon.tools.mcp.config import Mode, ServerConfig
from antiphon.tools.mcp.generations import Generations

DEAR_SECONDS = 5.0
"""A start that took so long is worth to be shortened, where it can be."""


class Approach:
    """`mode` is how to speak to it next."""

    def __init__(self, config: ServerConfig, generations: Generations | None) -> None:
        self.mode: Mode = config.mode
        self._config = config
        self._generations = generations
        self._recalled = False
        self._was_ready = False
        self._learning: asyncio.Future[None] | None = None

    async def recall(self) -> None:
        """Remember what was found out in earlier days."""
        if self._config.mode != "auto" or self._generations is None:
            return
        if await asyncio.to_thread(self._generations.old, self._config):
            self.mode, self._recalled = "legacy", True

    def ready(self, *, modern: bool, version: str, seconds: float) -> None:
        """It came, after so long. What an old one answered to need not be found out again."""
        if self._config.mode != "auto" or modern:
            return
        # Not asked at all: it is known, or it ended when it was asked.
        dear = self.mode == "legacy" or seconds > DEAR_SECONDS
        if dear and not self._was_ready and self._generations is not None:
            loop = asyncio.get_running_loop()
            learn = self._generations.learn
            self._learning = loop.run_in_executor(None, learn, self._config, version)
        self.mode, self._recalled, self._was_ready = "legacy", False, True

    async def failed(self, *, died_of_the_question: bool) -> bool:
        """It did not come; whether to try at once in another way."""
        if self._recalled and self._generations is not None:  # it may have grown up
            self.mode, self._recalled = self._config.mode, False
            await asyncio.to_thread(self._generations.forget, self._config)
            return True
        if self.mode == "auto" and died_of_the_question:
            self.mode = "legacy"  # some old servers end at the first request they do not know
            return True
        self.mode = self._config.mode
        return False
