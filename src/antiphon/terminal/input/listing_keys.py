"""Key bindings of a list above a field: the arrows choose, and the field takes all other keys."""

from __future__ import annotations

from collections.abc import Callable

from prompt_toolkit.filters import Condition
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from antiphon.terminal.input.keyboard import Listing


def bind_listing(keys: KeyBindings, find_listing: Callable[[], Listing | None]) -> None:
    """Bind the keys that move in the list, while there is one."""
    is_open = Condition(lambda: find_listing() is not None)

    def _bind(key: str, act: Callable[[Listing], None]) -> None:
        @keys.add(key, filter=is_open, eager=True)
        def _act(event: KeyPressEvent) -> None:
            if (listing := find_listing()) is not None:
                act(listing)

    for key in ("down", "c-n"):
        _bind(key, lambda listing: listing.move(1))
    for key in ("up", "c-p"):
        _bind(key, lambda listing: listing.move(-1))
    _bind("pagedown", lambda listing: listing.turn(1))
    _bind("pageup", lambda listing: listing.turn(-1))
