"""A long text seen whole, in the pager that the person likes, or printed above where there is none.

The pager gets the text cleaned, in a file that only this person can read and that is gone
afterwards: a pager that runs programs of its own, or is told to show control characters as they
are, finds none in it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence

from antiphon.clean import clean, one_line
from antiphon.terminal.surface import Surface

_PAGERS = ("less", "more")
"""Those that are looked for where $PAGER names none, the better one first."""


async def opened(
    surface: Surface, title: str, text: str, *, environ: Mapping[str, str] = os.environ
) -> None:
    """Show the text until the person has read it; a title of one line stands above it.

    Where lines are listened to rather than looked at, and where there is no pager, it is printed.
    """
    whole = f"{one_line(title)}\n\n{clean(text, 'code').strip()}\n"
    pager = () if surface.keyboard.spoken else _pager(environ)
    if not (pager and await _paged(surface, pager, whole)):
        surface.say(whole, place="code")


def _pager(environ: Mapping[str, str]) -> Sequence[str]:
    """The program with its arguments; none where there is none."""
    if named := environ.get("PAGER", "").strip():
        return _words(named)
    return [pager for pager in _PAGERS if shutil.which(pager)][:1]


def _words(command: str) -> Sequence[str]:
    """As a shell would part them, but no shell reads them."""
    try:
        return shlex.split(command)
    except ValueError:  # a quotation without an end
        return command.split()


async def _paged(surface: Surface, pager: Sequence[str], whole: str) -> bool:
    """Whether the pager could be started; what it makes of its task is the person's matter."""
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="antiphon-") as file:
        file.write(whole)
        file.flush()
        try:
            await surface.keyboard.lend([*pager, file.name])
        except OSError as error:
            surface.say(f"$PAGER cannot be started: {error}", "warning")
            return False
    return True
