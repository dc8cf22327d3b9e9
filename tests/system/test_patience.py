"""Every wait for a model has an end, and what was said before it is kept and marked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon.client.async_client import AsyncClient
from antiphon.providers.catalog import Catalog
from antiphon.settings.settings import Settings
from antiphon.types.events import TurnEnded
from antiphon.types.runs import Deadlines, Run
from tests.support.providers.upstream import HI, OK, TEXT, Scenario, Upstream, sse, text_chunks

SECONDS = 60.0  # far above what any of these takes, far below what it would without its limit
LONG, SHORT = 600.0, 0.1
SILENT = 0.9  # longer than a short limit, and than the slack that a limit has


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        partial_stream = sse(*text_chunks("partial"), done=False)
        unavailable = Scenario(b"", "", status=503, headers=(("Retry-After", "0.05"),))
        rate_limited = Scenario(b"", "", status=429, headers=(("Retry-After", "100"),))
        upstream.scenarios |= {
            "spoken": Scenario(partial_stream, ending="hold"),
            "drip": Scenario(partial_stream, repeat=True),
            "slow": Scenario(OK, gated=True),
            "slow_at_last": Scenario(OK, gated=True, first=(unavailable,)),
            "wait": Scenario(HI, first=(rate_limited,)),
        }
        yield upstream


class Reply:
    """Reply to one message, with its run and the end of its turn."""

    def __init__(self, run: Run, text: str, message_status: str | None, end: TurnEnded) -> None:
        self.run, self.text, self.message_status, self.end = run, text, message_status, end


async def read_reply(
    upstream: Upstream,
    scenario: str,
    table: dict[str, float] | None = None,
    deadlines: Deadlines | None = None,
    **settings: Any,
) -> Reply:
    provider = {"base_url": upstream.url, **(table or {})}
    client_settings = Settings(
        model=f"house:quirk:{scenario}",
        database="memory:",
        providers={"house": provider},
        shutdown_timeout=0.1,
        **settings,
    )
    async with asyncio.timeout(SECONDS), AsyncClient(settings=client_settings) as client:
        thread = await client.create_thread()
        conversation = client.converse(
            "Hi",
            thread_id=thread.id,
            deadlines=deadlines or Deadlines(),
            raise_on_failure=False,
        )
        turn_ends = [event async for event in conversation if isinstance(event, TurnEnded)]
        run = await client.get_run(conversation.run_id)
        _, *replies = (await client.list_messages(thread.id)).data
        text = "".join(reply.text for reply in replies)
        return Reply(run, text, replies[-1].status if replies else None, turn_ends[-1])


def has_stalled(reply: Reply) -> bool:
    return (reply.run.status, reply.run.reason) == ("incomplete", "stalled")


async def test_what_was_said_before_a_silence_is_kept_and_marked(upstream: Upstream):
    limits = {"first_chunk_timeout": LONG, "chunk_timeout": SHORT}
    reply = await read_reply(upstream, "spoken", limits)

    assert has_stalled(reply)
    assert (reply.text, reply.message_status) == ("partial", "incomplete")
    assert (reply.end.status, reply.end.reason) == ("incomplete", "stalled")


async def test_a_table_goes_before_the_settings(upstream: Upstream):
    reply = await read_reply(upstream, "spoken", {"chunk_timeout": SHORT}, chunk_timeout=LONG)

    assert has_stalled(reply)


async def test_a_run_goes_before_a_table(upstream: Upstream):
    reply = await read_reply(upstream, "spoken", {"chunk_timeout": LONG}, Deadlines(chunk=SHORT))

    assert has_stalled(reply)


async def test_a_drip_within_every_silence_ends_with_its_turn(upstream: Upstream):
    reply = await read_reply(upstream, "drip", {"turn_timeout": 4.0})

    assert has_stalled(reply)
    assert reply.text.startswith("partialpartial")
    assert reply.message_status == "incomplete"


async def test_a_first_byte_that_does_not_come_is_a_stall_without_a_word(upstream: Upstream):
    reply = await read_reply(upstream, "slow", {"first_chunk_timeout": SHORT}, chunk_timeout=LONG)

    assert has_stalled(reply)
    assert reply.text == ""


@pytest.mark.parametrize("scenario", ["slow", "slow_at_last"])
async def test_a_model_may_take_longer_to_begin_than_to_go_on(upstream: Upstream, scenario: str):
    """This holds also after a sign of life that a retry gives: it is not the first chunk."""
    limits = {"chunk_timeout": SHORT, "first_chunk_timeout": LONG}
    reply_task = asyncio.ensure_future(read_reply(upstream, scenario, limits))
    await upstream.wait_for_request(1 if scenario == "slow" else 2)
    await asyncio.wait({reply_task}, timeout=SILENT)
    upstream.gate.set()

    reply = await reply_task

    assert reply.run.status == "completed"
    assert reply.text == TEXT


async def test_patience_for_the_beginning_ends_with_it(upstream: Upstream):
    reply = await read_reply(
        upstream, "spoken", {"first_chunk_timeout": LONG}, Deadlines(chunk=SHORT)
    )

    assert has_stalled(reply)


async def test_a_wait_that_the_server_asks_for_ends_with_the_turn(upstream: Upstream):
    reply = await read_reply(upstream, "wait", {"turn_timeout": 0.3})

    assert has_stalled(reply)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, 180.0),
        ({"chunk_timeout": 5.0}, 180.0),
        ({"first_chunk_timeout": 5.0}, None),
        ({"first_chunk_timeout": 5.0, "providers": {"ollama": {"first_chunk_timeout": 7}}}, 7.0),
        ({"providers": {"ollama": {"chunk_timeout": 7}}}, 180.0),
    ],
)
async def test_a_known_servers_own_limit_is_the_weakest(
    settings: dict[str, Any], seconds: float | None
):
    provider = await Catalog(Settings(**settings), {}).open("ollama:x")

    assert provider.deadlines.first_chunk == seconds
