"""Hooks around tool calls: they read the call, can only narrow it, and fail closed."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from antiphon.ports import ProgressCallback, quiet
from antiphon.settings.hooks import Hook
from antiphon.tools.consent import Consent
from antiphon.tools.functions import Functions
from antiphon.tools.hooks import ToolHooks
from antiphon.tools.permissions import Rules
from antiphon.tools.programs import MAX_OUTPUT
from antiphon.tools.questions import ConsentAnswer, ConsentRequest, ModelServer
from antiphon.tools.tool_events import ConsentRefused, ToolBegan, ToolEnded, ToolEvent
from antiphon.tools.tool_processor import ToolProcessor
from antiphon.types.errors import InvalidRequest
from antiphon.types.messages import Blob, Text, Tool, ToolCall, ToolResult, ToolSpec
from tests.support.tools.pipes import read_next

pytestmark = pytest.mark.processes

SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["path"],
    "additionalProperties": False,
}
CALL = ToolCall("c1", "files__write", '{"path": "notes.txt"}')
ALLOWED = Rules(allow=("*",))


class Files:
    """A toolbox with one tool of a server, which records its calls and returns `result`."""

    def __init__(self, result: ToolResult | None = None) -> None:
        self.result = result or ToolResult("written")
        self.offered_tools = [
            Tool(spec=ToolSpec("files__write", "", SCHEMA), server="files", own_name="write")
        ]
        self.calls: list[str] = []

    def tools(self) -> Sequence[Tool]:
        return self.offered_tools

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        self.calls.append(call.arguments)
        return self.result


class Bench:
    """Runs calls with hooks, and records the questions, warnings and events."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = Files()
        self.rules = ALLOWED
        self.answer: Callable[[ConsentRequest], ConsentAnswer] | None = None
        self.questions: list[ConsentRequest] = []
        self.warnings: list[str] = []
        self.events: list[ToolEvent] = []
        self.hooks: list[Hook] = []

    def before(self, script: str, **options: Any) -> None:
        self._add("before", script, options)

    def after(self, script: str, **options: Any) -> None:
        self._add("after", script, options)

    def _add(self, when: Any, script: str, options: dict[str, Any]) -> None:
        command = options.pop("command", ("/bin/sh", "-c", script))
        self.hooks.append(Hook(when=when, command=command, folder=str(self.folder), **options))

    def processor(self, **options: Any) -> ToolProcessor:
        def ask(question: ConsentRequest) -> ConsentAnswer:
            self.questions.append(question)
            assert self.answer is not None
            return self.answer(question)

        return ToolProcessor(
            options.pop("toolbox", self.files),
            consent=Consent(self.rules, asker=ask if self.answer else None),
            hooks=ToolHooks(self.hooks, folder="/work", warn=self.warnings.append),
            on_tool_event=self.events.append,
            **options,
        )

    async def run(self, *calls: ToolCall, **options: Any) -> list[ToolResult]:
        processor = self.processor(**options)
        results = processor.process_tool_calls("run_1", calls or (CALL,), thread_id="thread_1")
        async with aclosing(results) as ready:
            return [result async for _, result in ready]

    @property
    def refusals(self) -> list[tuple[str, str]]:
        return [(each.by, each.reason) for each in self.events if isinstance(each, ConsentRefused)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def answer(**fields: Any) -> str:
    """Return a script that answers this JSON object."""
    return f"cat >/dev/null; cat <<'END'\n{json.dumps(fields)}\nEND"


# The input of hooks.


async def test_hooks_read_the_call_its_thread_and_its_output(bench: Bench) -> None:
    blob = Blob(media_type="image/png", data=b"12345", name="a.png")
    bench.files.result = ToolResult(
        "it broke", is_error=True, fault="failed", content=(Text("it broke"), blob)
    )
    bench.before("cat > before.json")
    bench.after("cat > after.json")

    (result,) = await bench.run()

    call_fields = {
        "tool": "files__write",
        "server": "files",
        "server_tool": "write",
        "arguments": {"path": "notes.txt"},
        "cwd": "/work",
        "thread_id": "thread_1",
        "run_id": "run_1",
        "tool_call_id": "c1",
    }
    file = {"name": "a.png", "media_type": "image/png", "bytes": 5}
    outcome = {"output": "it broke", "is_error": True, "fault": "failed", "files": [file]}
    before, after = (
        json.loads((bench.folder / f"{when}.json").read_text()) for when in ("before", "after")
    )
    assert [(type(each).__name__, getattr(each, "when", "")) for each in bench.events] == [
        ("HooksBegan", "before"),
        ("ToolBegan", ""),
        ("HooksBegan", "after"),
        ("ToolEnded", ""),
    ]
    assert before == {"event": "before", **call_fields}
    assert after == {"event": "after", **call_fields, **outcome}
    assert (result.output, result.is_error) == ("it broke", True)


async def test_a_function_of_the_program_has_no_server(bench: Bench) -> None:
    def double(number: int) -> int:
        """Double it."""
        return 2 * number

    bench.before("cat > before.json")
    (result,) = await bench.run(
        ToolCall("c1", "double", '{"number": 4}'), toolbox=Functions([double])
    )

    hook_input = json.loads((bench.folder / "before.json").read_text())
    assert (hook_input["server"], hook_input["server_tool"], hook_input["arguments"]) == (
        None,
        None,
        {"number": 4},
    )
    assert result.output == "8"


@pytest.mark.parametrize(
    ("patterns", "is_run"),
    [
        (("*",), True),
        (("other", "files__*"), True),
        (("files:write",), True),
        (("write",), False),
        (("files__read",), False),
    ],
)
async def test_a_hook_runs_for_the_tools_that_its_patterns_match(
    bench: Bench, patterns: tuple[str, ...], is_run: bool
) -> None:
    bench.before("touch was_run", tools=patterns)
    bench.after("touch was_run_after", tools=patterns)

    await bench.run()

    assert (bench.folder / "was_run").exists() is is_run
    assert (bench.folder / "was_run_after").exists() is is_run


async def test_a_hook_gets_no_secrets_from_the_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    bench.before("env > seen")

    await bench.run()

    environment = (bench.folder / "seen").read_text()
    assert "sk-secret" not in environment
    assert "PATH=" in environment


async def test_nothing_in_the_working_folder_stands_in_for_a_hook(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    (clone / "bin").mkdir(parents=True)
    for name in ("check.sh", "bin/checker"):
        (clone / name).write_text("#!/bin/sh\ntouch hostile\n")
        (clone / name).chmod(0o755)
    monkeypatch.chdir(clone)
    monkeypatch.setenv("PATH", f"bin:.::{os.environ['PATH']}")
    own_script = tmp_path / "check.sh"
    own_script.write_text("#!/bin/sh\npwd > here\n")
    own_script.chmod(0o755)
    bench.before("", command=("./check.sh",))
    await bench.run()
    assert (tmp_path / "here").read_text().strip() == str(tmp_path.resolve())

    bench.before("", command=("checker",))
    (result,) = await bench.run()
    assert "not found" in result.output
    assert not list(tmp_path.rglob("hostile"))


# Before: denied.


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'only below src' >&2; exit 1", "only below src"),
        (answer(decision="deny", reason="only below src"), "only below src"),
        (answer(decision="deny"), "does not allow this call."),
        ("exit 7", "exit code 7"),
        ("kill -9 $$", "signal 9"),
        (answer(decision="allow") + "\nexit 3", "exit code 3"),
    ],
)
async def test_a_hook_denies_a_call_before_anybody_is_asked(
    bench: Bench, script: str, expected: str
) -> None:
    bench.rules = Rules(ask=("*",))
    bench.answer = lambda question: ConsentAnswer(allowed=True)
    bench.before(script)
    bench.after("touch was_run")

    (result,) = await bench.run()

    assert (result.is_error, result.fault) == (True, "refused")
    assert expected in result.output
    assert (bench.files.calls, bench.questions, bench.warnings) == ([], [], [])
    assert bench.refusals == [("hook", result.output)]
    assert not any(isinstance(each, ToolBegan) for each in bench.events)
    assert not (bench.folder / "was_run").exists()


@pytest.mark.parametrize(
    ("script", "options", "expected"),
    [
        ("echo fine", {}, "not the JSON object"),
        ("echo '[]'", {}, "not the JSON object"),
        ('echo \'{"decision": "allow"\'', {}, "not the JSON object"),
        (answer(decision="maybe"), {}, "not the JSON object"),
        (answer(descision="deny"), {}, "descision"),
        (answer(decision="allow", arguments=[1]), {}, "not the JSON object"),
        ("printf '\\377'", {}, "not the JSON object"),
        (f"head -c {MAX_OUTPUT + 1} /dev/zero | tr '\\0' ' '", {}, "longer than 200,000 bytes"),
        ("sleep 600", {"timeout": 0.01}, "within 0.01 s"),
        ("", {"command": ("./none",)}, "not found"),
        ("", {"command": ("no-such-program-anywhere",)}, "not found"),
        ("", {"command": ("./plain.txt",)}, "not found"),
        ("", {"command": ("./broken",)}, "cannot be started"),
        (answer(arguments={"path": 3, "cuont": 1}), {}, "cannot take them"),
        (answer(arguments={}), {}, "cannot take them"),
    ],
)
async def test_a_hook_that_fails_before_a_call_denies_it_and_the_user_is_told(
    bench: Bench, script: str, options: dict[str, Any], expected: str
) -> None:
    (bench.folder / "plain.txt").write_text("no program")
    (bench.folder / "broken").write_text("no program")
    (bench.folder / "broken").chmod(0o755)
    bench.before(script, **options)

    (result,) = await bench.run()

    assert (result.is_error, result.fault, bench.files.calls) == (True, "refused", [])
    assert expected in result.output
    assert result.output.startswith("A hook failed, so this call was not made:")
    assert [expected in each for each in bench.warnings] == [True]
    assert [by for by, _ in bench.refusals] == ["hook"]


async def test_arguments_that_a_hook_could_not_read_are_denied(bench: Bench) -> None:
    def free(path: str = "") -> str:
        """Take anything."""
        return "ran"

    bench.before("true")

    results = await bench.run(
        ToolCall("c1", "free", "[1]"), ToolCall("c2", "free", "{"), toolbox=Functions([free])
    )

    assert all("not a JSON object" in each.output for each in results)
    assert [each.fault for each in results] == ["refused", "refused"]


async def test_the_first_denial_ends_it(bench: Bench) -> None:
    bench.before("exit 1")
    bench.before("touch was_run")

    await bench.run()

    assert not (bench.folder / "was_run").exists()


async def test_a_tool_that_is_not_here_has_no_hooks(bench: Bench) -> None:
    bench.before("touch was_run; exit 1")
    bench.after("touch was_run")
    bench.files.result = ToolResult("There is no such tool.", is_error=True, fault="unknown_tool")

    (result,) = await bench.run(ToolCall("c1", "elsewhere__write", "{}"))

    assert result.fault == "unknown_tool"
    assert not (bench.folder / "was_run").exists()


async def test_a_tool_that_arrives_while_its_call_is_decided_goes_through_the_hooks(
    bench: Bench,
) -> None:
    tools, bench.files.offered_tools = bench.files.offered_tools, []
    bench.rules = Rules(ask=("*",))
    bench.answer = lambda question: ConsentAnswer(allowed=True)
    bench.before("exit 1")

    async def arrive(run_id: str) -> ModelServer:
        bench.files.offered_tools = tools
        return ModelServer("demo")

    (result,) = await bench.run(asked_by=arrive)

    assert (result.fault, bench.files.calls) == ("refused", [])
    assert [by for by, _ in bench.refusals] == ["hook"]


async def test_a_hook_denies_a_call_that_the_server_runs(bench: Bench) -> None:
    bench.before("echo 'not on Sundays' >&2; exit 1")
    bench.answer = lambda question: ConsentAnswer(allowed=True)
    processor = bench.processor()
    remote_tool = Tool(spec=ToolSpec("files__write"), server="files", own_name="write")

    async with aclosing(processor.process_tool_calls("run_1", (), [(CALL, remote_tool)])) as ready:
        ((_, result),) = [each async for each in ready]

    approval = json.loads(result.output)
    assert (approval["approve"], "not on Sundays" in approval["reason"]) == (False, True)


# Before: narrowed, never widened.


async def test_a_hook_that_allows_a_call_does_not_answer_for_the_user(bench: Bench) -> None:
    bench.rules = Rules(ask=("*",))
    bench.answer = lambda question: ConsentAnswer()
    bench.before(answer(decision="allow", reason="fine"))

    (result,) = await bench.run()

    assert (result.fault, bench.files.calls, len(bench.questions)) == ("refused", [], 1)
    assert bench.questions[0].reason == ""


async def test_a_hook_does_not_allow_what_the_settings_deny(bench: Bench) -> None:
    bench.rules = Rules(deny=("*",))
    bench.before(answer(decision="allow"))

    (result,) = await bench.run()

    assert (result.fault, bench.files.calls) == ("refused", [])


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_hook_has_the_user_asked_about_what_a_rule_allows(
    bench: Bench, allowed: bool
) -> None:
    bench.answer = lambda question: ConsentAnswer(allowed=allowed, keep="session")
    bench.before(answer(decision="ask", reason="it is a release"))
    processor = bench.processor()

    for _ in range(2):
        async with aclosing(processor.process_tool_calls("run_1", (CALL,))) as ready:
            ((_, result),) = [each async for each in ready]
        assert result.is_error is not allowed

    assert [each.reason for each in bench.questions] == ["it is a release"] * 2
    assert all(each.asks_each_time and not each.others for each in bench.questions)
    assert len(bench.files.calls) == (2 if allowed else 0)


async def test_the_reasons_of_several_hooks_stand_above_one_question(bench: Bench) -> None:
    bench.answer = lambda question: ConsentAnswer(allowed=True)
    bench.before(answer(decision="ask", reason="it is a release"))
    bench.before(answer(decision="allow", reason="I do not mind"))
    bench.before(answer(decision="ask"))

    await bench.run()

    assert [each.reason for each in bench.questions] == ["it is a release; it gives no reason"]


async def test_a_hook_that_wants_the_user_asked_denies_where_nobody_is(bench: Bench) -> None:
    bench.before(answer(decision="ask", reason="it is a release"))

    (result,) = await bench.run()

    assert (result.fault, bench.files.calls) == ("refused", [])
    assert result.output.endswith("A hook wants a person to decide: it is a release")
    assert bench.refusals == [("nobody", "it is a release")]


async def test_the_user_is_asked_about_the_arguments_as_hooks_have_changed_them(
    bench: Bench,
) -> None:
    bench.rules = Rules(ask=("*",))
    bench.answer = lambda question: ConsentAnswer(allowed=True)
    bench.before(answer(arguments={"path": "build/notes.txt"}))
    bench.before("cat > second.json")

    (result,) = await bench.run()

    new_arguments = '{"path":"build/notes.txt"}'
    assert [each.call.arguments for each in bench.questions] == [new_arguments]
    assert bench.files.calls == [new_arguments]
    assert result.arguments == new_arguments
    assert result.output == f"[A hook changed the arguments to {new_arguments}]\nwritten"
    hook_input = json.loads((bench.folder / "second.json").read_text())
    assert hook_input["arguments"] == {"path": "build/notes.txt"}


async def test_arguments_that_the_user_edits_go_through_the_hooks_too(bench: Bench) -> None:
    bench.rules = Rules(ask=("*",))
    bench.answer = lambda question: ConsentAnswer(allowed=True, arguments='{"path": "secret"}')
    bench.before("if grep -q secret; then echo 'it is secret' >&2; exit 1; fi")

    (result,) = await bench.run()

    assert (result.fault, bench.files.calls) == ("refused", [])
    assert "it is secret" in result.output


async def test_edited_arguments_that_a_hook_leaves_alone_are_asked_about_once(
    bench: Bench,
) -> None:
    edited_arguments = '{"path": "other.txt"}'
    bench.answer = lambda question: ConsentAnswer(allowed=True, arguments=edited_arguments)
    bench.before(answer(decision="ask"))

    (result,) = await bench.run()

    assert (bench.files.calls, len(bench.questions)) == ([edited_arguments], 1)
    assert result.output.startswith("[The user changed the arguments to")


async def test_edited_arguments_that_a_hook_changes_are_asked_about_again(bench: Bench) -> None:
    answers = iter([ConsentAnswer(allowed=True, arguments='{"path": "x"}')])
    bench.rules = Rules(ask=("*",))
    bench.answer = lambda question: next(answers, ConsentAnswer())
    bench.before(answer(arguments={"path": "always.txt"}))

    (result,) = await bench.run()

    assert [each.reason for each in bench.questions] == [
        "",
        "it has changed the arguments that you edited",
    ]
    assert bench.questions[1].call.arguments == '{"path":"always.txt"}'
    assert (result.fault, bench.files.calls) == ("refused", [])


# After.


async def test_a_hook_adds_to_the_output(bench: Bench) -> None:
    bench.after(answer(context="two lines are too long"))
    bench.after("cat > second.json")

    (result,) = await bench.run()

    assert result.output == "written\n\n[A hook adds: two lines are too long]"
    assert json.loads((bench.folder / "second.json").read_text())["output"] == result.output
    (end,) = (each for each in bench.events if isinstance(each, ToolEnded))
    assert end.result.output == result.output


async def test_a_hook_runs_after_a_tool_that_is_gone_by_then(bench: Bench) -> None:
    class Vanishing(Files):
        async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
            self.offered_tools = []
            return await super().call(call, tell)

    bench.after("""echo '{"output": "redacted"}'""", tools=("files:*",))

    (result,) = await bench.run(toolbox=Vanishing(ToolResult("a secret")))

    assert result.output == "redacted"


async def test_a_hook_replaces_the_whole_result(bench: Bench) -> None:
    bench.files.result = ToolResult(
        "key sk-1", content=(Text("key sk-1"),), structured={"key": "sk-1"}
    )
    bench.after('sed \'s/.*/{"output": "key [hidden]"}/\'')

    (result,) = await bench.run()

    assert (result.output, result.content, result.structured) == ("key [hidden]", (), None)


async def test_an_empty_output_is_an_output(bench: Bench) -> None:
    bench.after(answer(output=""))

    (result,) = await bench.run()

    assert result.output == ""


@pytest.mark.parametrize(
    ("script", "options", "expected"),
    [
        ("echo 'no formatter' >&2; exit 1", {}, "no formatter"),
        ("echo fine", {}, "not the JSON object"),
        (answer(ouput="x"), {}, "ouput"),
        (answer(output=1), {}, "not the JSON object"),
        ("sleep 600", {"timeout": 0.01}, "within 0.01 s"),
        ("", {"command": ("./none",)}, "not found"),
    ],
)
async def test_a_hook_that_fails_after_a_call_is_reported_and_the_output_stays(
    bench: Bench, script: str, options: dict[str, Any], expected: str
) -> None:
    bench.after(script, **options)
    bench.after(answer(context="the next one runs"))

    (result,) = await bench.run()

    assert result.output == "written\n\n[A hook adds: the next one runs]"
    assert not result.is_error
    assert [expected in each for each in bench.warnings] == [True]
    assert "stays as it was" in bench.warnings[0]


async def test_a_program_that_does_not_read_its_input_is_no_failure(bench: Bench) -> None:
    bench.files.result = ToolResult("x" * 3_000_000)
    bench.after("exec <&-; true")
    bench.after(answer(output="short"))

    (result,) = await bench.run()

    assert (result.output, bench.warnings) == ("short", [])


# The end of hooks.


async def test_no_more_hooks_than_tools_run_at_once(bench: Bench) -> None:
    bench.before("cat >/dev/null; mkdir busy || exit 1; rmdir busy")
    bench.after("cat >/dev/null; mkdir busy || exit 1; rmdir busy")
    calls = [ToolCall(f"c{number}", CALL.name, CALL.arguments) for number in range(6)]

    results = await bench.run(*calls, at_once=1)

    assert [each.output for each in results] == ["written"] * 6
    assert bench.warnings == []


async def start_calls(bench: Bench, processor: ToolProcessor) -> asyncio.Task[list[ToolResult]]:
    async def read_results() -> list[ToolResult]:
        async with aclosing(processor.process_tool_calls("run_1", (CALL,))) as ready:
            return [result async for _, result in ready]

    return asyncio.create_task(read_results())


Stop = Callable[[ToolProcessor, "asyncio.Task[list[ToolResult]]"], Awaitable[None]]


async def stop_call(processor: ToolProcessor, task: asyncio.Task[list[ToolResult]]) -> None:
    assert processor.cancel("c1")
    await task


async def stop_all(processor: ToolProcessor, task: asyncio.Task[list[ToolResult]]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("stop", [stop_call, stop_all])
async def test_a_hook_ends_with_its_call_and_so_does_what_it_started(
    bench: Bench, pipe: tuple[Path, int], when: str, stop: Stop
) -> None:
    path, reader = pipe
    script = f"exec 3>{path}; sleep 600 & echo begun >&3; sleep 600"
    getattr(bench, when)(script)
    processor = bench.processor()
    task = await start_calls(bench, processor)
    assert await read_next(reader) == b"begun\n"

    await stop(processor, task)

    assert await read_next(reader) == b""


async def test_an_output_stays_if_the_user_stops_the_hook_after_it(
    bench: Bench, pipe: tuple[Path, int]
) -> None:
    path, reader = pipe
    bench.after(f"echo begun > {path}; sleep 600")
    processor = bench.processor()
    task = await start_calls(bench, processor)
    assert await read_next(reader) == b"begun\n"

    processor.cancel("c1")

    (result,) = await task
    assert (result.output, result.fault) == ("written", None)
    assert not processor.cancel("c1")


async def test_a_hook_that_takes_too_long_ends_with_what_it_started(
    bench: Bench, pipe: tuple[Path, int]
) -> None:
    path, reader = pipe
    bench.before(f"exec 3>{path}; sleep 600 & echo begun >&3; sleep 600", timeout=2)

    await bench.run()

    pieces = b""
    while piece := await read_next(reader):
        pieces += piece
    assert pieces in (b"begun\n", b"")


async def test_a_working_folder_that_is_gone_denies_the_call(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.before("true")
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    processor = ToolProcessor(
        bench.files,
        consent=Consent(ALLOWED),
        hooks=ToolHooks(bench.hooks, warn=bench.warnings.append),
    )

    async with aclosing(processor.process_tool_calls("run_1", (CALL,))) as ready:
        ((_, result),) = [each async for each in ready]

    assert (result.fault, bench.files.calls) == ("refused", [])
    assert "the working folder is gone" in bench.warnings[0]


async def test_a_hook_without_a_folder_runs_in_the_working_folder(
    bench: Bench, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "check.sh").write_text("#!/bin/sh\npwd > here\n")
    (work / "check.sh").chmod(0o755)
    hooks = ToolHooks([Hook(when="before", command=("./check.sh",))], folder=work)
    processor = ToolProcessor(bench.files, consent=Consent(ALLOWED), hooks=hooks)

    async with aclosing(processor.process_tool_calls("run_1", (CALL,))) as ready:
        ((_, result),) = [each async for each in ready]

    assert result.output == "written"
    assert (work / "here").read_text().strip() == str(work.resolve())


def test_a_list_of_hooks_is_no_tool_hooks() -> None:
    with pytest.raises(InvalidRequest, match="no ToolHooks"):
        ToolProcessor(Files(), hooks=[])  # type: ignore[arg-type]


def test_a_command_is_no_text() -> None:
    with pytest.raises(TypeError, match="tuple of texts"):
        Hook(when="before", command="rm -rf /")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name of a program"):
        Hook(when="before", command=())
