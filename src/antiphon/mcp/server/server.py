"""Antiphon as an MCP server: its tools and resources in the SDK's types."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

import mcp_types as types
import msgspec
from mcp import MCPError
from mcp.server import Server, ServerRequestContext

from antiphon.mcp.server.handlers import McpHandlers, OfferedTool
from antiphon.mcp.server.tools import AskOutput, json_schema
from antiphon.types.errors import AntiphonError, InvalidRequest, NotFound
from antiphon.types.runs import Thread
from antiphon.types.terminal_safe import clean

ADDRESS = "antiphon://threads/"
"""Prefix of a thread's URI."""

INSTRUCTIONS = (
    "Antiphon keeps conversations with language models. `ask` puts a text to a model or to one of"
    " its assistants and may take minutes; the thread_id in its answer goes on with the same"
    " conversation."
)

_Context = ServerRequestContext[Any, Any]


def create_server(handlers: McpHandlers, version: str) -> Server[Any]:
    """Return a server for any number of connections."""
    sdk_handlers = _SdkHandlers(handlers)
    return Server(
        "antiphon",
        version=version,
        title="Antiphon",
        instructions=INSTRUCTIONS,
        on_list_tools=sdk_handlers.list_tools,
        on_call_tool=sdk_handlers.call_tool,
        on_list_resources=sdk_handlers.list_resources,
        on_list_resource_templates=sdk_handlers.list_templates,
        on_read_resource=sdk_handlers.read_resource,
    )


class _SdkHandlers:
    """Request handlers in the SDK's types."""

    def __init__(self, handlers: McpHandlers) -> None:
        self._handlers = handlers

    async def list_tools(
        self, context: _Context, asked: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_tool(each) for each in await self._handlers.tools()])

    async def call_tool(
        self, context: _Context, asked: types.CallToolRequestParams
    ) -> types.CallToolResult:
        async def tell(number: int, text: str) -> None:
            await context.session.report_progress(number, message=text)

        try:
            return _result(await self._handlers.call(asked.name, asked.arguments or {}, tell))
        except AntiphonError as problem:
            return _error_result(problem)

    async def list_resources(
        self, context: _Context, asked: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        try:
            threads, following = await self._handlers.threads(asked.cursor if asked else None)
        except (NotFound, InvalidRequest) as error:
            raise MCPError(types.INVALID_PARAMS, "There is no such page.") from error
        return types.ListResourcesResult(
            resources=[_resource(thread) for thread in threads], next_cursor=following
        )

    async def list_templates(
        self, context: _Context, asked: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            name="thread",
            title="A conversation",
            uri_template=ADDRESS + "{thread_id}",
            mime_type="text/markdown",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read_resource(
        self, context: _Context, asked: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        try:
            if not asked.uri.startswith(ADDRESS):
                raise NotFound("There is no such resource.")
            text = await self._handlers.markdown(asked.uri.removeprefix(ADDRESS))
        except AntiphonError as problem:
            raise MCPError(
                types.INVALID_PARAMS, problem.message, {"uri": asked.uri, "code": problem.code}
            ) from problem
        content = types.TextResourceContents(uri=asked.uri, mime_type="text/markdown", text=text)
        return types.ReadResourceResult(contents=[content])


def _tool(offered: OfferedTool) -> types.Tool:
    hints = offered.input_type.hints
    return types.Tool(
        name=offered.name,
        title=clean(offered.title),
        description=clean(cleandoc(offered.description)),
        input_schema=json_schema(offered.input_type),
        output_schema=json_schema(offered.input_type.output_type),
        annotations=types.ToolAnnotations(
            title=clean(offered.title),
            read_only_hint=hints.read_only,
            destructive_hint=hints.destructive,
            idempotent_hint=hints.idempotent,
            open_world_hint=hints.open_world,
        ),
    )


def _resource(thread: Thread) -> types.Resource:
    return types.Resource(
        name=clean(thread.title) or thread.id,
        uri=ADDRESS + thread.id,
        description=f"A conversation of {thread.messages} messages.",
        mime_type="text/markdown",
    )


def _result(value: msgspec.Struct) -> types.CallToolResult:
    """Return the value as JSON; the output of `ask` also as text."""
    if isinstance(value, AskOutput):
        about = f"[thread_id: {value.thread_id}, status: {value.status}]"
        texts = [value.text, about]
    else:
        texts = [msgspec.json.encode(value).decode()]
    return types.CallToolResult(
        content=[types.TextContent(text=text) for text in texts],
        structured_content=msgspec.to_builtins(value),
    )


def _error_result(problem: AntiphonError) -> types.CallToolResult:
    """Return the error as a result that a model can act on."""
    words = {"expected": "wanted: ", "received": "got: ", "hint": ""}
    told = [
        word + str(problem.details[name]) for name, word in words.items() if name in problem.details
    ]
    text = "; ".join([problem.message.rstrip("."), *told]) + f" ({problem.code})"
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)
