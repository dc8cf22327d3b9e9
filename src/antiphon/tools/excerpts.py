"""Parts of texts that are too long for one answer of a tool."""

from __future__ import annotations

from collections.abc import Sequence

MAX_LINES = 1000
MAX_CHARACTERS = 50_000


def select_lines(lines: Sequence[str], first: int, last: int | None, *, whole: bool) -> str:
    """Return as many of these lines as fit, and a note about the rest.

    `first` and `last` count from 1. The lines are the `whole` file, or its beginning.
    """
    wanted = lines[first - 1 : last]
    shown: list[str] = []
    room = MAX_CHARACTERS
    for line in wanted[:MAX_LINES]:
        if shown and len(line) >= room:
            break
        shown.append(line[:MAX_CHARACTERS])
        room -= len(line) + 1
    if len(shown) == len(wanted) and whole:
        return "\n".join(shown)
    upto = first + len(shown) - 1
    total = f"{len(lines)}" if whole else f"at least {len(lines)}"
    return "\n".join([*shown, f"[lines {first} to {upto} of {total}]"])
