"""`antiphon ask --server` when the server is lost in the middle of an answer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from antiphon.cli import ask
from antiphon.cli.answers import TextAnswerWriter
from antiphon.cli.console import StreamOutput
from antiphon.client.async_client import AsyncClient
from antiphon.client.async_events import AsyncEvents
from antiphon.client.run_state import RunState
from antiphon.settings.settings import Settings
from antiphon.types.errors import ConnectionLost, Internal
from antiphon.types.events import Numbered, RunStatus
from antiphon.types.runs import Status

SERVER = "http://127.0.0.1:8000"


async def batches(end: Exception) -> AsyncGenerator[Sequence[Numbered]]:
    yield [(1, RunStatus(run_id="run_1", thread_id="thread_1", status=Status.IN_PROGRESS))]
    raise end


async def write(end: Exception) -> None:
    """Write the events of a run whose reading ends with that error."""
    settings = Settings(model="demo", database="memory:")
    speech = TextAnswerWriter(StreamOutput(sys.stdout), quiet=False)
    events = AsyncEvents(batches(end), RunState())
    with ThreadPoolExecutor(1) as pen:
        async with AsyncClient(settings=settings) as client:
            await ask._write_events(speech, events, pen, client, SERVER, "mark")


async def test_a_lost_connection_says_where_to_read_the_run_and_cancels_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost = ConnectionLost(f"The server at {SERVER} does not answer: gone", hint="Is it running?")

    with pytest.raises(ConnectionLost) as caught:
        await write(lost)

    assert caught.value.full_message == (
        f"The server at {SERVER} does not answer: gone. The run may go on at the server: "
        f"antiphon threads show thread_1 --server {SERVER}"
    )
    assert capsys.readouterr().err == ""


async def test_a_cancellation_without_an_answer_in_time_has_a_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask, "CANCEL_SECONDS", 0)

    with pytest.raises(Internal):
        await write(Internal("broken"))

    assert capsys.readouterr().err == (
        "antiphon: the run run_1 could not be cancelled: no answer in time\n"
    )


async def unstored_run() -> AsyncGenerator[Sequence[Numbered]]:
    """Yield nothing, as a request that is not answered yet."""
    await asyncio.Event().wait()
    yield []


async def test_a_question_that_is_interrupted_before_its_run_is_stored_is_cancelled() -> None:
    settings = Settings(model="demo", database="memory:")
    async with AsyncClient(settings=settings) as client:
        thread = await client.create_thread(messages=[{"content": "Hello"}])
        events = AsyncEvents(unstored_run(), RunState())
        writer = TextAnswerWriter(StreamOutput(sys.stdout), quiet=True)
        with ThreadPoolExecutor(1) as executor:
            asking = asyncio.create_task(
                ask._write_events(writer, events, executor, client, None, "mark")
            )
            asyncio.get_running_loop().call_soon(asking.cancel)
            run = await client.create_run(thread.id, metadata={ask.MARK: "mark"})
            with pytest.raises(asyncio.CancelledError):
                await asking

        assert (await client.get_run(run.id)).status is Status.CANCELLED


def test_a_lost_server_is_noted_with_the_time_that_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ask._note_loss(58.6)

    assert capsys.readouterr().err == (
        "antiphon: the server does not answer; trying for another 59 s\n"
    )
