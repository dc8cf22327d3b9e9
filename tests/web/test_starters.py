"""Suggestions of the empty page, without a key and without tools."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from antiphon import Client, TextDelta
from antiphon.settings.settings import Settings
from antiphon.web.tools import ALWAYS
from tests.support.tools.loaded import load
from tests.support.web.chats import chatting

LANGUAGES = Path(str(files("antiphon.web"))) / "static" / "chat" / "i18n"


@pytest.mark.parametrize("language", ["en", "de", "es"])
@pytest.mark.parametrize(
    ("topic", "words_of_answer"),
    [("flights", "16:35"), ("weather", "sky"), ("arithmetic", "397.8")],
)
def test_what_the_page_suggests_is_answered_by_a_sample(
    language: str, topic: str, words_of_answer: str
) -> None:
    texts = json.loads((LANGUAGES / f"{language}.json").read_text(encoding="utf-8"))
    tools = [*ALWAYS, *load("antiphon.tools.samples")]
    settings = Settings(database="memory:", model="demo", demo_delay=0)
    with Client(settings=settings) as client:
        events = list(client.converse(texts[f"starters.{topic}"], tools=tools))

    assert words_of_answer in "".join(
        event.text for event in events if isinstance(event, TextDelta)
    )


@pytest.mark.asyncio(loop_scope="session")
async def test_nothing_is_suggested_that_no_tool_of_this_chat_answers(
    chromium: Browser, tmp_path: Path
) -> None:
    tools = "antiphon.tools.samples:get_weather"
    async with chatting(chromium, tmp_path, "--no-servers", "--tools", tools) as chat:
        questions = chat.page.locator(".starter")

        await expect(questions).to_have_count(2)
        await expect(questions.filter(has_text="flight")).to_have_count(0)
