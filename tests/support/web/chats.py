"""The web chat in a browser: a page of a real `antiphon up`, with a model whose replies a test
sends.

    async def test_an_answer_is_seen(chat):
        await chat.say("Hello")
        reply = await chat.model.next_request()
        await reply.answer("Hi there.")
        await chat.sees("Hi there.")
        await chat.wait_until_idle()

At the end of each test the page must have no hidden faults: no report of its content policy, no
error in its console, no request to another host.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from weakref import WeakKeyDictionary

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    ViewportSize,
    expect,
)

from antiphon import AsyncClient
from tests.support import fork_server
from tests.support.ports import find_port, is_free
from tests.support.terminal.model import Model
from tests.support.web.browser import open_context

SECONDS = 60.0
expect.set_options(timeout=SECONDS * 1000)
FOLDERS = ("CONFIG", "DATA", "CACHE", "STATE")
USUAL: ViewportSize = {"width": 1280, "height": 720}
NO_FAULTS = ("Failed to load resource", "net::ERR_")
"""Errors that the console reports for a connection that a test has cut, or for error responses."""
WATCH = """
window.reports = [];
document.addEventListener("securitypolicyviolation", (report) =>
  window.reports.push(`${report.violatedDirective}: ${report.blockedURI} ${report.sample}`));
"""


class Installation:
    """`antiphon up` with its own home; after a restart it has the same address.

    `command` may be `web` or `serve` instead.
    """

    def __init__(
        self,
        home: Path,
        *flags: str,
        environ: Mapping[str, str] | None = None,
        command: str = "up",
        port: int = 0,
    ) -> None:
        self.url = ""
        self._home = home
        self._flags = flags
        self._command = command
        self._environ = environ or {}
        self.port = port or find_port()
        self._child: fork_server.Child | None = None

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def begin(self) -> None:
        """Start it, and wait until it listens."""
        read_end, write_end = os.pipe()
        devnull = os.open(os.devnull, os.O_RDWR)
        folders = {f"XDG_{name}_HOME": str(self._home / name.lower()) for name in FOLDERS}
        base_environ = {"PATH": os.environ["PATH"], "HOME": str(self._home), "LANG": "C.UTF-8"}
        arguments = [self._command, "--port", str(self.port), *self._flags]
        environ = {**base_environ, **folders, **self._environ}
        try:
            self._child = await fork_server.start_fork(
                arguments, self._home, environ, (devnull, devnull, write_end)
            )
        finally:
            os.close(write_end)
            os.close(devnull)
        self._stderr = await _open_reader(read_end)
        self.url = await self._address()
        self.port = int(self.url.rsplit(":", 1)[1])

    async def kill(self) -> None:
        """Kill it with SIGKILL."""
        await self.end(signal.SIGKILL)

    async def end(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Stop it with a signal, and wait for its end."""
        if self._child is None:
            return
        os.kill(self._child.pid, by)
        await self._child.wait()
        self._child = None

    async def _address(self) -> str:
        output_lines: list[str] = []
        async with asyncio.timeout(SECONDS):
            async for line in self._stderr:
                output_lines.append(line.decode())
                if match := re.search(r"listening on (http://\S+)", output_lines[-1]):
                    return match[1]
        raise AssertionError(f"never listened; it said:\n{''.join(output_lines)}")


async def wait_until(page: Page, condition: str, argument: Any = None) -> None:
    """Wait until a function of the page returns a true value, or a promise of one.

    `Page.wait_for_function` would have the page evaluate text, which its content policy forbids.
    """
    poll = f"""async (argument) => {{
      const condition = {condition};
      while (!(await condition(argument))) await new Promise((go) => setTimeout(go, 20));
    }}"""
    async with asyncio.timeout(SECONDS):
        await page.evaluate(poll, argument)


class Chat:
    """A tab of the browser."""

    def __init__(self, up: Installation, model: Model, context: BrowserContext, page: Page) -> None:
        self.up = up
        self.model = model
        self.context = context
        self.page = page
        self.faults: list[str] = []
        page.set_default_timeout(SECONDS * 1000)
        self._listeners = {
            "console": lambda message: self._note_console(message.type, message.text),
            "pageerror": lambda error: self.faults.append(f"error: {error}"),
        }
        for event, listener in self._listeners.items():
            page.on(event, listener)

    def leave(self) -> None:
        """Stop recording faults of the page."""
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)

    async def open(self, path: str = "/") -> None:
        """Open this path of the web chat."""
        await self.page.goto(self.up.url + path)
        await self.page.wait_for_selector("#composer, .login, .lost, .page")

    async def tab(self, path: str = "/") -> Chat:
        """Open another tab of the same browser."""
        other = Chat(self.up, self.model, self.context, await self.context.new_page())
        other.faults = self.faults
        await other.open(path)
        return other

    @property
    def composer(self) -> Locator:
        """The text field for messages."""
        return self.page.locator("#composer")

    @property
    def answers(self) -> Locator:
        """The messages of assistants."""
        return self.page.locator(".message.assistant")

    @property
    def asked(self) -> Locator:
        """The messages of the user."""
        return self.page.locator(".message.user")

    @property
    def thread(self) -> str:
        """The id of the open thread."""
        match = re.search(r"/t/([^/?#]+)", self.page.url)
        assert match, f"no thread is open at {self.page.url}"
        return match[1]

    async def say(self, text: str) -> None:
        """Write a message and send it."""
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def exchange(self, text: str, answer: str) -> None:
        """Send this text and have the model answer."""
        await self.say(text)
        await (await self.model.next_request()).answer(answer)
        await self.sees(answer)
        await self.wait_until_idle()

    async def sees(self, text: str) -> None:
        """Wait until the conversation contains this text."""
        await expect(self.page.locator("#conversation")).to_contain_text(text)

    async def wait_until(self, condition: str) -> None:
        """Wait until a function of the page returns a true value."""
        await wait_until(self.page, condition)

    async def wait_until_idle(self) -> None:
        """Wait until no run is in progress."""
        await expect(self.page.locator("#conversation")).to_have_attribute("aria-busy", "false")

    async def fetch_messages(self, thread: str | None = None) -> list[dict[str, Any]]:
        """Return the messages that the server has stored."""
        address = f"{self.up.url}/api/threads/{thread or self.thread}/messages"
        answer = await self.context.request.get(address)
        assert answer.ok, await answer.text()
        return (await answer.json())["messages"]

    async def read_messages(self) -> list[tuple[str, str]]:
        """Return role and exact text of each message on the page.

        A message that was never painted, such as in a hidden tab, has no text yet.
        """
        await self.page.bring_to_front()
        await self.page.evaluate(PAINTED)
        return await self.page.evaluate(SHOWN)

    async def faultless(self) -> None:
        """Check that the page had no hidden faults."""
        page_reports = ([], [], []) if self.page.is_closed() else await self.page.evaluate(REPORTS)
        reports, requests, stray = page_reports
        previews = self.up.url.replace("127.0.0.1", "artifacts.localhost") + "/artifact/"
        own_prefixes = (self.up.url, previews, "data:", "blob:", "about:")
        foreign = [f"request: {url}" for url in requests if not url.startswith(own_prefixes)]

        assert self.faults + reports + foreign + stray == []

    def _note_console(self, kind: str, text: str) -> None:
        if kind == "error" and not any(known in text for known in NO_FAULTS):
            self.faults.append(f"console: {text}")


REPORTS = """() => {
  const stray = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { data, parentElement } = texts.currentNode;
    const isValue = /^(0|NaN|false|null|undefined|\\[object Object\\])$/.test(data);
    if (isValue && parentElement.children.length)
      stray.push(`text: ${data} in ${parentElement.className || parentElement.tagName}`);
  }
  const requested = performance.getEntriesByType("resource").map((entry) => entry.name);
  return [window.reports ?? [], requested, stray];
}"""
"""Reports of the content policy, every address that the page requested, and values of conditions
that stand between elements as if they were text.

A listener for requests would cost a message of the browser for each of the page's 120 files.
"""
PAINTED = """() => new Promise((painted) =>
  requestAnimationFrame(() => requestAnimationFrame(painted)))"""
SHOWN = """() => [...document.querySelectorAll(".message")].map((message) => [
  message.classList.contains("user") ? "user" : "assistant",
  [...message.querySelectorAll(".message-text")]
    .map((text) => text.innerText.trim()).join("\\n\\n"),
])"""


def as_shown(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return messages of the server in the form of `Chat.read_messages`."""
    return [[message["role"], "\n\n".join(_texts(message))] for message in messages]


def _texts(message: dict[str, Any]) -> list[str]:
    return [part["text"] for part in message["parts"] if part["type"] == "text"]


@asynccontextmanager
async def chatting(
    chromium: Browser,
    home: Path,
    *flags: str,
    environ: Mapping[str, str] | None = None,
    fresh: bool = False,
) -> AsyncGenerator[Chat]:
    """Yield a page of a new installation with these flags, at an empty chat.

    The browser keeps only its cache from the test before; for the cache's sake all installations
    have the same address. With `fresh` the context is new too, for tests that change more of it
    than `_reset_context` resets, such as its clock.
    """
    async with AsyncExitStack() as stack:
        free_places = None if fresh else _free_places.setdefault(chromium, [_Place()])
        place = free_places.pop() if free_places else _Place()
        if free_places is not None:
            stack.callback(free_places.append, place)
        model = await stack.enter_async_context(Model())
        place.port = place.port if is_free(place.port) else find_port()
        up = Installation(home, *_model_flags(model), *flags, environ=environ, port=place.port)
        await stack.enter_async_context(up)
        if place.context is None:
            place.context = await chromium.new_context(service_workers="block")
            await place.context.add_init_script(WATCH)
        if free_places is None:
            stack.push_async_callback(place.context.close)
        page = await _reset_context(place.context, up.url)
        yield await stack.enter_async_context(_open_chat(Chat(up, model, place.context, page)))


LOOK = '''
import asyncio
from pathlib import Path

from antiphon import tool


@tool
async def look(at: str) -> str:
    """Look at a place, as soon as there is something."""
    path = Path(at)
    while not path.exists() or not path.stat().st_size:
        await asyncio.sleep(0.02)
    return path.read_text()
'''
"""A module with a tool whose call goes on until a test writes a file: the file is its output."""


@dataclass
class _Place:
    """A context of the browser and a port, which tests use one after the other."""

    port: int = 0
    context: BrowserContext | None = None


_free_places: WeakKeyDictionary[Browser, list[_Place]] = WeakKeyDictionary()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Installation, Model]]:
    """An installation for many tests: emptying it is faster than starting another."""
    home = tmp_path_factory.mktemp("shared")
    async with Model() as model, Installation(home, *_model_flags(model), "--no-servers") as up:
        yield up, model


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def returning(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """A context for many tests: from its cache the page loads in a third of the time."""
    async with open_context(chromium) as context:
        await context.add_init_script(WATCH)
        yield context


@pytest_asyncio.fixture(loop_scope="session")
async def chat(
    returning: BrowserContext, shared: tuple[Installation, Model]
) -> AsyncIterator[Chat]:
    """A page at an empty chat.

    Other tests have used its installation and browser before; of them only the usage and the
    browser's cache remain. Tests that read the usage, create a key (which requires one from then
    on), end the server or change the browser's clock use `chatting` instead.
    """
    up, model = shared
    page = await _reset_context(returning, up.url)
    await _empty(up.url)
    await model.forget()
    async with _open_chat(Chat(up, model, returning, page)) as chat:
        yield chat


async def _reset_context(context: BrowserContext, url: str) -> Page:
    """Reset the context to one new page, and delete all data of this address but the cache."""
    page, *others = context.pages or [await context.new_page()]
    for other in others:
        await other.close()
    await context.unroute_all()
    await context.clear_permissions()
    await context.clear_cookies()
    await page.unroute_all()
    await page.set_viewport_size(USUAL)
    # Each frame of an animation costs processor time.
    await page.emulate_media(media="null", color_scheme="null", reduced_motion="reduce")
    await page.mouse.move(0, 0)
    # This ends everything of the test before. The file has the opener policy of the page: another
    # policy would start two new processes of the browser, without compiled code.
    await page.goto(f"{url}/manifest.webmanifest")
    await page.evaluate("sessionStorage.clear()")
    session = await context.new_cdp_session(page)
    await session.send("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "all"})
    await session.detach()
    return page


@asynccontextmanager
async def _open_chat(chat: Chat) -> AsyncGenerator[Chat]:
    try:
        await chat.open()
        yield chat
        await chat.faultless()
    finally:
        chat.leave()


def _model_flags(model: Model) -> tuple[str, ...]:
    return ("--base-url", model.url, "--model", "told")


async def _empty(url: str) -> None:
    """Cancel all runs there, and delete all data of users."""
    async with AsyncClient(url) as client, asyncio.timeout(SECONDS):
        while live := (await client.list_live_runs()).data:
            for each in live:
                await client.cancel_run(each.run.id)
        while threads := (await client.list_threads(limit=100)).data:
            for thread in threads:
                await client.delete_thread(thread.id)
        await client.delete_memories()
        await client.update_personal_settings(
            instructions="", instructions_enabled=True, memory_enabled=True
        )
        for assistant in (await client.list_assistants(limit=100)).data:
            await client.delete_assistant(assistant.id)
        for folder in (await client.list_folders(limit=100)).data:
            await client.delete_folder(folder.id)


async def _open_reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    return reader
