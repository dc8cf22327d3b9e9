"""The user as MCP servers see them: fills in forms, opens pages, allows the model to be asked.

A server's text stands under its name, and nothing is sent before the user has seen it.
"""

from __future__ import annotations

import asyncio
import os
import webbrowser
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from antiphon.api.operations import Options
from antiphon.client.async_client import AsyncClient
from antiphon.mcp.client.client_features import (
    Elicitation,
    ElicitationAnswer,
    FormElicitation,
    SamplingReply,
    SamplingRequest,
    ServerLogLine,
    UrlElicitation,
    is_openable,
)
from antiphon.terminal import arguments, paging
from antiphon.terminal.forms import FormDialog
from antiphon.terminal.input.keyboard import Box, KeyChoice, Rows, in_rows
from antiphon.terminal.paging import Parts
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.ui_manager import Ui
from antiphon.types.events import MessageCompleted
from antiphon.types.messages import Blob, Link, ResultPart, Text
from antiphon.types.runs import Sampling, Status
from antiphon.types.terminal_safe import clean, one_line

# Replies of the model for MCP servers: the user agrees first, and the thread is deleted.


async def ask_to_sample(ui: Ui, wanted: SamplingRequest) -> str:
    """Ask the user. Return `n`, `y`, or `s` for the whole session."""
    whole = "\n".join(
        (
            *([f"instructions: {wanted.system}"] if wanted.system else ()),
            *(f"{each.role}: {' '.join(map(part_text, each.content))}" for each in wanted.messages),
        )
    )
    likes = f", by {' or '.join(wanted.models)} if it may choose" if wanted.models else ""
    request = f" wants an answer of the model, of at most {wanted.max_tokens} tokens{likes}:"
    head: Line = (StyledText(clean(wanted.server), "strong"), StyledText(clean(request)))
    parts = Parts(ui, head=lambda: [head], lines=lambda: arguments.paragraph(whole))
    while True:
        allowing = (
            KeyChoice("y", "yes, once"),
            KeyChoice("s", f"this session, whatever {clean(wanted.server)} asks"),
        )
        choices = (
            KeyChoice("n", "no"),
            *(allowing if parts.shown else ()),
            *parts.choices,
            KeyChoice("v", "see all of it"),
        )
        key = await ui.keyboard.choose(Box(rows=parts.rows, choices=choices, default="n"))
        match key:
            case "v":
                await paging.open_pager(ui, f"{wanted.server} asks the model", whole)
                parts.open()
            case "m":
                parts.turn()
            case "s" if not await _confirm(ui, wanted):
                pass
            case _:
                return key


async def _confirm(ui: Ui, wanted: SamplingRequest) -> bool:
    """Return True if a yes for the session is meant: a second, different key confirms it."""
    head: Sequence[Line] = [
        (
            StyledText("Then the model answers whatever "),
            StyledText(clean(wanted.server), "strong"),
            StyledText(" asks, without a question, until this chat ends."),
        )
    ]
    choices = (KeyChoice("n", "no, back"), KeyChoice("c", "confirm: this session"))
    return await ui.keyboard.choose(Box(rows=in_rows(head), choices=choices, default="n")) == "c"


# The reply.


async def sample(
    client: AsyncClient, model: str | None, wanted: SamplingRequest
) -> SamplingReply | None:
    """Return the reply of the chat's model, None if there was none.

    A server's wish for another model is ignored: the user chose this one.
    """
    thread = await client.create_thread(title=f"asked by {wanted.server}"[:100])
    options = _options(model, wanted)
    options["thread_id"] = thread.id
    # All messages as one: only a model can write an assistant's message.
    by_user = all(message.role == "user" for message in wanted.messages)
    text = "\n\n".join(
        ("" if by_user else f"{message.role}: ") + "\n".join(map(part_text, message.content))
        for message in wanted.messages
    )
    answer = ""
    try:
        async with client.converse(text, raise_on_failure=False, **options) as events:
            async for event in events:
                if isinstance(event, MessageCompleted):
                    answer = event.message.full_text
        if events.status not in (Status.COMPLETED, Status.INCOMPLETE):
            return None
        cut = events.status is Status.INCOMPLETE
        return SamplingReply(
            text=answer,
            model=model or "default",
            stop_reason="maxTokens" if cut else "endTurn",
        )
    finally:
        await client.delete_thread(thread.id)


def _options(model: str | None, wanted: SamplingRequest) -> Options:
    options = Options(
        max_turns=1,
        sampling=Sampling(
            max_output_tokens=max(1, wanted.max_tokens),
            temperature=wanted.temperature,
            stop=wanted.stop or None,
        ),
    )
    if wanted.system:
        options["instructions"] = wanted.system
    if model:
        options["model"] = model
    return options


def part_text(part: ResultPart) -> str:
    """Return text of a part, or a placeholder for other data."""
    match part:
        case Text(text=text):
            return text
        case Blob(media_type=kind, data=data):
            return f"[{kind}, {len(data)} bytes]"
        case Link(uri=uri):
            return f"[{uri}]"


# A server sends the user to a page: the whole address is shown before a browser opens it.


async def ask_to_open_page(ui: Ui, elicitation: UrlElicitation) -> ElicitationAnswer:
    """Ask whether the user visits the page; open it in a browser if wanted."""
    ui.say(f"{elicitation.server} sends you to a page: {elicitation.message}")
    ui.show([_address_line(elicitation.url)])
    may_open = is_openable(elicitation.url)
    choices = [
        KeyChoice("n", "no"),
        *([KeyChoice("o", "open it in the browser")] if may_open else []),
        KeyChoice("y", "I open it myself"),
    ]
    key = await ui.keyboard.choose(
        Box(rows=_page_rows(elicitation), choices=tuple(choices), default="n")
    )
    if key == "n":
        return ElicitationAnswer("decline")
    if key == "o" and not await asyncio.to_thread(_open_browser, elicitation.url):
        ui.say("No browser could be opened here: open the page yourself.", "warning")
    return ElicitationAnswer("accept")


def _address_line(url: str) -> Line:
    """Return the whole address with its host emphasized; text before an @ is not the host."""
    host = urlsplit(url).hostname or ""
    shown = clean(url, "approval")
    begins = shown.find("//") + 2
    ends = [at for mark in "/?#" if (at := shown.find(mark, begins)) >= 0]
    authority = shown[: min(ends, default=len(shown))]
    at = shown.lower().find(host, authority.rfind("@") + 1) if host else -1
    if at < 0:
        return (StyledText(shown),)
    end = at + len(host)
    return (StyledText(shown[:at]), StyledText(shown[at:end], "strong"), StyledText(shown[end:]))


def _page_rows(elicitation: UrlElicitation) -> Rows:
    parts = urlsplit(elicitation.url)
    lines: list[Line] = [
        (
            StyledText(clean(elicitation.server), "strong"),
            StyledText(" sends you to a page of "),
            StyledText(clean(parts.hostname or elicitation.url, "approval"), "strong"),
            StyledText(". The whole address stands above."),
        )
    ]
    if parts.username is not None:
        warning = "What stands before the @ is a name, and not where the page is."
        lines.append((StyledText(warning, "warning"),))
    return in_rows(lines)


def _open_browser(url: str) -> bool:
    """Return True if a browser has opened it; one that would take the terminal is not used."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    chosen = "BROWSER" in os.environ
    in_terminal = not chosen and type(browser) is webbrowser.GenericBrowser
    return not in_terminal and browser.open(url)


# Log lines of servers, rate-limited: a server that floods must not bury the conversation.


BURST = 20
"""Lines of one server that are shown one after the other."""
SECONDS_PER_LINE = 3.0
"""Seconds of silence that earn one more line, up to a whole burst."""
FIRST_TOLD, LAST_TOLD = 2.0, 60.0
"""Seconds until the number of lines left out is printed: doubled each time, between these."""


class LogThrottle:
    """Limits the lines of several servers, each by its own allowance. `show` prints one."""

    def __init__(self, show: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._show = show
        self._clock = clock
        self._measures: dict[str, _Allowance] = {}

    def show(self, server: str, line: str) -> None:
        """Print the line, or count it; the number of lines left out is printed later."""
        measure = self._measures.setdefault(server, _Allowance(self._clock()))
        if measure.takes_one(self._clock()):
            self._show(line)
            return
        if not measure.left_out:
            loop = asyncio.get_running_loop()
            loop.call_later(measure.patience, self._report_left_out, server, measure)
        measure.left_out += 1

    def _report_left_out(self, server: str, measure: _Allowance) -> None:
        lines = "1 line was" if measure.left_out == 1 else f"{measure.left_out:,} lines were"
        self._show(f"{server} says a lot: {lines} left out.")
        measure.reset()


class _Allowance:
    """Lines that one server may print. `patience`: seconds until lines left out are reported."""

    def __init__(self, now: float) -> None:
        self.left_out = 0
        self.patience = FIRST_TOLD
        self._may = float(BURST)
        self._heard = now

    def takes_one(self, now: float) -> bool:
        """Return True if a line is shown; after one was left out, only once that is reported."""
        silence, self._heard = now - self._heard, now
        if self.left_out:
            return False
        self._may = min(BURST, self._may + silence / SECONDS_PER_LINE)
        if self._may < 1:
            return False
        if self._may == BURST:
            self.patience = FIRST_TOLD
        self._may -= 1
        return True

    def reset(self) -> None:
        """Start counting again."""
        self.left_out = 0
        self.patience = min(2 * self.patience, LAST_TOLD)


Sampler = Callable[[SamplingRequest], Awaitable[SamplingReply | None]]
"""Has the chat's model reply to a server; the user has agreed to it."""

_TROUBLE = ("warning", "error", "critical", "alert", "emergency")


class ServerRequestHandler:
    """Answers requests of the chat's servers, one question at a time.

    Without a `sampler`, servers cannot ask the model. `verbose` prints everything that servers log.
    """

    asks = True

    def __init__(self, ui: Ui, sampler: Sampler | None = None, *, verbose: bool = False) -> None:
        self._ui = ui
        self._sampler = sampler
        self._verbose = verbose
        self._may_sample: set[str] = set()
        self._chatter = LogThrottle(self._note, ui.clock)

    @property
    def samples(self) -> bool:
        """True if servers may ask for replies of the model."""
        return self._sampler is not None

    async def ask(self, question: Elicitation) -> ElicitationAnswer:
        """Return the user's answer. Cancelling removes the question."""
        async with self._ui.question_lock:
            match question:
                case FormElicitation():
                    return await FormDialog(self._ui, question).answer()
                case UrlElicitation():
                    return await ask_to_open_page(self._ui, question)

    async def sample(self, wanted: SamplingRequest) -> SamplingReply | None:
        """Return the model's reply, if the user allows it."""
        if self._sampler is None or not await self._is_sampling_allowed(wanted):
            return None
        self._note(f"{wanted.server} asks the model.")
        return await self._sampler(wanted)

    def log(self, line: ServerLogLine) -> None:
        """Print warnings and errors; with `verbose`, everything."""
        if self._verbose or line.level in _TROUBLE:
            where = f"{line.server} ({line.logger})" if line.logger else line.server
            self._chatter.show(line.server, f"{where}: {line.level}: {line.text}")

    def resource_updated(self, server: str, uri: str) -> None:
        """Note that the resource has changed."""
        self._chatter.show(server, f"{server}: {uri} has changed.")

    def elicitation_completed(self, server: str, id: str) -> None:
        """Note that nothing is left to do at the page."""
        self._chatter.show(server, f"{server}: what you were sent to a page for is done.")

    def _note(self, text: str) -> None:
        self._ui.say(one_line(text), "faint")

    async def _is_sampling_allowed(self, wanted: SamplingRequest) -> bool:
        if wanted.server in self._may_sample:
            return True
        async with self._ui.question_lock:
            key = await ask_to_sample(self._ui, wanted)
        if key == "s":
            self._may_sample.add(wanted.server)
        return key in ("y", "s")
