"""HTML between paragraphs: how its first line begins, and what its last line has."""

from __future__ import annotations

import re

from markdown_it.common.html_blocks import block_names


def begun(text: str, *, interrupts: bool) -> tuple[bool, re.Pattern[str] | None]:
    """Whether HTML begins with this line, and what ends it; None for an empty line.

    A tag of any name begins HTML only where it `interrupts` nothing.
    """
    if not text.startswith("<"):
        return False, None
    for start, end in _HTML:
        if start.match(text):
            return True, end
    return not interrupts and bool(_HTML_TAG.fullmatch(text)), None


_TAG = r"(?:\s|/?>|$)"
_HTML: tuple[tuple[re.Pattern[str], re.Pattern[str] | None], ...] = (
    (
        re.compile(r"<(?:script|pre|style|textarea)(?=\s|>|$)", re.IGNORECASE),
        re.compile(r"</(?:script|pre|style|textarea)>", re.IGNORECASE),
    ),
    (re.compile(r"<!--"), re.compile(r"-->")),
    (re.compile(r"<\?"), re.compile(r"\?>")),
    (re.compile(r"<![A-Za-z]"), re.compile(r">")),
    (re.compile(r"<!\[CDATA\["), re.compile(r"\]\]>")),
    (re.compile(rf"</?(?:{'|'.join(block_names)}){_TAG}", re.IGNORECASE), None),
)
_ATTRIBUTE = r"""\s+[a-zA-Z_:][a-zA-Z0-9:._-]*(?:\s*=\s*(?:[^"'=<>`\s]+|'[^']*'|"[^"]*"))?"""
_HTML_TAG = re.compile(
    rf"(?:<[A-Za-z][A-Za-z0-9-]*(?:{_ATTRIBUTE})*\s*/?>|</[A-Za-z][A-Za-z0-9-]*\s*>)\s*"
)
