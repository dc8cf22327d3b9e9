"""A server with every feature, over any transport: `whole.py stdio`, `whole.py http|sse`.

Over HTTP it listens on a free port and prints it.
"""

import os
import socket
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.mcpserver import Context, Elicit, ListRoots, MCPServer, Resolve, Sample
from mcp.server.mcpserver.utilities.types import Audio, Image
from pydantic import BaseModel, Field

warnings.simplefilter("ignore")
server = MCPServer(
    "whole", title="Everything", version="1.2.3", instructions="Be kind.", log_level="CRITICAL"
)


class Person(BaseModel):
    name: str = Field(description="What to call you", min_length=2)
    age: int = Field(ge=0, le=150)
    newsletter: bool = False


class Sum(BaseModel):
    total: int


@server.tool(structured_output=False)
def echo(text: str) -> str:
    return text


@server.tool()
def broken() -> None:
    raise RuntimeError("out of order")


@server.tool()
async def endless(mark: str = "") -> str:
    """Waits for ever; `mark` is a file to make when it begins, and again when it is stopped."""
    if mark:
        Path(mark + ".begun").touch()
    try:
        await anyio.sleep_forever()
    finally:
        if mark:
            Path(mark + ".stopped").touch()


@server.tool()
async def steps(ctx: Context) -> str:
    for number in (1, 2, 3):
        await ctx.report_progress(number, 3, f"step \x1b[31m{number}")
    return "done"


@server.tool()
def add(a: int, b: int) -> Sum:
    return Sum(total=a + b)


@server.tool()
def lie() -> Annotated[types.CallToolResult, Sum]:
    return types.CallToolResult(content=[], structured_content={"total": "many"})


@server.tool(structured_output=False)
def media() -> list[Any]:
    return [
        "see",
        Image(data=b"\x89PNG" + b"x" * 12_000, format="png"),
        Audio(data=b"RIFF", format="wav"),
        types.EmbeddedResource(
            type="resource",
            resource=types.TextResourceContents(uri="note://1", text="a note"),
        ),
        types.ResourceLink(type="resource_link", uri="https://example.com/x", name="x"),
    ]


@server.tool(annotations=types.ToolAnnotations(title="Look", read_only_hint=True))
async def hinted() -> str:
    """Only looks."""
    return "seen"


async def who() -> Elicit[Person]:
    return Elicit("Who are you?", Person)


@server.tool()
async def greet(person: Annotated[Person, Resolve(who)]) -> str:
    return f"hello {person.name}, {person.age}, {person.newsletter}"


@server.tool()
async def open_page(ctx: Context, where: str = "https://example.com/pay?x=1") -> Any:
    if ctx.protocol_version == "2026-07-28":
        if ctx.input_responses is None:
            request = types.ElicitRequest(
                params=types.ElicitRequestURLParams(message="Pay here", url=where)
            )
            return types.InputRequiredResult(input_requests={"page": request})
        return ctx.input_responses["page"].action
    answer = await ctx.elicit_url("Pay here", where, "e1")
    await ctx.session.send_elicit_complete("e1")
    return answer.action


async def says() -> Sample:
    message = types.SamplingMessage(
        role="user", content=types.TextContent(type="text", text="a word?")
    )
    return Sample([message], max_tokens=10)


@server.tool()
async def think(said: Annotated[types.CreateMessageResult, Resolve(says)]) -> str:
    return f"{said.model}: {said.content.text}"


async def where() -> ListRoots:
    return ListRoots()


@server.tool()
async def folders(roots: Annotated[types.ListRootsResult, Resolve(where)]) -> str:
    return " ".join(str(root.uri) for root in roots.roots)


@server.tool()
async def grow(ctx: Context, name: str) -> str:
    server.add_tool(lambda: "new", name=name, description="was not there before")
    if ctx.protocol_version == "2026-07-28":
        await ctx.notify_tools_changed()
    else:
        await ctx.session.send_tool_list_changed()
    return "grown"


@server.tool()
async def touch(ctx: Context, uri: str) -> str:
    if ctx.protocol_version == "2026-07-28":
        await ctx.notify_resource_updated(uri)
    else:
        await ctx.session.send_resource_updated(uri)
    return "touched"


@server.tool()
async def chatter(ctx: Context) -> str:
    await ctx.log("warning", "all is \x1b]0;well\x07", logger_name="heart")
    return "said"


@server.tool()
def environment(name: str) -> str:
    return os.environ.get(name, "(none)")


@server.tool(structured_output=False)
def process() -> str:
    return str(os.getpid())


@server.tool(structured_output=False)
def forget() -> str:
    """Forgets all sessions, as a server does that was started anew."""
    server.session_manager._server_instances.clear()
    return "who?"


@server.resource("note://all", mime_type="text/plain", description="All notes")
def notes() -> str:
    return "many notes"


@server.resource("pic://one", mime_type="image/png")
def picture() -> bytes:
    return b"\x89PNG"


@server.resource("note://{number}", description="One note")
def note(number: str) -> str:
    return f"note {number}"


@server.prompt(description="Ask about a city")
def city(name: str, tone: str = "dry") -> str:
    return f"Tell me of {name}, {tone}."


@server.completion()
async def completed(
    ref: types.PromptReference | types.ResourceTemplateReference,
    argument: types.CompletionArgument,
    context: types.CompletionContext | None,
) -> types.Completion | None:
    arguments = (context and context.arguments) or {}
    values = [f"{argument.value}{end}{arguments.get('tone', '')}" for end in ("is", "rma")]
    return types.Completion(values=values, has_more=True)


def main() -> None:
    transport = sys.argv[1]
    if transport == "stdio":
        server.run("stdio")
        return
    app = server.streamable_http_app() if transport == "http" else server.sse_app()
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
