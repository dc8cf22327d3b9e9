import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam
from pydantic import TypeAdapter

from antiphon.providers import history
from antiphon.providers.chat_completions import payload
from antiphon.providers.history import adapt_history
from antiphon.providers.quirks import PLAIN, Quirks
from antiphon.providers.servers import SERVERS
from antiphon.runtime.attachments import inline_attachments
from antiphon.stores.memory.store import MemoryStore
from antiphon.types.chunks import ModelRequest
from antiphon.types.messages import (
    Image,
    Message,
    ReasoningDetails,
    Refusal,
    Role,
    Text,
    ToolCall,
    to_chat_completions,
)
from tests.support.providers.judge import faults

PROFILES = {"plain": PLAIN, **{name: server.quirks for name, server in SERVERS.items()}}
NINE = Quirks(call_ids="nine")
ALTERNATE = Quirks(roles="alternate")
BACK = Quirks(reasoning_back="reasoning_content")
SIGNED = {"extra_content": {"google": {"thought_signature": 's"\\'}}}


PRINTABLE = st.characters(min_codepoint=32, max_codepoint=126)


def message_line(role: Role, text: str = "", **fields: Any) -> bytes:
    content = (Text(text),) if text else ()
    return to_chat_completions(
        Message(
            **{"content": content, **fields},
            **dict.fromkeys(("id", "thread_id"), "x"),
            **dict.fromkeys(("number", "created_at"), 1),
            role=role,
        )
    )


def call_line(
    *ids: str,
    text: str = "",
    reasoning: str | None = None,
    reasoning_details: ReasoningDetails | None = None,
    **more: Any,
) -> bytes:
    calls = tuple(ToolCall(call_id, "look", '{"q":"x"}', **more) for call_id in ids)
    return message_line(
        "assistant",
        text,
        reasoning=reasoning,
        reasoning_details=reasoning_details,
        tool_calls=calls,
    )


def output(call_id: str, text: str = "42") -> bytes:
    return message_line("tool", text, tool_call_id=call_id)


def list_messages(
    *messages: bytes,
    quirks: Quirks = PLAIN,
    instructions: str | None = None,
    origin: str | None = None,
) -> list[Any]:
    """Return the messages as the server gets them."""
    adapted = adapt_history(b",".join(messages), instructions, quirks, origin)
    adapted_messages: list[Any] = json.loads(b"[" + adapted + b"]")
    return adapted_messages


def refusal_line(refusal: str, text: str = "") -> bytes:
    content = (Text(text),) if text else ()
    return message_line("assistant", content=(*content, Refusal(refusal)))


def roles(messages: list[Any]) -> list[str]:
    return [message["role"] for message in messages]


HI = message_line("user", "Hi.")


# Reasoning.


def test_reasoning_stays_at_home_where_nobody_asks_for_it():
    message = message_line(
        "assistant", 'It "is" so.', reasoning='I said: "tool_calls":[ \\ ","content":"'
    )

    assert list_messages(HI, message, call_line("c1", reasoning="Hm."), output("c1")) == [
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": 'It "is" so.'},
        *json.loads(b"[" + call_line("c1") + b"," + output("c1") + b"]"),
    ]


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_goes_back_under_the_servers_name_for_it(name: str):
    reasoning = 'I said: "antiphon:reasoning":"x" \\'
    history = list_messages(
        HI, call_line("c1", reasoning=reasoning), output("c1"), quirks=Quirks(reasoning_back=name)
    )

    assert history[1][name] == reasoning
    assert name not in history[0]


def test_where_reasoning_is_required_no_reply_is_without_it():
    deepseek = SERVERS["deepseek"].quirks
    history = list_messages(
        *(HI, call_line("c1", reasoning="Hm."), output("c1")),
        *(call_line("c2"), output("c2"), message_line("assistant", "Done.")),
        quirks=deepseek,
    )

    assert [
        message["reasoning_content"] for message in history if message["role"] == "assistant"
    ] == [*("Hm.", " ", " ")]


@given(st.text(), st.text().map("So: {}".format), st.booleans())
def test_whatever_was_thought_takes_nothing_else_with_it(
    reasoning: str, text: str, goes_back: bool
):
    question = (message_line("user", text), message_line("assistant", text, reasoning=reasoning))
    history = list_messages(*question, HI, quirks=BACK if goes_back else PLAIN)

    assert [message["content"] for message in history] == [text, text, "Hi."]
    assert history[1].get("reasoning_content") == (reasoning or None if goes_back else None)


def test_objects_have_what_only_some_servers_take():
    question = ModelRequest(model="m", messages=call_line("c1", reasoning="Hm.", extra=SIGNED))

    (message,) = question.decode_messages()
    assert message["reasoning_content"] == "Hm."
    assert message["tool_calls"][0]["extra_content"] == SIGNED["extra_content"]
    assert not any("antiphon" in key for key in (*message, *message["tool_calls"][0]))


async def test_reasoning_is_not_taken_for_an_upload():
    history = call_line("c1", reasoning='{"file_id":"antiphon:file_1"}', extra=SIGNED)
    assert await inline_attachments(history, MemoryStore(), "local") is history


# Refusals.


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("text", ["", "Well."])
def test_a_refusal_goes_back_as_the_server_takes_it(name: str, text: str):
    quirks = PROFILES[name]
    (answer,) = [
        message
        for message in list_messages(HI, refusal_line('I "will" not.', text), HI, quirks=quirks)
        if message["role"] == "assistant"
    ]

    if name in ("openai", "azure"):
        assert (answer["content"], answer["refusal"]) == (text or None, 'I "will" not.')
    else:
        assert "refusal" not in answer
        assert answer["content"] == (f'{text}\n\nI "will" not.' if text else 'I "will" not.')


@given(st.text(), st.text().map("No: {}".format), st.booleans())
def test_whatever_is_refused_takes_nothing_else_with_it(text: str, refusal: str, goes_back: bool):
    expected_text = "" if not text.strip() else text
    history = list_messages(
        HI, refusal_line(refusal, text), HI, quirks=Quirks(refusal_back=goes_back)
    )

    if goes_back:
        assert (history[1]["content"] or "", history[1]["refusal"]) == (expected_text, refusal)
    else:
        assert history[1]["content"] == (
            f"{expected_text}\n\n{refusal}" if expected_text else refusal
        )
    assert [message["content"] for message in (history[0], history[2])] == ["Hi.", "Hi."]


def test_a_refusal_is_text_to_who_asks_for_objects():
    messages = b",".join((refusal_line("No."), refusal_line("No.", "Well.")))

    assert [
        each["content"] for each in ModelRequest(model="m", messages=messages).decode_messages()
    ] == [*("No.", "Well.\n\nNo.")]


# Details of reasoning.

ODD = {
    "id": "c1",
    "text": '"content":"" {"id":"c1" "antiphon:details":"x", \\',
    "more": [None, 1.5],
}
DETAILS = ReasoningDetails("here", (ODD, {"type": "reasoning.encrypted", "data": "Ej=="}))


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("origin", ["here", "elsewhere", None])
def test_details_go_back_to_the_server_that_gave_them_and_to_no_other(name: str, origin: str):
    quirks = PROFILES[name]
    history = list_messages(
        *(HI, call_line("c12345678", reasoning="Hm.", reasoning_details=DETAILS)),
        *(output("c12345678"), message_line("assistant", "Done.", reasoning_details=DETAILS), HI),
        quirks=quirks,
        origin=origin,
    )

    answers = [message for message in history if message["role"] == "assistant"]
    expected = [list(DETAILS.details)] * 2 if origin == "here" else [None] * 2
    assert [answer.get("reasoning_details") for answer in answers] == expected
    assert [answer.get("content") for answer in answers] == [None, "Done."]
    for answer in answers:
        assert not any("antiphon" in key for key in answer)


def test_details_stay_at_home_where_they_are_not_wanted():
    history = list_messages(
        call_line("c1", reasoning_details=DETAILS),
        output("c1"),
        quirks=Quirks(reasoning_details=False),
        origin="here",
    )

    assert "reasoning_details" not in history[0]


def test_details_name_a_call_by_the_id_that_it_is_sent_under():
    long_id = "tool_" + "x" * 60
    details = ReasoningDetails("here", ({"type": "reasoning.encrypted", "id": long_id},))
    history = list_messages(
        call_line(long_id, reasoning_details=details), output(long_id), origin="here"
    )

    sent_id = history[0]["tool_calls"][0]["id"]
    assert sent_id != long_id
    assert history[0]["reasoning_details"] == [{"type": "reasoning.encrypted", "id": sent_id}]


def test_details_name_a_call_whose_id_came_twice_by_the_one_that_it_gets():
    details = ReasoningDetails("here", ({"type": "reasoning.encrypted", "id": "c1"},))
    turn = (call_line("c1", reasoning_details=details), output("c1"))
    history = list_messages(HI, *turn, *turn, origin="here")

    answers = [message for message in history if message["role"] == "assistant"]
    ids = [answer["tool_calls"][0]["id"] for answer in answers]
    assert len(set(ids)) == 2
    assert [answer["reasoning_details"][0]["id"] for answer in answers] == ids


def test_details_name_each_call_once_where_one_gets_an_id_that_another_had():
    ids = ("c1", "c1_2")
    details = ReasoningDetails("here", tuple({"type": "encrypted", "id": each} for each in ids))
    history = list_messages(
        *(HI, call_line("c1"), output("c1")),
        *(call_line(*ids, reasoning_details=details), output("c1"), output("c1_2")),
        origin="here",
    )

    answer = [message for message in history if message["role"] == "assistant"][1]
    sent_ids = [call["id"] for call in answer["tool_calls"]]
    assert [detail["id"] for detail in answer["reasoning_details"]] == sent_ids


def test_objects_have_no_details_of_a_server():
    question = ModelRequest(model="m", messages=call_line("c1", reasoning_details=DETAILS))

    assert question.decode_messages()[0].keys() == {"role", "tool_calls"}


# Extras and ids.


@pytest.mark.parametrize("takes", [True, False])
def test_an_extra_goes_back_to_who_takes_it_only(takes: bool):
    history = list_messages(
        *(HI, call_line("c1", extra=SIGNED), output("c1")), quirks=Quirks(extra_content=takes)
    )

    extra = history[1]["tool_calls"][0].get("extra_content")
    assert extra == (SIGNED["extra_content"] if takes else None)


@given(st.lists(st.text(PRINTABLE, min_size=1), min_size=1, unique=True))
@example(["a" * 41, "a" * 42, "abcdefghi", 'q"' * 30, "b\\" * 30, "b\\" * 30 + "\\"])
def test_ids_fit_stay_apart_and_name_the_same_calls(ids: list[str]):
    for quirks in (PLAIN, NINE):
        history = list_messages(HI, call_line(*ids), *map(output, ids), quirks=quirks)
        sent_ids = [call["id"] for call in history[1]["tool_calls"]]

        assert sent_ids == [message["tool_call_id"] for message in history[2:]]
        assert len(set(sent_ids)) == len(ids)
        assert not faults(b'{"messages":' + json.dumps(history).encode() + b"}", quirks)


@pytest.mark.parametrize("quirks", [PLAIN, NINE])
def test_an_id_that_comes_again_is_another(quirks: Quirks):
    turn = (call_line("c1"), output("c1"))
    history = list_messages(
        HI, *turn, call_line("c1_2", "c1"), output("c1_2"), output("c1"), quirks=quirks
    )

    assert not faults(b'{"messages":' + json.dumps(history).encode() + b"}", quirks)
    assert [message["content"] for message in history if message["role"] == "tool"] == ["42"] * 3


def test_an_id_that_fits_is_not_touched():
    history = list_messages(HI, call_line("functions.look:0"), output("functions.look:0"))
    assert history[1]["tool_calls"][0]["id"] == "functions.look:0"


# Empty messages, and calls without outputs.


@pytest.mark.parametrize("role", ["assistant", "system"])
def test_a_message_that_says_nothing_is_not_sent(role: Role):
    silent = message_line(role, reasoning="Hm." if role == "assistant" else None)

    assert roles(list_messages(silent, silent, HI, silent, HI, silent)) == ["user", "user"]


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_user_or_a_tool_that_said_nothing_is_told_as_such(blank: str):
    history = list_messages(
        message_line("user", blank), call_line("c1", text=blank), output("c1", blank)
    )
    assert "content" not in history[1]
    assert (history[0]["content"], history[2]["content"]) == ("(empty)", "(empty)")


def test_there_is_always_something_to_answer():
    assert list_messages() == [{"role": "user", "content": "(empty)"}]
    assert roles(list_messages(instructions="Be brief.", quirks=ALTERNATE)) == ["system", "user"]


def test_an_empty_text_beside_a_picture_is_no_part():
    content = (Text(""), Image(url="https://example.org/a.png"))
    (message,) = list_messages(message_line("user", content=content))
    assert [part["type"] for part in message["content"]] == ["image_url"]


def test_a_call_without_an_output_gets_one_that_says_so():
    history = list_messages(HI, call_line("c1", "c2"), output("c2"), HI)

    assert [(message["role"], message.get("tool_call_id")) for message in history[2:]] == [
        *(("tool", "c1"), ("tool", "c2"), ("user", None))
    ]
    assert "was not saved" in history[2]["content"]


# Strict servers.


def test_a_user_who_went_on_without_an_answer_is_told_of_in_between():
    history = list_messages(
        HI, call_line("c1"), output("c1"), HI, message_line("user", "Ho."), quirks=ALTERNATE
    )

    assert roles(history) == ["user", "assistant", "tool", "assistant", "user"]
    assert history[-1]["content"] == "Hi.\n\nHo."


def test_a_system_message_in_the_middle_goes_to_the_front():
    history = list_messages(
        *(HI, message_line("assistant", "Ho."), message_line("system", "Shout."), HI),
        quirks=Quirks(roles="system_first"),
        instructions="Be brief.",
    )
    assert roles(history) == ["system", "user", "assistant", "user"]
    assert history[0]["content"] == "Be brief.\n\nShout."


def test_pictures_survive_being_joined():
    picture = message_line("user", content=(Image(url="https://example.org/a.png"),))
    (message,) = list_messages(HI, picture, quirks=ALTERNATE)
    assert [part["type"] for part in message["content"]] == ["text", "image_url"]


IDS = st.sampled_from(["c1", "c2", "c3", "c4"])
TEXTS = st.text("abc", min_size=1, max_size=3)
ANY = st.lists(
    st.one_of(
        st.builds(message_line, st.sampled_from(["user", "system", "assistant"]), TEXTS),
        st.builds(lambda ids, text: call_line(*ids, text=text), st.sets(IDS, min_size=1), TEXTS),
        st.builds(output, IDS, TEXTS),
    ),
    max_size=12,
)


def texts(messages: list[Any], role: str) -> str:
    """Return the joined texts of a role, without inserted texts and the gaps between messages."""
    inserted = {history.UNKEPT, history.NO_ANSWER, history.BEGIN, history.GO_ON, "(empty)"}
    contents = [message.get("content", "") for message in messages if message["role"] == role]
    return "".join(text for text in contents if text not in inserted).replace("\n\n", "")


@given(ANY)
def test_any_messages_become_a_history_that_a_strict_server_takes(messages: list[bytes]):
    original = [json.loads(message) for message in messages]
    adapted = history.alternate_roles(
        history.merge_system_messages(history.pair_outputs(history.rename_duplicate_ids(original)))
    )

    body = json.dumps({"messages": adapted}).encode()
    assert faults(body, ALTERNATE) == []
    assert (
        history.alternate_roles(
            history.merge_system_messages(
                history.pair_outputs(history.rename_duplicate_ids(adapted))
            )
        )
        == adapted
    )


@given(ANY)
def test_what_is_made_acceptable_loses_no_text_and_keeps_its_order(messages: list[bytes]):
    original = [json.loads(message) for message in messages]
    paired = history.pair_outputs(original)
    adapted = history.alternate_roles(history.merge_system_messages(paired))

    for role in ("system", "user", "assistant"):
        assert texts(adapted, role) == texts(paired, role)
    for role in ("system", "assistant"):
        assert texts(paired, role) == texts(original, role)
    letters = sorted(texts(paired, "user") + texts(paired, "tool"))
    assert letters == sorted(texts(original, "user") + texts(original, "tool"))


def test_what_is_in_order_is_not_changed():
    chat = [json.loads(message) for message in (HI, call_line("c1"), output("c1"))]
    assert (
        history.alternate_roles(history.merge_system_messages(history.pair_outputs(chat))) == chat
    )


# The judge, and the official types.

LEGAL = (HI, call_line("c1", "c2", text="So:", reasoning="Hm."), output("c1"), output("c2"), HI)


@pytest.mark.parametrize("name", PROFILES)
def test_every_server_of_the_catalog_gets_what_it_takes(name: str):
    mixed = (
        message_line("system", "Shout."),
        *LEGAL,
        message_line("system", "Low."),
        message_line("assistant", "Ho."),
    )
    mixed = (*mixed, refusal_line("No."))
    question = ModelRequest(model="m", messages=b",".join(mixed), instructions="Be brief.")

    body = payload(question, PROFILES[name])
    assert faults(body, PROFILES[name]) == []
    if PROFILES[name].reasoning_back is None:
        official = TypeAdapter(list[ChatCompletionMessageParam])
        official.validate_python(json.loads(body)["messages"], strict=True)


MISTAKES: dict[str, tuple[str, Quirks, tuple[bytes, ...]]] = {
    "a call without its output": ("without an output", PLAIN, LEGAL[:3]),
    "an output of nothing": ("no preceding call", PLAIN, (HI, output("c1"))),
    "a second output": ("no preceding call", PLAIN, (*LEGAL[:4], output("c2"))),
    "somebody in between": ("without an output", PLAIN, (*LEGAL[:3], HI, output("c2"))),
    "an id twice": ("comes twice", PLAIN, (*LEGAL[:4], *LEGAL[1:4])),
    "reasoning for who wants none": ("not supported", PLAIN, LEGAL),
    "no reasoning for who wants it": ("passed back", SERVERS["deepseek"].quirks, LEGAL),
    "nothing said": ("must not be empty", PLAIN, (message_line("assistant"), HI)),
    "a long id": ("id was", PLAIN, (HI, call_line("c" * 41), output("c" * 41))),
    "an odd id": ("id was", NINE, (HI, call_line("c1"), output("c1"))),
    "the system late": ("at the beginning", ALTERNATE, (HI, message_line("system", "x"))),
    "the user twice": ("after role user", ALTERNATE, (HI, HI)),
    "the user after a tool": ("after role tool", ALTERNATE, LEGAL),
    "the assistant first": ("speak first", ALTERNATE, (message_line("assistant", "x"), HI)),
    "the assistant last": ("last role", ALTERNATE, (HI, message_line("assistant", "x"))),
    "nobody": ("must not be empty", PLAIN, ()),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_judge_sees(mistake: str):
    word, quirks, messages = MISTAKES[mistake]
    assert any(
        word in fault for fault in faults(b'{"messages":[' + b",".join(messages) + b"]}", quirks)
    )
