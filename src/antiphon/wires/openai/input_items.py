"""Items of a request: decoded, checked, and references replaced by what they stand for.

    items = parse_items(body["input"], "input")
    items = replace_references(items, stored, "input")

What they mean for a thread is read in `sent_items`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from antiphon.api.operation import invalid_request
from antiphon.types.enum_values import add_enum_values
from antiphon.types.errors import InvalidRequest, NotFound, UnsupportedByProvider
from antiphon.wires.openai import items as kinds
from antiphon.wires.openai.items import InputItem, Item

MAX_ITEMS = 10_000

_TYPES: Mapping[str, Any] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        kinds.MessageItem,
        kinds.ReasoningItem,
        kinds.CompactionItem,
        kinds.FunctionCall,
        kinds.FunctionCallOutput,
        kinds.CustomToolCall,
        kinds.CustomToolCallOutput,
        kinds.McpListTools,
        kinds.McpCall,
        kinds.McpApprovalRequest,
        kinds.McpApprovalResponse,
        kinds.WebSearchCall,
        kinds.FileSearchCall,
        kinds.CodeInterpreterCall,
        kinds.ImageGenerationCall,
        kinds.ItemReference,
        kinds.CompactionTrigger,
    )
}
UNSERVED: frozenset[str] = frozenset(
    {
        "additional_tools",
        "apply_patch_call",
        "apply_patch_call_output",
        "computer_call",
        "computer_call_output",
        "configuration_update",
        "local_shell_call",
        "local_shell_call_output",
        "program",
        "program_output",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
    }
)
"""Types of items of the original that are refused by name."""


def parse_items(value: object, where: str) -> list[InputItem]:
    """Return the items of decoded JSON: a list, or a text of the user.

    `where` is the name of the field, for errors. Raises `InvalidRequest` and
    `UnsupportedByProvider`.
    """
    if isinstance(value, str):
        return [kinds.MessageItem(role="user", content=value)]
    if not isinstance(value, list):
        raise InvalidRequest(
            "Items are a list.",
            expected="a text, or an array of items",
            received=type(value).__name__,
            where=f"$.{where}",
        )
    items = cast("list[object]", value)
    if len(items) > MAX_ITEMS:
        raise InvalidRequest(
            "There are too many items.",
            expected=f"at most {MAX_ITEMS}",
            received=str(len(items)),
            where=f"$.{where}",
        )
    return [_parse_item(item, f"{where}[{place}]") for place, item in enumerate(items)]


def replace_references(
    items: Sequence[InputItem], found: Mapping[str, Item], where: str
) -> list[InputItem]:
    """Return the items with stored ones, by their ids, for references. Raises `NotFound`."""
    replaced: list[InputItem] = []
    for place, item in enumerate(items):
        if isinstance(item, kinds.ItemReference):
            if item.id not in found:
                raise NotFound(
                    f"Item with id '{item.id}' not found.",
                    hint="An item is found while its conversation is stored.",
                    where=f"$.{where}[{place}].id",
                )
            replaced.append(found[item.id])
        else:
            replaced.append(item)
    return replaced


def _parse_item(value: object, where: str) -> InputItem:
    if not isinstance(value, dict):
        raise InvalidRequest(
            "An item is an object.", received=type(value).__name__, where=f"$.{where}"
        )
    fields = cast("dict[str, Any]", value)
    type_name = fields.get("type")
    if type_name is None:  # such items are messages, or references by their ids alone
        type_name = "message" if "role" in fields or "id" not in fields else "item_reference"
    kind = _TYPES.get(type_name) if isinstance(type_name, str) else None
    if kind is None:
        shown = str(type_name)[:100]
        if shown in UNSERVED:
            raise UnsupportedByProvider(
                f"Items of the type `{shown}` are not served here.",
                expected=", ".join(_TYPES),
                received=shown,
                where=f"$.{where}.type",
            )
        raise InvalidRequest(
            f"There is no type of items `{shown}`.",
            expected=", ".join(_TYPES),
            received=shown,
            where=f"$.{where}.type",
        )
    try:
        item: InputItem = msgspec.convert({**fields, "type": type_name}, kind)
    except msgspec.ValidationError as error:
        text = add_enum_values(str(error), msgspec.json.schema(kind))
        message, _, path = text.partition(" - at ")
        place = f"$.{where}{path.strip('`').removeprefix('$')}"
        raise invalid_request(msgspec.ValidationError(f"{message} - at `{place}`")) from error
    return item
