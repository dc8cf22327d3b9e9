"""The person at the ui, as the servers of the chat have them.

They fill in forms, go to pages and let the model be asked. A server's words stand under its name,
and nothing is sent before the person has seen what.
"""

from __future__ import annotations

import asyncio
import os
import webbrowser
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

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
from antiphon.terminal.forms import FormDialog
from antiphon.terminal.input.keyboard import Box, Choice, Rows, in_rows
from antiphon.terminal.sampling import ask_to_sample
from antiphon.terminal.spans import Line, Span
from antiphon.terminal.ui import Ui
from antiphon.types.terminal_safe import clean, one_line

# A server sends the person to a page: they see the whole address before anything opens it.


async def ask_to_open_page(ui: Ui, asked: UrlElicitation) -> ElicitationAnswer:
    """Whether the person goes to the page, which they may have opened."""
    ui.say(f"{asked.server} sends you to a page: {asked.message}")
    ui.show([_address_line(asked.url)])
    may_open = is_openable(asked.url)
    choices = [
        Choice("n", "no"),
        *([Choice("o", "open it in the browser")] if may_open else []),
        Choice("y", "I open it myself"),
    ]
    key = await ui.keyboard.choose(Box(rows=_page_rows(asked), choices=tuple(choices), default="n"))
    if key == "n":
        return ElicitationAnswer("decline")
    if key == "o" and not await asyncio.to_thread(_open_browser, asked.url):
        ui.say("No browser could be opened here: open the page yourself.", "warning")
    return ElicitationAnswer("accept")


def _address_line(url: str) -> Line:
    """The whole address, its host standing out: what stands before an @ is none."""
    host = urlsplit(url).hostname or ""
    shown = clean(url, "approval")
    at = shown.lower().find(host, shown.rfind("@", 0, _path_start(shown)) + 1) if host else -1
    if at < 0:
        return (Span(shown),)
    end = at + len(host)
    return (Span(shown[:at]), Span(shown[at:end], "strong"), Span(shown[end:]))


def _path_start(url: str) -> int:
    """Where the part behind the host begins."""
    begins = url.find("//") + 2
    ends = [at for mark in "/?#" if (at := url.find(mark, begins)) >= 0]
    return min(ends, default=len(url))


def _page_rows(asked: UrlElicitation) -> Rows:
    parts = urlsplit(asked.url)
    lines: list[Line] = [
        (
            Span(clean(asked.server), "strong"),
            Span(" sends you to a page of "),
            Span(clean(parts.hostname or asked.url, "approval"), "strong"),
            Span(". The whole address stands above."),
        )
    ]
    if parts.username is not None:
        said = "What stands before the @ is a name, and not where the page is."
        lines.append((Span(said, "warning"),))
    return in_rows(lines)


def _open_browser(url: str) -> bool:
    """Whether a browser has taken it; one that would take the terminal is not asked."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    chosen = "BROWSER" in os.environ
    in_terminal = not chosen and type(browser) is webbrowser.GenericBrowser
    return not in_terminal and browser.open(url)


# What servers say unasked, in a measure: one that floods does not wash the conversation away.


BURST = 20
"""Lines of one server that are shown one after the other."""
SECONDS_PER_LINE = 3.0
"""Of silence, for which it may say one more, until it has a whole burst again."""
FIRST_TOLD, LAST_TOLD = 2.0, 60.0
"""Seconds until it is said how many lines were left out: twice as many each time, up to these."""


class LogThrottle:
    """The lines of several servers, each in its own measure. `show` prints one."""

    def __init__(self, show: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._show = show
        self._clock = clock
        self._measures: dict[str, _Allowance] = {}

    def show(self, server: str, line: str) -> None:
        """Show the line, or count it; how many were left out is said a while later."""
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
    """What one server may still say. `patience`: until it is told what was left out."""

    def __init__(self, now: float) -> None:
        self.left_out = 0
        self.patience = FIRST_TOLD
        self._may = float(BURST)
        self._heard = now

    def takes_one(self, now: float) -> bool:
        """Whether one more line is shown; once one was left out, none is until that is told."""
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
        """Begin to count anew."""
        self.left_out = 0
        self.patience = min(2 * self.patience, LAST_TOLD)


Sampler = Callable[[SamplingRequest], Awaitable[SamplingReply | None]]
"""Has the chat's model answer what a server wants to know; the person has agreed to it."""

_TROUBLE = ("warning", "error", "critical", "alert", "emergency")


class Person:
    """The host of a chat's servers. Questions wait for those that are put already.

    Without a `sampler` no server may ask the model. `verbose` shows all that servers log.
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
        """Whether a server may ask for the model's replies."""
        return self._sampler is not None

    async def ask(self, question: Elicitation) -> ElicitationAnswer:
        """The person's answer; cancelling takes the question away."""
        async with self._ui.question_lock:
            match question:
                case FormElicitation():
                    return await FormDialog(self._ui, question).answer()
                case UrlElicitation():
                    return await ask_to_open_page(self._ui, question)

    async def sample(self, wanted: SamplingRequest) -> SamplingReply | None:
        """The model's reply, if the person lets the server have one."""
        if self._sampler is None or not await self._is_sampling_allowed(wanted):
            return None
        self._note(f"{wanted.server} asks the model.")
        return await self._sampler(wanted)

    def log(self, line: ServerLogLine) -> None:
        """Trouble is shown, and everything where the chat is to tell much."""
        if self._verbose or line.level in _TROUBLE:
            where = f"{line.server} ({line.logger})" if line.logger else line.server
            self._chatter.show(line.server, f"{where}: {line.level}: {line.text}")

    def resource_updated(self, server: str, uri: str) -> None:
        """Say that there is something new."""
        self._chatter.show(server, f"{server}: {uri} has changed.")

    def elicitation_completed(self, server: str, id: str) -> None:
        """Say that nothing is left to do at the page."""
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
