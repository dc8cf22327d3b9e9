"""Unicode's own list of the code points that are not drawn."""

from __future__ import annotations

import re
from pathlib import Path

FILE = Path(__file__).parent / "unicode" / "DefaultIgnorableCodePoint-17.0.0.txt"


def default_ignorable() -> list[int]:
    """All code points with the property `Default_Ignorable_Code_Point`, in order."""
    points: list[int] = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if entry := re.match(r"([0-9A-F]+)(?:\.\.([0-9A-F]+))? +; Default_Ignorable", line):
            first, last = entry[1], entry[2] or entry[1]
            points += range(int(first, 16), int(last, 16) + 1)
    return points
