"""Copying: by a program of the machine, and by the terminal itself, which may be far from it.

A terminal is given the text in OSC 52 and never answers, so what is said of it is what was done,
not what came of it. Over SSH a program would copy to the wrong machine, so none is asked there.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from subprocess import DEVNULL, PIPE

from antiphon.errors import NotFound, TooLarge
from antiphon.terminal.surface import Surface

MOST_BYTES = 74_000
"""For a terminal: in base64 it is what the strictest of those that take it will hold."""
SECONDS = 5.0
"""A program that has not taken the text by then is left."""

_PROGRAMS: Sequence[tuple[str, Sequence[str]]] = (
    ("TMUX", ("tmux", "load-buffer", "-w", "-")),
    ("WAYLAND_DISPLAY", ("wl-copy",)),
    ("DISPLAY", ("xclip", "-selection", "clipboard")),
    ("", ("pbcopy",)),
    ("", ("clip.exe",)),
)
"""A variable that says that it can work here, and its arguments."""


async def copied(
    surface: Surface, text: str, *, environ: Mapping[str, str] = os.environ
) -> Sequence[str]:
    """Copy the text as it is, by a program and by the terminal; which took it.

    Raises `TooLarge` where it is too long for the only way, `NotFound` where there is none.
    """
    data = text.encode("utf-8", "replace")
    ways: list[str] = []
    for arguments in _there(environ):
        if await _took(arguments, data):
            ways.append(arguments[0])
            break
    fits = len(data) <= MOST_BYTES
    if fits and surface.keep(base64.b64encode(data).decode()):
        ways.append("the terminal (OSC 52)")
    if ways:
        return ways
    if not fits:
        raise TooLarge(
            "This is too long for the terminal's clipboard",
            expected=f"up to {MOST_BYTES:,} bytes",
            received=f"{len(data):,}",
            hint="/export writes a file; wl-copy, xclip or pbcopy would take it.",
        )
    raise NotFound("There is no clipboard here", hint="/raw prints it.")


def _there(environ: Mapping[str, str]) -> Iterator[Sequence[str]]:
    for variable, arguments in _PROGRAMS:
        if environ.get("SSH_CONNECTION") and variable != "TMUX":
            continue
        if (not variable or environ.get(variable)) and shutil.which(arguments[0]):
            yield arguments


async def _took(arguments: Sequence[str], data: bytes) -> bool:
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(SECONDS):
            await process.communicate(data)
    except TimeoutError:
        process.kill()
        await process.wait()
    return process.returncode == 0
