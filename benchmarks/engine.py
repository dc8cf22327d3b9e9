"""Reading a reply without a network: our parser, turn and events beside openai's SDK."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import httpx2
import openai

from antiphon.engine.turn import Turn
from antiphon.providers.stream_parser import ChatCompletionsParser
from antiphon.types import events
from benchmarks.bench import Bench
from benchmarks.report import Figure, Row, row
from benchmarks.resources import used

_CHUNK = (
    'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk",'
    '"created":1790000000,"model":"fake-model-2026","choices":[{"index":0,'
    '"delta":{"content":"word %d "},"logprobs":null,"finish_reason":null}]}\n\n'
)
_END = (
    b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk",'
    b'"created":1790000000,"model":"fake-model-2026",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


async def measure(bench: Bench) -> list[Row]:
    """Each chunk in a read of its own, as they come from a model that is slower than its reader."""
    count = bench.pick(50, 4_000, 16_000)
    few = bench.pick(50, 1_000, 4_000)
    ours: list[float] = []
    batched: list[float] = []
    usual: list[float] = []
    for _ in range(bench.pick(1, 3, 5)):
        ours.append(_ours(_pieces(count), count))
        batched.append(_ours([b"".join(_pieces(count)[:-1]), _END], count))
        usual.append(_usual(_pieces(few), few))
    sdk = Figure(tuple(usual), "µs")
    return [
        row(
            "parse, accumulate, encode: CPU per chunk",
            Figure(tuple(ours), "µs"),
            "openai SDK's loop",
            sdk,
            target="at most a fifth",
            ratio_at_most=1 / 5,
        ),
        row(
            "the same, the whole reply in one read",
            Figure(tuple(batched), "µs"),
            "openai SDK's loop",
            sdk,
        ),
    ]


def _pieces(count: int) -> list[bytes]:
    return [*((_CHUNK % number).encode() for number in range(count)), _END]


def _ours(pieces: Sequence[bytes], count: int) -> float:
    """Microseconds of CPU per chunk, from bytes to encoded events."""
    reply, turn = ChatCompletionsParser(), Turn((), lambda: "call_0")
    lines: list[bytes] = []
    with used() as usage:
        for piece in pieces:
            lines += map(events.encode, turn.feed(reply.feed(piece) or ()))
        last = turn.close()
    assert last.outcome == "completed"
    assert last.text.endswith(f"word {count - 1} ")
    return usage.cpu / count * 1e6


class _Reply(httpx2.SyncByteStream):
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces


def _usual(pieces: Sequence[bytes], count: int) -> float:
    """The same through openai's SDK, up to its objects."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(
            200, headers={"content-type": "text/event-stream"}, stream=_Reply(pieces)
        )

    with (
        httpx2.Client(transport=httpx2.MockTransport(answer)) as transport,
        openai.OpenAI(base_url="http://fake/v1", api_key="none", http_client=transport) as client,
        used() as usage,
    ):
        stream = client.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        said = [text for chunk in stream if (text := chunk.choices[0].delta.content)]
    assert len(said) == count
    return usage.cpu / count * 1e6
