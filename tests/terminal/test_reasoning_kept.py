"""Reasoning: one line on the screen, stored byte for byte, and sent to no model."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model

FOOTER = "10 in, 5 out"


async def test_a_thought_is_one_line_and_its_tokens_are_counted_once(tmp_path: Path) -> None:
    pieces = [f"step {number}, un" + "broken " for number in range(200)]
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Think")
        reply = await model.next_request()
        for piece in pieces:
            await reply.think(piece)
        await chat.sees("step 199")
        step_rows = [row for row in chat.rows if "step" in row]
        await reply.answer("So it is.")
        await chat.sees(FOOTER)

        assert len(step_rows) <= 3
        assert chat.text.count("tokens") == 1
        await chat.sees(f"{len(''.join(pieces)) // 4:,} tokens")
        assert "step" not in chat.text
        assert "un broken" not in "".join(step_rows)


async def test_the_next_request_holds_no_more_than_was_received(tmp_path: Path) -> None:
    thought = "This is what I thought of it. " * 2_000
    async with Model() as model, Chatting(model, home=tmp_path) as chat:
        await chat.ready()
        chat.say("Think")
        reply = await model.next_request()
        for at in range(0, len(thought), 40):
            await reply.think(thought[at : at + 40])
        await reply.answer("So it is.")
        await chat.sees(FOOTER)
        chat.say("And on.")
        reply = await model.next_request()
        await reply.answer("Yes.")
        await chat.until(lambda: chat.text.count(FOOTER) == 2)
        request_text = json.dumps(reply.body)

        assert "thought" not in request_text
        assert len(request_text) < len(thought) / 10


async def test_the_whole_thought_is_kept_and_opened_as_it_came(tmp_path: Path) -> None:
    thought = "Bytes: 東京 e\u0301 👩\u200d🚀 שלום, and un" + "broken words."
    async with Model() as model:
        async with Chatting(model, home=tmp_path) as chat:
            await chat.ready()
            chat.say("Think")
            reply = await model.next_request()
            for letter in thought:
                await reply.think(letter)
            await reply.answer("So it is.")
            await chat.sees(FOOTER)
            chat.say("/export json thought.json")
            await chat.until((tmp_path / "thought.json").exists)
            await chat.sees("thought.json")
            await chat.leave()
        export = re.sub(r"\s+", " ", (tmp_path / "thought.json").read_text())

        assert json.loads(export)
        assert thought in json.dumps(json.loads(export), ensure_ascii=False)
