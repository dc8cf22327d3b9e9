"""Every name of the drawn flows is explained on their pages, and what they link to exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.support.docs.blocks import PAGES, ROOT

TURN = ROOT / "docs/flows/turn.md"
WEB = ROOT / "docs/flows/web.md"
TERMINAL = ROOT / "docs/flows/terminal.md"

# Every word of the drawings, as drawn: steps, boxes, arrows, states.
TURN_NAMES = """\
USER / CLIENT SDK
BACKEND API (Worker)
DATABASE / CACHE
POST /process (Turn 1)
Inference
LLM sees User Msg
Detects Tool Call
finalize_conversation()
SAVE Asst ToolCall
INVALIDATE Context
Stream Manifest Chunk
Connection Closed by Server
Worker Returns/Exits
EXECUTE LOCAL TOOL
get_flight_times
POST /submit_tool_output
Save Tool Result
SAVE Tool Output
HTTP 200 OK
POST /process (Turn 2)
set_up_context
force_refresh=True
Load full history
READ ALL MSGS
User + ToolCall + Result
Turn 2 Inference
LLM sees tool data
Stream Final Tokens
"""
WEB_NAMES = """\
User (Browser)
Flask App (/api/messages/process)
generate_chunks
faux_handler
client.* methods
Backend API
/v1/...
LLM Service
POST /api/messages/process
User message
create_message
POST /messages
Save message
create_run
POST /runs
Start run
Return streaming resp
generate_chunks begins
SSE stream starts
sync_stream.setup
sync_stream.stream_chunks
POST /completions
LLM process 1
LLM chunks 1
Initial assistant chunks
sync_stream.close
run status
action_required
poll_and_execute_action
faux_tool_handler
SDK helper loop
GET /runs/{id}
Return: action_req
GET /actions
Return action info
executes tool logic
got result
submit_tool_output
Save output, resume
helper returns
yield status: complete
Tool complete status
final_stream.setup
final_stream.stream_chunks
LLM process 2
LLM chunks 2
Final assistant chunks
final_stream.close
yield status: done
Final status chunk
generator finishes
SSE stream ends
"""
TERMINAL_NAMES = """\
User Input (text message)
ConversationProcessor.process_conversation()
Check: Does client support streaming?
_handle_streaming_completion()
_handle_regular_completion()
ui_manager.start_streaming_response()
ChatDisplayManager.start_streaming()
Initialize display state
Start background refresh task (every 100ms)
Activate live display
Create StreamingResponseHandler
Pass: chat_display (ChatDisplayManager)
handler.stream_response()
_handle_chuk_llm_streaming()
Loop: Get next chunk with 45s timeout per chunk
On timeout: Close stream, finalize, show warning
On StopAsyncIteration: Stream ended normally
_process_chunk(chunk, tool_calls)
Extract content
_extract_chunk_content()
Detect: accumulated vs delta
Append to current_response
Display update
chat_display.update_streaming(content)
Minimal sleep (0.5ms)
Extract tool calls
_extract_tool_calls_from_chunk()
_process_tool_call_chunk()
_accumulate_tool_call()
Extract reasoning (DeepSeek)
Update display with reasoning progress
Check: User interrupted?
YES: Close stream, break loop
After stream ends: _finalize_streaming_tool_calls()
Validate, fix, clean tool calls
_show_final_response()
Check: Has content and not already shown?
ChatDisplayManager.finish_streaming()
Stop background refresh task
Calculate elapsed time
Show final formatted response
CompactStreamingDisplay.get_final_panel()
Auto-render as Markdown if appropriate
ConversationProcessor checks completion dict
NO tool_calls OR response only
Mark streaming stopped
Add Message(ASSISTANT, content=response)
RETURN TO PROMPT
HAS tool_calls
Continue to Tool Execution Flow
ToolProcessor.process_tool_calls(tool_calls)
Add ONE assistant message with ALL tool_calls to history
For each tool_call CONCURRENTLY (max 4 at once)
_run_single_call(tool_call)
Extract tool name and arguments
Confirm execution (if configured)
ToolManager.execute_tool()
Skip loading indicator if streaming
Format result
Add TOOL message to history
Message(TOOL, content=result)
ui_manager.finish_tool_execution()
Return control to ConversationProcessor
Loop continues for next turn
PREFERRED PATH (ChatDisplayManager)
background task updates display every 100ms
Display final response
FALLBACK PATH (StreamingContext + CompactStreamingDisplay)
Create StreamingContext (wraps rich.Live)
streaming_context.update(content)
Rich Live updates display each call
streaming_context.__exit__()
Show final panel
content detection
Per-chunk: 45 seconds
Global: 300 seconds
Action: Close stream, finalize, show warning, return response
User can press Ctrl+C at any time
StreamingResponseHandler sets _interrupted flag
Closes stream iterator cleanly
Finalizes partial data before returning
Detects when tool calls fragmented across chunks
Merges argument JSON intelligently
Validates completion (missing braces, etc.)
Finalizes AFTER stream completes
Auto-detects: code, markdown, tables, JSON, SQL, HTML, text
Adapts display phase messages dynamically
Shows meaningful preview lines
Renders final response appropriately
Captures reasoning_content from streaming chunks
Shows reasoning progress in UI
Included in response dictionary
Added to conversation history
TEXT RESPONSE (simple)
TOOL CALL RESPONSE
MIXED (text + tool calls)
INTERRUPTED
TIMEOUT
current_response: str (accumulated content)
_accumulated_tool_calls: list (tool calls being built)
_previous_response_field: str (for accumulated detection)
_reasoning_content: str (DeepSeek reasoning)
_interrupted: bool (user cancel flag)
_response_complete: bool (finalization flag)
chunk_count: int (debug info)
is_streaming: bool
streaming_content: str
streaming_start_time: float
reasoning_content: str
chunks_received: int
_refresh_task: asyncio.Task
"""


def read_explanations(page: Path) -> str:
    """Return the page without its drawing: what is only drawn is not explained."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("page", "name"),
    [(TURN, name) for name in TURN_NAMES.splitlines()]
    + [(WEB, name) for name in WEB_NAMES.splitlines()]
    + [(TERMINAL, name) for name in TERMINAL_NAMES.splitlines()],
    ids=lambda each: each.stem if isinstance(each, Path) else each,
)
def test_every_name_of_a_flow_is_explained(page: Path, name: str) -> None:
    assert name in read_explanations(page)


@pytest.mark.parametrize(("page", "last"), [(TURN, 16), (WEB, 24)], ids=["turn", "web"])
def test_every_step_of_a_flow_is_drawn_and_has_a_row_with_its_place(page: Path, last: int) -> None:
    drawing = re.search(r"^```text$(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert drawing is not None
    rows = re.findall(r"(?m)^\| (\d+) \| .*\]\(\S+\)", read_explanations(page))

    drawn_numbers = re.findall(r"\[(\d+)\]" if page == TURN else r"(?<!\S)(\d+)\. ", drawing[1])

    assert [int(number) for number in rows] == list(range(1, last + 1))
    assert sorted({int(number) for number in drawn_numbers}) == list(range(1, last + 1))


@cache
def list_definitions(file: Path) -> frozenset[str]:
    """Return everything a file defines: `name` and, in a class, `Class.name`."""
    definitions: set[str] = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        definitions |= list_methods(node)
        if isinstance(node, ast.ClassDef):
            definitions |= {
                f"{node.name}.{name}" for each in node.body for name in list_methods(each)
            }
            definitions |= {f"{node.name}.{name}" for name in list_fields(node)}
    return frozenset(definitions)


def list_fields(node: ast.ClassDef) -> set[str]:
    """Return the attributes of its objects: every `self.name` that `__init__` sets."""
    constructors = [each for each in node.body if getattr(each, "name", "") == "__init__"]
    return {
        target.attr
        for function in constructors
        for each in ast.walk(function)
        for target in list_targets(each)
        if isinstance(target, ast.Attribute)
    }


def list_targets(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Assign(targets=targets):
            return targets
        case ast.AnnAssign(target=target):
            return [target]
        case _:
            return []


def list_methods(node: ast.stmt) -> set[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case _:
            return set()


def test_every_row_of_the_terminals_flow_says_what_antiphon_has_for_it_and_where() -> None:
    rows = re.findall(r"(?m)^\| \*\*.*$", TERMINAL.read_text("utf-8"))
    paths = re.findall(r"(?m)^\| \*\*[A-Z ]+(?: \([a-z +]+\))?\*\* \| [^|]+ \|$", "\n".join(rows))

    assert len(rows) > 80
    assert len(paths) == 5
    assert all(
        re.search(r"\| [^|]+ \| [^|]*\]\([^|]+\) \|$", row) for row in set(rows) - set(paths)
    )


@pytest.mark.parametrize("page", [TURN, WEB, TERMINAL], ids=["turn", "web", "terminal"])
def test_every_place_that_a_flow_names_is_there(page: Path) -> None:
    places = re.findall(r"\[`([^`]+\.py)#([^`]+)`\]\(([^)]+)\)", page.read_text("utf-8"))

    assert len(places) > 40
    for file, name, link in places:
        assert (page.parent / link).resolve() == ROOT / file
        assert name in list_definitions(ROOT / file), f"{file}#{name}"


def list_anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"(?m)^#+ (.+)$", text)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-")
        for heading in headings
    }


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    broken: list[str] = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / unquote(path)).resolve() if path else page
            is_inside = target.exists() and target.is_relative_to(ROOT)
            if not is_inside or (
                anchor and target.suffix == ".md" and anchor not in list_anchors(target)
            ):
                broken.append(f"{page.relative_to(ROOT)}: {link}")

    assert not broken


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached_pages, open_pages = set[Path](), [ROOT / "README.md"]
    while open_pages:
        page = open_pages.pop()
        if page in reached_pages or page.suffix != ".md":
            continue
        reached_pages.add(page)
        links = re.findall(r"\]\(([^)\s#]+)", page.read_text("utf-8"))
        open_pages += [
            (page.parent / link).resolve()
            for link in links
            if not re.match(r"[a-z]+:", link) and (page.parent / link).is_file()
        ]

    assert set(PAGES) <= reached_pages, "docs/README.md lists every page"
