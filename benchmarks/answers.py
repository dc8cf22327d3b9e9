"""Long Markdown answers: of all kinds of blocks mixed, or of one endless block."""

from __future__ import annotations

from itertools import cycle, islice

PROSE = (
    "The quick brown **fox** jumps over the `lazy` dog, and so does [the other](http://example.org)"
    " one. It was *not* seen again for a while; nobody asked. "
)
CODE = "    value = call(one, 2, key='three')  # what is left of it\n"
ROW = "| a cell of words | `code` in another | 12,345 |\n"
ITEM = "- an item with **some** words in it, and `a little` code\n"

_MIXED = (
    "## A heading\n\n",
    PROSE * 3 + "\n\n",
    "```python\ndef work(one):\n" + CODE * 8 + "\n    return value\n```\n\n",
    ITEM * 6 + "\n",
    "| first | second | third |\n|---|---|--:|\n" + ROW * 6 + "\n",
    "> " + PROSE + "\n\n",
    "1. Do this:\n\n   ```sh\n   call --with options\n   ```\n2. Then that.\n\n",
)

CHARACTERS_PER_TOKEN = 4
"""An average."""


def mixed_answer(tokens: int) -> str:
    """Return an answer that repeats all kinds of blocks."""
    size = tokens * CHARACTERS_PER_TOKEN
    count = size // (sum(map(len, _MIXED)) // len(_MIXED)) + len(_MIXED)
    return "".join(islice(cycle(_MIXED), count))[:size]


def single(kind: str, tokens: int) -> str:
    """Return an answer that is one block of this kind."""
    start, line = BLOCKS[kind]
    size = tokens * CHARACTERS_PER_TOKEN
    return (start + line * (size // len(line) + 1))[:size]


BLOCKS = {
    "paragraph": ("", PROSE),
    "fence": ("```python\n", CODE),
    "list": ("", ITEM),
    "table": ("| first | second | third |\n|---|---|--:|\n", ROW),
    "quote": ("> ", PROSE),
    "line of code": ("```js\n", "var a=1;"),
    "fence in an item": ("1. Do this:\n\n   ```python\n", "   " + CODE),
}
