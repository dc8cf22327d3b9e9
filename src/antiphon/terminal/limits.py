"""How long a reply may take, as far as a chat knows and can say.

A reply that is under way keeps the limit with which its run began; those that follow can be given
more.
"""

from __future__ import annotations

from typing import Any

from antiphon.runs import DAY, Deadlines
from antiphon.settings import Settings

MORE = 300.0
"""Seconds that are added at once."""


class ReplyLimit:
    """The seconds of one reply: as the settings have it, or as the person wants it here."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wanted: float | None = None

    def raise_it(self, model: str) -> float:
        """Give the next replies more time; the seconds that each may take."""
        now = self.seconds(model) or self._settings.turn_timeout
        self._wanted = min(now + MORE, DAY)
        return self._wanted

    def deadlines(self) -> Deadlines:
        """What a run is to be told."""
        return Deadlines(turn=self._wanted)

    def seconds(self, model: str) -> float | None:
        """How long a reply of this model may take; None where a server knows and this chat does
        not.
        """
        if self._wanted is not None:
            return self._wanted
        if self._settings.server:
            return None
        own: Any = self._settings.providers.get(model.partition(":")[0], {}).get("turn_timeout")
        return float(own) if own else self._settings.turn_timeout
