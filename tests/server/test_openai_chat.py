"""Chat Completions, as the official Python client sees them."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from msgspec.structs import replace
from openai import AsyncOpenAI, OpenAI

from antiphon import AsyncClient
from antiphon.api.operations import NewMessage
from antiphon.testing.script import Script
from antiphon.types.runs import McpServer, Sampling, Status
from tests.server.openai_place import Place
from tests.support.server.served import SETTINGS, eventually, serve

TOOL_SERVER = Path(__file__).parents[1] / "support/harness/tool_server.py"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGA"
    "hKmMIQAAAABJRU5ErkJggg=="
)
CITY = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
TOOL_OUTPUT = {"role": "tool", "tool_call_id": "call_1", "content": "x"}
BROKEN_FILE = {"filename": "a.txt", "file_data": "?"}
HELLO: list[Any] = [{"role": "user", "content": "Hello?"}]


@asynccontextmanager
async def open_place(script: Script, **settings: Any) -> AsyncIterator[Place]:
    async with (
        serve(replace(SETTINGS, model=script.model, **settings)) as server,
        AsyncClient(server.url) as native_client,
    ):
        place = Place(server, script, native_client)
        async with place.client:
            yield place


async def test_what_the_provider_cites_is_passed_on(place: Place) -> None:
    citation = {"url": "https://tides.example/moon", "title": "The moon"}
    for _ in range(2):
        place.script.reply("The moon pulls.", citations=[tuple(citation.values())])

    answer = await place.ask(HELLO)
    chunks = await place.stream(HELLO)

    (annotation,) = answer.choices[0].message.annotations
    position = {"start_index": 15, "end_index": 15}
    assert annotation.url_citation.model_dump() == citation | position
    deltas = [chunk.choices[0].delta.model_dump() for chunk in chunks if chunk.choices]
    url_citations = [each for delta in deltas for each in delta.get("annotations") or ()]
    assert url_citations == [{"type": "url_citation", "url_citation": citation | position}]


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with open_place(Script()) as place:
        yield place


def text_of(chunks: Sequence[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def calls_of(chunks: Sequence[Any]) -> list[tuple[str, str, str]]:
    """Join the pieces of each call, by its index: id, name, arguments."""
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or ():
                parts = calls.setdefault(call.index, ["", "", ""])
                parts[0] += call.id or ""
                parts[1] += call.function.name or ""
                parts[2] += call.function.arguments or ""
    return [(call_id, name, arguments) for call_id, name, arguments in calls.values()]


# Answers.


async def test_an_answer_comes_as_a_whole_and_nothing_is_kept_but_usage(place: Place) -> None:
    place.script.reply("Hello.", reasoning="A greeting.", tokens=(7, 2))

    answer = await place.ask(HELLO)

    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("Hello.", "stop")
    assert choice.message.reasoning_content == "A greeting."
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 2)
    assert answer.usage.total_tokens == 9
    assert answer.model == place.script.model
    await place.wait_for_deletion()
    assert (await place.native_client.list_runs()).data == []
    (row,) = (await place.native_client.get_usage(days=1)).rows
    assert (row.runs, row.input_tokens, row.output_tokens) == (1, 7, 2)


async def test_an_answer_comes_in_chunks_with_its_usage_in_the_last(place: Place) -> None:
    place.script.reply("Hello, you.", reasoning="A greeting.", tokens=(7, 2))

    chunks = await place.stream(HELLO, stream_options={"include_usage": True})

    assert text_of(chunks) == "Hello, you."
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 9
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    reasoning = [getattr(c.choices[0].delta, "reasoning_content", None) for c in chunks[:-1]]
    assert "".join(filter(None, reasoning)) == "A greeting."
    await place.wait_for_deletion()


async def test_without_the_option_no_chunk_mentions_usage(place: Place) -> None:
    place.script.reply("Hello.", tokens=(7, 2))

    async with place.server.clients:
        client = await place.server.client()
        body = {"model": place.script.model, "messages": HELLO, "stream": True}
        answer = await client.post("/openai/v1/chat/completions", json=body)

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "usage" not in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "event:" not in answer.text


@pytest.mark.parametrize(
    ("finish", "expected_reason"), [("length", "length"), ("content_filter", "content_filter")]
)
async def test_a_cut_answer_says_why(place: Place, finish: str, expected_reason: str) -> None:
    place.script.reply("Hello, y", finish=finish).reply("Hello, y", finish=finish)

    answer = await place.ask(HELLO)
    chunks = await place.stream(HELLO)

    assert answer.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == expected_reason
    assert answer.choices[0].message.content == text_of(chunks) == "Hello, y"


async def test_the_provider_gets_the_conversation_and_the_options(place: Place) -> None:
    place.script.reply("Yes.")
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": "Where is Ann?", "name": "ben"},
        {"role": "assistant", "content": None, "tool_calls": [call("c1", "find", "")]},
        {"role": "tool", "tool_call_id": "c1", "content": "in the garden"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "And this?"},
                {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
            ],
        },
    ]

    await place.ask(
        messages,
        temperature=0.5,
        max_completion_tokens=9,
        stop="END",
        seed=3,
        presence_penalty=0.5,
        frequency_penalty=0,
        reasoning_effort="low",
        response_format={"type": "json_object"},
        tools=[CITY],
        tool_choice={"type": "function", "function": {"name": "weather"}},
    )

    (request,) = place.script.requests
    assert request.instructions == "Be brief.\n\nBe kind."
    assert [tool.name for tool in request.tools] == ["weather"]
    assert request.sampling == Sampling(
        temperature=0.5,
        max_output_tokens=9,
        stop=("END",),
        seed=3,
        presence_penalty=0.5,
        reasoning_effort="low",
        response_format={"type": "json_object"},
        tool_choice={"type": "function", "function": {"name": "weather"}},
    )
    sent_messages = request.decode_messages()
    assert [message["role"] for message in sent_messages] == ["user", "assistant", "tool", "user"]
    assert sent_messages[1]["tool_calls"][0]["function"] == {"name": "find", "arguments": "{}"}
    assert sent_messages[3]["content"][1]["image_url"]["url"] == PIXEL


def call(id: str, name: str, arguments: str) -> Mapping[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


async def test_a_file_travels_in_the_request_or_by_its_id_and_is_not_kept(place: Place) -> None:
    place.script.reply("One.").reply("Two.")
    stored = await place.native_client.upload_file(b"kept", "kept.txt", "text/plain")
    data = "data:text/plain;base64," + base64.b64encode(b"sent along").decode()

    for file in ({"file_data": data, "filename": "a.txt"}, {"file_id": stored.id}):
        await place.ask([{"role": "user", "content": [{"type": "file", "file": file}]}])

    first, second = place.script.requests
    assert "sent along" in str(first.decode_messages())
    assert "kept" in str(second.decode_messages())
    await place.wait_for_deletion()
    async with asyncio.timeout(20):
        while len((await place.native_client.list_files()).data) > 1:
            await asyncio.sleep(0)
    assert (await place.native_client.list_files()).data[0].id == stored.id


async def test_a_reader_that_leaves_ends_a_run_that_is_not_kept() -> None:
    async with open_place(Script(), demo_delay=0.2) as place:
        stream = await place.client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": "600 words"}], stream=True
        )
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()

        await place.wait_for_deletion()
        (row,) = (await place.native_client.get_usage(days=1)).rows
        assert row.runs == 1


# Tools.


async def test_calls_are_handed_to_the_client_and_their_outputs_come_back(place: Place) -> None:
    messages = [{"role": "user", "content": "Oslo and Rome?"}]
    for _ in range(2):
        place.script.calls(("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"}))
    place.script.reply("Rain and sun.")

    chunks = await place.stream(messages, tools=[CITY])
    answer = await place.ask(messages, tools=[CITY])

    message = answer.choices[0].message
    assert chunks[-1].choices[0].finish_reason == answer.choices[0].finish_reason == "tool_calls"
    assert [(name, json.loads(arguments)) for _, name, arguments in calls_of(chunks)] == [
        ("weather", {"city": "Oslo"}),
        ("weather", {"city": "Rome"}),
    ]
    assert [each.function.name for each in message.tool_calls] == ["weather", "weather"]
    assert message.content is None
    outputs = [
        {"role": "tool", "tool_call_id": each.id, "content": text}
        for each, text in zip(message.tool_calls, ("rain", "sun"), strict=True)
    ]
    final = await place.ask([*messages, message, *outputs], tools=[CITY])
    assert final.choices[0].message.content == "Rain and sun."
    sent_messages = place.script.requests[-1].decode_messages()
    assert [each.get("content") for each in sent_messages[2:]] == ["rain", "sun"]
    await place.wait_for_deletion()


@pytest.mark.parametrize(("parallel", "passed_on"), [(True, None), (False, False)])
async def test_parallel_calls_are_a_setting_only_where_they_are_turned_off(
    place: Place, parallel: bool, passed_on: bool | None
) -> None:
    place.script.reply("Yes.")

    await place.ask(HELLO, tools=[CITY], parallel_tool_calls=parallel)

    assert place.script.requests[-1].sampling.parallel_tool_calls is passed_on


async def test_only_the_allowed_tools_are_offered(place: Place) -> None:
    place.script.reply("No.")
    other_tool = {"type": "function", "function": {"name": "other"}}

    await place.ask(
        HELLO,
        tools=[CITY, other_tool],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "auto",
                "tools": [{"type": "function", "function": {"name": "other"}}],
            },
        },
    )

    (request,) = place.script.requests
    assert [tool.name for tool in request.tools] == ["other"]
    assert request.sampling.tool_choice == "auto"


@pytest.mark.parametrize("policy", ["never", "always"])
async def test_tools_of_the_server_run_unseen_and_gated_ones_are_refused(
    tmp_path: Path, policy: Any
) -> None:
    pytest.importorskip("mcp")
    log = tmp_path / "calls"
    far = {"command": sys.executable, "args": ["-I", str(TOOL_SERVER), str(log)], "backend": True}
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"far": far}}))
    script = Script()
    async with open_place(script, backend_mcp="configured", config=str(config)) as place:
        await place.native_client.create_assistant(
            name="helper",
            model=script.model,
            instructions="Help.",
            mcp_servers=(McpServer("far", require_approval=policy),),
        )
        for _ in range(2):
            script.calls(("far__look", {}), text="I look.").reply("I have looked.")
        ask = place.client.chat.completions.create

        answer = await ask(model="helper", messages=HELLO)
        stream = await ask(model="helper", messages=HELLO, stream=True)
        chunks = [chunk async for chunk in stream]

        assert answer.choices[0].message.content == "I look.\n\nI have looked."
        assert answer.choices[0].message.tool_calls is None
        assert text_of(chunks) == "I look.\n\nI have looked."
        assert calls_of(chunks) == []
        assert answer.choices[0].finish_reason == "stop"
        assert log.exists() == (policy == "never")
        is_refused = "refused" in str(script.messages)
        assert is_refused == (policy == "always")
        assert script.requests[0].instructions == "Help."
        await place.wait_for_deletion()


# Threads that are stored.


async def test_a_request_that_continues_a_named_thread_appends_to_it(place: Place) -> None:
    place.script.reply("One.").reply("Two.")
    thread = await place.native_client.create_thread()
    headers = {"Antiphon-Thread": thread.id}
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, *HELLO]

    first = await place.ask(messages, extra_headers=headers)
    messages += [first.choices[0].message, {"role": "user", "content": "More?"}]
    chunks = await place.stream(messages, extra_headers=headers)

    assert text_of(chunks) == "Two."
    assert await place.texts(thread.id) == [
        "user: Hello?",
        "assistant: One.",
        "user: More?",
        "assistant: Two.",
    ]
    assert (await place.native_client.list_threads()).data[0].id == thread.id
    assert place.script.requests[-1].instructions == "Be brief."


async def test_other_blanks_in_an_answer_are_no_other_answer(place: Place) -> None:
    """Open WebUI joins what stands before and after reasoning with a line break of its own."""
    place.script.reply("I look.\n\nI have  looked.").reply("Two.")
    thread = await place.native_client.create_thread()
    headers = {"Antiphon-Thread": thread.id}
    await place.ask(HELLO, extra_headers=headers)

    message = {"role": "assistant", "content": " I look.\n\n\nI have looked.\n"}
    await place.ask([*HELLO, message, {"role": "user", "content": "More?"}], extra_headers=headers)

    assert (await place.texts(thread.id))[2:] == ["user: More?", "assistant: Two."]


async def test_a_request_that_changes_a_named_thread_continues_in_a_fork(place: Place) -> None:
    place.script.reply("One.").reply("Two.").reply("Three.")
    thread = await place.native_client.create_thread()
    headers = {"Antiphon-Thread": thread.id}
    first = await place.ask(HELLO, extra_headers=headers)
    message = first.choices[0].message
    await place.ask([*HELLO, message, {"role": "user", "content": "More?"}], extra_headers=headers)

    response = await place.client.chat.completions.with_raw_response.create(
        model=place.script.model,
        messages=[*HELLO, message, {"role": "user", "content": "Less?"}],
        extra_headers=headers,
    )

    fork = response.headers["antiphon-thread"]
    assert fork != thread.id
    assert (await place.texts(fork))[2:] == ["user: Less?", "assistant: Three."]
    assert (await place.texts(thread.id))[2:] == ["user: More?", "assistant: Two."]
    assert (await place.native_client.get_thread(fork)).parent_id == thread.id


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"tool_choice": "auto"}])
async def test_outputs_go_to_the_run_that_waits_for_them_in_a_named_thread(
    place: Place, changes: dict[str, Any]
) -> None:
    place.script.call("weather", city="Oslo").reply("Rain.")
    thread = await place.native_client.create_thread()
    options: dict[str, Any] = {"tools": [CITY], "extra_headers": {"Antiphon-Thread": thread.id}}
    first = await place.ask(HELLO, **options)
    message = first.choices[0].message
    output = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}

    final = await place.ask([*HELLO, message, output], **options, **changes)

    assert final.choices[0].message.content == "Rain."
    runs = (await place.native_client.list_runs(thread.id)).data
    expected = [Status.COMPLETED, Status.CANCELLED] if changes else [Status.COMPLETED]
    assert [run.status for run in runs] == expected
    assert (await place.texts(thread.id))[2:] == ["tool: rain", "assistant: Rain."]


async def test_a_question_instead_of_outputs_leaves_the_calls_behind(place: Place) -> None:
    place.script.call("weather", city="Oslo").reply("Fine.")
    thread = await place.native_client.create_thread()
    options: dict[str, Any] = {"tools": [CITY], "extra_headers": {"Antiphon-Thread": thread.id}}
    first = await place.ask(HELLO, **options)
    question = {"role": "user", "content": "Never mind."}

    final = await place.ask([*HELLO, first.choices[0].message, question], **options)

    assert final.choices[0].message.content == "Fine."
    assert [run.status for run in (await place.native_client.list_runs(thread.id)).data] == [
        Status.COMPLETED,
        Status.CANCELLED,
    ]


async def test_a_named_thread_that_is_busy_is_locked_and_not_asked_again() -> None:
    async with open_place(Script(), demo_delay=0.2) as place:
        thread = await place.native_client.create_thread()
        run = await place.native_client.create_run(thread.id, model="demo", background=True)
        with pytest.raises(openai.BadRequestError) as excinfo:
            await place.ask(HELLO, extra_headers={"Antiphon-Thread": thread.id})

        assert excinfo.value.code == "conversation_locked"
        await place.native_client.cancel_run(run.id)


async def test_a_run_in_a_named_thread_survives_its_reader() -> None:
    async with open_place(Script(), demo_delay=0.01) as place:
        thread = await place.native_client.create_thread()
        stream = await place.client.chat.completions.create(
            model="demo",
            messages=[{"role": "user", "content": "60 words"}],
            stream=True,
            extra_headers={"Antiphon-Thread": thread.id},
        )
        await anext(aiter(stream))
        await stream.close()

        (run,) = (await place.native_client.list_runs(thread.id)).data
        _ = [event async for event in place.native_client.events(run.id)]
        assert (await place.native_client.get_run(run.id)).status is Status.COMPLETED
        assert len((await place.texts(thread.id))[1].split()) > 60


async def test_a_chat_of_open_webui_has_a_thread_and_its_tasks_have_none(place: Place) -> None:
    place.script.reply("One.").reply("A title").reply("Two.")
    chat = {"X-OpenWebUI-Chat-Id": "0f0e-chat"}

    first = text_of(await place.stream(HELLO, extra_headers=chat))
    title = await place.ask([{"role": "user", "content": "A title!"}], extra_headers=chat)
    messages = [
        *HELLO,
        {"role": "assistant", "content": first},
        {"role": "user", "content": "More?"},
    ]
    await place.stream(messages, extra_headers=chat)

    assert title.choices[0].message.content == "A title"
    (thread,) = (await place.native_client.list_threads()).data
    assert await place.texts(thread.id) == [
        "user: Hello?",
        "assistant: One.",
        "user: More?",
        "assistant: Two.",
    ]
    await place.wait_for_deletion()


@pytest.mark.parametrize("chat_id", ["local:5PcD", "channel:0f0e"])
async def test_a_chat_that_open_webui_does_not_keep_is_not_kept_here(
    place: Place, chat_id: str
) -> None:
    place.script.reply("One.")

    text = text_of(await place.stream(HELLO, extra_headers={"X-OpenWebUI-Chat-Id": chat_id}))

    assert text == "One."
    assert (await place.native_client.list_threads()).data == []
    await place.wait_for_deletion()


async def test_several_models_answer_at_once_in_a_chat_of_open_webui() -> None:
    async with open_place(Script(), demo_delay=0.01) as place:
        messages = [{"role": "user", "content": "60 words"}]
        chat = {"X-OpenWebUI-Chat-Id": "0f0e-chat"}

        async def ask() -> str:
            stream = await place.client.chat.completions.create(
                model="demo", messages=messages, stream=True, extra_headers=chat
            )
            return text_of([chunk async for chunk in stream])

        answers = await asyncio.gather(ask(), ask(), ask())

        assert [len(text.split()) for text in answers] == [60, 60, 60]
        threads = (await place.native_client.list_threads()).data
        stored = [await place.texts(thread.id) for thread in threads]
        assert stored == [["user: 60 words", f"assistant: {answers[0]}"]] * 3


async def test_a_conversation_of_another_face_goes_on_here(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    far = {"command": sys.executable, "args": ["-I", str(TOOL_SERVER), str(tmp_path / "calls")]}
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"far": {**far, "backend": True}}}))
    script = Script().calls(("far__look", {}), text="I look.").reply("I have looked.").reply("Yes.")
    async with open_place(script, backend_mcp="configured", config=str(config)) as place:
        turn = place.native_client.process(
            message=NewMessage("Hello?"),
            mcp_servers=(McpServer("far", require_approval="never"),),
        )
        _ = [event async for event in turn]
        thread_id = (await place.native_client.get_run(str(turn.run_id))).thread_id
        before = await place.texts(thread_id)

        message = {"role": "assistant", "content": "I look.\n\nI have looked."}
        await place.ask(
            [*HELLO, message, {"role": "user", "content": "Sure?"}],
            extra_headers={"Antiphon-Thread": thread_id},
        )

        assert await place.texts(thread_id) == [*before, "user: Sure?", "assistant: Yes."]


# Models.


async def test_models_and_assistants_are_listed_and_found_by_name(place: Place) -> None:
    assistant = await place.native_client.create_assistant(
        name="my/helper", model=place.script.model
    )
    nameless_assistant = await place.native_client.create_assistant(model=place.script.model)
    place.script.reply("One.").reply("Two.")

    owners = {model.id: model.owned_by async for model in place.client.models.list()}
    retrieved = await place.client.models.retrieve("my/helper", extra_query={"api-version": "1"})
    ask = place.client.chat.completions.create
    answers = [
        await ask(model=name, messages=HELLO) for name in ("my/helper", nameless_assistant.id)
    ]

    assert owners["my/helper"] == owners[nameless_assistant.id] == "assistant"
    assert (retrieved.id, retrieved.created) == ("my/helper", assistant.created_at // 1000)
    assert [answer.choices[0].message.content for answer in answers] == ["One.", "Two."]
    with pytest.raises(openai.NotFoundError) as excinfo:
        await place.client.models.retrieve("nobody:x")
    assert excinfo.value.code == "model_not_found"


# Errors.


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"functions": []}, "functions"),
        ({"temperature": 3}, "temperature"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "system", "content": "x"}, *HELLO, TOOL_OUTPUT]},
            "messages[2].tool_call_id",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": BROKEN_FILE}]}]},
            "messages[0].content[0].file.file_data",
        ),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0]",
        ),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"response_format": {"type": "xml"}}, "response_format"),
    ],
)
async def test_what_is_not_served_is_refused_by_name(
    place: Place, changes: dict[str, Any], param: str
) -> None:
    client = await place.server.client()

    answer = await client.post(
        "/openai/v1/chat/completions",
        json={"model": place.script.model, "messages": HELLO, **changes},
    )

    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["param"] == param
    assert error["message"]
    assert (await place.native_client.list_runs()).data == []


async def test_fields_that_are_ignored_are_named(place: Place) -> None:
    place.script.reply("Hello.")

    response = await place.client.chat.completions.with_raw_response.create(
        model=place.script.model,
        messages=HELLO,  # type: ignore[arg-type]
        user="u",
        store=True,
        extra_body={"top_k": 3},
    )

    assert response.headers["antiphon-ignored"] == "store, top_k, user"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("provider_rate_limited", openai.RateLimitError),
        ("provider_rejected", openai.BadRequestError),
        ("provider_unavailable", openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_provider_is_an_error_before_the_first_chunk(
    place: Place, code: str, kind: type[Exception], stream: bool
) -> None:
    place.script.fail(code, "It is tired.")

    with pytest.raises(kind, match="It is tired"):
        await place.ask(HELLO, stream=stream)

    await place.wait_for_deletion()


async def test_an_answer_that_breaks_off_ends_with_an_error(place: Place) -> None:
    place.script.cut("Hello, y")

    stream = await place.ask(HELLO, stream=True)
    chunks: list[Any] = []

    async def read_stream() -> None:
        async for chunk in stream:
            chunks.append(chunk)  # noqa: PERF401 - what came before the error is looked at

    with pytest.raises(openai.APIError) as excinfo:
        await read_stream()

    assert text_of(chunks) == "Hello, y"
    assert excinfo.value.code == "disconnected"
    await place.wait_for_deletion()


async def test_a_whole_answer_has_nothing_of_a_turn_that_began_again(place: Place) -> None:
    place.script.calls(("nothing", {}), text="I try.").reply("Sorry.", reasoning="Now then.")

    answer = await place.ask(HELLO, tools=[CITY])

    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("Sorry.", "stop")
    assert choice.message.reasoning_content == "Now then."


async def test_a_stream_cannot_take_back_a_turn_that_begins_again(place: Place) -> None:
    place.script.calls(("nothing", {}), text="I try.").reply("Sorry.")

    with pytest.raises(openai.APIError, match="begins again") as excinfo:
        await place.stream(HELLO, tools=[CITY])

    assert excinfo.value.code == "turn_restarted"


async def test_keys_are_those_of_the_native_api_and_owners_are_apart(place: Place) -> None:
    ann, ben = await place.server.key("ann"), await place.server.key("ben")
    reader = await place.server.key("ann", "read")
    async with AsyncClient(place.server.url, api_key=ann) as owner:
        thread = await owner.create_thread()
        await owner.create_assistant(name="helper", model=place.script.model)
    url = f"{place.server.url}/openai/v1"

    async def ask_with_key(key: str, **options: Any) -> Any:
        async with AsyncOpenAI(base_url=url, api_key=key, max_retries=0) as client:
            return await client.chat.completions.create(messages=HELLO, **options)

    with pytest.raises(openai.AuthenticationError) as unknown:
        await ask_with_key("ak_wrong", model=place.script.model)
    assert unknown.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError):
        await ask_with_key(reader, model=place.script.model)
    with pytest.raises(openai.NotFoundError):
        await ask_with_key(ben, model="helper")
    with pytest.raises(openai.NotFoundError):
        await ask_with_key(
            ben, model=place.script.model, extra_headers={"Antiphon-Thread": thread.id}
        )
    place.script.reply("Hello.")
    assert (await ask_with_key(ann, model="helper")).choices[0].message.content == "Hello."


async def test_other_paths_and_methods_are_refused_in_the_same_form(place: Place) -> None:
    client = await place.server.client()

    for method, path, status in (
        ("GET", "/openai/v1/nothing", 404),
        ("GET", "/openai/v1/chat/completions", 405),
        ("POST", "/openai/v1/chat/completions", 400),
    ):
        answer = await client.request(method, path, headers={"content-type": "application/json"})
        assert (answer.status_code, set(answer.json())) == (status, {"error"}), path


async def test_a_client_with_another_base_url_is_told_which_one_it_needs(place: Place) -> None:
    for base in ("", "/v1", "/openai"):
        async with AsyncOpenAI(
            base_url=place.server.url + base, api_key="none", max_retries=0
        ) as client:
            with pytest.raises(openai.NotFoundError, match="base URL that ends with /openai/v1"):
                await client.chat.completions.create(model="demo", messages=HELLO)
    with pytest.raises(openai.NotFoundError, match=r"chat/completions, responses.* are served"):
        await place.client.embeddings.create(model="demo", input="Hello?")


def test_the_sync_client_works_too() -> None:
    async def ask_in_thread() -> str:
        script = Script().reply("Hello.")
        async with open_place(script) as place:

            def ask() -> str:
                with OpenAI(base_url=f"{place.server.url}/openai/v1", api_key="none") as client:
                    stream = client.chat.completions.create(
                        model=script.model, messages=HELLO, stream=True
                    )
                    return text_of(list(stream))

            return await asyncio.to_thread(ask)

    assert asyncio.run(ask_in_thread()) == "Hello."


async def test_a_typed_answer_is_parsed_by_the_client(place: Place) -> None:
    from pydantic import BaseModel

    class Weather(BaseModel):
        city: str

    place.script.reply('{"city": "Oslo"}')

    answer = await place.client.chat.completions.parse(
        model=place.script.model,
        messages=HELLO,  # type: ignore[arg-type]
        response_format=Weather,
    )

    assert answer.choices[0].message.parsed == Weather(city="Oslo")
    response_format = place.script.requests[0].sampling.response_format
    assert response_format is not None
    assert response_format["type"] == "json_schema"


async def test_a_hostile_body_is_refused_and_starts_nothing(place: Place) -> None:
    client = await place.server.client()
    bodies = [
        b"",
        b"[]",
        b"{",
        b'{"model": "\\u0000", "messages": []}',
        b'{"model": 3, "messages": [{"role": "user", "content": "x"}]}',
        json.dumps({"model": "x" * 300, "messages": HELLO}).encode(),
        json.dumps({"model": "demo", "messages": [{"role": "king", "content": "x"}]}).encode(),
    ]
    for body in bodies:
        answer = await client.post(
            "/openai/v1/chat/completions",
            content=body,
            headers={"content-type": "application/json"},
        )
        assert answer.status_code == 400, body
        assert answer.json()["error"]["type"] == "invalid_request_error"
    large_answer = await client.post(
        "/openai/v1/chat/completions",
        json={"model": "demo", "messages": [{"role": "user", "content": "x" * 1_100_000}]},
    )
    assert large_answer.status_code == 413
    assert isinstance(large_answer, httpx2.Response)
    assert (await place.native_client.list_runs()).data == []


async def test_nothing_personal_is_added_to_requests_of_other_clients(place: Place) -> None:
    await place.native_client.update_personal_settings(instructions="Be brief.")
    await place.native_client.create_memory("Likes tea.")
    assistant = await place.native_client.create_assistant(
        model=place.script.model, instructions="Help."
    )
    for _ in range(3):
        place.script.reply("Hello.")

    await place.ask(HELLO)
    await place.client.chat.completions.create(model=assistant.id, messages=HELLO)
    await place.client.responses.create(model=assistant.id, input="Hello?")

    assert [each.instructions for each in place.script.requests] == [None, "Help.", "Help."]


@pytest.mark.slow
async def test_an_assistant_with_the_name_of_a_model_in_use_is_found_soon(place: Place) -> None:
    place.script.reply("Plain.")
    await place.ask(HELLO)
    await place.native_client.create_assistant(
        name=place.script.model, model=place.script.model, instructions="Be brief."
    )

    async def is_found() -> bool:
        place.script.reply("Hello.")
        await place.ask(HELLO)
        return place.script.requests[-1].instructions == "Be brief."

    await eventually(is_found)
