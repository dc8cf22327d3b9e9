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


# Limit on the length of an output: the cut is marked, and the whole is saved for the person.


CHARACTERS = 60_000  # some 15,000 tokens
TAIL = 4  # one part in so many of what is kept is the end, where results tend to be summed up


def truncate(output: str, most: int, where: str) -> str:
    """Return head and tail of the output with a notice between them, or the output if it fits.

    `where` says in the notice where the whole is.
    """
    if len(output) <= most:
        return output
    tail = most // TAIL
    head = most - tail
    left_out = len(output) - most
    notice = (
        f"\n\n[{left_out:,} of {len(output):,} characters are left out here, as this output is"
        f" too long. {where}]\n\n"
    )
    return output[:head] + notice + output[len(output) - tail :]
