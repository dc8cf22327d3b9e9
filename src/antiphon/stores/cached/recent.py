"""A dictionary that forgets what was used longest ago, once it holds too much."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")

ENTRY_BYTES = 1_000  # about what it costs to remember anything at all


class Recent(Generic[V]):
    """At most `max_bytes`, as those who put something there count them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, V] = OrderedDict()
        self._sizes: dict[str, int] = {}

    def get(self, key: str) -> V | None:
        """What is kept under the key; it is used now."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: str, value: V, size: int) -> None:
        """Put it in place of what is there, as the newest."""
        self.drop(key)
        self._kept[key] = value
        self._sizes[key] = 0
        self.grow(key, size + ENTRY_BYTES)

    def grow(self, key: str, more: int) -> None:
        """What is kept under the key has become so much larger."""
        self._sizes[key] += more
        self._bytes += more
        while self._bytes > self._max_bytes:
            self.drop(next(iter(self._kept)))

    def drop(self, key: str | None) -> None:
        """Forget it, if it is there."""
        if key is not None and self._kept.pop(key, None) is not None:
            self._bytes -= self._sizes.pop(key)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._sizes.clear()
        self._bytes = 0
