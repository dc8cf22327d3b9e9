"""The web chat as people meet it: a page in a browser, on a real `antiphon up`, with a model that a
test speaks for.

    async def test_an_answer_is_seen(chat):
        await chat.say("Hello")
        reply = await chat.model.next_request()
        await reply.answer("Hi there.")
        await chat.sees("Hi there.")
        await chat.wait_until_idle()

At the end of each test nothing may have gone wrong behind the page: no report of its content
policy, no error in its console, no request to another host.
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
"""What a console says of a network that a test has cut, or of an answer that is a refusal."""
WATCH = """
window.reports = [];
document.addEventListener("securitypolicyviolation", (report) =>
  window.reports.push(`${report.violatedDirective}: ${report.blockedURI} ${report.sample}`));
"""


class Installation:
    """`antiphon up` in a home of its own. Killed and begun again it is at the same address.

    Or `web` or `serve`, as `command` says.
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
        """Start, and wait until it can be connected to."""
        out, into = os.pipe()
        nothing = os.open(os.devnull, os.O_RDWR)
        folders = {f"XDG_{name}_HOME": str(self._home / name.lower()) for name in FOLDERS}
        kept = {"PATH": os.environ["PATH"], "HOME": str(self._home), "LANG": "C.UTF-8"}
        arguments = [self._command, "--port", str(self.port), *self._flags]
        environ = {**kept, **folders, **self._environ}
        try:
            self._child = await fork_server.start_fork(
                arguments, self._home, environ, (nothing, nothing, into)
            )
        finally:
            os.close(into)
            os.close(nothing)
        self._told = await _reading(out)
        self.url = await self._address()
        self.port = int(self.url.rsplit(":", 1)[1])

    async def kill(self) -> None:
        """As if the power went."""
        await self.end(signal.SIGKILL)

    async def end(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Stop, and wait until it has."""
        if self._child is None:
            return
        os.kill(self._child.pid, by)
        await self._child.wait()
        self._child = None

    async def _address(self) -> str:
        said: list[str] = []
        async with asyncio.timeout(SECONDS):
            async for line in self._told:
                said.append(line.decode())
                if found := re.search(r"listening on (http://\S+)", said[-1]):
                    return found[1]
        raise AssertionError(f"never listened; it said:\n{''.join(said)}")


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
    """One tab."""

    def __init__(self, up: Installation, model: Model, context: BrowserContext, page: Page) -> None:
        self.up = up
        self.model = model
        self.context = context
        self.page = page
        self.faults: list[str] = []
        page.set_default_timeout(SECONDS * 1000)
        self._listeners = {
            "console": lambda said: self._note_console(said.type, said.text),
            "pageerror": lambda error: self.faults.append(f"error: {error}"),
        }
        for event, listener in self._listeners.items():
            page.on(event, listener)

    def leave(self) -> None:
        """Take no more notice of what happens in the page."""
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)

    async def open(self, path: str = "/") -> None:
        """Go to this address of the page."""
        await self.page.goto(self.up.url + path)
        await self.page.wait_for_selector("#composer, .login, .lost, .page")

    async def tab(self, path: str = "/") -> Chat:
        """Another tab of the same browser."""
        other = Chat(self.up, self.model, self.context, await self.context.new_page())
        other.faults = self.faults
        await other.open(path)
        return other

    @property
    def composer(self) -> Locator:
        """Where one writes."""
        return self.page.locator("#composer")

    @property
    def answers(self) -> Locator:
        """All that assistants said, a message each."""
        return self.page.locator(".message.assistant")

    @property
    def asked(self) -> Locator:
        """All that the person said."""
        return self.page.locator(".message.user")

    @property
    def thread(self) -> str:
        """The id of the thread that is open."""
        found = re.search(r"/t/([^/?#]+)", self.page.url)
        assert found, f"no thread is open at {self.page.url}"
        return found[1]

    async def say(self, text: str) -> None:
        """Write and send."""
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def sees(self, text: str) -> None:
        """Wait until this stands in the conversation."""
        await expect(self.page.locator("#conversation")).to_contain_text(text)

    async def wait_until(self, condition: str) -> None:
        """Wait until a function of the page returns a true value."""
        await wait_until(self.page, condition)

    async def wait_until_idle(self) -> None:
        """Wait until no run goes on."""
        await expect(self.page.locator("#conversation")).to_have_attribute("aria-busy", "false")

    async def fetch_messages(self, thread: str | None = None) -> list[dict[str, Any]]:
        """The messages as the server has them."""
        address = f"{self.up.url}/api/threads/{thread or self.thread}/messages"
        answer = await self.context.request.get(address)
        assert answer.ok, await answer.text()
        return (await answer.json())["messages"]

    async def read_messages(self) -> list[tuple[str, str]]:
        """The messages as they are read: who speaks, and the text, to the character.

        What was never painted, as in a tab that nobody sees, has no text yet.
        """
        await self.page.bring_to_front()
        await self.page.evaluate(PAINTED)
        return await self.page.evaluate(SHOWN)

    async def faultless(self) -> None:
        """Nothing went wrong behind the page."""
        found = ([], [], []) if self.page.is_closed() else await self.page.evaluate(REPORTS)
        reports, asked, stray = found
        previews = self.up.url.replace("127.0.0.1", "artifacts.localhost") + "/artifact/"
        own = (self.up.url, previews, "data:", "blob:", "about:")
        foreign = [f"request: {url}" for url in asked if not url.startswith(own)]

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
  const asked = performance.getEntriesByType("resource").map((entry) => entry.name);
  return [window.reports ?? [], asked, stray];
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
    """Messages of the server as `Chat.read_messages` gives those of the page."""
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
    """A page on an installation of its own with these flags, at an empty chat.

    The browser keeps nothing of the test before but its cache, for which all of them have one
    address. With `fresh` the context is new too: for a test that changes more of it than
    `_forgetful` takes back, such as its clock.
    """
    async with AsyncExitStack() as stack:
        place = None if fresh else _free_places.setdefault(chromium, [_Place()])
        own = place.pop() if place else _Place()
        if place is not None:
            stack.callback(place.append, own)
        model = await stack.enter_async_context(Model())
        own.port = own.port if is_free(own.port) else find_port()
        up = Installation(home, *_model_flags(model), *flags, environ=environ, port=own.port)
        await stack.enter_async_context(up)
        if own.context is None:
            own.context = await chromium.new_context(service_workers="block")
            await own.context.add_init_script(WATCH)
        if place is None:
            stack.push_async_callback(own.context.close)
        page = await _forgetful(own.context, up.url)
        yield await stack.enter_async_context(_at(Chat(up, model, own.context, page)))


@dataclass
class _Place:
    """A browser's context and a port, which tests use one after the other."""

    port: int = 0
    context: BrowserContext | None = None


_free_places: WeakKeyDictionary[Browser, list[_Place]] = WeakKeyDictionary()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Installation, Model]]:
    """An installation for many tests: to start one takes longer than to empty it."""
    home = tmp_path_factory.mktemp("shared")
    async with Model() as model, Installation(home, *_model_flags(model), "--no-servers") as up:
        yield up, model


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def returning(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """A context for many tests: in it the page is loaded in a third of the time, from its cache."""
    async with open_context(chromium) as context:
        await context.add_init_script(WATCH)
        yield context


@pytest_asyncio.fixture(loop_scope="session")
async def chat(
    returning: BrowserContext, shared: tuple[Installation, Model]
) -> AsyncIterator[Chat]:
    """A page at an empty chat.

    Its installation has been used before, and so has its browser; of that nothing is left but usage
    and the browser's cache. Who looks at usage, makes a key (then one is asked for), ends the
    server or changes the browser's clock has one of their own, by `chatting`.
    """
    up, model = shared
    page = await _forgetful(returning, up.url)
    await _empty(up.url)
    await model.forget()
    async with _at(Chat(up, model, returning, page)) as chat:
        yield chat


async def _forgetful(context: BrowserContext, url: str) -> Page:
    """The only page of this context, as if it were new: only the cache is left of that address."""
    page, *others = context.pages or [await context.new_page()]
    for other in others:
        await other.close()
    await context.unroute_all()
    await context.clear_permissions()
    await context.clear_cookies()
    await page.unroute_all()
    await page.set_viewport_size(USUAL)
    # Each picture of a sign that moves while something goes on costs the processor.
    await page.emulate_media(media="null", color_scheme="null", reduced_motion="reduce")
    await page.mouse.move(0, 0)
    # Nothing of the test before goes on. This file has the opener policy of the page: another one
    # would cost two processes of the browser, which start without what was compiled.
    await page.goto(f"{url}/manifest.webmanifest")
    await page.evaluate("sessionStorage.clear()")
    session = await context.new_cdp_session(page)
    await session.send("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "all"})
    await session.detach()
    return page


@asynccontextmanager
async def _at(chat: Chat) -> AsyncGenerator[Chat]:
    try:
        await chat.open()
        yield chat
        await chat.faultless()
    finally:
        chat.leave()


def _model_flags(model: Model) -> tuple[str, ...]:
    return ("--base-url", model.url, "--model", "told")


async def _empty(url: str) -> None:
    """End what runs there, and delete all that people make."""
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


async def _reading(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    return reader
