"""Picture of the clipboard, as PNG, by a program of this machine."""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from contextlib import suppress

from antiphon.client import mentions
from antiphon.client.mentions import MAX_UPLOAD_BYTES, AttachedFile
from antiphon.tools.programs import find_program
from antiphon.types.errors import InvalidRequest, NotFound, TooLarge

IMAGE_NAME = "clipboard.png"
SECONDS = 5.0
"""Timeout of a clipboard program."""
_PIECE = 65_536

_PROGRAMS: Sequence[tuple[str, Sequence[str]]] = (
    ("WAYLAND_DISPLAY", ("wl-paste", "--type", "image/png")),
    ("DISPLAY", ("xclip", "-selection", "clipboard", "-t", "image/png", "-o")),
    ("", ("pngpaste", "-")),
    ("", ("osascript", "-e", "the clipboard as «class PNGf»")),
)
"""The variable that shows that a program can work here, and its arguments."""
_APPLESCRIPT = b"\xc2\xabdata PNGf", b"\xc2\xbb"
"""The form in which osascript writes a picture: hexadecimal digits between these."""


async def read_clipboard_image(
    environ: Mapping[str, str] = os.environ, *, max_bytes: int = MAX_UPLOAD_BYTES
) -> AttachedFile:
    """Return the picture of the clipboard.

    Raises `NotFound` without a program or a picture, `InvalidRequest` if the program fails or
    writes something else, `TooLarge` above `max_bytes`.
    """
    command = _find_program(environ)
    encoded = command[0] == "osascript"  # two digits a byte, and what is around them
    content = await _read_output(command, environ, 2 * max_bytes + 100 if encoded else max_bytes)
    if content is None:
        raise _too_large_error(max_bytes)
    if encoded and content:
        content = _decode_applescript(content)
    if not content:
        raise NotFound(
            "There is no picture in the clipboard",
            hint="Copy one first, or name a file: /image PATH.",
        )
    if len(content) > max_bytes:
        raise _too_large_error(max_bytes)
    if not mentions.is_picture_or_pdf(content):
        raise _no_picture_error(command[0])
    image = mentions.classify_file(IMAGE_NAME, content)
    if image.kind != "image":
        raise _no_picture_error(command[0])
    return image


def _find_program(environ: Mapping[str, str]) -> Sequence[str]:
    if environ.get("SSH_CONNECTION"):
        raise NotFound(
            "This chat runs over SSH, where your clipboard cannot be read",
            hint="Copy the picture to this machine, then /image PATH.",
        )
    for variable, command in _PROGRAMS:
        here = not variable or environ.get(variable)
        if here and (program := find_program(command[0], environ)):
            return (command[0], program, *command[1:])
    raise NotFound(
        "No program here can read a picture of the clipboard",
        expected="wl-paste (Wayland), xclip (X11), pngpaste or osascript (macOS)",
        hint="Install one, or name a file: /image PATH.",
    )


async def _read_output(
    command: Sequence[str], environ: Mapping[str, str], max_bytes: int
) -> bytes | None:
    """Return what the program writes: None above the limit, and nothing if it fails.

    Without a picture in the clipboard the programs fail.
    """
    name, program, *arguments = command
    try:
        process = await asyncio.create_subprocess_exec(
            program, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=dict(environ)
        )
    except OSError as error:
        raise InvalidRequest(f"{name} cannot be started: {error.strerror}") from error
    content = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            while process.stdout and (piece := await process.stdout.read(_PIECE)):
                content += piece
                if len(content) > max_bytes:
                    return None
            code = await process.wait()
    except TimeoutError as error:
        raise InvalidRequest(
            f"{name} gave no picture within {SECONDS:g} s", hint="Name a file: /image PATH."
        ) from error
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return b"" if code else bytes(content)


def _decode_applescript(output: bytes) -> bytes:
    """Return the bytes that AppleScript writes as `«data PNGf89504E47...»`."""
    begins, ends = _APPLESCRIPT
    digits = output.strip().removeprefix(begins).removesuffix(ends)
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError as error:
        raise _no_picture_error("osascript") from error


def _no_picture_error(program: str) -> InvalidRequest:
    return InvalidRequest(
        f"What {program} gave is no picture",
        expected="png, jpeg, gif or webp",
        hint="Name a file: /image PATH.",
    )


def _too_large_error(max_bytes: int) -> TooLarge:
    return TooLarge(
        "The picture of the clipboard is too large to be sent",
        expected=f"a file of at most {max_bytes:,} bytes",
        received="more",
        hint="Copy a part of it.",
    )
