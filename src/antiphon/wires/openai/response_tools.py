"""Tools of a request for a response, as the tools and MCP servers of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from antiphon.types.errors import InvalidRequest, UnsupportedByProvider
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import ApprovalPolicy, McpServer
from antiphon.wires.openai.hosted_tools import HostedTarget, choose_hosted_servers
from antiphon.wires.openai.items import CUSTOM_PARAMETERS, NamespacedName, full_tool_name

T = TypeVar("T")

NO_TARGETS: Mapping[str, HostedTarget] = {}

HOSTED_TOOLS: Mapping[str, str] = {
    "web_search": "web_search",
    "web_search_2025_08_26": "web_search",
    "web_search_preview": "web_search",
    "web_search_preview_2025_03_11": "web_search",
    "file_search": "file_search",
    "code_interpreter": "code_interpreter",
    "image_generation": "image_generation",
}
"""Hosted tools of the original, by the types that name them."""

UNSERVED_TOOLS = (
    "apply_patch",
    "computer",
    "computer_use_preview",
    "local_shell",
    "programmatic_tool_calling",
    "shell",
    "tool_search",
)
"""Other types of the original's tools."""


_NAMESPACE = re.compile(r"[\w-]{1,64}", re.ASCII)


class SentTools(NamedTuple):
    """Tools of a request. `specs` and `servers` are None if it has no field `tools`.

    `hosted` are the types of hosted tools among them, whose servers are in `servers` too.
    """

    specs: tuple[ToolSpec, ...] | None = None
    servers: tuple[McpServer, ...] | None = None
    custom: frozenset[str] = frozenset()
    hosted: tuple[str, ...] = ()


def read_tools(
    tools: Sequence[Mapping[str, Any]] | None, targets: Mapping[str, HostedTarget] = NO_TARGETS
) -> SentTools:
    """Return what the tools mean. Raises `InvalidRequest` and `UnsupportedByProvider`.

    `targets` are the MCP servers that do hosted tools.
    """
    if tools is None:
        return SentTools()
    specs: list[ToolSpec] = []
    servers: list[McpServer] = []
    custom: set[str] = set()
    hosted: dict[str, None] = {}
    for tool, where in _list_tools(tools):
        kind = tool.get("type")
        match kind:
            case "function":
                specs.append(_function(tool, where))
            case "custom":
                spec = _custom(tool, where)
                custom.add(spec.name)
                specs.append(spec)
            case "mcp":
                servers.append(_server(tool, where))
            case str(name) if HOSTED_TOOLS.get(name) in targets:
                hosted[HOSTED_TOOLS[name]] = None
            case _:
                raise _tool_error(kind, where)
    named = {server.name for server in servers}
    servers += [each for each in choose_hosted_servers(hosted, targets) if each.name not in named]
    return SentTools(tuple(specs), tuple(servers), frozenset(custom), tuple(hosted))


def _list_tools(
    tools: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield each tool with its place, those of a namespace under their full names."""
    for place, tool in enumerate(tools):
        where = f"$.tools[{place}]"
        if tool.get("type") != "namespace":
            yield tool, where
            continue
        namespace = tool.get("name")
        if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
            raise InvalidRequest(
                "This is no name of a namespace.",
                expected="1 to 64 letters, digits, and _ -",
                received=str(namespace)[:100],
                where=f"{where}.name",
            )
        for inside, inner in enumerate(_tools_of_namespace(tool, where)):
            yield (
                {**inner, "name": full_tool_name(namespace, inner["name"])},
                f"{where}.tools[{inside}]",
            )


def _tools_of_namespace(tool: Mapping[str, Any], where: str) -> Sequence[Mapping[str, Any]]:
    tools = tool.get("tools")
    if not isinstance(tools, list):
        raise InvalidRequest(
            "A namespace has tools.",
            expected="an array of tools of the type function or custom",
            received=type(tools).__name__,
            where=f"{where}.tools",
        )
    for place, inner in enumerate(cast("list[object]", tools)):
        match inner:
            case {"type": "function" | "custom", "name": str()}:
                pass
            case _:
                raise InvalidRequest(
                    "This is no tool of a namespace.",
                    expected="a tool of the type function or custom, with a name",
                    received=str(inner)[:100],
                    where=f"{where}.tools[{place}]",
                )
    return cast("list[dict[str, Any]]", tools)


def read_namespaces(tools: Sequence[Mapping[str, Any]]) -> Mapping[str, NamespacedName]:
    """Return the names of tools in namespaces, by those under which models see them."""
    return {
        full_tool_name(tool["name"], inner["name"]): NamespacedName(tool["name"], inner["name"])
        for tool in tools
        if tool.get("type") == "namespace"
        for inner in tool["tools"]
    }


def repeat_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tool as a response repeats it, with every field of a function."""
    if tool.get("type") == "function":
        return {"description": None, "parameters": None, "strict": None, **tool}
    return dict(tool)


class ToolChoice(NamedTuple):
    """A choice of tools: our `tool_choice`, and the names that are allowed, None for all."""

    tool_choice: str | dict[str, Any] | None = None
    allowed: frozenset[str] | None = None


def read_tool_choice(
    choice: str | dict[str, Any] | None,
    targets: Mapping[str, HostedTarget] = NO_TARGETS,
    model_name: Callable[[str, str], str] = lambda server, tool: f"{server}__{tool}",
) -> ToolChoice:
    """Return what the choice means. Raises `InvalidRequest` and `UnsupportedByProvider`.

    `targets` are the MCP servers that do hosted tools; `model_name` returns the model's name of a
    server's tool. A choice of a server with several tools means any tool.
    """
    match _replace_hosted(choice, targets):
        case None | str() as word:
            return ToolChoice(word)
        case {"type": "function" | "custom", "name": str(name)}:
            return ToolChoice(_choose_function(name))
        case {"type": "allowed_tools", "mode": str(mode), "tools": [*tools]}:
            return ToolChoice(mode, frozenset(map(_name_of_allowed, cast("list[object]", tools))))
        case {"type": "mcp", "server_label": str(server), "name": str(name)}:
            return ToolChoice(_choose_function(model_name(server, name)))
        case {"type": "mcp", "server_label": str()}:
            return ToolChoice("required")
        case {"type": str(kind)} if kind not in ("function", "custom", "allowed_tools"):
            raise UnsupportedByProvider(
                f"A choice of the type `{kind[:100]}` is not served here.",
                expected="auto, none, required, function, custom, mcp or allowed_tools",
                received=kind[:100],
                where="$.tool_choice",
            )
        case _:
            raise InvalidRequest(
                "This is no choice of a tool.",
                expected='auto, none, required, or {"type": "function", "name": ...}',
                received=str(choice)[:100],
                where="$.tool_choice",
            )


def _replace_hosted(
    choice: str | dict[str, Any] | None, targets: Mapping[str, HostedTarget]
) -> str | dict[str, Any] | None:
    """Return the choice of a hosted tool as that of its server."""
    match choice:
        case {"type": str(kind)} if target := targets.get(HOSTED_TOOLS.get(kind, "")):
            return {"type": "mcp", "server_label": target.server, "name": target.tool}
        case _:
            return choice


def _choose_function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def _name_of_allowed(tool: object) -> str:
    match tool:
        case {"type": "function" | "custom", "name": str(name)}:
            return name
        case _:
            raise InvalidRequest(
                "This is no tool that can be allowed.",
                expected='{"type": "function", "name": ...}',
                received=str(tool)[:100],
                where="$.tool_choice.tools",
            )


def _function(tool: Mapping[str, Any], where: str) -> ToolSpec:
    spec: dict[str, Any] = {"name": tool.get("name"), "description": tool.get("description") or ""}
    if tool.get("parameters"):
        spec["parameters"] = tool["parameters"]
        if isinstance(spec["parameters"], dict):
            spec["parameters"] = {"type": "object", **cast("dict[str, Any]", spec["parameters"])}
    return _to_spec(spec, where)


def _custom(tool: Mapping[str, Any], where: str) -> ToolSpec:
    description = tool.get("description") or ""
    match tool.get("format"):
        case {"type": "grammar", "definition": str(grammar), "syntax": str(syntax)}:
            description = f"{description}\n\nThe input follows this {syntax} grammar:\n{grammar}"
        case _:
            pass
    spec = {"name": tool.get("name"), "description": str(description).strip()}
    return msgspec.structs.replace(_to_spec(spec, where), parameters=CUSTOM_PARAMETERS)


def _to_spec(spec: Mapping[str, Any], where: str) -> ToolSpec:
    try:
        return msgspec.convert(spec, ToolSpec)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        raise InvalidRequest(
            f"This is no tool: {message}.",
            expected="a name of 1 to 128 letters, digits, and _ . -, and an object of parameters",
            received=str(spec.get("name"))[:100],
            where=f"{where}{path.strip('`').removeprefix('$')}",
        ) from error


class _ToolFilter(msgspec.Struct, frozen=True):
    tool_names: tuple[str, ...] | None = None
    read_only: bool | None = None


class _ApprovalFilter(msgspec.Struct, frozen=True):
    always: _ToolFilter | None = None
    never: _ToolFilter | None = None


class _McpTool(msgspec.Struct, frozen=True):
    server_label: str
    server_url: str | None = None
    allowed_tools: tuple[str, ...] | _ToolFilter | None = None
    require_approval: ApprovalPolicy | _ApprovalFilter | None = None
    authorization: Any = None
    headers: Any = None
    connector_id: Any = None
    tunnel_id: Any = None


def _server(tool: Mapping[str, Any], where: str) -> McpServer:
    given = _convert(tool, _McpTool, where)
    for name in ("authorization", "headers", "connector_id", "tunnel_id"):
        if getattr(given, name):
            raise UnsupportedByProvider(
                f"`{name}` of an MCP server is not served here.",
                expected=f"no {name}",
                received="one",
                hint="The operator configures servers that need a secret; name one by its label.",
                where=f"{where}.{name}",
            )
    fields: dict[str, Any] = {"name": given.server_label}
    if given.server_url:
        fields["url"] = given.server_url
    if isinstance(given.allowed_tools, _ToolFilter):
        fields["allowed_tools"] = _names(given.allowed_tools, f"{where}.allowed_tools")
    else:
        fields["allowed_tools"] = given.allowed_tools
    fields["require_approval"] = _approval(given.require_approval, f"{where}.require_approval")
    return _convert(fields, McpServer, where)


def _convert(fields: Mapping[str, Any], kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        raise InvalidRequest(
            f"This is no MCP server: {message}.",
            expected="a server_label of the operator's configuration, perhaps a server_url",
            received=message[:100],
            where=f"{where}{path.strip('`').removeprefix('$')}",
        ) from error


def _approval(
    policy: ApprovalPolicy | _ApprovalFilter | None, where: str
) -> ApprovalPolicy | dict[str, ApprovalPolicy]:
    """Return the policy in our form: a word, or globs; a tool that none matches is asked about."""
    if policy is None:
        return "always"
    if not isinstance(policy, _ApprovalFilter):
        return policy
    globs: dict[str, ApprovalPolicy] = dict.fromkeys(_names(policy.never, where) or (), "never")
    if policy.never is None and policy.always is not None:
        globs["*"] = "never"  # `always` wins where both match
    for name in _names(policy.always, where) or ():
        globs[name] = "always"
    return globs


def _names(tools: _ToolFilter | None, where: str) -> tuple[str, ...] | None:
    if tools is not None and tools.read_only is not None:
        raise UnsupportedByProvider(
            "Tools cannot be selected by `read_only` here: a server says of itself what is.",
            expected="tool_names",
            received="read_only",
            where=where,
        )
    return None if tools is None else tools.tool_names or ()


def _tool_error(kind: object, where: str) -> InvalidRequest | UnsupportedByProvider:
    name = str(kind)[:100]
    if hosted := HOSTED_TOOLS.get(name):
        return UnsupportedByProvider(
            f"There is no tool `{hosted}` here: the operator has configured none.",
            expected="function, custom, namespace or mcp",
            received=name,
            hint=f"The setting hosted_tools maps it to an MCP server: {hosted}=SERVER/TOOL.",
            where=where,
        )
    if name in UNSERVED_TOOLS:
        return UnsupportedByProvider(
            f"Tools of the type `{name}` are not served here.",
            expected="function, custom, namespace or mcp",
            received=name,
            where=where,
        )
    return InvalidRequest(
        "This is no type of tool.",
        expected="function, custom, namespace or mcp",
        received=name,
        where=where,
    )
