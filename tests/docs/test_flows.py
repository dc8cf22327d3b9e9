"""The flows as drawn are the flows as documented, and what is documented is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from blocks import PAGES, ROOT

TURN = ROOT / "docs/flows/turn.md"
WEB = ROOT / "docs/flows/web.md"

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


def table(page: Path) -> str:
    """The page without its drawing: what is only drawn is not explained."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("page", "name"),
    [(TURN, name) for name in TURN_NAMES.splitlines()]
    + [(WEB, name) for name in WEB_NAMES.splitlines()],
    ids=lambda each: each.stem if isinstance(each, Path) else each,
)
def test_every_name_of_a_flow_is_explained(page: Path, name: str) -> None:
    assert name in table(page)


@pytest.mark.parametrize(("page", "last"), [(TURN, 16), (WEB, 24)], ids=["turn", "web"])
def test_every_step_of_a_flow_is_drawn_and_has_a_row_with_its_place(page: Path, last: int) -> None:
    drawing = re.search(r"^```text$(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert drawing is not None
    rows = re.findall(r"(?m)^\| (\d+) \| .*\]\(\S+\)", table(page))

    drawn = re.findall(r"\[(\d+)\]" if page == TURN else r"(?<!\S)(\d+)\. ", drawing[1])

    assert [int(number) for number in rows] == list(range(1, last + 1))
    assert sorted({int(number) for number in drawn}) == list(range(1, last + 1))


@cache
def names(file: Path) -> frozenset[str]:
    """Everything a file defines: `name` and, in a class, `Class.name`."""
    found: set[str] = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        found |= defined(node)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for each in node.body for name in defined(each)}
    return frozenset(found)


def defined(node: ast.stmt) -> set[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
        case ast.AnnAssign(target=ast.Name(id=name)):
            return {name}
        case _:
            return set()


@pytest.mark.parametrize("page", [TURN, WEB], ids=["turn", "web"])
def test_every_place_that_a_flow_names_is_there(page: Path) -> None:
    targets = re.findall(r"\[`([^`]+\.py)#([^`]+)`\]\(([^)]+)\)", page.read_text("utf-8"))

    assert len(targets) > 40
    for file, name, link in targets:
        assert (page.parent / link).resolve() == ROOT / file
        assert name in names(ROOT / file), f"{file}#{name}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
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
            here = target.exists() and target.is_relative_to(ROOT)
            if not here or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")

    assert not broken


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)\s#]+)", page.read_text("utf-8"))
        waiting += [
            (page.parent / link).resolve()
            for link in links
            if not re.match(r"[a-z]+:", link) and (page.parent / link).is_file()
        ]

    assert set(PAGES) <= reached, "docs/README.md lists every page"
