"""Takes the pictures of the web chat: drives it in a browser, and keeps what is seen.

    .venv/bin/python docs/images/web.py

The model's words are in this file; the page, the server and the tools are the real ones.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

IMAGES = Path(__file__).parent
sys.path.insert(0, str(IMAGES.parents[1]))

from playwright.async_api import Browser  # noqa: E402

from tests.support.terminal.model import Model  # noqa: E402
from tests.support.web.browser import find_chromium, open_context, running  # noqa: E402
from tests.support.web.chats import Chat, Installation  # noqa: E402

Scene = Callable[[Chat], Awaitable[None]]
Size = dict[str, int]

WIDE: Size = {"width": 1180, "height": 1090}
PHONE: Size = {"width": 390, "height": 800}
FLIGHT = {"departure": "LAX", "arrival": "JFK"}
ANSWER = """\
The next flight leaves at **16:35** and lands at 00:55, so it takes 5 hours and 20 minutes with \
the three hours between the coasts:

| | leaves | lands |
| --- | ---: | ---: |
| AA 10 | 16:35 | 00:55 |

If you like to hear of changes:

```python
def watch(flight: str, every: timedelta = timedelta(minutes=5)) -> Iterator[Change]:
    while True:
        yield from changes_of(flight)
        sleep(every.total_seconds())
```
"""
TOOLS = '''\
from antiphon import tool


@tool
def send_mail(to: str, subject: str, body: str) -> str:
    """Send a mail from your account."""
    return "sent"
'''


async def conversation(chat: Chat) -> None:
    """A question, a tool, an answer."""
    await chat.say("When does the next flight from LAX to JFK leave, and how long does it take?")
    reply = await chat.model.next_request()
    await reply.think("A tool knows the timetable. Then I only have to count the hours.")
    await reply.call("get_flight_times", FLIGHT, id="c1")
    await reply.end("tool_calls", usage=(412, 38))
    reply = await chat.model.next_request()
    await reply.answer(ANSWER, usage=(520, 176))
    await chat.wait_until_idle()


async def approval(chat: Chat) -> None:
    """A call that waits for a person."""
    await chat.say("Book the later one, and write to Ada that I land at one.")
    reply = await chat.model.next_request()
    await reply.say("I will write to Ada. The booking has to wait for your card.")
    call = {
        "to": "ada@example.org",
        "subject": "I land at 00:55",
        "body": "See you at JFK, exit B.",
    }
    await reply.call("send_mail", call, id="c2")
    await reply.end("tool_calls", usage=(640, 61))
    await chat.page.wait_for_selector(".approval")


async def main() -> None:
    """Take them all."""
    program = find_chromium() or sys.exit("Chromium is not here.")
    async with running(program) as chromium:
        await _take_pictures(
            chromium, "light", WIDE, {"web-chat": conversation, "web-approval": approval}
        )
        await _take_pictures(chromium, "dark", WIDE, {"web-dark": conversation})
        await _take_pictures(chromium, "light", PHONE, {"web-phone": conversation})


def _write_tools(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


async def _take_pictures(
    chromium: Browser, scheme: str, size: Size, scenes: dict[str, Scene]
) -> None:
    with tempfile.TemporaryDirectory() as home:
        tools = _write_tools(Path(home, "tools.py"), TOOLS)
        named = ("--tools", f"{tools}", "--tools", "antiphon.tools.samples", "--ask", "send_mail")
        async with Model() as model:
            model.names = ["qwen3"]
            asked = ("--base-url", model.url, "--model", "qwen3", "--no-servers", *named)
            async with Installation(Path(home), *asked) as up, open_context(chromium) as context:
                page = await context.new_page()
                await page.set_viewport_size(size)
                await page.emulate_media(color_scheme=scheme)
                chat = Chat(up, model, context, page)
                await chat.open()
                for name, scene in scenes.items():
                    await scene(chat)
                    await page.wait_for_timeout(500)  # until what fades in has
                    await page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    asyncio.run(main())
