import asyncio
import gc
import itertools
import json
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter

from antiphon.providers.chat_completions import ChatCompletionsProvider, feed_piece, payload
from antiphon.providers.quirks import PLAIN, Quirks
from antiphon.providers.stream_parser import ChatCompletionsParser
from antiphon.types.chunks import (
    CallPiece,
    Chunk,
    Finish,
    ModelRequest,
    ReasoningPiece,
    TextPiece,
    UsagePiece,
)
from antiphon.types.errors import (
    AntiphonError,
    Disconnected,
    ProviderAuth,
    ProviderError,
    ProviderProtocol,
    ProviderRateLimited,
    ProviderUnavailable,
    class_for_code,
)
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Sampling, Usage
from tests.support.providers.upstream import AFTER_TOOLS, SCENARIOS, Upstream

KEY = "sk-canary-0123456789"
HELLO = b'{"role":"user","content":"hello"}'
WHOLE_CALL = '{"x":1}'


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        upstream.gate.set()
        yield upstream


def ask(name: str, **more: Any) -> ModelRequest:
    return ModelRequest(model=f"quirk:{name}", **{"messages": HELLO, **more})


async def read_reply(
    upstream: Upstream, name: str, quirks: Quirks = PLAIN
) -> tuple[list[Chunk], AntiphonError | None]:
    provider = ChatCompletionsProvider(upstream.url, KEY, quirks=quirks, backoff_seconds=0.001)
    chunks: list[Chunk] = []
    error = None
    try:
        async with asyncio.timeout(60), aclosing(provider.stream(ask(name))) as pages:
            async for page in pages:
                chunks += page
    except AntiphonError as raised:
        error = raised
    await provider.close()
    return chunks, error


def text_in(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextPiece))


def reasons(chunks: Sequence[Chunk]) -> list[str | None]:
    return [chunk.reason for chunk in chunks if isinstance(chunk, Finish)]


def calls_in(chunks: Sequence[Chunk]) -> list[CallPiece]:
    return [chunk for chunk in chunks if isinstance(chunk, CallPiece)]


WHOLE = [
    name
    for name, scenario in SCENARIOS.items()
    if scenario.expect in ("completed", "length", "content_filter", "action_required")
]
FAILED = [
    name
    for name, scenario in SCENARIOS.items()
    if scenario.expect.startswith("provider_")
    and name != "t_finish_without_call"
    and not scenario.whole_only
]


def quirks_of(name: str) -> Quirks:
    quirk = SCENARIOS[name].declared
    return Quirks(cumulative="auto") if not quirk else Quirks(**{quirk: quirk != "stream"})


@pytest.mark.parametrize("name", WHOLE)
async def test_a_reply_with_a_terminal_marker_is_read_whole(upstream: Upstream, name: str):
    chunks, error = await read_reply(upstream, name, quirks_of(name))

    assert error is None
    assert text_in(chunks) == SCENARIOS[name].text
    assert len(reasons(chunks)) == (2 if name == "length_after_stop" else 1)


@pytest.mark.parametrize("name", ["no_finish_no_done", "truncated_json", "t_whole_then_cut"])
async def test_an_end_without_a_marker_gives_no_finish(upstream: Upstream, name: str):
    chunks, error = await read_reply(upstream, name)

    assert error is None
    assert text_in(chunks) == SCENARIOS[name].text
    assert reasons(chunks) == []


@pytest.mark.parametrize("name", ["reset_mid", "truncated_close"])
async def test_a_broken_connection_is_a_cut_and_what_came_is_kept(upstream: Upstream, name: str):
    chunks, error = await read_reply(upstream, name)

    assert isinstance(error, Disconnected)
    assert text_in(chunks) == "hi"


@pytest.mark.parametrize("name", FAILED)
async def test_a_failure_has_the_name_that_the_table_gives_it(upstream: Upstream, name: str):
    _, error = await read_reply(upstream, name)

    assert type(error) is class_for_code(SCENARIOS[name].expect)
    assert KEY not in str(error)
    if SCENARIOS[name].expect == "provider_error":
        assert error.message == "boom"


@pytest.mark.parametrize("cut", ["", "@1", "@7"])
@pytest.mark.parametrize("name", ["err_midstream", "err_raw_text", "broken_json", "deep_content"])
async def test_what_was_said_before_a_failure_is_kept_however_it_was_sent(
    upstream: Upstream, name: str, cut: str
):
    chunks, error = await read_reply(upstream, name + cut)

    assert isinstance(error, ProviderError)
    assert text_in(chunks) == "hi"


@pytest.mark.parametrize(
    ("name", "quirks", "text", "reasoning"),
    [
        ("cumulative", Quirks(cumulative=True), "hel", ""),
        ("think_tags", Quirks(think_tags=True), "hi", "hm"),
        ("frag1@1", Quirks(think_tags=True), SCENARIOS["ok"].text, ""),
        ("content_list", Quirks(), "hi", "hm"),
        ("two_reasonings", Quirks(), "hi", "hm"),
    ],
)
async def test_quirks_are_read_as_they_are_declared(
    upstream: Upstream, name: str, quirks: Quirks, text: str, reasoning: str
):
    upstream.scenarios["frag1"] = SCENARIOS["ok"]

    chunks, _ = await read_reply(upstream, name, quirks)

    read_reasoning = "".join(chunk.text for chunk in chunks if isinstance(chunk, ReasoningPiece))
    assert (text_in(chunks), read_reasoning) == (text, reasoning)


def piece(index: int | None, arguments: str = "", *, call_id: str | None = None, **more: Any):
    return CallPiece(
        index=index, name="f" if call_id else None, id=call_id, arguments=arguments, **more
    )


OPENED = '{"x"'
ONE = piece(0, WHOLE_CALL, call_id="c1")
SPLIT = [piece(0, OPENED, call_id="c1"), piece(0, ":1}")]
TWO = '{"x":2}'


@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("t_normal", [piece(0, call_id="c1"), *(piece(0, part) for part in (OPENED, ":1}"))]),
        ("t_one_piece", [ONE]),
        ("t_finish_stop", [ONE]),
        ("t_no_finish", [ONE]),
        ("t_args_object", [piece(0, WHOLE_CALL, call_id="c1")]),
        ("t_no_index_single", [piece(None, OPENED, call_id="c1"), piece(None, ":1}")]),
        ("t_empty_id_repeat", SPLIT),
        ("t_meta_repeat", [SPLIT[0], piece(0, ":1}", call_id="c1")]),
        ("t_index_starts_1", [piece(1, WHOLE_CALL, call_id="c1")]),
        ("t_after_finish", [ONE]),
        ("t_args_on_finish", SPLIT),
        ("t_content_and_tool", [ONE]),
        (
            "t_extra_content",
            [
                piece(
                    *(0, WHOLE_CALL),
                    call_id="c1",
                    extra={"extra_content": {"google": {"thought_signature": "s\ufffd"}}},
                )
            ],
        ),
        ("t_empty_args", [piece(0, call_id="c1")]),
        ("t_null_args", [piece(0, call_id="c1")]),
        ("t_no_id", [CallPiece(index=0, name="f", arguments=WHOLE_CALL)]),
        (
            "t_legacy_function_call",
            [CallPiece(name="f", arguments=OPENED), CallPiece(arguments=":1}")],
        ),
        ("t_whole_completion", [ONE]),
        (
            "t_no_index_parallel",
            [
                CallPiece(position=0, name="f", arguments=WHOLE_CALL),
                CallPiece(position=1, name="f", arguments=TWO),
            ],
        ),
        ("t_index0_all", [ONE, piece(0, TWO, call_id="c2")]),
        ("t_index0_all_frag", [*SPLIT, piece(0, OPENED, call_id="c2"), piece(0, ":2}")]),
        (
            "t_interleaved",
            [SPLIT[0], piece(1, OPENED, call_id="c2"), SPLIT[1], piece(1, ":2}")],
        ),
        ("t_index_gap", [ONE, piece(5, TWO, call_id="c2")]),
        ("t_dup_ids", [ONE, piece(1, TWO, call_id="c1")]),
        ("t_truncated_args_length", SPLIT[:1]),
        ("t_whole_then_cut", [ONE]),
        ("t_finish_without_call", []),
        ("t_invalid_json", [piece(0, '{"x":1]', call_id="c1")]),
        ("t_second_args_on_first", [ONE, piece(0, TWO)]),
        ("t_bad_utf8", [piece(0, '{"x":"\x1a"}', call_id="c1")]),
    ],
)
async def test_pieces_of_calls_say_exactly_what_the_server_said(
    upstream: Upstream, name: str, pieces: list[CallPiece]
):
    chunks, error = await read_reply(upstream, name)

    assert error is None
    assert calls_in(chunks) == pieces


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        *(
            ("ok", "stop"),
            ("done_no_finish", None),
            ("unknown_finish", "eos"),
            ("length", "length"),
        ),
        *(
            ("http200_json_completion", "stop"),
            ("t_whole_completion", None),
            ("finish_no_close", "stop"),
        ),
    ],
)
async def test_the_finish_says_the_servers_word_or_none(
    upstream: Upstream, name: str, reason: str | None
):
    chunks, _ = await read_reply(upstream, name)

    assert reasons(chunks) == [reason]


@pytest.mark.parametrize("name", ["usage_final", "usage_every", "http200_json_completion"])
async def test_the_last_usage_is_what_was_used(upstream: Upstream, name: str):
    chunks, _ = await read_reply(upstream, name)

    reports = [chunk.usage for chunk in chunks if isinstance(chunk, UsagePiece)]
    assert reports[-1] == Usage(
        input_tokens=10, output_tokens=5, cached_tokens=4, reasoning_tokens=2
    )


async def test_a_key_that_the_server_echoes_is_not_repeated(upstream: Upstream):
    _, error = await read_reply(upstream, "401")

    assert isinstance(error, ProviderAuth)
    assert "Incorrect key" in error.message
    assert KEY not in error.message


@pytest.mark.parametrize(("name", "count"), [("429", 3), ("500", 3), ("429_late", 1), ("400", 1)])
async def test_only_what_may_pass_is_asked_again(upstream: Upstream, name: str, count: int):
    await read_reply(upstream, name)

    assert len(upstream.requests) == count


async def test_who_must_wait_too_long_is_told_how_long(upstream: Upstream):
    _, error = await read_reply(upstream, "429_late")

    assert isinstance(error, ProviderRateLimited)
    assert error.details["retry_after"] == 3600


async def test_waiting_for_another_try_shows_signs_of_life(upstream: Upstream):
    provider = ChatCompletionsProvider(upstream.url, backoff_seconds=0.001)

    async with aclosing(provider.stream(ask("reset_once"))) as pages:
        first = await anext(pages)
    await provider.close()

    assert first == []


async def test_a_server_that_is_not_there_is_unavailable(upstream: Upstream, unused_tcp_port: int):
    provider = ChatCompletionsProvider(f"http://127.0.0.1:{unused_tcp_port}/v1", backoff_seconds=0)

    with pytest.raises(ProviderUnavailable, match="did not answer"):
        await anext(provider.stream(ask("ok")))
    await provider.close()


async def test_after_done_nobody_waits_for_the_close(upstream: Upstream):
    chunks, error = await read_reply(upstream, "done_no_close")

    assert (text_in(chunks), reasons(chunks), error) == ("hi", ["stop"], None)


async def test_leaving_a_reply_closes_its_connection(upstream: Upstream):
    provider = ChatCompletionsProvider(upstream.url)
    async with aclosing(provider.stream(ask("endless"))) as pages:
        await anext(pages)

    request = await upstream.wait_for_request(1)
    async with asyncio.timeout(60):
        await request.done.wait()
    await provider.close()

    assert request.closed in ("fin", "rst")


async def test_a_connection_is_used_again(upstream: Upstream):
    provider = ChatCompletionsProvider(upstream.url)
    for _ in range(3):
        async with aclosing(provider.stream(ask("ok"))) as pages:
            async for _ in pages:
                pass
    await provider.close()

    assert upstream.connections == 1


async def test_the_first_chunk_is_not_held_back(upstream: Upstream):
    provider = ChatCompletionsProvider(upstream.url)

    async with asyncio.timeout(60), aclosing(provider.stream(ask("stall"))) as pages:
        async for page in pages:
            if text_in(page):
                break
    await provider.close()

    assert text_in(page)


@pytest.mark.parametrize("declared", [True, False])
def test_comments_are_signs_of_life_where_that_is_declared(declared: bool):
    reply = ChatCompletionsParser(Quirks(comments_are_life=declared))

    results = [reply.feed(part) for part in (b": ping\n\n", b": pi", b"ng\n")]

    assert results == ([[], None, []] if declared else [None, None, None])


async def test_models_are_those_the_server_lists(upstream: Upstream):
    provider = ChatCompletionsProvider(upstream.url, KEY)

    models = await provider.models()
    await provider.close()

    assert "quirk:ok" in models


# The parser alone, fed with any pieces.

SHORT = [
    name
    for name, scenario in SCENARIOS.items()
    if len(scenario.body) < 4_000 and "gzip" not in name
]
VARIED = [
    Quirks(),
    Quirks(cumulative="auto"),
    Quirks(think_tags=True, cumulative=True, comments_are_life=True),
    Quirks(think_tags=True, leaked_calls=True, cumulative="auto"),
    Quirks(think_prefilled=True, leaked_calls=True),
]


def read(pieces: Sequence[bytes], quirks: Quirks) -> tuple[list[Chunk], str | None, str]:
    """Return the joined texts, and the error's code and message."""
    reply = ChatCompletionsParser(quirks)
    chunks: list[Chunk] = []
    try:
        for part in pieces:
            chunks += reply.feed(part) or []
            if reply.done:
                break
        return join_chunks(chunks + reply.close()), None, ""
    except ProviderError as error:
        return join_chunks(chunks), error.code, error.message


def join_chunks(chunks: Sequence[Chunk]) -> list[Chunk]:
    joined: list[Chunk] = []
    for kind, group in itertools.groupby(chunks, type):
        if kind in (TextPiece, ReasoningPiece):
            joined.append(kind("".join(chunk.text for chunk in group)))
        else:
            joined += group
    return joined


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("quirks", VARIED)
def test_every_byte_may_come_alone(name: str, quirks: Quirks):
    body = SCENARIOS[name].body

    alone = read([body[at : at + 1] for at in range(len(body))], quirks)

    assert alone == read([body], quirks)


@settings(max_examples=6 * settings.default.max_examples)
@given(st.sampled_from(SHORT), st.lists(st.integers(0, 4_000)), st.sampled_from(VARIED))
def test_how_a_reply_is_cut_into_reads_makes_no_difference(
    name: str, places: list[int], quirks: Quirks
):
    body = SCENARIOS[name].body
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]

    pieces = [body[start:end] for start, end in itertools.pairwise(edges)]

    assert read(pieces, quirks) == read([body], quirks)


@given(
    st.sampled_from(["ok", "t_interleaved", "usage_final", "content_list"]), st.integers(0, 3_000)
)
def test_a_reply_cut_short_has_no_finish_before_its_marker_came(name: str, at: int):
    body = SCENARIOS[name].body
    marker = body.index(b'"finish_reason": "')

    chunks, _, _ = read([body[: at % marker]], Quirks())

    assert reasons(chunks) == []


FRAGMENTS = st.sampled_from(
    [
        *(b"data: ", b"\n\n", b"\n", b"event: error\n", b"[DONE]", b"{", b"}", b"[", b"]", b'"'),
        *(b'{"choices":[{"delta":{"content":', b'"x"', b"null", b"}}]}", b"\xff", b"\0", b"<html>"),
        *(b'{"choices":[{"delta":{"tool_calls":[{"function":', b'{"arguments":', b"1e999", b"-1"),
        *(b'{"usage":{"prompt_tokens":', b'"finish_reason":', b'"\\ud83d"', b":", b",", b"error"),
    ]
)


@settings(max_examples=8 * settings.default.max_examples)
@given(st.lists(FRAGMENTS).map(b"".join))
def test_whatever_comes_ends_as_chunks_or_as_a_named_error(body: bytes):
    chunks, code, _ = read([body], Quirks())

    assert code in (None, "provider_error", "provider_protocol")
    assert all("\0" not in chunk.text for chunk in chunks if isinstance(chunk, TextPiece))


def test_a_reply_has_a_longest_length():
    reply = ChatCompletionsParser(max_bytes=100)

    with pytest.raises(ProviderProtocol, match="longer"):
        reply.feed(b"data: {}\n\n" * 11)


def delta(fields: str) -> str:
    """Return the JSON of an event with this delta."""
    return '{"choices":[{"delta":{' + fields + "}}]}"


MANY = {
    "lists": delta('"reasoning_details":[{"x":[' + "[]," * 10**6 + "[]]}]"),
    "calls": delta('"tool_calls":[' + "{}," * 10**6 + "{}]"),
    "texts": delta('"content":["' + 'a","' * 10**6 + 'a"]'),
}


@pytest.mark.parametrize("values", MANY.values(), ids=MANY)
@pytest.mark.parametrize(
    "form", [b"data: %b\n\n", b"data: %b", b"%b"], ids=["event", "cut", "whole"]
)
def test_an_event_of_too_many_values_ends_the_reply_and_what_came_before_is_kept(
    values: str, form: bytes
):
    beginning = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n' if b"data" in form else b""

    chunks, code, message = read([beginning, form % values.encode()], Quirks())

    assert (text_in(chunks), code) == ("hi" if beginning else "", "provider_protocol")
    assert "values" in message


def test_texts_of_any_signs_are_no_values():
    text = '[{",\\' * 400_000
    content = json.dumps({"choices": [{"delta": {"content": text}}]})

    chunks, code, _ = read([f"data: {content}\n\ndata: [DONE]\n\n".encode()], Quirks())

    assert (text_in(chunks), code) == (text, None)


async def test_other_tasks_have_turns_while_a_large_event_is_read():
    turns, loop = 0, asyncio.get_running_loop()

    def turn() -> None:
        nonlocal turns
        turns += 1
        loop.call_soon(turn)

    reply = ChatCompletionsParser()
    parts = [{"type": "text", "text": "a"}] * 20_000
    event = json.dumps({"choices": [{"delta": {"content": parts}}]}).encode()
    assert await feed_piece(reply, b"data: " + event + b"\n") is None
    loop.call_soon(turn)

    chunks = await feed_piece(reply, b"\n")

    assert text_in(chunks or []) == "a" * 20_000
    assert turns > 0


@pytest.mark.slow
@pytest.mark.usefixtures("cpu_limit")
def test_blanks_that_come_one_by_one_are_looked_at_once():
    blanks, event = 100_000, b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n\n'
    spaces = b'data: {"choices":[{"delta":{"content":" "}}]}\n\n'

    plain_parser, thinking_parser = (
        ChatCompletionsParser(),
        ChatCompletionsParser(Quirks(think_tags=True)),
    )
    for _ in range(blanks):
        plain_parser.feed(b"\n")
    letters = sum(len(text_in(thinking_parser.feed(spaces) or [])) for _ in range(blanks))

    assert text_in(plain_parser.feed(event) or []) == "hi"
    assert letters == blanks


# The request.

TOOL = ToolSpec("f", "does f", {"type": "object", "properties": {"x": {"type": "integer"}}})
EVERYTHING = Sampling(
    temperature=0.5,
    top_p=0.9,
    max_output_tokens=100,
    stop=("END",),
    seed=7,
    tool_choice="f",
    parallel_tool_calls=False,
    reasoning_effort="low",
    response_format={"type": "json_object"},
    logit_bias={"50256": -100},
    presence_penalty=0.5,
    frequency_penalty=0.5,
)


@pytest.mark.parametrize("choice", ["f", "auto", {"type": "function", "function": {"name": "f"}}])
@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_request_is_one_that_the_official_client_could_have_sent(choice: Any, limit: str):
    call = (
        b'{"role":"assistant","tool_calls":[{"id":"c1","type":"function",'
        b'"function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"1"}'
    )
    question = ask(
        "ok",
        messages=HELLO + b"," + call,
        instructions="Be brief.",
        tools=(TOOL,),
        sampling=Sampling(**{**_sent_sampling(EVERYTHING), "tool_choice": choice}),
    )

    request = json.loads(payload(question, Quirks(max_tokens=limit)))

    TypeAdapter(CompletionCreateParamsStreaming).validate_python(request, strict=True)
    assert set(request) <= set(CompletionCreateParamsStreaming.__annotations__) | _base_fields()
    assert [message["role"] for message in request["messages"]] == [
        *("system", "user", "assistant", "tool")
    ]
    assert request[limit] == 100


def _sent_sampling(sampling: Sampling) -> dict[str, Any]:
    return {name: getattr(sampling, name) for name in sampling.__struct_fields__}


def _base_fields() -> set[str]:
    return set(CompletionCreateParamsStreaming.__required_keys__) | set(
        CompletionCreateParamsStreaming.__optional_keys__
    )


def test_a_plain_request_holds_nothing_that_was_not_asked_for():
    request = json.loads(payload(ask("ok"), Quirks(stream_options=False)))

    assert request == {
        "model": "quirk:ok",
        "stream": True,
        "messages": [{"role": "user", "content": "hello"}],
    }


def test_a_choice_among_no_tools_is_not_sent():
    request = json.loads(payload(ask("ok", sampling=EVERYTHING), Quirks()))

    assert "tool_choice" not in request
    assert "parallel_tool_calls" not in request


async def test_a_request_with_tool_outputs_is_a_legal_history(upstream: Upstream):
    provider = ChatCompletionsProvider(upstream.url)
    call = (
        b'{"role":"assistant","tool_calls":[{"id":"c1","type":"function",'
        b'"function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"1"}'
    )

    chunks: list[Chunk] = []
    async for page in provider.stream(ask("t_normal", messages=HELLO + b"," + call)):
        chunks += page
    await provider.close()

    assert text_in(chunks) == AFTER_TOOLS
    assert upstream.rejected == []


def test_a_parsed_reply_is_freed_without_the_cycle_collector() -> None:
    reply = ChatCompletionsParser()
    reply.feed(b'data: {"choices":[{"index":0,"delta":{"content":"hello"}}]}\n\n')
    reference = weakref.ref(reply)
    gc.disable()
    try:
        del reply
        assert reference() is None
    finally:
        gc.enable()
