"""An editor's sessions are threads: started, answered, cancelled, listed, loaded, forked."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from acp.exceptions import RequestError
from acp.schema import (
    EmbeddedResourceContentBlock,
    ImageContentBlock,
    ResourceContentBlock,
    TextContentBlock,
    TextResourceContents,
)

from antiphon.acp.session import find_stop_reason
from antiphon.api.operations import ListRuns
from antiphon.client.async_client import AsyncClient
from antiphon.settings.hooks import Hook
from antiphon.settings.settings import Settings
from antiphon.skills.workspace import NO_WORKSPACE, Workspace
from antiphon.testing import Script
from antiphon.tools.todos import write_todos
from antiphon.types.events import UsageAdded
from antiphon.types.runs import Reason, Thread
from tests.support.acp.editor import Editor, choose, open_editor
from tests.support.providers.upstream import STOP, Scenario, Upstream, sse, text_chunks


def text(words: str) -> TextContentBlock:
    return TextContentBlock(type="text", text=words)


async def start_session(editor: Editor, folder: Path) -> str:
    return (await editor.agent.new_session(cwd=str(folder))).session_id


async def test_a_prompt_is_answered_and_the_commands_are_announced_after_the_session(
    tmp_path: Path,
) -> None:
    script = Script().reply("They hum.", reasoning="Bees...", tokens=(10, 5))
    async with open_editor(script.settings()) as editor:
        session = await start_session(editor, tmp_path)
        await editor.until(lambda: bool(editor.updates))
        first_update = editor.updates[0]
        response = await editor.agent.prompt(session_id=session, prompt=[text("What do bees do?")])

        assert first_update.session_update == "available_commands_update"
        assert response.stop_reason == "end_turn"
        assert editor.texts() == "They hum."
        assert editor.texts("agent_thought_chunk") == "Bees..."


async def test_a_function_runs_and_its_call_is_shown_from_start_to_end(tmp_path: Path) -> None:
    def read_file(path: str) -> str:
        """Read a file."""
        return f"all of {path}"

    script = Script().call("read_file", path="notes/bees.txt").reply("Done.")
    async with open_editor(script.settings(), read_file) as editor:
        session = await start_session(editor, tmp_path)
        await editor.agent.prompt(session_id=session, prompt=[text("Read it.")])
        (call,) = editor.calls().values()

        assert call["title"] == "read_file"
        assert call["kind"] == "read"
        assert call["status"] == "completed"
        assert call["raw_input"] == {"path": "notes/bees.txt"}
        assert call["locations"] == [{"path": str(tmp_path / "notes/bees.txt")}]
        assert call["content"][0]["content"]["text"] == "all of notes/bees.txt"
        assert editor.questions == []


async def test_a_change_of_a_file_is_shown_as_a_difference(tmp_path: Path) -> None:
    def edit_file(path: str, old_text: str, new_text: str) -> str:
        """Change a file."""
        return "changed"

    script = Script().call("edit_file", path="a.txt", old_text="one", new_text="two").reply("Done.")
    async with open_editor(script.settings(), edit_file) as editor:
        session = await start_session(editor, tmp_path)
        await editor.agent.prompt(session_id=session, prompt=[text("Change it.")])
        contents = [
            item
            for update in editor.updates
            if update.session_update == "tool_call_update"
            for item in update.content or []
            if item.type == "diff"
        ]

        assert [(item.path, item.old_text, item.new_text) for item in contents] == [
            (str(tmp_path / "a.txt"), "one", "two")
        ]


@pytest.mark.parametrize("chosen", ["allow_once", "reject_once", None])
async def test_a_tool_that_asks_runs_only_if_this_question_is_allowed(
    tmp_path: Path, chosen: str | None
) -> None:
    from antiphon import tool

    deleted_paths: list[str] = []

    @tool(consent=True)
    def delete_file(path: str) -> str:
        """Delete a file."""
        deleted_paths.append(path)
        return "gone"

    script = Script().call("delete_file", path="a\u202etxt").reply("So be it.")
    async with open_editor(script.settings(), delete_file) as editor:
        if chosen is not None:
            editor.answer = choose(chosen)
        session = await start_session(editor, tmp_path)
        await editor.agent.prompt(session_id=session, prompt=[text("Delete it.")])
        ((tool_call, options),) = editor.questions
        question_text = tool_call.content[0].content.text

        assert bool(deleted_paths) == (chosen == "allow_once")
        assert tool_call.raw_input == {"path": "a\u202etxt"}
        assert "\u202e" not in question_text
        assert "\\u202e" in question_text
        assert [option.kind for option in options] == ["allow_once", "reject_once"]


async def test_an_option_of_another_question_allows_nothing(tmp_path: Path) -> None:
    from antiphon import tool

    @tool(consent=True)
    def pay(amount: int) -> str:
        """Pay."""
        return "paid"

    script = Script().call("pay", amount=1).call("pay", amount=1_000_000).reply("Done.")
    async with open_editor(script.settings(), pay) as editor:
        first: list[str] = []

        def answer(_: object, options: list) -> str:
            first.append(options[0].option_id)
            return first[0]

        editor.answer = answer
        session = await start_session(editor, tmp_path)
        await editor.agent.prompt(session_id=session, prompt=[text("Pay.")])

        assert [call["status"] for call in editor.calls().values()] == ["completed", "failed"]


async def test_in_plan_mode_only_tools_that_read_run(tmp_path: Path) -> None:
    def write_file(path: str) -> str:
        """Write a file."""
        return "written"

    script = Script().call("write_file", path="a").reply("I would write it.")
    async with open_editor(script.settings(), write_file) as editor:
        session = await start_session(editor, tmp_path)
        await editor.agent.set_session_mode(session_id=session, mode_id="plan")
        await editor.agent.prompt(session_id=session, prompt=[text("Write it.")])
        (call,) = editor.calls().values()

        assert call["status"] == "failed"
        assert "wants a plan" in str(script.requests[0].instructions)


def create_endless_tool(
    started: asyncio.Event, stopped: asyncio.Event
) -> Callable[[], Awaitable[str]]:
    """Return a tool that sets these events when it starts and when it is cancelled."""

    async def wait() -> str:
        """Wait."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return ""

    return wait


async def test_a_prompt_is_cancelled_with_its_tool_and_the_session_goes_on(tmp_path: Path) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()
    wait = create_endless_tool(started, stopped)
    script = Script().call("wait").reply("Here again.")
    settings = script.settings()
    client = AsyncClient(settings=settings)
    async with open_editor(settings, wait, client=client) as editor:
        session = await start_session(editor, tmp_path)
        prompt = asyncio.create_task(
            editor.agent.prompt(session_id=session, prompt=[text("Wait.")])
        )
        await asyncio.wait_for(started.wait(), 60)
        await editor.agent.cancel(session_id=session)
        await editor.agent.cancel(session_id=session)
        first = await prompt
        (run,) = (await client.list_runs(session)).data
        await asyncio.wait_for(stopped.wait(), 60)
        second = await editor.agent.prompt(session_id=session, prompt=[text("And now?")])

        assert run.status == "cancelled"
        assert (first.stop_reason, second.stop_reason) == ("cancelled", "end_turn")
        assert editor.texts() == "Here again."


@pytest.mark.parametrize("method", ["load_session", "resume_session"])
async def test_a_session_that_is_opened_again_stops_the_prompt_that_nobody_could_cancel(
    tmp_path: Path, method: str
) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()
    wait = create_endless_tool(started, stopped)
    script = Script().call("wait").reply("Here again.")
    settings = script.settings()
    client = AsyncClient(settings=settings)
    async with open_editor(settings, wait, client=client) as editor:
        session = await start_session(editor, tmp_path)
        prompt = asyncio.create_task(
            editor.agent.prompt(session_id=session, prompt=[text("Wait.")])
        )
        await asyncio.wait_for(started.wait(), 60)
        await getattr(editor.agent, method)(cwd=str(tmp_path), session_id=session)
        first = await asyncio.wait_for(prompt, 60)
        await asyncio.wait_for(stopped.wait(), 60)
        (run,) = (await client.list_runs(session)).data
        second = await editor.agent.prompt(session_id=session, prompt=[text("And now?")])

        assert run.status == "cancelled"
        assert (first.stop_reason, second.stop_reason) == ("cancelled", "end_turn")


async def test_a_prompt_can_be_cancelled_also_between_two_loads_of_its_session_at_once(
    tmp_path: Path,
) -> None:
    started, stopped, release = asyncio.Event(), asyncio.Event(), threading.Event()
    opened_folders: list[Path] = []

    def find_workspace(folder: Path) -> Workspace:
        """Let the session start and load once; the second load waits."""
        opened_folders.append(folder)
        if len(opened_folders) > 2:
            release.wait(60)
        return NO_WORKSPACE

    wait = create_endless_tool(started, stopped)
    script = Script().call("wait").reply("Here again.")
    async with open_editor(script.settings(), wait, find_workspace=find_workspace) as editor:
        session = await start_session(editor, tmp_path)
        load = partial(editor.agent.load_session, cwd=str(tmp_path), session_id=session)
        loads = [asyncio.create_task(load()) for _ in range(2)]
        await asyncio.wait(loads, return_when=asyncio.FIRST_COMPLETED)
        prompt = asyncio.create_task(
            editor.agent.prompt(session_id=session, prompt=[text("Wait.")])
        )
        tool_runs = asyncio.create_task(started.wait())
        await asyncio.wait((prompt, tool_runs), return_when=asyncio.FIRST_COMPLETED)
        release.set()
        await asyncio.gather(*loads)
        await editor.agent.cancel(session_id=session)

        await asyncio.wait((prompt,), timeout=60)
        assert prompt.done()
        assert not started.is_set() or stopped.is_set()
        tool_runs.cancel()


async def test_a_prompt_is_cancelled_while_its_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("Bees.")
    script = Script().reply("They hum.")
    async with open_editor(script.settings()) as editor:
        session = await start_session(editor, tmp_path)
        was_requested, release = asyncio.Event(), asyncio.Event()
        editor.buffers[str(file)] = "Bees hum."
        editor.before_read = (was_requested, release)
        link = ResourceContentBlock(type="resource_link", uri=file.as_uri(), name="notes")
        prompt = asyncio.create_task(editor.agent.prompt(session_id=session, prompt=[link]))
        await asyncio.wait_for(was_requested.wait(), 60)
        await editor.agent.cancel(session_id=session)
        response = await asyncio.wait_for(prompt, 60)
        release.set()

        assert response.stop_reason == "cancelled"
        assert not script.requests


async def test_a_second_prompt_is_refused_while_one_is_answered(tmp_path: Path) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def wait() -> str:
        """Wait."""
        started.set()
        await release.wait()
        return ""

    script = Script().call("wait").reply("Done.")
    async with open_editor(script.settings(), wait) as editor:
        session = await start_session(editor, tmp_path)
        prompt = asyncio.create_task(
            editor.agent.prompt(session_id=session, prompt=[text("Wait.")])
        )
        await asyncio.wait_for(started.wait(), 60)
        with pytest.raises(RequestError, match="being answered"):
            await editor.agent.prompt(session_id=session, prompt=[text("Me too.")])
        release.set()

        assert (await prompt).stop_reason == "end_turn"


async def test_a_session_is_listed_and_loaded_with_everything_that_was_said(
    tmp_path: Path,
) -> None:
    def look_up(word: str) -> str:
        """Look up a word."""
        return "an insect"

    script = Script().call("look_up", word="bee").reply("An insect.", reasoning="Hm.").reply("Yes.")
    database = f"sqlite:///{tmp_path}/antiphon.db"
    settings = script.settings(database=database)
    async with open_editor(settings, look_up) as editor:
        session = await start_session(editor, tmp_path)
        await editor.agent.prompt(session_id=session, prompt=[text("What is a bee?")])
        await editor.agent.close_session(session_id=session)
    async with open_editor(settings, look_up) as editor:
        (session_info,) = (await editor.agent.list_sessions(cwd=str(tmp_path))).sessions
        other_sessions = await editor.agent.list_sessions(cwd="/")
        await editor.agent.load_session(cwd=str(tmp_path), session_id=session)
        await editor.until(lambda: "An insect." in editor.texts())
        (call,) = editor.calls().values()
        await editor.agent.prompt(session_id=session, prompt=[text("Really?")])

        assert (session_info.session_id, session_info.title) == (session, "What is a bee?")
        assert other_sessions.sessions == []
        assert editor.texts("user_message_chunk") == "What is a bee?"
        assert editor.texts("agent_thought_chunk") == "Hm."
        assert (call["status"], call["raw_input"]) == ("completed", {"word": "bee"})
        assert editor.texts() == "An insect.Yes."


async def test_pages_that_a_provider_cites_are_listed_below_the_answer_also_when_it_is_loaded(
    tmp_path: Path,
) -> None:
    url = "https://bees.example/hum"
    citations = [(url, "Why *bees*](javascript:alert(1)) hum"), (f"{url}/more", "")]
    script = Script().reply("They hum[1].", citations=citations)
    settings = script.settings(database=f"sqlite:///{tmp_path}/antiphon.db")
    expected_text = (
        "They hum[1].\n\nSources:\n\n"
        rf"1. [Why \*bees\*\](javascript:alert(1)) hum](<{url}>)"
        f"\n2. [{url}/more](<{url}/more>)\n\n"
    )
    async with open_editor(settings) as editor:
        session = await start_session(editor, tmp_path)
        await editor.agent.prompt(session_id=session, prompt=[text("What do bees do?")])
        assert editor.texts() == expected_text
        await editor.agent.close_session(session_id=session)
    async with open_editor(settings) as editor:
        await editor.agent.load_session(cwd=str(tmp_path), session_id=session)
        await editor.until(lambda: editor.texts() == expected_text)


async def test_a_cut_answer_and_its_rest_are_loaded_as_one_answer(tmp_path: Path) -> None:
    script = Script().reply("Once upon a ", finish="length").reply("time.")
    settings = script.settings(database=f"sqlite:///{tmp_path}/antiphon.db")
    async with AsyncClient(settings=settings) as client:
        thread = await client.create_thread()
        await client.ask("A story.", thread_id=thread.id, raise_on_failure=False)
        async for _ in client.converse(thread_id=thread.id, continues=True):
            pass
    async with open_editor(settings) as editor:
        await editor.agent.load_session(cwd=str(tmp_path), session_id=thread.id)
        await editor.until(lambda: "time." in editor.texts())

        assert editor.texts() == "Once upon a time."


async def test_a_run_that_an_editor_left_is_finished_before_the_next_prompt(
    tmp_path: Path,
) -> None:
    def roll() -> str:
        """Roll a die."""
        return "six"

    script = Script().call("roll").reply("It was six.").reply("Bye.")
    settings = script.settings(database=f"sqlite:///{tmp_path}/antiphon.db")
    async with AsyncClient(settings=settings) as client:
        thread = await client.create_thread()
        spec = {"name": "roll", "parameters": {"type": "object", "properties": {}}}
        run = await client.create_run(thread.id, tools=[spec])
        async with client.sync_stream().setup(run_id=run.id) as stream:
            async for _ in stream.stream_chunks():
                pass
    async with open_editor(settings, roll) as editor:
        await editor.agent.resume_session(cwd=str(tmp_path), session_id=thread.id)
        response = await editor.agent.prompt(session_id=thread.id, prompt=[text("Thanks.")])

        assert response.stop_reason == "end_turn"
        assert editor.texts() == "It was six.Bye."


async def test_a_fork_goes_on_apart_from_its_origin(tmp_path: Path) -> None:
    script = Script().reply("One.").reply("Two.")
    async with open_editor(script.settings()) as editor:
        session = await start_session(editor, tmp_path)
        await editor.agent.prompt(session_id=session, prompt=[text("Count.")])
        fork = await editor.agent.fork_session(cwd=str(tmp_path), session_id=session)
        await editor.agent.prompt(session_id=fork.session_id, prompt=[text("On.")])

        assert fork.session_id != session
        assert [each["role"] for each in script.messages] == ["user", "assistant", "user"]


async def test_the_model_of_a_session_is_chosen_by_the_editor(tmp_path: Path) -> None:
    script = Script()
    async with open_editor(script.settings()) as editor:
        session = await editor.agent.new_session(cwd=str(tmp_path))
        (option,) = session.config_options or []
        response = await editor.agent.set_config_option(
            config_id="model", session_id=session.session_id, value="demo"
        )
        await editor.agent.prompt(session_id=session.session_id, prompt=[text("3 words")])

        assert (option.category, option.current_value) == ("model", script.model)
        assert "demo" in [each.value for each in option.options]
        assert response.config_options[0].current_value == "demo"
        assert len(editor.texts().split()) == 3
        assert script.requests == []


async def test_the_context_holds_the_tokens_of_the_last_turn(tmp_path: Path) -> None:
    def get_flight_times(departure: str, arrival: str) -> str:
        """Times of the next flight."""
        return "16:35"

    settings = Settings(model="demo", database="memory:", demo_delay=0)
    client = AsyncClient(settings=settings)
    async with open_editor(settings, get_flight_times, client=client) as editor:
        session = await start_session(editor, tmp_path)
        for _ in range(2):
            await editor.agent.prompt(
                session_id=session, prompt=[text("When does the next LAX-JFK flight leave?")]
            )
        usage_updates = [each for each in editor.updates if each.session_update == "usage_update"]
        runs = [run async for run in client.paginate(ListRuns(session))]
        turns = [
            event.usage
            for run in reversed(runs)
            async for event in client.events(run.id)
            if isinstance(event, UsageAdded)
        ]

        assert len(turns) == 4
        assert [each.used for each in usage_updates] == [
            turn.input_tokens + turn.output_tokens for turn in (turns[1], turns[3])
        ]


async def test_the_cost_is_that_of_all_prompts_of_the_thread_also_once_it_is_opened_again(
    tmp_path: Path,
) -> None:
    async with Upstream() as upstream:
        usage = {"prompt_tokens": 1_000, "completion_tokens": 50}
        answer = sse(*text_chunks("Hi."), STOP, {"choices": [], "usage": usage})
        upstream.scenarios["priced"] = Scenario(answer)
        provider = {
            "base_url": upstream.url,
            "prices": {"*": {"input": 2.0, "output": 10.0}},
            "context_tokens": 8_000,
        }
        settings = Settings(
            model="mine:quirk:priced", database="memory:", providers={"mine": provider}
        )
        async with open_editor(settings) as editor:
            session = await start_session(editor, tmp_path)
            for _ in range(2):
                await editor.agent.prompt(session_id=session, prompt=[text("Hello")])
            await editor.agent.close_session(session_id=session)
            await editor.agent.load_session(session_id=session, cwd=str(tmp_path))
            await editor.agent.prompt(session_id=session, prompt=[text("Hello")])

            shown = [each for each in editor.updates if each.session_update == "usage_update"]
            assert [each.cost.amount for each in shown] == [0.0025, 0.005, 0.0075]


async def test_files_and_pictures_of_a_prompt_reach_the_model(tmp_path: Path) -> None:
    (tmp_path / "saved.txt").write_text("as it was saved")
    secret = tmp_path.parent / "secret.txt"
    secret.write_text("nothing for a model")
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(16)).decode()
    script = Script().reply("I see.")
    async with open_editor(script.settings()) as editor:
        editor.buffers[str((tmp_path / "saved.txt").resolve())] = "as it is being edited"
        session = await start_session(editor, tmp_path)
        await editor.agent.prompt(
            session_id=session,
            prompt=[
                text("Look: "),
                ResourceContentBlock(
                    type="resource_link", name="saved", uri=(tmp_path / "saved.txt").as_uri()
                ),
                ResourceContentBlock(type="resource_link", name="secret", uri=secret.as_uri()),
                EmbeddedResourceContentBlock(
                    type="resource",
                    resource=TextResourceContents(uri="file:///x/part.py", text="x = 1"),
                ),
                ImageContentBlock(type="image", data=png, mime_type="image/png"),
            ],
        )
        content = script.requests[-1].decode_messages()[-1]["content"]
        sent_text = "".join(part.get("text", "") for part in content)

        assert "as it is being edited" in sent_text
        assert "x = 1" in sent_text
        assert "nothing for a model" not in sent_text
        assert any(part["type"] == "image_url" for part in content)


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("max_turns", "max_turn_requests"),
        ("max_cost", "max_turn_requests"),
        ("disconnected", None),
    ],
)
def test_an_incomplete_run_has_a_stop_reason_or_its_error_is_sent(
    reason: Reason, stop: str | None
) -> None:
    assert find_stop_reason(reason) == stop


async def test_an_answer_that_is_cut_off_names_its_reason(tmp_path: Path) -> None:
    script = Script().reply("Too lo", finish="length").fail("provider_auth", "The key is wrong.")
    async with open_editor(script.settings()) as editor:
        session = await start_session(editor, tmp_path)
        response = await editor.agent.prompt(session_id=session, prompt=[text("Talk.")])
        with pytest.raises(RequestError, match="The key is wrong"):
            await editor.agent.prompt(session_id=session, prompt=[text("Go on.")])

        assert response.stop_reason == "max_tokens"


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("new_session", {"cwd": "relative"}, "absolute path"),
        ("new_session", {"cwd": "/does/not/exist"}, "absolute path"),
        ("load_session", {"cwd": "/", "session_id": "thread_none"}, "thread_none"),
        ("prompt", {"session_id": "none", "prompt": []}, "not open"),
        ("set_session_mode", {"session_id": "none", "mode_id": "plan"}, "not open"),
        ("close_session", {"session_id": "none"}, "not open"),
    ],
)
async def test_a_request_that_cannot_be_met_says_why(
    method: str, arguments: dict, error: str
) -> None:
    async with open_editor(Script().settings()) as editor:
        with pytest.raises(RequestError, match=error):
            await getattr(editor.agent, method)(**arguments)


async def test_an_empty_session_leaves_no_thread(tmp_path: Path) -> None:
    settings = Script().settings()
    async with AsyncClient(settings=settings) as client:
        async with open_editor(settings, client=client) as editor:
            session = await start_session(editor, tmp_path)
            await editor.agent.close_session(session_id=session)
            threads = (await client.list_threads()).data

        assert threads == []


async def test_commands_answer_without_the_model(tmp_path: Path) -> None:
    def hum() -> str:
        """Hum."""
        return "hum"

    script = Script()
    async with open_editor(script.settings(), hum) as editor:
        session = await start_session(editor, tmp_path)
        response = await editor.agent.prompt(session_id=session, prompt=[text("/tools")])
        await editor.agent.prompt(session_id=session, prompt=[text("/servers")])

        assert response.stop_reason == "end_turn"
        assert editor.texts() == "- `hum`There are no MCP servers."
        assert script.requests == []


async def test_a_to_do_list_is_the_plan_of_the_session_also_when_it_is_loaded(
    tmp_path: Path,
) -> None:
    items = [{"text": "Read it", "status": "done"}, {"text": "Fix it"}]
    script = Script().call("write_todos", items=items).reply("Begun.")
    async with open_editor(script.settings(), write_todos) as editor:
        session = await start_session(editor, tmp_path)
        await editor.agent.prompt(session_id=session, prompt=[text("Fix it.")])
        (plan,) = [each for each in editor.updates if each.session_update == "plan"]
        editor.updates.clear()
        await editor.agent.load_session(session_id=session, cwd=str(tmp_path))
        (loaded_plan,) = [each for each in editor.updates if each.session_update == "plan"]

        entries = [(entry.content, entry.status) for entry in plan.entries]
        assert entries == [("Read it", "completed"), ("Fix it", "pending")]
        assert loaded_plan.entries == plan.entries


@pytest.mark.processes
async def test_hooks_know_the_folder_of_the_session_and_have_the_person_asked(
    tmp_path: Path,
) -> None:
    def write_file(path: str) -> str:
        """Write a file."""
        return "written"

    question = '{"decision": "ask", "reason": "it is a release"}'
    record = f"cat > {tmp_path}/told; echo '{question}'"
    hooks = (
        Hook(when="before", command=("/bin/sh", "-c", record)),
        Hook(when="after", command=("/bin/sh", "-c", "echo 'no formatter' >&2; exit 1")),
    )
    script = Script().call("write_file", path="a.txt").reply("Done.")
    async with open_editor(script.settings(hooks=hooks), write_file) as editor:
        editor.answer = choose("allow_once")
        project = tmp_path / "project"
        project.mkdir()
        session = await start_session(editor, project)
        await editor.agent.prompt(session_id=session, prompt=[text("Write it.")])
        ((tool_call, options),) = editor.questions

    assert json.loads((tmp_path / "told").read_text())["cwd"] == str(project)
    assert "A hook wants you to decide: it is a release" in str(tool_call.content)
    assert [option.kind for option in options] == ["allow_once", "reject_once"]
    assert "written" in str(script.requests[1].messages)
    updates_text = str(editor.updates)
    assert updates_text.index("Hooks check the call.") < updates_text.index(
        "Hooks run after the tool."
    )
    assert "no formatter" in editor.warnings[0]


async def test_a_session_that_is_closed_while_it_is_loaded_is_not_open_without_its_thread(
    tmp_path: Path,
) -> None:
    was_read, release = asyncio.Event(), asyncio.Event()

    class SlowClient(AsyncClient):
        """A client whose first read of a thread waits for `release`."""

        async def get_thread(self, thread_id: str) -> Thread:
            thread = await super().get_thread(thread_id)
            if not was_read.is_set():
                was_read.set()
                await release.wait()
            return thread

    settings = Script().settings()
    async with open_editor(settings, client=SlowClient(settings=settings)) as editor:
        session = await start_session(editor, tmp_path)
        load = asyncio.create_task(editor.agent.load_session(cwd=str(tmp_path), session_id=session))
        await was_read.wait()
        close = asyncio.create_task(editor.agent.close_session(session_id=session))
        for _ in range(20):  # requests that came later are answered: closing has ended if it can
            await editor.agent.list_sessions()
        release.set()
        await asyncio.gather(load, close, return_exceptions=True)

        with pytest.raises(RequestError, match="is not open"):
            await editor.agent.set_session_mode(session_id=session, mode_id="plan")
