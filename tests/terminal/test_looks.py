"""Appearance of the chat: themes, signs, keys, reduced animation, and their commands."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from antiphon.terminal.painters import Frame, InputRows, Phase, ReducedMotion, Region
from antiphon.terminal.spans import StyledText
from antiphon.terminal.themes import THEMES, Ink, choose_theme
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.emulator import Emulator
from tests.support.terminal.model import Model

ANSWER = "# One\n\n- **two** `three`\n\n```python\ndef four(): ...\n```\n"
COLOR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9\d|10\d)(?:;\d+)*m")
SIGNS = re.compile("[^\x00-\x7f]")


async def show_everything(chat: Chatting, model: Model) -> None:
    """Hold a conversation that shows most of what there is to be seen."""
    await chat.ready()
    chat.say("Hello")
    reply = await model.next_request()
    await reply.think("Well.")
    await reply.answer(ANSWER)
    await chat.sees("10 in, 5 out")


# Themes.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "environ", "colored"),
    [
        ((), {}, True),
        ((), {"NO_COLOR": "1"}, False),
        (("--color", "never"), {}, False),
        (("--theme", "none"), {}, False),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
        (("--plain",), {}, True),
        (("--plain",), {"NO_COLOR": "1"}, False),
    ],
)
async def test_there_are_colours_only_where_they_are_wanted(
    tmp_path: Path, flags: tuple[str, ...], environ: Mapping[str, str], colored: bool
) -> None:
    async with (
        Model() as model,
        Chatting(model, *flags, home=tmp_path, environ=environ) as chat,
    ):
        await show_everything(chat, model)

        assert bool(COLOR.search(chat.written)) == colored


@pytest.mark.parametrize(
    ("colorfgbg", "name"),
    [("", "auto"), ("15;0", "dark"), ("0;15", "light"), ("0;default;7", "light"), ("x", "auto")],
)
def test_the_terminal_may_tell_its_background(colorfgbg: str, name: str) -> None:
    assert choose_theme("auto", {"COLORFGBG": colorfgbg}).name == name
    assert choose_theme("contrast", {"COLORFGBG": colorfgbg}).name == "contrast"


# The sixteen colours as xterm, the Linux console and GNOME have them.
PALETTES = {
    "xterm": "000000 cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd e5e5e5"
    " 7f7f7f ff0000 00ff00 ffff00 5c5cff ff00ff 00ffff ffffff",
    "console": "000000 aa0000 00aa00 aa5500 0000aa aa00aa 00aaaa aaaaaa"
    " 555555 ff5555 55ff55 ffff55 5555ff ff55ff 55ffff ffffff",
    "gnome": "171421 c01c28 26a269 a2734c 12488b a347ba 2aa1b3 d0cfcc"
    " 5e5c64 f66151 33da7a e9ad0c 2a7bde c061cb 33c7de ffffff",
}


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize(
    ("theme", "background"),
    [("dark", 0), ("light", 15), ("auto", 0), ("auto", 15), ("contrast", 0)],
)
def test_every_colour_can_be_read_on_its_background(
    palette: str, theme: str, background: int
) -> None:
    colors = [_luminance(color) for color in PALETTES[palette].split()]
    for role, style in THEMES[theme].styles.items():
        for number in map(int, style.split(";")):
            if number in (*range(30, 38), *range(90, 98)):
                color = colors[number - 30 if number < 90 else number - 82]
                dim, bright = sorted((color, colors[background]))
                assert (bright + 0.05) / (dim + 0.05) >= 2, (role, style)


def _luminance(color: str) -> float:
    """Return the relative luminance (WCAG 2)."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


async def test_a_theme_is_changed_at_once(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--theme", "dark", home=tmp_path) as chat:
        await chat.ready()
        chat.say("/theme light")
        await chat.sees("The theme is light.")
        before = len(chat.written)
        model.will_say("`code`")
        chat.say("Hello")
        await chat.sees("10 in, 5 out")

        assert f"\x1b[{THEMES['light'].styles['code']}mcode" in chat.written[before:]
        assert f"\x1b[{THEMES['dark'].styles['code']}mcode" not in chat.written[before:]


async def test_themes_are_listed_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("/theme")
        await chat.sees("Now: auto.")
        chat.say("/theme solarised")
        await chat.sees("no theme solarised")
        await chat.until(lambda: "> /theme solarised" in chat.rows)

        assert all(f"  {name} " in chat.text for name in THEMES)


# Signs, keys, reduced motion.


async def test_in_ascii_our_own_signs_are_ascii(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--ascii", home=tmp_path) as chat:
        await show_everything(chat, model)

        await chat.sees("- two three")
        assert not SIGNS.search(chat.written.replace("·", ""))


async def test_the_line_is_edited_with_the_keys_of_vi(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, "--keys", "vi", home=tmp_path) as chat:
        await chat.ready()
        chat.type("hello world")
        await chat.sees("hello world")
        chat.press("escape")
        chat.type("0dwA there")
        await chat.sees("> world there")
        chat.press("enter")
        reply = await model.next_request()

        assert reply.messages[-1]["content"] == "world there"


def test_with_reduced_motion_only_events_are_drawn() -> None:
    emulator = Emulator(40, 10)
    reduced_motion = ReducedMotion(Region(emulator, Ink(THEMES["none"])))

    def paint(seconds: int, phase: Phase, typed: str = "", finished_text: str = "") -> str:
        before = len(emulator.written)
        region = ((StyledText(f"{phase} {seconds} s"),),)
        finished_lines = ((StyledText(finished_text),),) if finished_text else ()
        frame = Frame(phase=phase, region=region, finished=finished_lines)
        reduced_motion.paint(
            frame, InputRows(rows=((StyledText(f"> {typed}"),),), cursor=(0, 2)), 40, seconds
        )
        return emulator.written[before:]

    assert "waiting 1 s" in paint(1, "waiting")
    assert paint(2, "waiting") == ""
    assert "waiting" not in paint(3, "waiting", typed="x")
    assert "> x" in emulator.rows
    assert "writing 4 s" in paint(4, "writing")
    assert "writing 5 s" in paint(5, "writing", finished_text="A line.")


@pytest.mark.slow
def test_nothing_heavy_is_loaded_before_the_first_paint() -> None:
    probe = """if True:
        import sys
        from antiphon.cli import chat, flags
        from antiphon.settings.settings import Settings
        from antiphon.terminal import startup

        async def painted(ui):
            heavy = {"markdown_it", "pygments", "aiohttp", "mcp", "httpx2", "antiphon.client"}
            ui.say(f"loaded: {sorted(heavy & sys.modules.keys())}")

        startup.run(painted, Settings())
    """
    output = subprocess.check_output(
        [sys.executable, "-c", probe], stdin=subprocess.DEVNULL, text=True
    )

    assert output == "loaded: []\n"


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--verbose",)])
async def test_what_is_logged_is_a_line_of_the_chat_if_wanted(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    async with Model() as model, Chatting(model, *flags, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Hello")
        reply = await model.next_request()
        await reply.call("unheard", '{"of": ', id="c1")
        await reply.end("tool_calls")
        await (await model.next_request()).answer("Well then.")
        await chat.sees("Well then.")

        assert ("antiphon.runtime.turn_runner: a broken tool call" in chat.text) == bool(flags)


# Output of the commands.


async def test_the_settings_are_shown_with_where_they_come_from(tmp_path: Path) -> None:
    environ = {"ANTIPHON_ANIMATION": "reduced"}
    async with Model() as model, Chatting(model, home=tmp_path, environ=environ) as chat:
        await chat.ready()
        chat.say("/settings animation")
        await chat.sees("ANTIPHON_ANIMATION")
        chat.say("/settings")
        await chat.sees("--base-url")

        assert re.search(r"animation +reduced +.ANTIPHON_ANIMATION", chat.text)
        assert re.search(r"model +told +.--model", chat.text)


async def test_the_doctor_is_asked_in_the_chat(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("/doctor")
        await chat.sees("database")
        await chat.sees("no server is written down")


async def test_clear_begins_a_new_thread(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        model.will_say("Hi.", "Hi again.")
        chat.say("First")
        await chat.sees("Hi.")
        chat.say("/clear")
        await chat.sees("new thread begins")
        chat.say("Second")
        await chat.sees("Hi again.")

        assert "First" not in str(model.requests[-1]["messages"])
        await chat.sees("First")


@pytest.mark.slow
@pytest.mark.parametrize("columns", [100, 40])
async def test_the_help_is_sorted_and_fits(tmp_path: Path, columns: int) -> None:
    async with Model() as model, Chatting(model, home=tmp_path, columns=columns) as chat:
        await chat.ready()
        chat.say("/help")
        await chat.sees("/help COMMAND explains one command")

        for title in ("Threads", "Looks and settings", "Keys"):
            assert title in chat.rows
        for command in ("/theme [NAME]", "/quit", "Ctrl+C"):
            assert any(row.startswith(f"  {command}") for row in chat.rows)
        assert max(map(len, chat.rows)) < columns


async def test_one_command_is_explained(tmp_path: Path) -> None:
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("/help /theme")
        await chat.sees("It is carried out at once.")
        chat.say("/help thme")
        await chat.sees("There is no command /thme")

        assert not any(row.startswith("  /quit") for row in chat.rows)
