"""Write styled lines as characters of a terminal: the only place that writes styles and links.

The text is cleaned here once more. Around it stand only SGR sequences from the tables below and, if
the terminal is known to support it, OSC 8 for web addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from antiphon.terminal.spans import StyledText
from antiphon.types.terminal_safe import clean


class Glyphs(msgspec.Struct, frozen=True, kw_only=True):
    """Symbols; each takes as many cells as it has characters."""

    bullets: tuple[str, ...]
    quote: str
    rule: str
    column: str
    crossing: str
    task: str
    doing: str
    done: str
    more: str
    spinner: str
    ok: str
    failed: str


SIGNS = Glyphs(
    bullets=("•", "◦", "▪"),
    quote="│",
    rule="─",
    column=" │ ",
    crossing="─┼─",
    task="☐",
    doing="▸",
    done="☑",
    more="…",
    spinner="⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏",
    ok="✓",
    failed="✗",
)
ASCII = Glyphs(
    bullets=("-", "*", "+"),
    quote=">",
    rule="-",
    column=" | ",
    crossing="-+-",
    task="[ ]",
    doing="[~]",
    done="[x]",
    more="...",
    spinner="|/-\\",
    ok="ok",
    failed="failed",
)


WORDS = msgspec.structs.replace(
    ASCII,
    ok="Tool done:",
    failed="Tool failed:",
    task="(to do)",
    doing="(in progress)",
    done="(done)",
)


class Theme(msgspec.Struct, frozen=True, kw_only=True):
    """Look of each role: SGR parameters of the terminal's own sixteen colours.

    `marks`: headings, emphasis and code keep their Markdown marks, for nothing else shows them.
    `roles`: a line names its speaker.
    """

    name: str
    styles: Mapping[str, str]
    glyphs: Glyphs = SIGNS
    marks: bool = False
    roles: bool = False

    def in_ascii(self) -> Theme:
        """Return the theme without our box characters and symbols."""
        return msgspec.structs.replace(self, glyphs=ASCII)

    def in_words(self) -> Theme:
        """Return the theme with words for symbols and for the speaker."""
        return msgspec.structs.replace(self, glyphs=WORDS, roles=True)

    def in_colors_of(self, other: Theme) -> Theme:
        """Return the theme in the colours of another theme."""
        return msgspec.structs.replace(self, name=other.name, styles=other.styles)


_SHAPES = {
    "strong": "1",
    "emphasis": "3",
    "strike": "9",
    "link": "4",
    "heading": "1",
    "heading 1": "1;4",
    "header": "1",
    "name": "1",
    "warning": "1",
    "error": "1",
}
_ANYWHERE = _SHAPES | {
    "code": "35",
    "host": "90",
    "quote": "90",
    "mark": "35",
    "rule": "90",
    "faint": "90",
    "ok": "32",
    "warning": "1;35",
    "error": "31",
    "chosen": "7",
    "token keyword": "35",
    "token string": "32",
    "token comment": "90;3",
    "token number": "31",
    "token function": "1",
    "token class": "1",
    "token builtin": "35",
    "token decorator": "1",
    "token tag": "35",
    "token added": "32",
    "token removed": "31",
}
"""Colours that can be read on dark and on light: cyan, yellow and blue cannot."""
_DARK = _ANYWHERE | {
    "code": "36",
    "link": "4;94",
    "mark": "36",
    "warning": "33",
    "token number": "36",
    "token function": "94",
    "token class": "33",
    "token builtin": "36",
    "token decorator": "33",
    "token tag": "94",
}
_LIGHT = _ANYWHERE | {
    "link": "4;34",
    "mark": "34",
    "ok": "34",
    "warning": "1;31",
    "token string": "34",
    "token function": "1",
    "token tag": "34",
    "token added": "34",
}
THEMES: dict[str, Theme] = {
    theme.name: theme
    for theme in (
        Theme(name="auto", styles=_ANYWHERE),
        Theme(name="dark", styles=_DARK),
        Theme(name="light", styles=_LIGHT),
        Theme(
            name="contrast",
            styles=_SHAPES
            | {
                "code": "1",
                "error": "1;31",
                "warning": "1;4",
                "ok": "1",
                "chosen": "7",
                "token keyword": "1",
                "token comment": "3",
                "token function": "4",
            },
        ),
        Theme(name="none", styles=_SHAPES | {"chosen": "7"}),
    )
}
"""Themes by name; `auto` is used as it is if the background is unknown."""
BARE = Theme(name="bare", styles={}, marks=True)
"""No escape sequences at all: for a pipe, a dumb terminal, a screen reader."""


def choose_theme(name: str, environment: Mapping[str, str], *, color: str = "auto") -> Theme:
    """Return the theme of this name as far as colours are allowed: `color` is that setting.

    By default it is `none` if NO_COLOR is set, and bare on a dumb terminal.
    """
    if color != "always" and environment.get("TERM") in ("dumb", "unknown"):
        return BARE
    if color == "never" or (color == "auto" and environment.get("NO_COLOR")):
        return THEMES["none"]
    return THEMES[_background_theme(environment) if name == "auto" else name]


def _background_theme(environment: Mapping[str, str]) -> str:
    """Return the theme for COLORFGBG: two or three colours, the last one is the background."""
    match environment.get("COLORFGBG", "").rpartition(";")[2]:
        case "0" | "1" | "2" | "3" | "4" | "5" | "6" | "8":
            return "dark"
        case "7" | "9" | "10" | "11" | "12" | "13" | "14" | "15":
            return "light"
        case _:
            return "auto"


class Ink:
    """Renders lines in a theme; with `links`, web addresses as OSC 8."""

    def __init__(self, theme: Theme, *, links: bool = False) -> None:
        self._links = links
        self.set_theme(theme)

    def set_theme(self, theme: Theme) -> None:
        """Change the theme of what is rendered from now on."""
        self.theme = theme
        self._looks = dict(theme.styles)

    def render(self, line: Iterable[StyledText]) -> str:
        """Return the line as a terminal gets it, styles closed, without a line feed."""
        return "".join(map(self._render_span, line))

    def _render_span(self, span: StyledText) -> str:
        text = clean(span.text, "code").replace("\n", " ")
        if span.style not in self._looks:
            looks = (self._looks.get(name, "") for name in span.style.split())
            self._looks[span.style] = ";".join(filter(None, looks))
        if look := self._looks[span.style]:
            text = f"\x1b[{look}m{text}\x1b[0m"
        if self._links and span.link and _ADDRESS.fullmatch(span.link):
            text = f"\x1b]8;;{span.link}\x1b\\{text}\x1b]8;;\x1b\\"
        return text


_ADDRESS = re.compile(r"(?:https?://|mailto:)[!-~]{1,2000}")
"""Addresses that OSC 8 may carry: printable ASCII, so that nothing ends the sequence early."""
