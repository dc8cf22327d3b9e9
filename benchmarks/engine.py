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
from benchmarks.resources import measure_usage

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
    """Measure with each chunk in its own read, as from a model slower than its reader."""
    count = bench.pick(50, 4_000, 16_000)
    sdk_count = bench.pick(50, 1_000, 4_000)
    single_reads: list[float] = []
    one_read: list[float] = []
    sdk_times: list[float] = []
    for _ in range(bench.pick(1, 3, 5)):
        single_reads.append(_measure_antiphon(_pieces(count), count))
        one_read.append(_measure_antiphon([b"".join(_pieces(count)[:-1]), _END], count))
        sdk_times.append(_measure_sdk(_pieces(sdk_count), sdk_count))
    sdk = Figure(tuple(sdk_times), "µs")
    return [
        row(
            "parse, accumulate, encode: CPU per chunk",
            Figure(tuple(single_reads), "µs"),
            "openai SDK's loop",
            sdk,
            target="at most a fifth",
            ratio_at_most=1 / 5,
        ),
        row(
            "the same, the whole reply in one read",
            Figure(tuple(one_read), "µs"),
            "openai SDK's loop",
            sdk,
        ),
    ]


def _pieces(count: int) -> list[bytes]:
    return [*((_CHUNK % number).encode() for number in range(count)), _END]


def _measure_antiphon(pieces: Sequence[bytes], count: int) -> float:
    """Return the microseconds of CPU per chunk, from bytes to encoded events."""
    parser, turn = ChatCompletionsParser(), Turn((), lambda: "call_0")
    lines: list[bytes] = []
    with measure_usage() as usage:
        for piece in pieces:
            lines += map(events.encode, turn.feed(parser.feed(piece) or ()))
        last = turn.close()
    assert last.outcome == "completed"
    assert last.text.endswith(f"word {count - 1} ")
    return usage.cpu / count * 1e6


class _ReplyStream(httpx2.SyncByteStream):
    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces


def _measure_sdk(pieces: Sequence[bytes], count: int) -> float:
    """Return the microseconds of CPU per chunk through openai's SDK, up to its objects."""

    def respond(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(
            200, headers={"content-type": "text/event-stream"}, stream=_ReplyStream(pieces)
        )

    with (
        httpx2.Client(transport=httpx2.MockTransport(respond)) as transport,
        openai.OpenAI(base_url="http://fake/v1", api_key="none", http_client=transport) as client,
        measure_usage() as usage,
    ):
        stream = client.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        texts = [text for chunk in stream if (text := chunk.choices[0].delta.content)]
    assert len(texts) == count
    return usage.cpu / count * 1e6
