"""The person at the surface, as the servers of the chat have them.

They fill in forms, go to pages and let the model be asked. A server's words stand under its name,
and nothing is sent before the person has seen what.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from antiphon.clean import one_line
from antiphon.terminal.chatter import Chatter
from antiphon.terminal.forms import Filling
from antiphon.terminal.pages import sent
from antiphon.terminal.sampling import agreed
from antiphon.terminal.surface import Surface
from antiphon.tools.mcp.hosting import (
    AddressAsked,
    Answer,
    FormAsked,
    Logged,
    Question,
    Sample,
    SampleAsked,
)

Sampler = Callable[[SampleAsked], Awaitable[Sample | None]]
"""Has the chat's model answer what a server wants to know; the person has agreed to it."""

_TROUBLE = ("warning", "error", "critical", "alert", "emergency")


class Person:
    """The host of a chat's servers. Questions wait for those that are put already.

    Without a `sampler` no server may ask the model. `verbose` shows all that servers log.
    """

    asks = True

    def __init__(
        self, surface: Surface, sampler: Sampler | None = None, *, verbose: bool = False
    ) -> None:
        self._surface = surface
        self._sampler = sampler
        self._verbose = verbose
        self._may_sample: set[str] = set()
        self._chatter = Chatter(self._note, surface.clock)

    @property
    def samples(self) -> bool:
        """Whether a server may ask for the model's replies."""
        return self._sampler is not None

    async def ask(self, question: Question) -> Answer:
        """The person's answer; cancelling takes the question away."""
        async with self._surface.in_turn:
            match question:
                case FormAsked():
                    return await Filling(self._surface, question).answer()
                case AddressAsked():
                    return await sent(self._surface, question)

    async def sample(self, wanted: SampleAsked) -> Sample | None:
        """The model's reply, if the person lets the server have one."""
        if self._sampler is None or not await self._may(wanted):
            return None
        self._note(f"{wanted.server} asks the model.")
        return await self._sampler(wanted)

    def log(self, line: Logged) -> None:
        """Trouble is shown, and everything where the chat is to tell much."""
        if self._verbose or line.level in _TROUBLE:
            where = f"{line.server} ({line.logger})" if line.logger else line.server
            self._chatter.heard(line.server, f"{where}: {line.level}: {line.text}")

    def updated(self, server: str, uri: str) -> None:
        """Say that there is something new."""
        self._chatter.heard(server, f"{server}: {uri} has changed.")

    def finished(self, server: str, id: str) -> None:
        """Say that nothing is left to do at the page."""
        self._chatter.heard(server, f"{server}: what you were sent to a page for is done.")

    def _note(self, text: str) -> None:
        self._surface.say(one_line(text), "faint")

    async def _may(self, wanted: SampleAsked) -> bool:
        if wanted.server in self._may_sample:
            return True
        async with self._surface.in_turn:
            key = await agreed(self._surface, wanted)
        if key == "s":
            self._may_sample.add(wanted.server)
        return key in ("y", "s")
