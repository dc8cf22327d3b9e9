"""Tools of a request for a response, and the tools of the run that they become."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.types.errors import InvalidRequest, UnsupportedByProvider
from antiphon.wires.openai.response_tools import read_tool_choice, read_tools


@pytest.mark.parametrize(
    ("policy", "asking_tools"),
    [
        (None, "ab"),
        ("always", "ab"),
        ("never", ""),
        ({"never": {"tool_names": ["a"]}}, "b"),
        ({"always": {"tool_names": ["a"]}}, "a"),
        ({"always": {"tool_names": ["a"]}, "never": {"tool_names": ["a", "b"]}}, "a"),
        ({}, "ab"),
    ],
)
def test_approvals_of_a_server_are_asked_as_the_original_does(
    policy: Any, asking_tools: str
) -> None:
    tool = {"type": "mcp", "server_label": "far", "require_approval": policy}

    (server,) = read_tools([tool]).servers or ()

    assert "".join(filter(server.asks, "ab")) == asking_tools


@pytest.mark.parametrize("allowed", [["a"], {"tool_names": ["a"]}])
def test_only_the_allowed_tools_of_a_server_are_offered(allowed: Any) -> None:
    tool = {"type": "mcp", "server_label": "far", "allowed_tools": allowed}

    (server,) = read_tools([tool]).servers or ()

    assert (server.offers("a"), server.offers("b")) == (True, False)


@pytest.mark.parametrize(
    ("tool", "where"),
    [
        ({"type": "mcp", "server_label": 5}, "$.tools[0].server_label"),
        ({"type": "mcp", "server_label": ""}, "$.tools[0].name"),
        ({"type": "mcp", "server_label": "a", "require_approval": "so"}, "$.tools[0].require"),
        ({"type": "mcp", "server_label": "a", "headers": {"x": "y"}}, "$.tools[0].headers"),
        ({"type": "mcp", "server_label": "a", "authorization": "x"}, "$.tools[0].authorization"),
        ({"type": "function"}, "$.tools[0].name"),
        ({"type": "function", "name": "a", "parameters": 5}, "$.tools[0].parameters"),
        ({"type": "web_search_preview"}, "$.tools[0]"),
        ({"type": "computer"}, "$.tools[0]"),
        ({"type": "unheard"}, "$.tools[0]"),
        ({}, "$.tools[0]"),
    ],
)
def test_what_is_no_tool_here_is_refused_with_its_place(tool: Any, where: str) -> None:
    with pytest.raises((InvalidRequest, UnsupportedByProvider)) as refused:
        read_tools([tool])

    assert str(refused.value.details["where"]).startswith(where)


def test_a_grammar_of_a_custom_tool_is_told_to_the_model() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}
    tool = {"type": "custom", "name": "patch", "description": "Patches.", "format": grammar}

    tools = read_tools([tool])

    (spec,) = tools.specs or ()
    assert "start: WORD" in spec.description
    assert tools.custom == {"patch"}


@pytest.mark.parametrize("choice", [5, {"type": "function"}, {"type": "web_search_preview"}, {}])
def test_what_is_no_choice_is_refused(choice: Any) -> None:
    with pytest.raises((InvalidRequest, UnsupportedByProvider)):
        read_tool_choice(choice)
