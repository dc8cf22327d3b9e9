"""A picture of the clipboard, read by a program that is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from antiphon.terminal.commands.clipboard_image import IMAGE_NAME, read_clipboard_image
from antiphon.types.errors import InvalidRequest, NotFound, TooLarge
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the programs are shell scripts")

PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)
WAYLAND = {"WAYLAND_DISPLAY": "wayland-0"}
X11 = {"DISPLAY": ":0"}


def write_program(folder: Path, name: str, output: bytes, *, code: int = 0) -> dict[str, str]:
    """Write a program that prints `output` and keeps its arguments; return the environment."""
    folder = folder / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.out").write_bytes(output)
    program = folder / name
    program.write_text(
        f'#!/bin/sh\necho "$@" > "{folder}/{name}.args"\n'
        f'/bin/cat "{folder}/{name}.out"\nexit {code}\n'
    )
    program.chmod(0o700)
    return {"PATH": str(folder)}


@pytest.mark.parametrize(
    ("name", "environ", "arguments", "output"),
    [
        ("wl-paste", WAYLAND, "--type image/png", PNG),
        ("xclip", X11, "-selection clipboard -t image/png -o", PNG),
        ("pngpaste", {}, "-", PNG),
        (
            "osascript",
            {},
            "-e the clipboard as «class PNGf»",
            f"«data PNGf{PNG.hex().upper()}»\n".encode(),
        ),
    ],
)
async def test_the_program_that_is_there_gives_the_picture(
    tmp_path: Path, name: str, environ: dict[str, str], arguments: str, output: bytes
) -> None:
    program_environ = write_program(tmp_path, name, output)
    image = await read_clipboard_image({**environ, **program_environ})

    assert (image.name, image.kind, image.media_type) == (IMAGE_NAME, "image", "image/png")
    assert image.content == PNG
    assert (tmp_path / "bin" / f"{name}.args").read_text().strip() == arguments


async def test_a_program_whose_display_is_missing_is_not_asked(tmp_path: Path) -> None:
    environ = write_program(tmp_path, "wl-paste", PNG)

    with pytest.raises(NotFound, match="No program here") as excinfo:
        await read_clipboard_image(environ)
    assert "xclip (X11)" in excinfo.value.full_message


async def test_over_ssh_the_clipboard_is_that_of_another_machine(tmp_path: Path) -> None:
    environ = write_program(tmp_path, "wl-paste", PNG) | WAYLAND

    with pytest.raises(NotFound, match="SSH"):
        await read_clipboard_image({**environ, "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"})


@pytest.mark.parametrize(("output", "code"), [(b"", 0), (b"", 1), (PNG, 1)])
async def test_a_clipboard_without_a_picture_is_said(
    tmp_path: Path, output: bytes, code: int
) -> None:
    environ = write_program(tmp_path, "wl-paste", output, code=code) | WAYLAND

    with pytest.raises(NotFound, match="There is no picture in the clipboard"):
        await read_clipboard_image(environ)


@pytest.mark.parametrize("output", [b"hello", b"%PDF-1.7\n", b"\x1b[2J", b"<svg/>"])
async def test_what_is_no_picture_is_not_sent(tmp_path: Path, output: bytes) -> None:
    for name, own_environ in (("wl-paste", WAYLAND), ("osascript", {})):
        environ = write_program(tmp_path / name, name, output) | own_environ
        with pytest.raises(InvalidRequest, match=f"What {name} gave is no picture"):
            await read_clipboard_image(environ)


async def test_a_picture_above_the_limit_is_not_read_to_its_end(tmp_path: Path) -> None:
    environ = write_program(tmp_path, "wl-paste", b"")
    program = Path(environ["PATH"]) / "wl-paste"
    program.write_text("#!/bin/sh\nexec /bin/cat /dev/zero\n")

    with pytest.raises(TooLarge, match="too large"):
        await read_clipboard_image({**environ, **WAYLAND}, max_bytes=100_000)


async def test_the_picture_goes_along_with_the_next_message(tmp_path: Path) -> None:
    environ = write_program(tmp_path, "wl-paste", PNG) | WAYLAND
    environ["PATH"] += os.pathsep + os.environ["PATH"]
    async with Model() as model, Chatting(model, home=tmp_path, environ=environ) as chat:
        await chat.ready()
        chat.say("/image")
        await chat.sees("clipboard.png (40 bytes)")
        chat.say("Who is it?")
        reply = await model.next_request()
        await reply.answer("A cat.")
        kinds = [part["type"] for part in reply.messages[-1]["content"]]

        assert kinds == ["text", "image_url"]
