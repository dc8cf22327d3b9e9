"""Runs as their logs tell them: some that are typical, and any that can happen."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from hypothesis import strategies as st

from antiphon import errors
from antiphon.chunks import CallPiece, Chunk, Finish, ReasoningPiece, TextPiece, UsageReport
from antiphon.engine import moves
from antiphon.engine.turn import Turn
from antiphon.events import Numbered, TurnRestarted
from antiphon.runs import Fault, Hosted, Status, Usage

# The world lives beside the tests of the moves that it was made for.
sys.path.append(str(Path(__file__).parents[1] / "engine"))

from world import LEASE_MS, WEEK_MS, World, call

CALLS, STOP = Finish("tool_calls"), Finish("stop")
READ, WRITE = "far__read", "far__write"
HOSTED: Mapping[str, Hosted] = {
    READ: Hosted("far", asks=False),
    WRITE: Hosted("far", asks=True),
}
YES, NO = '{"approve": true}', '{"approve": false, "reason": "Not on Fridays."}'
USED = UsageReport(Usage(input_tokens=12, output_tokens=5, cost=0.25))


class Story(World):
    """A world whose model may say a reply in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self._begins()

    def _begins(self) -> None:
        self._turn = Turn(("look", *HOSTED), lambda: self.mint("call"))

    def claim(self) -> None:
        epoch = self.drive.epoch
        super().claim()
        if self.drive.epoch > epoch:
            self._begins()

    def speaks(self, *chunks: Chunk) -> None:
        """The model says this, and is not at its end."""
        self.say(*self._turn.feed(chunks))

    def breaks(self) -> None:
        """The model is told that its call was broken, and begins again."""
        log = [number for number, event in numbered(self) if event.type in _STANDS]
        self.say(TurnRestarted(reason="invalid_tool_call", after=max(log), attempt=1))
        self._begins()

    def reply(
        self, *chunks: Chunk, finish: bool = True, hosted: Mapping[str, Hosted] = moves.NONE_HOSTED
    ) -> None:
        self.speaks(*chunks)
        reply = self._turn.close(None if finish else errors.Disconnected("cut"))
        epoch, turn = self.drive.epoch, self.run.turn
        self.apply(
            lambda records: moves.finish(records, epoch, reply, self.mint, turn=turn, hosted=hosted)
        )
        self._begins()

    def fails(self, fault: Fault) -> None:
        epoch = self.drive.epoch
        self.apply(lambda records: moves.fail(records, epoch, fault, self.mint))


def numbered(world: World) -> list[Numbered]:
    return list(enumerate(world.events, 1))


def begun() -> Story:
    world = Story()
    world.begin(max_attempts=2, max_turns=6)
    world.claim()
    return world


def _goes_on(world: Story) -> None:
    world.ask()
    world.claim()


def text() -> Story:
    world = begun()
    world.reply(TextPiece("Good day"), TextPiece(" to\nyou,\u2028“friend”."), USED, STOP)
    return world


def reasoning_and_text() -> Story:
    world = begun()
    world.speaks(ReasoningPiece("They say"))
    world.speaks(ReasoningPiece(" hello."), TextPiece("Hel"))
    world.reply(ReasoningPiece("And now?"), TextPiece("lo."), STOP)
    return world


def tool_call() -> Story:
    world = begun()
    world.reply(TextPiece("I will look."), call(0), USED, CALLS)
    world.submit("c0", '{"seen": 42}')
    _goes_on(world)
    world.reply(TextPiece("It is 42."), USED, STOP)
    return world


def parallel_calls() -> Story:
    world = begun()
    world.reply(call(0), call(1), CALLS)
    world.submit("c1", "It broke.", True)
    world.submit("c0", "42")
    _goes_on(world)
    world.reply(TextPiece("One of two."), STOP)
    return world


def mixed() -> Story:
    """A call of each kind: the client's, one that the worker runs, and two to be approved."""
    world = begun()
    world.reply(
        *(ReasoningPiece("Hm."), TextPiece("Wait.")),
        *(call(0), call(1, READ), call(2, WRITE), call(3, WRITE), CALLS),
        hosted=HOSTED,
    )
    world.submit("c0", "seen")
    world.submit("c3", NO)
    world.submit("c2", YES)
    _goes_on(world)
    world.result("c1", "read")
    world.result("c2", "written")
    world.reply(TextPiece("All done."), STOP)
    return world


def asked() -> Story:
    """It rests, for a person has to approve a call."""
    world = begun()
    world.reply(TextPiece("May I?"), call(0, WRITE), CALLS, hosted=HOSTED)
    return world


def cancelled() -> Story:
    world = begun()
    world.speaks(TextPiece("I was say"), CallPiece(index=0, id="c0", name="look", arguments='{"x'))
    world.cancel()
    return world


def failed() -> Story:
    world = begun()
    world.speaks(TextPiece("It is"))
    fault = Fault("provider_error", "The model's server said: \x1b[2Jno \u202ereally\u2028.")
    world.fails(fault)
    return world


def restarted() -> Story:
    world = begun()
    world.speaks(TextPiece("It is 4"), call(0))
    world.wait(LEASE_MS)
    world.claim()
    world.reply(TextPiece("It is 42."), call(0), CALLS)
    world.submit("c0", "42")
    _goes_on(world)
    world.speaks(ReasoningPiece("So"))
    world.wait(LEASE_MS)
    world.claim()
    world.reply(TextPiece("Yes, 42."), STOP)
    return world


TYPICAL: Mapping[str, Callable[[], Story]] = {
    story.__name__.replace("_", "-"): story
    for story in (
        *(text, reasoning_and_text, tool_call, parallel_calls, mixed),
        *(asked, cancelled, failed, restarted),
    )
}

_STEPS = st.sampled_from(
    (
        *("claim", "claim", "text", "reason", "begin-call", "calls", "calls", "answer", "cut"),
        *("broken", "result", "result", "yes", "no", "output", "output", "error", "ask", "ask"),
        *("lose", "cancel", "expire", "used"),
    )
)
_WORDS = st.sampled_from(("a", "Hm. ", "“\u2028”", "\n\n", "data: x\n\n", "𝄞", "<b>", "\x85"))
_NAMES = st.lists(st.sampled_from(("look", READ, WRITE)), min_size=1, max_size=3)


@st.composite
def runs(draw: st.DrawFn) -> list[Numbered]:
    """The log of any run, ended or not, as the moves of the engine make it."""
    world = Story()
    world.begin(max_attempts=draw(st.integers(1, 3)), max_turns=4)
    ids = itertools.count()
    for step in draw(st.lists(_STEPS, max_size=30)):
        if world.run.status.ended:
            break
        _take(world, step, draw, ids)
    return numbered(world)


def _take(world: Story, step: str, draw: st.DrawFn, ids: itertools.count[int]) -> None:
    driven = world.run.status is Status.IN_PROGRESS
    due = [a.tool_call_id for a in world.actions.values() if a.due]
    awaited = [a for a in world.actions.values() if a.awaited]
    client = [a.tool_call_id for a in awaited if a.runs_on == "client"]
    asks = [a.tool_call_id for a in awaited if a.approval == "required"]
    speaking = driven and not due
    match step:
        case "claim":
            world.claim()
        case "ask" if not awaited and not driven:
            _goes_on(world)
        case "text" if speaking:
            world.speaks(TextPiece(draw(_WORDS)))
        case "reason" if speaking:
            world.speaks(ReasoningPiece(draw(_WORDS)))
        case "begin-call" if speaking:
            world.speaks(CallPiece(index=0, id=f"c{next(ids)}", name="look", arguments='{"x'))
        case "calls" if speaking:
            world.reply(*(call(next(ids), name) for name in draw(_NAMES)), CALLS, hosted=HOSTED)
        case "answer" if speaking:
            world.reply(TextPiece(draw(_WORDS)), USED, STOP)
        case "cut" if speaking:
            world.reply(TextPiece(draw(_WORDS)), finish=False)
        case "broken" if speaking:
            world.breaks()
        case "result" if driven and due:
            world.result(draw(st.sampled_from(due)), draw(_WORDS))
        case "yes" if asks:
            world.submit(draw(st.sampled_from(asks)), YES)
        case "no" if asks:
            world.submit(draw(st.sampled_from(asks)), NO)
        case "output" if client:
            world.submit(draw(st.sampled_from(client)), draw(_WORDS))
        case "error" if client:
            world.submit(draw(st.sampled_from(client)), draw(_WORDS), True)
        case "lose" if driven:
            world.wait(LEASE_MS)
        case "cancel" if draw(st.integers(0, 4)) == 0:
            world.cancel()
        case "expire" if not driven and draw(st.integers(0, 4)) == 0:
            world.wait(WEEK_MS)
        case _:
            pass


_STANDS = frozenset({"run.status", "turn.restarted", "message.completed", "tool_output.added"})
