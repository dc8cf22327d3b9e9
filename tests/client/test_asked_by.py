"""Consent is bound to the model server that made a call, whichever program takes up the run."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from antiphon import AsyncClient, Consent, ConsentAnswer, ConsentRequest, Tool, ToolCall
from antiphon.client.async_events import AsyncEvents
from antiphon.ports import ProgressCallback, quiet
from antiphon.settings.settings import Settings
from antiphon.tools.questions import ModelServer, tool_identity
from antiphon.types.addresses import origin
from antiphon.types.errors import AntiphonError
from antiphon.types.events import ActionRequired
from antiphon.types.messages import ToolResult, ToolSpec
from tests.support.terminal.model import Model


class Files:
    """A toolbox like that of an MCP server."""

    tool = Tool(spec=ToolSpec("files__read", "Reads."), server="files", own_name="read")

    def tools(self) -> Sequence[Tool]:
        return [self.tool]

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        return ToolResult("secret")


async def test_a_call_of_a_run_that_another_program_left_belongs_to_its_model_server(
    tmp_path: Path,
) -> None:
    async with Model() as stranger, Model() as own_model:
        database = f"sqlite:///{tmp_path}/a.db"
        stranger_settings = Settings(base_url=stranger.url, model="told", database=database)
        async with AsyncClient(settings=stranger_settings) as client:
            run_id = await _leave_call(client, stranger)

        questions: asyncio.Queue[ConsentRequest] = asyncio.Queue()

        async def refuse(question: ConsentRequest) -> ConsentAnswer:
            await questions.put(question)
            return ConsentAnswer()

        consent = Consent(asker=refuse)
        consent.session.add([tool_identity(Files.tool)], ModelServer("", origin(own_model.url)))
        own_settings = Settings(base_url=own_model.url, model="told", database=database)
        async with AsyncClient(settings=own_settings) as client:
            events = client.converse(run_id=run_id, toolbox=Files(), consent=consent)
            async with events:
                reading = asyncio.create_task(_read_until_action(events))
                question = await asyncio.wait_for(questions.get(), 60)
                reading.cancel()
                await asyncio.wait([reading])

        assert question.asked_by == ModelServer("", origin(stranger.url))
        assert question.elsewhere.startswith("You have allowed read for ")
        assert own_model.requests == []


async def test_a_run_of_a_later_version_is_of_no_known_model_server(tmp_path: Path) -> None:
    async with AsyncClient(settings=Settings(database=f"sqlite:///{tmp_path}/a.db")) as client:
        thread = await client.create_thread()
        run = await client.create_run(thread_id=thread.id, model="demo")
        with closing(sqlite3.connect(tmp_path / "a.db")) as connection, connection:
            connection.execute("UPDATE runs SET destination = '[\"demo\",2,3]'")

        with pytest.raises(AntiphonError, match="later version"):
            await client.transport.model_server("demo", run.id)


async def _leave_call(client: AsyncClient, model: Model) -> str:
    """Let the model call the tool, stop reading there, and return the run's id."""
    events = client.converse("Hello", toolbox=Files())
    async with events:
        reading = asyncio.create_task(_read_until_action(events))
        reply = await model.next_request()
        await reply.call("files__read", {}, id="call_1")
        await reply.end("tool_calls")
        return await reading


async def _read_until_action(events: AsyncEvents) -> str:
    async for event in events:
        if isinstance(event, ActionRequired):
            return event.run_id
    raise AssertionError("no call came")
