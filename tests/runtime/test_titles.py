"""A model writes a thread's title after its first answer, once, and never over another one."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.api import operations
from antiphon.client.async_client import AsyncClient
from antiphon.engine import titles
from antiphon.settings.settings import Settings
from antiphon.types.runs import Destination, Thread
from tests.support.runtime.rig import BY, OWNER, RuntimeRig, find_started, open_rig

WANTED = Settings(title_model="run")


async def ask(rig: RuntimeRig, text: str = "How do tides work?", **fields: object) -> str:
    """Have this message answered; return the thread's id."""
    return find_started(await rig.ask(text, **fields)).thread_id


async def get(rig: RuntimeRig, thread_id: str) -> Thread:
    thread: Thread = (await rig.dispatcher.dispatch(operations.GetThread(thread_id), BY)).value
    return thread


async def wait_until_titled(rig: RuntimeRig, thread_id: str, title: str) -> Thread:
    while (thread := await get(rig, thread_id)).title != title:
        await asyncio.sleep(0)
    return thread


async def wait_until_asked(rig: RuntimeRig, requests: int) -> None:
    while len(rig.model.requests) < requests:
        await asyncio.sleep(0)


async def test_the_first_answer_brings_a_title_and_its_tokens_are_counted() -> None:
    scripts = ("say The moon.\nusage 10 5", 'say "## **Tides\\u0007 and moon.**\\nMore"\nusage 7 3')
    async with open_rig(*scripts, "say Yes.", settings=WANTED) as rig:
        thread_id = await ask(rig)
        thread = await wait_until_titled(rig, thread_id, "Tides\u2407 and moon")
        (row,) = await rig.store.usage("1970-01-01", 9)

        assert thread.title_from == "model"
        assert (row.owner, row.runs, row.input_tokens, row.output_tokens) == (OWNER, 1, 17, 8)
        request = rig.model.requests[1]
        (quoted,) = request.decode_messages()
        assert quoted["content"] == "user:\nHow do tides work?\n\nassistant:\nThe moon."
        assert request.sampling.max_output_tokens == titles.TITLE_TOKENS

        await ask(rig, "Really?", thread_id=thread_id)
        assert len(rig.model.requests) == 3
        assert (await get(rig, thread_id)).title == "Tides\u2407 and moon"


async def test_a_title_given_meanwhile_stays_and_the_tokens_count_all_the_same() -> None:
    async with open_rig(
        "say The moon.", "wait title\nsay Tides\nusage 7 3", settings=WANTED
    ) as rig:
        thread_id = await ask(rig)
        gate = rig.model.gates["title"]
        await gate.reached.wait()
        await rig.dispatcher.dispatch(operations.UpdateThread(thread_id, title="My own"), BY)
        gate.opened.set()
        while sum(row.input_tokens for row in await rig.store.usage("1970-01-01", 9)) != 7:
            await asyncio.sleep(0)

        assert (await get(rig, thread_id)).title == "My own"
        assert (await get(rig, thread_id)).title_from == "client"


@pytest.mark.parametrize(
    "failing_script", ["fail provider_rate_limited Too many.", "cut", "say ***", "finish length"]
)
async def test_a_model_that_fails_is_not_asked_again(failing_script: str) -> None:
    async with open_rig("say The moon.", failing_script, "say Yes.", settings=WANTED) as rig:
        thread_id = await ask(rig)
        await wait_until_asked(rig, 2)
        while (await get(rig, thread_id)).title_from != "model":
            await asyncio.sleep(0)
        await ask(rig, "Really?", thread_id=thread_id)

        assert (await get(rig, thread_id)).title == "How do tides work?"
        assert len(rig.model.requests) == 3


async def test_titles_of_clients_temporary_threads_and_failed_runs_are_left_alone() -> None:
    async with open_rig("say A", "say B", "cut", settings=WANTED) as rig:
        creation = operations.CreateThread(title="Given")
        thread = (await rig.dispatcher.dispatch(creation, BY)).value
        await ask(rig, thread_id=thread.id)
        await ask(rig, temporary=True)
        await ask(rig)
        await rig.worker.stop(1)

        assert len(rig.model.requests) == 3


async def test_without_the_setting_nothing_is_asked() -> None:
    async with open_rig("say A") as rig:
        thread = await get(rig, await ask(rig))
        await rig.worker.stop(1)

        assert (thread.title, thread.title_from) == ("How do tides work?", "message")
        assert len(rig.model.requests) == 1


@pytest.mark.parametrize(
    ("other_provider", "expected_model"), [("here", "small"), ("there", "scripted")]
)
async def test_the_model_for_titles_is_asked_only_at_the_provider_of_the_run(
    other_provider: str, expected_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(title_model="small")
    async with open_rig("say A", "say Tides", settings=settings) as rig:
        rig.destination = Destination("here")
        open_run = rig.open

        async def open_model(model: str, owner: str) -> object:
            rig.destination = Destination(other_provider if model == "small" else "here")
            return await open_run(model, owner)

        monkeypatch.setattr(rig, "open", open_model)
        thread_id = await ask(rig)
        await wait_until_titled(rig, thread_id, "Tides")

        assert rig.model.requests[1].model == expected_model


@pytest.mark.parametrize(
    ("reply", "title"),
    [
        ("Title: \u201cTides and moon\u201d", "Tides and moon"),
        ("# [Tides](https://evil.example)", "Tides"),
        ("\n\n* **Tides** `at` sea\n* more", "Tides at sea"),
        ("a\x1b[31mb\u202ec", "abc"),
        ("word " * 40, "word word word word word word word word word word word\u2026"),
        ("x" * 99, "x" * 59 + "\u2026"),
        ("## - Why C#?", "Why C#?"),
        ("***", ""),
        ("", ""),
        ("\u6f6e\u6c50\u3068\u6708", "\u6f6e\u6c50\u3068\u6708"),
    ],
)
def test_a_reply_becomes_a_short_line_without_markdown(reply: str, title: str) -> None:
    assert titles.clean_title(reply) == title


async def test_the_demo_model_writes_a_title() -> None:
    settings = Settings(database="memory:", model="demo", demo_delay=0, title_model="demo")
    async with AsyncClient(settings=settings) as client:
        answer = await client.ask("How do tides work, please?")
        async with asyncio.timeout(20):
            while (thread := await client.get_thread(answer.thread_id)).title.startswith("How"):
                await asyncio.sleep(0)

        assert thread.title == "On how do tides work please"
