"""Instructions of a run: the one text that the model reads before the messages.

It begins with the instructions of the run or its assistant. The texts that the run got from
elsewhere follow, each in an element of its own: those of its thread's folder, those of the person,
and what is remembered of the person. The run's additional instructions come last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from antiphon.types.runs import InstructionPart, InstructionSource, Run
from antiphon.types.terminal_safe import one_line

MAX_CHARACTERS = 65_536
"""Most characters of all parts together: some 16,000 tokens in every request."""

ELEMENTS: dict[InstructionSource, str] = {
    "folder": "folder_instructions",
    "person": "person_instructions",
    "memory": "memory",
}
"""The element in which the model reads the text of each source, in the order of the sources."""

_TAG = re.compile(rf"<(?=[\s/]*(?:{'|'.join(ELEMENTS.values())})\b)", re.IGNORECASE)


def compose_instructions(run: Run) -> str | None:
    """Return the instructions of the run, as its assistant, its parts and its request gave them.

    None if there are none. Parts are cut at `MAX_CHARACTERS`: the first get their room first.
    """
    texts = [run.instructions, *_format_parts(run.instruction_parts), run.additional_instructions]
    return "\n\n".join(filter(None, texts)) or run.instructions


def _format_parts(parts: Sequence[InstructionPart]) -> list[str]:
    """Return each part that has a text as an element that no text can close."""
    room = MAX_CHARACTERS
    elements: list[str] = []
    order = list(ELEMENTS)
    for part in sorted(parts, key=lambda part: order.index(part.source)):
        if not part.text.strip():
            continue
        text = part.text.strip()
        kept = text[:room]
        room -= len(kept)
        if left := len(text) - len(kept):
            kept += f"\n[{left} more characters were too many]"
        element = ELEMENTS[part.source]
        name = one_line(part.name).replace('"', "'").replace("<", "&lt;").replace(">", "&gt;")
        opening = f'{element} name="{name}"' if name else element
        elements.append(f"<{opening}>\n{_TAG.sub('&lt;', kept)}\n</{element}>")
    return elements
