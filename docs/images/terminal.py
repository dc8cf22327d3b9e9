"""Takes the pictures of the terminal chat: drives it in a terminal, and writes what is seen as SVG.

    .venv/bin/python docs/images/terminal.py

The model's words are in this file; the chat, its tools and the terminal are the real ones.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from html import escape
from pathlib import Path

from wcwidth import wcswidth

IMAGES = Path(__file__).parent
sys.path.insert(0, str(IMAGES.parents[1]))

from tests.support.terminal.chatting import Chatting  # noqa: E402
from tests.support.terminal.emulator import Screen  # noqa: E402
from tests.support.terminal.model import Model, Reply  # noqa: E402

CELL, LINE, MARGIN = 8.4, 18, 16
INK = {
    "default": "#d8dee9",
    "black": "#3b4252",
    "red": "#e5707b",
    "green": "#a3be8c",
    "brown": "#ebcb8b",
    "blue": "#81a1c1",
    "magenta": "#c39ac9",
    "cyan": "#88c0d0",
    "white": "#e5e9f0",
    "brightblack": "#7b88a1",
}
PAPER = "#242933"
TOOLS = '''\
import asyncio

from antiphon import tool


@tool
async def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    """When flights leave."""
    await asyncio.sleep(60 if departure == "SFO" else 0.1)
    return {"AA 10": "08:00", "DL 424": "11:30"}


@tool
async def get_weather(city: str) -> str:
    """The weather in a city."""
    await asyncio.sleep(60 if city == "Boston" else 0.1)
    return "18 degrees, a few clouds"


@tool
def book_flight(flight: str, passenger: str) -> str:
    """Book a seat."""
    return "booked"
'''

Scene = Callable[[Model, Chatting], Awaitable[None]]


async def a_chat(model: Model, chat: Chatting) -> None:
    """An answer half written, above a line that is being typed."""
    chat.say("How do I read a file line by line in Python?")
    reply = await model.next_request()
    await reply.say(
        "Open it and **iterate**: a file object gives one line at a time, so that even a huge"
        " file needs little memory.\n\n```python\nfrom pathlib import Path\n\n"
        'def lines(path: Path):\n    """Each line, without its line feed."""\n'
        '    with path.open(encoding="utf-8") as file:\n        for line in file:\n'
        '            yield line.rstrip("\\n")\n```\n\n'
        "| way | memory | when |\n| --- | --- | --- |\n"
        "| `for line in file` | one line | nearly always |\n"
        "| `file.readlines()` | all of it | small files |\n\n"
    )
    await reply.say("Two things to keep in mind:\n\n1. Name the *encoding*.\n2. Let `with` close")
    await chat.sees("Let with close")
    chat.type("and what about")
    await chat.sees("and what about")


async def parallel_tools(model: Model, chat: Chatting) -> None:
    """Four calls: two have their results, two run."""
    chat.say("When can I fly to New York, and how is the weather on the way?")
    reply = await model.next_request()
    await reply.say("I will look up both.")
    await _call(reply, 0, "get_flight_times", {"departure": "LAX", "arrival": "JFK"})
    await _call(reply, 1, "get_flight_times", {"departure": "SFO", "arrival": "JFK"})
    await _call(reply, 2, "get_weather", {"city": "New York"})
    await _call(reply, 3, "get_weather", {"city": "Boston"})
    await reply.end("tool_calls")
    await chat.sees("18 degrees")
    await asyncio.sleep(2)


async def an_approval(model: Model, chat: Chatting) -> None:
    """A call that waits for a person's word."""
    chat.say("Book me on the morning flight.")
    reply = await model.next_request()
    await reply.say("AA 10 leaves at 08:00. I will book it.")
    await _call(reply, 0, "book_flight", {"flight": "AA 10", "passenger": "Ada Lovelace"})
    await reply.end("tool_calls")
    await chat.sees("no")
    await asyncio.sleep(0.5)


async def reasoning(model: Model, chat: Chatting) -> None:
    """A model that thinks."""
    chat.say("Is 2027 a prime number?")
    reply = await model.next_request()
    for part in (
        "To see whether 2027 is prime, it is enough to try the primes up to its square root,",
        " which is just above 45: 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41 and 43. It is",
        " odd. Its digits add up to 11, so 3 does not divide it. It does not end in 0 or 5.",
        " 7 times 289 is 2023, which leaves 4. 11 times 184 is 2024, which leaves 3. ",
    ):
        await reply.think(part)
    await chat.sees("leaves 3")
    await asyncio.sleep(1.2)


async def _call(reply: Reply, index: int, name: str, arguments: object) -> None:
    await reply.call(name, arguments, id=f"call-{index}", index=index)


SCENES: dict[str, tuple[Scene, tuple[str, ...]]] = {
    "terminal-chat": (a_chat, ()),
    "terminal-tools": (parallel_tools, ()),
    "terminal-approval": (an_approval, ("--ask", "book_flight")),
    "terminal-reasoning": (reasoning, ()),
}


async def take_picture(scene: Scene, flags: tuple[str, ...]) -> str:
    """The picture of a scene."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "travel.py").write_text(TOOLS)
        flags = ("--tools", "travel.py", "--theme", "dark", *flags)
        async with Model() as model, Chatting(model, *flags, home=home, columns=86) as chat:
            await chat.ready()
            await scene(model, chat)
            await asyncio.sleep(0.3)
            return svg(chat.emulator.screen)


def svg(screen: Screen) -> str:
    """Return the screen as SVG."""
    used = max((at for at, row in enumerate(screen.display) if row.strip()), default=0) + 1
    width = screen.columns * CELL + 2 * MARGIN
    height = used * LINE + 2 * MARGIN
    rows = "\n".join(_row(screen, at) for at in range(used))
    cursor = _cursor(screen)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" height="{height:g}" font-family="ui-monospace, SFMono-Regular,'
        f' Menlo, Consolas, monospace" font-size="14" xml:space="preserve">\n'
        f'<rect width="100%" height="100%" rx="10" fill="{PAPER}"/>\n{cursor}{rows}\n</svg>\n'
    )


def _cursor(screen: Screen) -> str:
    if screen.cursor.hidden:
        return ""
    x, y = MARGIN + screen.cursor.x * CELL, MARGIN + screen.cursor.y * LINE
    return f'<rect x="{x:g}" y="{y:g}" width="{CELL}" height="{LINE}" fill="#4c566a"/>\n'


def _row(screen: Screen, at: int) -> str:
    y = MARGIN + at * LINE + 14
    return "".join(
        f'<text x="{MARGIN + column * CELL:g}" y="{y}" textLength="{wcswidth(text) * CELL:g}"'
        f"{look}>{escape(text)}</text>"
        for column, text, look in _runs(screen, at)
        if text.strip()
    )


def _runs(screen: Screen, at: int) -> Iterator[tuple[int, str, str]]:
    """Pieces of a row that look alike, each with the column where it begins."""
    row = screen.buffer[at]
    begun, text, look = 0, "", ""
    for column in range(screen.columns):
        cell = row[column]
        looks = _look(cell.fg, bold=cell.bold, italic=cell.italics, line=cell.underscore)
        if looks != look:
            if text:
                yield begun, text, look
            begun, text, look = column, "", looks
        text += cell.data
    if text.rstrip():
        yield begun, text.rstrip(), look


def _look(ink: str, *, bold: bool, italic: bool, line: bool) -> str:
    color = INK.get(ink, f"#{ink}" if len(ink) == 6 else INK["default"])
    return (
        f' fill="{color}"'
        + (' font-weight="bold"' if bold else "")
        + (' font-style="italic"' if italic else "")
        + (' text-decoration="underline"' if line else "")
    )


async def main() -> None:
    """Take them all."""
    for name, (scene, flags) in SCENES.items():
        (IMAGES / f"{name}.svg").write_text(await take_picture(scene, flags), encoding="utf-8")
        print(IMAGES / f"{name}.svg")


if __name__ == "__main__":
    asyncio.run(main())
