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


class HandlerProbe:
    """Handler that gets one event a second, and the lines that its frames showed."""

    def __init__(self, *events: Event | ToolEvent, theme: Theme = THEMES["none"]) -> None:
        self.handler = StreamingResponseHandler(theme)
        self.now = 0.0
        self.finished: list[str] = []
        self.handle(*events)

    def handle(self, *events: Event | ToolEvent) -> None:
        for event in events:
            self.now += 1
            if isinstance(event, ToolEvent):
                self.handler.on_tool_event(event, self.now)
            else:
                self.handler.handle_event(event, self.now)

    def frame(self, columns: int = 80, rows: int = 24) -> Frame:
        frame = self.handler.frame(columns, rows, self.now)
        self.finished += map(spans.text, frame.finished)
        return frame

    @property
    def region(self) -> list[str]:
        return [spans.text(row) for row in self.frame().region]


def test_open_text_stands_in_the_region_and_is_printed_once_it_is_whole():
    probe = HandlerProbe(status(Status.IN_PROGRESS), TextDelta(text="One.\n\nTw"))

    assert probe.region[0] == ""
    assert probe.region[1] == "Tw"
    assert probe.finished == ["One."]

    probe.handle(TextDelta(text="o."), completed_message("One.\n\nTwo."), status())
    probe.frame()
    assert probe.finished == ["One.", "", "Two.", "5.0 s"]
    assert probe.region == []


def test_the_end_of_a_long_open_block_is_what_is_seen():
    probe = HandlerProbe(
        TextDelta(text="| a |\n|---|\n" + "".join(f"| {n} |\n" for n in range(18)))
    )

    region = probe.region

    assert len(region) == 14
    assert region[-3].strip() == "17"
    assert probe.finished == []


@pytest.mark.parametrize(("columns", "rows"), [(10, 5), (1, 1), (30, 8), (200, 60)])
def test_the_region_fits_into_any_terminal(columns: int, rows: int):
    probe = HandlerProbe(
        ReasoningDelta(text="because " * 50),
        *call_events(),
        *call_events(ToolCall("c2", "x", "{}")),
    )

    region = probe.frame(columns, rows).region

    assert len(region) <= max(1, rows - 4)
    assert all(spans.line_width(row) < max(2, columns) for row in region)


def test_reasoning_is_a_few_rows_while_it_comes_and_one_line_then():
    probe = HandlerProbe(*[ReasoningDelta(text="thinking hard about it " * 8)] * 4)

    region = probe.region
    probe.handle(TextDelta(text="Done."), status())
    probe.frame()

    assert region[0] == "⠋ thinking 3 s, 184 tokens"
    assert len(region) == 4
    assert probe.finished[:3] == ["thought for 4 s, 184 tokens", "", "Done."]


def test_reasoning_that_took_no_second_says_no_seconds():
    probe = HandlerProbe(ReasoningDelta(text="hm"))
    probe.now -= 0.5
    probe.handle(TextDelta(text="Done."), status())
    probe.frame()

    assert probe.finished[0] == "thought, 1 token"


def test_a_call_is_a_row_from_its_first_word_to_its_result():
    probe = HandlerProbe(*call_events()[:2])
    assert 'get_weather({"city": "Rome"})' in probe.region[0]

    probe.handle(ConsentAsked(question(CALL)))
    assert probe.region[0].endswith("waits for you")
    assert "waiting for you" in probe.region[-1]

    probe.handle(ToolBegan(CALL), ToolProgressed(CALL.id, Progress(1, 4, "half way")))
    assert probe.region[0].endswith("1 s 25% half way")
    assert "running get_weather" in probe.region[-1]

    probe.handle(ToolEnded(CALL.id, ToolResult("sunny\nwarm"), 1.8))
    probe.frame()
    assert probe.finished == [
        '✓ get_weather({"city": "Rome"}) ok 1.8 s',
        "  sunny  (+1 lines)",
    ]


def test_rows_are_printed_in_the_order_of_the_calls_whoever_ends_first():
    calls = [ToolCall(f"c{number}", f"tool_{number}", "{}") for number in (1, 2)]
    probe = HandlerProbe(*call_events(calls[0]), *call_events(calls[1]), *map(ToolBegan, calls))

    probe.handle(ToolEnded("c2", ToolResult("two"), 0.1))
    probe.frame()
    assert probe.finished == []

    probe.handle(ToolEnded("c1", ToolResult("it broke", is_error=True, fault="timed_out"), 0.2))
    probe.frame()
    assert [line.split("(")[0] for line in probe.finished[::2]] == ["✗ tool_1", "✓ tool_2"]
    assert "timed out 0.2 s" in probe.finished[0]


@pytest.mark.parametrize(
    ("by", "word"),
    [("rule", "refused by a rule"), ("person", "refused"), ("nobody", "refused: nobody to ask")],
)
def test_a_refusal_says_whose_it_is(by: str, word: str):
    probe = HandlerProbe(*call_events(), ConsentRefused(CALL, by))  # type: ignore[arg-type]
    probe.frame()

    assert probe.finished[0].endswith(f") {word}")


def test_a_refusal_of_a_hook_has_its_reason_below():
    probe = HandlerProbe(*call_events(), ConsentRefused(CALL, "hook", "not\x1b[2J\nhere"))
    probe.frame()

    assert probe.finished[0].endswith(") refused by a hook")
    assert probe.finished[1].strip().startswith("not")
    assert "\x1b" not in probe.finished[1]
    assert len(probe.finished) == 2


def test_a_row_shows_hooks_until_the_user_is_asked_or_the_tool_runs():
    probe = HandlerProbe(*call_events(), HooksBegan(CALL, "before"))
    probe.now += 3
    assert probe.region[0].endswith(") 3 s hooks check it")
    probe.handle(ToolBegan(CALL))
    assert probe.region[0].rstrip().endswith(") 0 s")
    probe.handle(HooksBegan(CALL, "after"))
    assert probe.region[0].endswith(") 1 s hooks run after it")


def test_an_output_from_elsewhere_settles_the_row_too():
    probe = HandlerProbe(*call_events(), ToolOutputAdded(tool_call_id="c1", output="sunny"))
    probe.frame()

    assert probe.finished == ['✓ get_weather({"city": "Rome"}) ok', "  sunny"]


def test_text_before_a_call_stands_above_its_row_and_text_after_it_below():
    probe = HandlerProbe(
        TextDelta(text="Let me look."), *call_events(), completed_message("Let me look.", CALL)
    )
    probe.handle(ToolEnded("c1", ToolResult("sunny"), 1.0), TextDelta(text="It is sunny."))
    probe.handle(status())
    probe.frame()

    assert [line for line in probe.finished if line][:4] == [
        "Let me look.",
        '✓ get_weather({"city": "Rome"}) ok 1.0 s',
        "  sunny",
        "It is sunny.",
    ]


def test_a_call_that_ends_amid_a_text_does_not_cut_it():
    probe = HandlerProbe(*call_events(), ToolBegan(CALL), TextDelta(text="While it "))
    probe.handle(
        ToolEnded("c1", ToolResult("sunny"), 1.0), TextDelta(text="runs."), completed_message("x")
    )
    probe.frame()

    assert [line for line in probe.finished if line] == [
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
    probe = HandlerProbe(TextDelta(text="```py\nhalf a li"), end)
    probe.frame()

    assert probe.finished[:2] == ["half a li", line]


def test_a_reply_that_is_left_before_its_end_keeps_what_came():
    probe = HandlerProbe(TextDelta(text="Half a"), *call_events())
    probe.handler.abandon("[left]", 3.0)
    probe.frame()

    assert probe.finished == ["Half a", "", '✗ get_weather({"city": "Rome"}) not run', "[left]"]
    assert probe.handler.phase == "idle"


def test_a_reply_that_begins_again_says_so_and_what_was_written_can_be_read():
    probe = HandlerProbe(TextDelta(text="One.\n\nTwo"))
    probe.frame()
    probe.handle(TurnRestarted(reason="worker_lost", after=0, attempt=2), TextDelta(text="Other."))
    probe.handle(status())
    probe.frame()

    assert probe.finished[:6] == [
        "One.",
        "",
        "Two",
        "the reply begins again (worker_lost); what was written of it is void",
        "",
        "Other.",
    ]


def test_an_empty_answer_is_said_to_be_empty():
    probe = HandlerProbe(completed_message(""), status())
    probe.frame()

    assert probe.finished[0] == "(empty answer)"


def test_a_refusal_stands_under_a_line_that_says_so():
    refusal = Message(
        id="m", thread_id="t", number=2, role="assistant", content=(Refusal("No."),), created_at=1
    )
    probe = HandlerProbe(TextDelta(text="Well."), RefusalDelta(text="N"), RefusalDelta(text="o."))
    probe.handle(MessageCompleted(message=refusal), status())
    probe.frame()

    assert probe.finished[:-1] == ["Well.", "", "the model refuses to answer:", "", "No."]


def test_pages_that_the_provider_cites_are_listed_below_the_answer():
    url = "https://tides.example/moon"
    message = msgspec.structs.replace(
        completed_message("The moon[1].").message,
        citations=(
            Citation(url="https://b.example/\x1b[2J"),
            Citation(url=url, title="The moon"),
            Citation(url="https://tides.example/sun"),
        ),
    )
    probe = HandlerProbe(
        TextDelta(text="The moon[1]."), MessageCompleted(message=message), status()
    )
    frame = probe.frame()

    assert probe.finished[:5] == [
        "The moon[1].",
        "",
        "Sources:",
        f"[1] The moon  {url}",
        "[2] https://tides.example/sun",
    ]
    assert next(span.link for line in frame.finished for span in line if span.link) == url


def test_the_footer_has_what_was_used():
    usage = Usage(input_tokens=1204, output_tokens=890, cost=0.012)
    probe = HandlerProbe(TextDelta(text="Hi."), UsageAdded(usage=usage), status())
    probe.frame()

    assert probe.finished[-1] == "3.0 s, 1,204 in, 890 out, $0.0120"


def test_phases_follow_what_happens():
    probe = HandlerProbe()
    phases = [probe.frame().phase]
    for event in (
        status(Status.IN_PROGRESS),
        ReasoningDelta(text="hm"),
        TextDelta(text="```py\n"),
        *call_events()[:1],
        ToolBegan(CALL),
        ToolEnded("c1", ToolResult("x"), 0.1),
    ):
        probe.handle(event)
        phases.append(probe.frame().phase)
    probe.handler.interrupt(9.0)

    assert phases == [
        "connecting",
        "waiting",
        "thinking",
        "writing",
        "calling",
        "running",
        "waiting",
    ]
    assert probe.frame().phase == "stopping"


def list_foreign_events(foreign: str) -> list[Event | ToolEvent]:
    """Return events with the foreign text in each field that reaches a screen."""
    call = ToolCall("c1", foreign, foreign)
    text = f"x{foreign}y\n\n```{foreign}\n{foreign}\n```\n\n- [{foreign}](http://x/{foreign})\n"
    return [
        status(Status.IN_PROGRESS),
        ReasoningDelta(text=foreign),
        TextDelta(text=text),
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
    region, probe = Region(emulator, Ink(THEMES["dark"], links=False)), HandlerProbe()
    for event in list_foreign_events(payload):
        probe.handle(event)
        region.paint(probe.frame(40, 20), InputRows(), 40, probe.now)
    region.close()

    remaining = ALLOWED.sub("", emulator.written)
    control_characters = [letter for letter in remaining if not letter.isprintable()]
    assert control_characters == []
    assert payload.isprintable() or f"x{payload}" not in emulator.written


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_plain_painter_writes_text_and_line_feeds_alone(payload: str):
    output, probe = StringIO(), HandlerProbe()
    with StreamingContext(output, Ink(BARE), announces=True) as painter:
        for event in list_foreign_events(payload):
            probe.handle(event)
            painter.paint(probe.frame(40, 20), InputRows(), 40, probe.now)

    visible_text = output.getvalue().replace("\n", "").replace("\t", "")
    assert [letter for letter in visible_text if not letter.isprintable()] == []


def test_a_listener_is_told_of_each_change_once_and_that_it_still_goes_on():
    output, probe = StringIO(), HandlerProbe(theme=BARE.in_words())
    painter = StreamingContext(output, Ink(BARE), announces=True)
    for now, event in ((1, status(Status.IN_PROGRESS)), (2, TextDelta(text="Hi.\n\n"))):
        probe.handle(event)
        painter.paint(probe.frame(), InputRows(), 80, now)
        painter.paint(probe.frame(), InputRows(), 80, now)
    painter.paint(probe.frame(), InputRows(), 80, 30)

    assert output.getvalue() == "Waiting.\nAssistant:\nHi.\nStill writing, 28 s.\n"
