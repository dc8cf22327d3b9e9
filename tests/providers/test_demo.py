import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.engine.seam import Seam, make_rest_prompt
from antiphon.providers.demo import DemoProvider, reply
from antiphon.providers.demo_arguments import ArgumentFiller
from antiphon.types.chunks import (
    CallPiece,
    Finish,
    ModelRequest,
    ReasoningPiece,
    TextPiece,
    UsagePiece,
)
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Sampling


def tool(name: str, required: tuple[str, ...] = (), **properties: Any) -> ToolSpec:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return ToolSpec(name, "", schema)


STRING = {"type": "string"}
FLIGHTS = tool("get_flight_times", ("departure", "arrival"), departure=STRING, arrival=STRING)
WEATHER = tool(
    "weather__get_weather", ("city", "unit"), city=STRING, unit={"enum": ["celsius", "fahrenheit"]}
)
BOTH = (FLIGHTS, WEATHER)


def ask(
    user_text: str, tools: tuple[ToolSpec, ...] = (), *more: dict[str, Any], **sampling: Any
) -> ModelRequest:
    messages = [{"role": "user", "content": user_text}, *more]
    joined = ",".join(map(json.dumps, messages)).encode()
    return ModelRequest(model="demo", messages=joined, tools=tools, sampling=Sampling(**sampling))


def text(question: ModelRequest) -> str:
    return "".join(chunk.text for chunk in reply(question) if isinstance(chunk, TextPiece))


def calls(question: ModelRequest) -> list[tuple[str, dict[str, Any]]]:
    pieces = [chunk for chunk in reply(question) if isinstance(chunk, CallPiece)]
    names = {piece.index: piece.name for piece in pieces if piece.name}
    return [
        (name, json.loads("".join(p.arguments for p in pieces if p.index == index)))
        for index, name in names.items()
        if name
    ]


@pytest.mark.parametrize(
    "user_text",
    [
        "When does the next LAX-JFK flight leave?",
        "I want to fly from LAX to JFK",
        "Please use get_flight_times for LAX and JFK.",
    ],
)
def test_asked_about_flights_it_calls_the_tool_for_them(user_text: str):
    assert calls(ask(user_text, BOTH)) == [
        ("get_flight_times", {"departure": "LAX", "arrival": "JFK"})
    ]


def test_two_tools_are_called_together_when_both_are_asked_for():
    user_text = "Flights from LAX to JFK and the weather in New York, both please"

    assert calls(ask(user_text, BOTH)) == [
        ("get_flight_times", {"departure": "LAX", "arrival": "JFK"}),
        ("weather__get_weather", {"city": "New York", "unit": "celsius"}),
    ]


def test_one_tool_is_called_twice_in_parallel_with_other_arguments():
    user_text = "The weather in Oslo and Paris in fahrenheit, in parallel"

    assert calls(ask(user_text, BOTH)) == [
        ("weather__get_weather", {"city": "Oslo", "unit": "fahrenheit"}),
        ("weather__get_weather", {"city": "Paris", "unit": "fahrenheit"}),
    ]


@pytest.mark.parametrize("choice", ["required", "get_flight_times"])
def test_a_choice_that_demands_a_call_gets_one(choice: str):
    assert calls(ask("Hello", (FLIGHTS,), tool_choice=choice))


@pytest.mark.parametrize(
    "question",
    [
        ask("Hello", BOTH),
        ask("What time is it?", BOTH),
        ask("Flights?", ()),
        ask("Flights?", BOTH, tool_choice="none"),
    ],
)
def test_without_a_reason_no_tool_is_called(question: ModelRequest):
    assert calls(question) == []
    assert "demo model" in text(question)


def test_after_the_tools_have_answered_it_answers_from_their_outputs():
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "get_flight_times", "arguments": "{}"},
    }
    output = {"role": "tool", "tool_call_id": "c1", "content": '{"leaves":"08:00","gates":[1]}'}
    question = ask("Flights?", BOTH, {"role": "assistant", "tool_calls": [call]}, output)

    assert calls(question) == []
    assert "- **leaves**: 08:00\n- **gates**: [1]" in text(question)


def test_a_new_question_is_not_answered_from_old_outputs():
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "get_flight_times", "arguments": "{}"},
    }
    output = {"role": "tool", "tool_call_id": "c1", "content": "old"}
    question = ask(
        *("Flights?", BOTH, {"role": "assistant", "tool_calls": [call]}, output),
        {"role": "user", "content": [{"type": "text", "text": "And from SFO to BOS by plane?"}]},
    )

    assert calls(question) == [("get_flight_times", {"departure": "SFO", "arrival": "BOS"})]


@pytest.mark.parametrize("count", [1, 59, 500, 5_000])
def test_a_long_answer_has_as_many_words_as_were_asked_for(count: int):
    assert len(text(ask(f"Write {count} words")).split()) == count


def test_asked_to_sum_up_it_repeats_what_the_user_said_in_short():
    user_text = f"User: 500 words\n\nAssistant: One voice\n\nUser: {'x' * 200}\n\n(End.) Sum it up."

    assert text(ask(user_text)) == f"The user said:\n\n- 500 words\n- {'x' * 80}"


def test_markdown_of_every_kind_is_shown_on_request():
    markdown = text(ask("Show me some Markdown"))

    for sign in ("# ", "**", "`", "1. ", "- [x]", "| ", "```python", "> ", "---", "]("):
        assert sign in markdown


def test_a_limit_of_tokens_ends_the_reply_by_length():
    chunks = list(reply(ask("Tell me a long story", max_output_tokens=30)))

    assert chunks[-1] == Finish("length")
    assert sum(isinstance(chunk, (TextPiece, ReasoningPiece)) for chunk in chunks) == 30


def test_a_cut_answer_is_continued_from_its_last_words_without_a_call():
    full_text = text(ask("500 words"))
    beginning = full_text[:1000]
    answer_message = {"role": "assistant", "content": beginning}
    request_message = {"role": "user", "content": make_rest_prompt(beginning)}

    seam = Seam(beginning)
    continuation = text(ask("500 words", BOTH, answer_message, request_message))

    assert beginning + seam.feed(continuation) + seam.close() == full_text


def test_usage_is_reported():
    usage = [chunk.usage for chunk in reply(ask("Hello")) if isinstance(chunk, UsagePiece)]

    assert usage
    assert usage[0].input_tokens > 0
    assert usage[0].output_tokens > usage[0].reasoning_tokens > 0


@pytest.mark.parametrize("delay", [0, 0.0002])
async def test_the_delay_changes_when_chunks_come_and_not_which(delay: float):
    question = ask("Hello")

    chunks = [chunk async for page in DemoProvider(delay).stream(question) for chunk in page]

    assert chunks == list(reply(question))


def test_a_schema_is_filled_as_it_says():
    spec = tool(
        "plan",
        ("who", "when", "days", "ratio", "tags", "ok", "where", "maybe", "fixed", "many"),
        who={"type": "string", "maxLength": 5},
        when={"type": "string", "format": "date"},
        days={"type": "integer", "minimum": 1, "maximum": 5},
        ratio={"type": "number"},
        tags={"type": "array", "items": {"type": "string"}, "minItems": 2},
        ok={"type": "boolean"},
        where={"$ref": "#/$defs/place"},
        maybe={"anyOf": [{"type": "null"}, {"type": "integer"}]},
        fixed={"const": 3},
        many={"type": ["null", "string"]},
        optional=STRING,
    )
    spec.parameters["$defs"] = {
        "place": {"type": "object", "properties": {"city": STRING}, "required": ["city"]}
    }

    arguments = ArgumentFiller('Plan "Anastasia" for 9 days from 2027-01-02 at 0.5').arguments(spec)

    assert arguments == {
        "who": "Anast",
        "when": "2027-01-02",
        "days": 5,
        "ratio": 0.5,
        "tags": ["Anastasia", "Anastasia"],
        "ok": True,
        "where": {"city": "Anastasia"},
        "maybe": 9,
        "fixed": 3,
        "many": "Anastasia",
    }


def test_json_without_a_schema_has_the_quoted_words_as_its_keys():
    sampling = {"response_format": {"type": "json_object"}}

    answer = text(ask("A joke about a dog's life, with 'setup' and \"punch line\".", **sampling))

    assert list(json.loads(answer)) == ["setup", "punch line"]
    assert json.loads(text(ask("Anything", **sampling))) == {"answer": "Anything"}


def test_words_between_single_quotes_are_quotations():
    user_text = "Weather in Ann's town 'São Paulo', please"

    assert calls(ask(user_text, (WEATHER,))) == [
        ("weather__get_weather", {"city": "São Paulo", "unit": "celsius"})
    ]


def test_a_schema_that_needs_itself_comes_to_an_end():
    node = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}

    assert ArgumentFiller("x").arguments(ToolSpec("f", "", node))


def tree(leaf: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5)
    )


JSON = tree(st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(), st.text())
KINDS = ("object", "array", "string", "integer", "number", "boolean", "null")
KEYWORDS = (
    *("type", "properties", "required", "items", "enum", "const", "default", "$ref", "$defs"),
    *("anyOf", "oneOf", "allOf", "minimum", "maximum", "minItems", "maxLength", "format"),
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.sampled_from((*KINDS, "date", "date-time", "a", "#", "#/", "#/$defs/a", "#/properties/a"))
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
SCHEMAS = st.dictionaries(
    st.sampled_from(KEYWORDS), tree(LEAVES, st.sampled_from((*KEYWORDS, "a"))), max_size=6
)
CHOICES = (
    st.none()
    | st.sampled_from(("required", "f"))
    | st.dictionaries(st.sampled_from(("type", "function")), JSON)
)


@given(st.text(), JSON)
def test_every_history_gets_an_answer(user_text: str, output: Any):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    output_message = {"role": "tool", "tool_call_id": "c", "content": json.dumps(output)}

    for more in ([], [{"role": "assistant", "tool_calls": [call]}, output_message]):
        assert isinstance(list(reply(ask(user_text, BOTH, *more)))[-1], Finish)


@given(st.text() | st.just("call f with LAX, 7 and 2027-01-02"), SCHEMAS, CHOICES)
def test_whatever_a_tool_says_of_its_parameters_its_arguments_are_an_object(
    user_text: str, schema: dict[str, Any], choice: Any
):
    for name, arguments in calls(ask(user_text, (ToolSpec("f", "", schema),), tool_choice=choice)):
        assert name == "f"
        assert isinstance(arguments, dict)


@pytest.mark.parametrize(
    "schema",
    [
        {"required": 5},
        {"type": 5},
        {"type": "object", "properties": [], "required": ["a"]},
        {"type": "object", "required": [["a"], {}, "a"]},
        {"properties": {"a": {"type": "number", "minimum": "x"}}, "required": ["a"]},
        {"properties": {"a": {"$ref": 5, "anyOf": 5}}, "required": ["a"]},
        {"properties": {"a": {"enum": {}}}, "required": ["a"]},
        {"properties": {"a": {"type": "string", "maxLength": "x"}}, "required": ["a"]},
    ],
)
def test_a_schema_that_is_none_is_filled_all_the_same(schema: dict[str, Any]):
    assert calls(ask("call f", (ToolSpec("f", "", schema),)))


@pytest.mark.parametrize("choice", [{"function": 5}, {"function": {"name": [5]}}, {"type": "auto"}])
def test_a_choice_that_means_nothing_chooses_nothing(choice: dict[str, Any]):
    assert calls(ask("Hello", BOTH, tool_choice=choice)) == []


def test_a_number_that_is_none_to_a_computer_is_left_out():
    spec = tool("count", ("n",), n={"type": "integer"})

    assert ArgumentFiller("count " + "9" * 400).arguments(spec) == {"n": 1}


MEGABYTE = 1_000_000


@pytest.mark.slow
@pytest.mark.usefixtures("cpu_limit")
@pytest.mark.parametrize(
    "piece",
    [
        *(
            "1,",
            "1",
            "1.",
            "-1",
            "1 word",
            "a ",
            " ",
            "\n",
            '"',
            '"a',
            "“”",
            "A",
            "Aa",
            "Aa ",
            "aA",
        ),
        *(
            "a-A",
            "A-Aa ",
            "LAX ",
            "2027-01-02",
            "get_flight_times",
            "get_",
            "_",
            ".",
            "both ",
            "Aa'",
        ),
    ],
)
def test_a_long_question_is_answered_in_a_time_that_grows_no_faster_than_it(piece: str):
    user_text = piece * (MEGABYTE // len(piece))

    for question in (ask(user_text, BOTH), ask(user_text, BOTH, tool_choice="required")):
        assert isinstance(list(reply(question))[-1], Finish)


@pytest.mark.usefixtures("cpu_limit")
def test_an_output_of_a_megabyte_is_repeated():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}

    for output in ("[" * MEGABYTE, '{"a":' * (MEGABYTE // 5), " " * MEGABYTE, '{"a":"\\ud800"}'):
        output_message = {"role": "tool", "tool_call_id": "c", "content": output}
        question = ask("f", BOTH, {"role": "assistant", "tool_calls": [call]}, output_message)
        assert isinstance(list(reply(question))[-1], Finish)


@pytest.mark.usefixtures("cpu_limit")
@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {name: {"$ref": "#"} for name in "abcdefghij"}, "required": [*"abcdefghij"]},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 2**60},
        {"properties": {"a": {"$ref": "#"}}, "required": ["a"] * 100_000},
        {
            "$defs": {"a": {"const": "x" * 100_000}},
            "properties": {f"a{at}": {"$ref": "#/$defs/a"} for at in range(10_000)},
            "required": [f"a{at}" for at in range(10_000)],
        },
    ],
)
def test_a_schema_that_asks_for_itself_many_times_gets_what_can_be_given(schema: dict[str, Any]):
    spec = ToolSpec("f", "", {"type": "object", "properties": {"x": schema}, "required": ["x"]})

    assert len(json.dumps(ArgumentFiller("x").arguments(spec))) < MEGABYTE
