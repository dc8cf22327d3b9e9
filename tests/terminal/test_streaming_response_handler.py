"""Events and what happens to tools, folded to frames."""

from __future__ import annotations

from io import StringIO

import msgspec
import pytest

from antiphon.terminal import spans
from antiphon.terminal.painters import Frame, InputRows, Region
from antiphon.terminal.streaming_context import StreamingContext
from antiphon.terminal.streaming_response_handler import StreamingResponseHandler
from antiphon.terminal.themes import BARE, THEMES, Ink, Theme
from antiphon.tools.questions import ConsentRequest
from antiphon.tools.tool_events import (
    ConsentAsked,
    ConsentRefused,
    HooksBegan,
    ToolBegan,
    ToolEnded,
    ToolEvent,
    ToolProgressed,
)
from antiphon.types.events import (
    Event,
    MessageCompleted,
    ReasoningDelta,
    RefusalDelta,
    RunStatus,
    TextDelta,
    ToolCallDelta,
    ToolCallReady,
    ToolCallStarted,
    ToolOutputAdded,
    TurnRestarted,
    UsageAdded,
)
from antiphon.types.messages import (
    Citation,
    Message,
    Progress,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    ToolSpec,
)
from antiphon.types.runs import Fault, Reason, Status, Usage
from tests.support.terminal.emulator import ALLOWED, Emulator
from tests.support.terminal.escapes import PAYLOADS

CALL = ToolCall("c1", "get_weather", '{"city": "Rome"}')


def status(
    status: Status = Status.COMPLETED, reason: Reason | None = None, error: Fault | None = None
) -> RunStatus:
    return RunStatus(run_id="r", thread_id="t", status=status, reason=reason, error=error)


def call_events(call: ToolCall = CALL) -> list[Event]:
    return [
        ToolCallStarted(tool_call_id=call.id, name=call.name),
        ToolCallDelta(tool_call_id=call.id, arguments=call.arguments),
        ToolCallReady(tool_call_id=call.id, name=call.name, arguments=call.arguments),
    ]


def completed_message(text: str, *calls: ToolCall) -> MessageCompleted:
    content = (Text(text),) if text else ()
    return MessageCompleted(
        message=Message(
            id="m",
            thread_id="t",
            number=1,
            role="assistant",
            content=content,
            tool_calls=calls,
            created_at=0,
        )
    )


def question(call: ToolCall) -> ConsentRequest:
    return ConsentRequest(run_id="r", call=call, tool=Tool(spec=ToolSpec(call.name)), digest="d")


class Watched:
    """A handler, told one thing a second, and what its frames showed."""

    def __init__(self, *told: Event | ToolEvent, theme: Theme = THEMES["none"]) -> None:
        self.handler = StreamingResponseHandler(theme)
        self.now = 0.0
        self.finished: list[str] = []
        self.tell(*told)

    def tell(self, *told: Event | ToolEvent) -> None:
        for one in told:
            self.now += 1
            if isinstance(one, ToolEvent):
                self.handler.on_tool_event(one, self.now)
            else:
                self.handler.handle_event(one, self.now)

    def frame(self, columns: int = 80, rows: int = 24) -> Frame:
        frame = self.handler.frame(columns, rows, self.now)
        self.finished += map(spans.text, frame.finished)
        return frame

    @property
    def region(self) -> list[str]:
        return [spans.text(row) for row in self.frame().region]


def test_open_text_stands_in_the_region_and_is_printed_once_it_is_whole():
    watched = Watched(status(Status.IN_PROGRESS), TextDelta(text="One.\n\nTw"))

    assert watched.region[0] == ""
    assert watched.region[1] == "Tw"
    assert watched.finished == ["One."]

    watched.tell(TextDelta(text="o."), completed_message("One.\n\nTwo."), status())
    watched.frame()
    assert watched.finished == ["One.", "", "Two.", "5.0 s"]
    assert watched.region == []


def test_the_end_of_a_long_open_block_is_what_is_seen():
    watched = Watched(TextDelta(text="| a |\n|---|\n" + "".join(f"| {n} |\n" for n in range(18))))

    region = watched.region

    assert len(region) == 14
    assert region[-3].strip() == "17"
    assert watched.finished == []


@pytest.mark.parametrize(("columns", "rows"), [(10, 5), (1, 1), (30, 8), (200, 60)])
def test_the_region_fits_into_any_terminal(columns: int, rows: int):
    watched = Watched(
        ReasoningDelta(text="because " * 50),
        *call_events(),
        *call_events(ToolCall("c2", "x", "{}")),
    )

    region = watched.frame(columns, rows).region

    assert len(region) <= max(1, rows - 4)
    assert all(spans.line_width(row) < max(2, columns) for row in region)


def test_reasoning_is_a_few_rows_while_it_comes_and_one_line_then():
    watched = Watched(*[ReasoningDelta(text="thinking hard about it " * 8)] * 4)

    region = watched.region
    watched.tell(TextDelta(text="Done."), status())
    watched.frame()

    assert region[0] == "⠋ thinking 3 s, 184 tokens"
    assert len(region) == 4
    assert watched.finished[:3] == ["thought for 4 s, 184 tokens", "", "Done."]


def test_reasoning_that_took_no_second_says_no_seconds():
    watched = Watched(ReasoningDelta(text="hm"))
    watched.now -= 0.5
    watched.tell(TextDelta(text="Done."), status())
    watched.frame()

    assert watched.finished[0] == "thought, 1 token"


def test_a_call_is_a_row_from_its_first_word_to_its_result():
    watched = Watched(*call_events()[:2])
    assert 'get_weather({"city": "Rome"})' in watched.region[0]

    watched.tell(ConsentAsked(question(CALL)))
    assert watched.region[0].endswith("waits for you")
    assert "waiting for you" in watched.region[-1]

    watched.tell(ToolBegan(CALL), ToolProgressed(CALL.id, Progress(1, 4, "half way")))
    assert watched.region[0].endswith("1 s 25% half way")
    assert "running get_weather" in watched.region[-1]

    watched.tell(ToolEnded(CALL.id, ToolResult("sunny\nwarm"), 1.8))
    watched.frame()
    assert watched.finished == [
        '✓ get_weather({"city": "Rome"}) ok 1.8 s',
        "  sunny  (+1 lines)",
    ]


def test_rows_are_printed_in_the_order_of_the_calls_whoever_ends_first():
    calls = [ToolCall(f"c{number}", f"tool_{number}", "{}") for number in (1, 2)]
    watched = Watched(*call_events(calls[0]), *call_events(calls[1]), *map(ToolBegan, calls))

    watched.tell(ToolEnded("c2", ToolResult("two"), 0.1))
    watched.frame()
    assert watched.finished == []

    watched.tell(ToolEnded("c1", ToolResult("it broke", is_error=True, fault="timed_out"), 0.2))
    watched.frame()
    assert [line.split("(")[0] for line in watched.finished[::2]] == ["✗ tool_1", "✓ tool_2"]
    assert "timed out 0.2 s" in watched.finished[0]


@pytest.mark.parametrize(
    ("by", "word"),
    [("rule", "refused by a rule"), ("person", "refused"), ("nobody", "refused: nobody to ask")],
)
def test_a_refusal_says_whose_it_is(by: str, word: str):
    watched = Watched(*call_events(), ConsentRefused(CALL, by))  # type: ignore[arg-type]
    watched.frame()

    assert watched.finished[0].endswith(f") {word}")


def test_a_refusal_of_a_hook_has_its_reason_below():
    watched = Watched(*call_events(), ConsentRefused(CALL, "hook", "not\x1b[2J\nhere"))
    watched.frame()

    assert watched.finished[0].endswith(") refused by a hook")
    assert watched.finished[1].strip().startswith("not")
    assert "\x1b" not in watched.finished[1]
    assert len(watched.finished) == 2


def test_a_row_shows_hooks_until_the_user_is_asked_or_the_tool_runs():
    watched = Watched(*call_events(), HooksBegan(CALL, "before"))
    watched.now += 3
    assert watched.region[0].endswith(") 3 s hooks check it")
    watched.tell(ToolBegan(CALL))
    assert watched.region[0].rstrip().endswith(") 0 s")
    watched.tell(HooksBegan(CALL, "after"))
    assert watched.region[0].endswith(") 1 s hooks run after it")


def test_an_output_from_elsewhere_settles_the_row_too():
    watched = Watched(*call_events(), ToolOutputAdded(tool_call_id="c1", output="sunny"))
    watched.frame()

    assert watched.finished == ['✓ get_weather({"city": "Rome"}) ok', "  sunny"]


def test_text_before_a_call_stands_above_its_row_and_text_after_it_below():
    watched = Watched(
        TextDelta(text="Let me look."), *call_events(), completed_message("Let me look.", CALL)
    )
    watched.tell(ToolEnded("c1", ToolResult("sunny"), 1.0), TextDelta(text="It is sunny."))
    watched.tell(status())
    watched.frame()

    assert [line for line in watched.finished if line][:4] == [
        "Let me look.",
        '✓ get_weather({"city": "Rome"}) ok 1.0 s',
        "  sunny",
        "It is sunny.",
    ]


def test_a_call_that_ends_amid_a_text_does_not_cut_it():
    watched = Watched(*call_events(), ToolBegan(CALL), TextDelta(text="While it "))
    watched.tell(
        ToolEnded("c1", ToolResult("sunny"), 1.0), TextDelta(text="runs."), completed_message("x")
    )
    watched.frame()

    assert [line for line in watched.finished if line] == [
        "While it runs.",
        '✓ get_weather({"city": "Rome"}) ok 1.0 s',
        "  sunny",
    ]


@pytest.mark.parametrize(
    ("end", "line"),
    [
        (status(Status.CANCELLED), "[stopped]"),
        (status(Status.INCOMPLETE, "stalled"), "the answer is incomplete (stalled)"),
        (status(Status.EXPIRED), "the answer is expired"),
        (
            status(Status.FAILED, error=Fault("provider_error", "no such model")),
            "failed: no such model (provider_error)",
        ),
    ],
)
def test_partial_text_stays_and_says_how_it_ended(end: RunStatus, line: str):
    watched = Watched(TextDelta(text="```py\nhalf a li"), end)
    watched.frame()

    assert watched.finished[:2] == ["half a li", line]


def test_who_leaves_without_an_end_keeps_what_came():
    watched = Watched(TextDelta(text="Half a"), *call_events())
    watched.handler.abandon("[left]", 3.0)
    watched.frame()

    assert watched.finished == ["Half a", "", '✗ get_weather({"city": "Rome"}) not run', "[left]"]
    assert watched.handler.phase == "idle"


def test_a_reply_that_begins_again_says_so_and_what_was_written_can_be_read():
    watched = Watched(TextDelta(text="One.\n\nTwo"))
    watched.frame()
    watched.tell(TurnRestarted(reason="worker_lost", after=0, attempt=2), TextDelta(text="Other."))
    watched.tell(status())
    watched.frame()

    assert watched.finished[:6] == [
        "One.",
        "",
        "Two",
        "the reply begins again (worker_lost); what was written of it is void",
        "",
        "Other.",
    ]


def test_an_empty_answer_is_said_to_be_empty():
    watched = Watched(completed_message(""), status())
    watched.frame()

    assert watched.finished[0] == "(empty answer)"


def test_a_refusal_stands_under_a_line_that_says_so():
    refused = Message(
        id="m", thread_id="t", number=2, role="assistant", content=(Refusal("No."),), created_at=1
    )
    watched = Watched(TextDelta(text="Well."), RefusalDelta(text="N"), RefusalDelta(text="o."))
    watched.tell(MessageCompleted(message=refused), status())
    watched.frame()

    assert watched.finished[:-1] == ["Well.", "", "the model refuses to answer:", "", "No."]


def test_pages_that_the_provider_cites_are_listed_below_the_answer():
    url = "https://tides.example/moon"
    cited = msgspec.structs.replace(
        completed_message("The moon[1].").message,
        citations=(
            Citation(url="https://b.example/\x1b[2J"),
            Citation(url=url, title="The moon"),
            Citation(url="https://tides.example/sun"),
        ),
    )
    watched = Watched(TextDelta(text="The moon[1]."), MessageCompleted(message=cited), status())
    frame = watched.frame()

    assert watched.finished[:5] == [
        "The moon[1].",
        "",
        "Sources:",
        f"[1] The moon  {url}",
        "[2] https://tides.example/sun",
    ]
    assert next(span.link for line in frame.finished for span in line if span.link) == url


def test_the_footer_has_what_was_used():
    usage = Usage(input_tokens=1204, output_tokens=890, cost=0.012)
    watched = Watched(TextDelta(text="Hi."), UsageAdded(usage=usage), status())
    watched.frame()

    assert watched.finished[-1] == "3.0 s, 1,204 in, 890 out, $0.0120"


def test_phases_follow_what_happens():
    watched = Watched()
    phases = [watched.frame().phase]
    for told in (
        status(Status.IN_PROGRESS),
        ReasoningDelta(text="hm"),
        TextDelta(text="```py\n"),
        *call_events()[:1],
        ToolBegan(CALL),
        ToolEnded("c1", ToolResult("x"), 0.1),
    ):
        watched.tell(told)
        phases.append(watched.frame().phase)
    watched.handler.interrupt(9.0)

    assert phases == [
        "connecting",
        "waiting",
        "thinking",
        "writing",
        "calling",
        "running",
        "waiting",
    ]
    assert watched.frame().phase == "stopping"


def list_foreign_events(foreign: str) -> list[Event | ToolEvent]:
    """The foreign text in each field that reaches a screen."""
    call = ToolCall("c1", foreign, foreign)
    said = f"x{foreign}y\n\n```{foreign}\n{foreign}\n```\n\n- [{foreign}](http://x/{foreign})\n"
    return [
        status(Status.IN_PROGRESS),
        ReasoningDelta(text=foreign),
        TextDelta(text=said),
        TextDelta(text=f"| {foreign} |\n|---|\n| {foreign} |\n\n# {foreign}\n<b {foreign}"),
        *call_events(call),
        ConsentAsked(question(call)),
        ToolBegan(call),
        ToolProgressed("c1", Progress(1, 2, foreign)),
        ToolEnded("c1", ToolResult(foreign), 1.0),
        *call_events(ToolCall("c2", foreign, "{}")),
        ToolOutputAdded(tool_call_id="c2", output=foreign, is_error=True),
        TurnRestarted(reason=foreign, after=1, attempt=2),
        TextDelta(text=foreign),
        status(Status.FAILED, error=Fault(foreign, foreign)),
    ]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_field_lets_anything_through_that_acts(payload: str):
    emulator = Emulator(40, 20)
    region, watched = Region(emulator, Ink(THEMES["dark"], links=False)), Watched()
    for told in list_foreign_events(payload):
        watched.tell(told)
        region.paint(watched.frame(40, 20), InputRows(), 40, watched.now)
    region.close()

    left = ALLOWED.sub("", emulator.written)
    acting = [letter for letter in left if not letter.isprintable()]
    assert acting == []
    assert payload.isprintable() or f"x{payload}" not in emulator.written


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_plain_painter_writes_text_and_line_feeds_alone(payload: str):
    out, watched = StringIO(), Watched()
    with StreamingContext(out, Ink(BARE), announces=True) as painter:
        for told in list_foreign_events(payload):
            watched.tell(told)
            painter.paint(watched.frame(40, 20), InputRows(), 40, watched.now)

    written = out.getvalue().replace("\n", "").replace("\t", "")
    assert [letter for letter in written if not letter.isprintable()] == []


def test_a_listener_is_told_of_each_change_once_and_that_it_still_goes_on():
    out, watched = StringIO(), Watched(theme=BARE.in_words())
    painter = StreamingContext(out, Ink(BARE), announces=True)
    for now, told in ((1, status(Status.IN_PROGRESS)), (2, TextDelta(text="Hi.\n\n"))):
        watched.tell(told)
        painter.paint(watched.frame(), InputRows(), 80, now)
        painter.paint(watched.frame(), InputRows(), 80, now)
    painter.paint(watched.frame(), InputRows(), 80, 30)

    assert out.getvalue() == "Waiting.\nAssistant:\nHi.\nStill writing, 28 s.\n"
