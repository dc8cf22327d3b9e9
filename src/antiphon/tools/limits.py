"""How much of a tool's result a model reads; what is left out is said, and kept for the person."""

from __future__ import annotations

CHARACTERS = 60_000  # some 15,000 tokens
TAIL = 4  # one part in so many of what is kept is the end, where results tend to be summed up


def shortened(output: str, most: int, where: str) -> str:
    """The output's head and tail with a notice between them; the output itself where it fits.

    `where` says what became of the whole.
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
