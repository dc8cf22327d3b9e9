"""Metadata of servers and tools, cleaned and bounded: none of it is trusted.

Lists of tools are normalized as they arrive, one tool at a time: harmless defects are repaired,
unusable tools are left out with a reason, and one bad tool affects no other.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from antiphon.types.json_values import is_list, is_object
from antiphon.types.terminal_safe import clean

LONGEST_DESCRIPTION = 4_096
LONGEST_WORD = 256
LARGEST_SCHEMA = 65_536  # bytes of JSON: more would cost a model more than the tool is worth
DEEPEST_SCHEMA = 32
MOST_TOOLS = 1_000


def clean_text(text: object, longest: int = LONGEST_DESCRIPTION) -> str:
    """Return untrusted text without control, bidirectional and hidden characters, and truncated."""
    if not isinstance(text, str):
        return ""
    shown = clean(text[: longest + 1].translate(_UNSEEN)).strip()
    return f"{shown[:longest]} ... (cut)" if len(shown) > longest else shown


def clean_line(text: object, longest: int = LONGEST_WORD) -> str:
    """Return the same as one line."""
    return " ".join(clean_text(text, longest).split())


def normalize_tools(result: dict[str, Any], *, modern: bool = False) -> list[tuple[str, str]]:
    """Normalize a `tools/list` result in place; return the names left out, with reasons.

    With `modern`, outputs may be of any type, as since 2026-07-28.
    """
    listed = result["tools"]
    if not is_list(listed):
        result["tools"] = []
        return [("all tools", "the list of tools is no list")]
    kept: list[Any] = []
    left: list[tuple[str, str]] = []
    for tool in listed[:MOST_TOOLS]:
        why = _normalize_tool(tool, modern=modern)
        if why is None:
            kept.append(tool)
        else:
            name = tool.get("name") if is_object(tool) else None
            left.append((clean_line(name, 80) or "a tool without a name", why))
    if len(listed) > MOST_TOOLS:
        left.append((f"{len(listed) - MOST_TOOLS} tools", f"more than {MOST_TOOLS} were offered"))
    result["tools"] = kept
    return left


def pop_output_schemas(result: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
    """Remove the output schemas from normalized tools; return them by tool name.

    Otherwise the SDK would validate each output on the event loop, in unbounded time.
    """
    return {tool["name"]: tool.pop("outputSchema", None) for tool in result["tools"]}


def truncate_lists(result: dict[str, Any], most: int) -> None:
    """Truncate each list in a result; a call's content gets a note about it."""
    for name, value in result.items():
        if is_list(value) and len(value) > most:
            left_out = len(value) - most
            del value[most:]
            if name == "content":
                value.append({"type": "text", "text": f"[{left_out} more parts were left out.]"})


# Zero-width characters that no script needs. Joiners stay: scripts and emoji need them.
_UNSEEN = {
    code: f"<U+{code:04X}>" for code in (0xAD, 0x180E, 0x200B, *range(0x2060, 0x2065), 0x3164)
}
_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


def _normalize_tool(tool: Any, *, modern: bool) -> str | None:
    """Repair the tool in place; return why it cannot be used, if it cannot."""
    if not is_object(tool):
        return "it is no object"
    if (why := _unusable_name(tool.get("name"))) is not None:
        return why
    schema = tool.get("inputSchema")
    if schema is not None:
        why = _too_much(schema) if is_object(schema) else "its parameters are no JSON Schema"
        if why is not None:
            return why
    execution = tool.get("execution")
    if is_object(execution) and execution.get("taskSupport") == "required":
        return "it can be run as a task only"  # MCP tasks, an experiment of 2025-11-25
    tool["inputSchema"] = _as_object_schema(schema)
    # An output schema that cannot be validated against is dropped.
    given = tool.get("outputSchema")
    if not is_object(given) or not (modern or given.get("type") == "object") or _too_much(given):
        tool.pop("outputSchema", None)
    for word in ("title", "description"):
        if not isinstance(tool.get(word), str):
            tool.pop(word, None)
    _normalize_hints(tool)
    for part in ("icons", "_meta", "execution"):  # nothing of ours reads them
        tool.pop(part, None)
    return None


def _unusable_name(name: object) -> str | None:
    if not isinstance(name, str) or not name.strip():
        return "it has no name"
    if len(name) > LONGEST_WORD:
        return f"its name has more than {LONGEST_WORD} characters"
    if clean(name, "approval") != name or re.search(r"[\n\t]", name):
        return "its name has characters that act on a screen or hide"
    return None


def _too_much(schema: dict[str, Any]) -> str | None:
    if max(depth for depth, _ in _walk(schema)) > DEEPEST_SCHEMA:
        return f"its schema is nested more than {DEEPEST_SCHEMA} deep"
    if len(msgspec.json.encode(schema)) > LARGEST_SCHEMA:
        return f"its schema has more than {LARGEST_SCHEMA // 1024} kB"
    return None


def _as_object_schema(schema: dict[str, Any] | None) -> dict[str, Any]:
    """Return the schema with type object: arguments are an object on the wire."""
    normalized: dict[str, Any] = {**(schema or {}), "type": "object"}
    if not is_object(normalized.get("properties", {})):
        normalized["properties"] = {}
    required = normalized.get("required", [])
    if not is_list(required) or not all(isinstance(name, str) for name in required):
        normalized.pop("required")
    return normalized


def _normalize_hints(tool: dict[str, Any]) -> None:
    hints = tool.get("annotations")
    if not is_object(hints):
        tool.pop("annotations", None)
        return
    normalized = {hint: hints[hint] for hint in _HINTS if isinstance(hints.get(hint), bool)}
    if isinstance(hints.get("title"), str):
        normalized["title"] = hints["title"]
    tool["annotations"] = normalized


def _walk(value: Any) -> Iterator[tuple[int, Any]]:
    """Yield the value and all in it with their depths, without recursion, up to a depth."""
    waiting = [(1, value)]
    while waiting:
        depth, each = waiting.pop()
        yield depth, each
        if depth > DEEPEST_SCHEMA:
            continue
        inside: Iterable[Any] = each.values() if is_object(each) else each if is_list(each) else ()
        waiting.extend((depth + 1, one) for one in inside)


# Names of servers' tools for models: legal for every provider, unique, stable.


LONGEST = 64  # OpenAI's and Anthropic's limit


def model_tool_name(server: str, tool: str) -> str:
    """Return the model's name for a server's tool.

    Two tools get different names except for a clash of 40 bits of hash, which the table that maps
    names back must refuse.
    """
    plain = f"{server}__{tool}"
    if _SERVER.fullmatch(server) and _TOOL.fullmatch(tool) and len(plain) <= LONGEST:
        return plain
    digest = hashlib.sha256(f"{len(server)}:{server}{tool}".encode(errors="surrogatepass"))
    room = LONGEST - len("__") - len("_") - _DIGITS
    front = _legal(server, "server")[: room // 2]
    back = _legal(tool, "tool")[: room - len(front)]
    return f"{front}__{back}_{digest.hexdigest()[:_DIGITS]}"


def tool_name_prefix(server: str) -> str:
    """Return the prefix of the model's names of a server's tools; other names may share it."""
    if _SERVER.fullmatch(server):
        room = LONGEST - len("__") - len("_") - _DIGITS
        return server if len(server) > room // 2 else f"{server}__"
    return ""


_DIGITS = 10
# The first `__` of a plain name ends the server's part, so no server name may contain or touch one;
# and no plain name may end as a hashed one does.
_SERVER = re.compile(r"(?!.*__)[A-Za-z0-9][A-Za-z0-9_-]*(?<!_)")
_TOOL = re.compile(rf"(?!.*_[0-9a-f]{{{_DIGITS}}}\Z)[A-Za-z0-9_-]+")


def _legal(name: str, otherwise: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_-") or otherwise


# Log lines of the SDK, which quote servers.


def quiet_sdk_logging() -> None:
    """Log the SDK's messages as one line each, by our own logger, at debug level.

    The SDK logs servers' mistakes with tracebacks, and Python prints those if logging is not
    configured.
    """
    for name in ("mcp", "client"):  # the latter is what the SDK's session calls its own
        theirs = logging.getLogger(name)
        if not any(isinstance(handler, _OneLineHandler) for handler in theirs.handlers):
            theirs.addHandler(_OneLineHandler())
            theirs.propagate = False


class _OneLineHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _log.debug("%s: %s", record.name, clean_line(record.getMessage(), 300))


_log = logging.getLogger(__name__)
