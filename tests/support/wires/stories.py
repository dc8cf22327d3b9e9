"""Logs of runs: some typical ones, and random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypothesis import strategies as st

from antiphon.engine import transitions
from antiphon.engine.turn import Turn
from antiphon.types import errors
from antiphon.types.chunks import (
    CallPiece,
    Chunk,
    CitationsPiece,
    Finish,
    ReasoningPiece,
    RefusalPiece,
    TextPiece,
    UsagePiece,
)
from antiphon.types.events import Numbered, TurnRestarted
from antiphon.types.messages import Citation
from antiphon.types.runs import Fault, HostedTool, Status, Usage

# The world belongs to the tests of the engine.
from tests.support.engine.world import LEASE_MS, WEEK_MS, World, call

CALLS, STOP = Finish("tool_calls"), Finish("stop")
READ, WRITE = "far__read", "far__write"
HOSTED: Mapping[str, HostedTool] = {
    READ: HostedTool("far", asks=False),
    WRITE: HostedTool("far", asks=True),
}
MOON, SUN = "https://tides.example/moon", "https://tides.example/sun"
YES, NO = '{"approve": true}', '{"approve": false, "reason": "Not on Fridays."}'
USED = UsagePiece(Usage(input_tokens=12, output_tokens=5, cost=0.25))


class Story(World):
    """A world whose model may send a reply in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self._at = 0.0  # seconds
        self._begin_turn()

    def _begin_turn(self) -> None:
        known_ids = [action.tool_call_id for action in self.actions.values()]
        self._turn = Turn(("look", *HOSTED), lambda: self.mint("call"), known_ids)

    def claim(self) -> None:
        epoch = self.lease.epoch
        super().claim()
        if self.lease.epoch > epoch:
            self._begin_turn()

    def say_pieces(self, *chunks: Chunk) -> None:
        """Send these pieces of a reply, which goes on."""
        self.say(*self._turn.feed(chunks, self._at))

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self._at += seconds

    def restart_turn(self) -> None:
        """Restart the turn, as after a malformed call."""
        log = [number for number, event in number_events(self) if event.type in _STANDS]
        self.say(TurnRestarted(reason="invalid_tool_call", after=max(log), attempt=1))
        self._begin_turn()

    def reply(
        self,
        *chunks: Chunk,
        finish: bool = True,
        fault: errors.ProviderError | errors.Cut | None = None,
        hosted: Mapping[str, HostedTool] = transitions.NO_HOSTED_TOOLS,
    ) -> None:
        self.say_pieces(*chunks)
        fault = fault or (None if finish else errors.Disconnected("cut"))
        reply = self._turn.close(fault, self._at)
        self.finish(self.lease.epoch, reply, turn=self.run.turn, hosted=hosted)
        self._begin_turn()

    def fail(self, fault: Fault) -> None:
        epoch = self.lease.epoch
        self.apply(lambda records: transitions.fail(records, epoch, fault, self.mint))


def number_events(world: World) -> list[Numbered]:
    return list(enumerate(world.events, 1))


def begin_run() -> Story:
    world = Story()
    world.begin(max_attempts=2, max_turns=6)
    world.claim()
    return world


def _continue_run(world: Story) -> None:
    world.ask()
    world.claim()


def text() -> Story:
    world = begin_run()
    world.reply(TextPiece("Good day"), TextPiece(" to\nyou,\u2028“friend”."), USED, STOP)
    return world


def reasoning_and_text() -> Story:
    world = begin_run()
    world.say_pieces(ReasoningPiece("They say"))
    world.say_pieces(ReasoningPiece(" hello."), TextPiece("Hel"))
    world.reply(ReasoningPiece("And now?"), TextPiece("lo."), STOP)
    return world


def slow_reasoning() -> Story:
    world = begin_run()
    world.say_pieces(ReasoningPiece("They say"))
    world.pause(2.5)
    world.say_pieces(ReasoningPiece(" hello."))
    world.pause(1)
    world.reply(TextPiece("Hello."), STOP)
    return world


def refusal() -> Story:
    world = begin_run()
    world.say_pieces(TextPiece("Well."))
    world.reply(RefusalPiece("I will"), RefusalPiece(" not."), USED, STOP)
    return world


def refusal_before_text() -> Story:
    world = begin_run()
    world.say_pieces(RefusalPiece("No."))
    world.reply(TextPiece("Well."), USED, STOP)
    return world


def cited_pages() -> Story:
    """Two replies that cite pages, one of them in its text, with a title that comes late."""
    world = begin_run()
    world.say_pieces(CitationsPiece((Citation(url=MOON), Citation(url=SUN, title="The sun"))))
    world.say_pieces(TextPiece(f"The moon[1], see {SUN}."))
    world.reply(CitationsPiece((Citation(url=MOON, title="The “moon”"),)), call(0), CALLS)
    world.submit("c0", "42")
    _continue_run(world)
    placed_citation = Citation(url=MOON, title="The moon", start=0, end=8)
    world.reply(TextPiece("The moon pulls."), CitationsPiece((placed_citation,)), USED, STOP)
    return world


def tool_call() -> Story:
    world = begin_run()
    world.reply(TextPiece("I will look."), call(0), USED, CALLS)
    world.submit("c0", '{"seen": 42}')
    _continue_run(world)
    world.reply(TextPiece("It is 42."), USED, STOP)
    return world


def parallel_calls() -> Story:
    world = begin_run()
    world.reply(call(0), call(1), CALLS)
    world.submit("c1", "It broke.", True)
    world.submit("c0", "42")
    _continue_run(world)
    world.reply(TextPiece("One of two."), STOP)
    return world


def calls_of_all_kinds() -> Story:
    """A call of each kind: the client's, one that the worker runs, and two to be approved."""
    world = begin_run()
    world.reply(
        *(ReasoningPiece("Hm."), TextPiece("Wait.")),
        *(call(0), call(1, READ), call(2, WRITE), call(3, WRITE), CALLS),
        hosted=HOSTED,
    )
    world.submit("c0", "seen")
    world.submit("c3", NO)
    world.submit("c2", YES)
    _continue_run(world)
    world.result("c1", "read")
    world.result("c2", "written")
    world.reply(TextPiece("All done."), STOP)
    return world


def approval_request() -> Story:
    """It waits for a person to approve a call."""
    world = begin_run()
    world.reply(TextPiece("May I?"), call(0, WRITE), CALLS, hosted=HOSTED)
    return world


def cancellation() -> Story:
    world = begin_run()
    world.say_pieces(
        TextPiece("I was say"), CallPiece(index=0, id="c0", name="look", arguments='{"x')
    )
    world.cancel()
    return world


def failure() -> Story:
    world = begin_run()
    world.say_pieces(TextPiece("It is"))
    fault = Fault("provider_error", "The model's server said: \x1b[2Jno \u202ereally\u2028.")
    world.fail(fault)
    return world


def time_over() -> Story:
    """It times out in a turn after a call: the output was streamed, and no call is dropped."""
    world = Story()
    world.begin(timeout=60)
    world.claim()
    world.reply(call(0), CALLS)
    world.submit("c0", "42")
    _continue_run(world)
    world.now += 60_000
    world.reply(TextPiece("It is"), fault=errors.Stalled("Nothing came."))
    return world


def dropped_calls() -> Story:
    """It has reached its limit of tool calls, and its last call is not executed."""
    world = Story()
    world.begin(max_tool_calls=1)
    world.claim()
    world.reply(call(0), CALLS)
    world.submit("c0", "42")
    _continue_run(world)
    world.reply(TextPiece("Once more."), call(1), CALLS)
    return world


def lost_worker() -> Story:
    world = begin_run()
    world.say_pieces(TextPiece("It is 4"), call(0))
    world.wait(LEASE_MS)
    world.claim()
    world.reply(TextPiece("It is 42."), call(0), CALLS)
    world.submit("c0", "42")
    _continue_run(world)
    world.say_pieces(ReasoningPiece("So"))
    world.wait(LEASE_MS)
    world.claim()
    world.reply(TextPiece("Yes, 42."), STOP)
    return world


TYPICAL: Mapping[str, Callable[[], Story]] = {
    "text": text,
    "reasoning-and-text": reasoning_and_text,
    "slow-reasoning": slow_reasoning,
    "refused": refusal,
    "cited": cited_pages,
    "tool-call": tool_call,
    "parallel-calls": parallel_calls,
    "mixed": calls_of_all_kinds,
    "asked": approval_request,
    "cancelled": cancellation,
    "failed": failure,
    "time-over": time_over,
    "dropped": dropped_calls,
    "restarted": lost_worker,
}

_WORDS = st.sampled_from(("a", "Hm. ", "“\u2028”", "\n\n", "data: x\n\n", "𝄞", "<b>", "\x85"))
_URLS = st.sampled_from((MOON, SUN, "data:text/html,x"))
_NAMES = st.sampled_from(("look", READ, WRITE))
_NUMBERS = st.integers(0, 3)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Draw any run, ended or not, from transitions of the engine."""
    world = Story()
    world.begin(max_attempts=draw(st.integers(1, 4)), max_turns=5)
    for _ in range(draw(st.integers(0, 30))):
        if not world.run.status.ended:
            _apply_step(world, draw(st.sampled_from(_choices(world))), draw)
    return world


def runs() -> st.SearchStrategy[list[Numbered]]:
    """Return a strategy for the log of any run."""
    return stories().map(number_events)


def _choices(world: Story) -> list[str]:
    """Return the possible next steps, the likely ones more often."""
    match world.run.status:
        case Status.QUEUED if world.lease.wanted:
            return ["claim"] * 9 + ["cancel"]
        case Status.QUEUED:
            return ["ask"] * 9 + ["cancel", "expire"]
        case Status.IN_PROGRESS if _due(world):
            return ["result"] * 9 + ["lose", "cancel"]
        case Status.IN_PROGRESS:
            model_steps = [
                "text",
                "text",
                "reason",
                "pause",
                "refuse",
                "cite",
                "begin-call",
                "calls",
                "calls",
                "calls",
                "answer",
            ]
            return [*model_steps, "cut", "broken", "lose", "lose", "cancel"]
        case _:
            approvals = ["yes", "yes", "no"] * bool(_asks(world))
            return [
                *approvals,
                *["output", "output", "error"] * bool(_list_client_calls(world)),
                "expire",
            ]


def _due(world: Story) -> list[str]:
    return [action.tool_call_id for action in world.actions.values() if action.due]


def _asks(world: Story) -> list[str]:
    waiting = [action for action in world.actions.values() if action.awaited]
    return [action.tool_call_id for action in waiting if action.runs_on == "server"]


def _list_client_calls(world: Story) -> list[str]:
    waiting = [action for action in world.actions.values() if action.awaited]
    return [action.tool_call_id for action in waiting if action.runs_on == "client"]


def _apply_step(world: Story, step: str, draw: st.DrawFn) -> None:
    match step:
        case "claim":
            world.claim()
        case "ask":
            world.ask()
        case "text":
            world.say_pieces(TextPiece(draw(_WORDS)))
        case "reason":
            world.say_pieces(ReasoningPiece(draw(_WORDS)))
        case "pause":
            world.pause(draw(st.sampled_from((0.4, 1.5))))
        case "refuse":
            world.say_pieces(RefusalPiece(draw(_WORDS)))
        case "cite":
            citation = Citation(url=draw(_URLS), title=draw(_WORDS))
            world.say_pieces(CitationsPiece((citation,)))
        case "begin-call":
            call_id = f"c{draw(_NUMBERS)}"
            world.say_pieces(CallPiece(index=9, id=call_id, name="look", arguments='{"x'))
        case "calls":
            numbers = draw(st.lists(_NUMBERS, min_size=1, max_size=3, unique=True))
            calls = [call(number, draw(_NAMES)) for number in numbers]
            world.reply(*calls, USED, CALLS, hosted=HOSTED)
        case "answer":
            world.reply(TextPiece(draw(_WORDS)), USED, STOP)
        case "cut":
            world.reply(TextPiece(draw(_WORDS)), finish=False)
        case "broken":
            world.restart_turn()
        case "result":
            world.result(draw(st.sampled_from(_due(world))), draw(_WORDS))
        case "yes" | "no":
            world.submit(draw(st.sampled_from(_asks(world))), YES if step == "yes" else NO)
        case "output" | "error":
            call_id = draw(st.sampled_from(_list_client_calls(world)))
            world.submit(call_id, draw(_WORDS), step == "error")
        case "lose":
            world.wait(LEASE_MS)
        case "cancel":
            world.cancel()
        case "expire":
            world.wait(WEEK_MS)
        case _:
            raise AssertionError(step)


_STANDS = frozenset({"run.status", "turn.restarted", "message.completed", "tool_output.added"})
