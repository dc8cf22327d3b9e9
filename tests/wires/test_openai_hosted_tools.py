"""Hosted tools of OpenAI's API as calls of MCP servers, and their results as items."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseItem
from pydantic import TypeAdapter

from antiphon.types.messages import Message, Text, ToolCall
from antiphon.types.runs import Action, McpServer
from antiphon.wires.openai.hosted_tools import (
    MAX_LINKS,
    HostedCalls,
    HostedTarget,
    choose_hosted_servers,
    citations,
    find_links,
    find_sources,
    make_hosted_call_item,
    make_hosted_record,
    parse_hosted_tools,
)
from antiphon.wires.openai.item_builders import select_fields
from antiphon.wires.openai.stored_items import index_actions, to_items

RESPONSE_ITEM: TypeAdapter[Any] = TypeAdapter(ResponseItem)
REPLY = f"msg_{'0' * 35}"
CALLS = HostedCalls({"brave__search": "web_search"}, {"python__": "code_interpreter"})
FOUND = "Title: Bees\nDescription: On bees.\nURL: https://bees.example/a\n\nhttps://cows.example/b."


def to_json(item: Any) -> dict[str, Any]:
    """Return the item as JSON, checked by OpenAI's own types."""
    value: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(item))
    RESPONSE_ITEM.validate_python(value)
    return value


# Servers.


def test_a_setting_names_servers_and_perhaps_their_tools() -> None:
    targets = parse_hosted_tools(
        ["web_search=old", "code_interpreter=python", "web_search=brave/brave_web_search"]
    )

    assert targets == {
        "web_search": HostedTarget("brave", "brave_web_search"),
        "code_interpreter": HostedTarget("python"),
    }
    assert make_hosted_record(["web_search", "code_interpreter"], targets) == {
        "web_search": "brave/brave_web_search",
        "code_interpreter": "python",
    }


def test_a_request_gets_the_tools_that_it_asks_for_without_a_question() -> None:
    targets = parse_hosted_tools(["web_search=all/search", "file_search=all/find"])

    assert choose_hosted_servers(["web_search"], targets) == (
        McpServer("all", allowed_tools=("search",), require_approval="never"),
    )
    assert choose_hosted_servers(["web_search", "file_search"], targets) == (
        McpServer("all", allowed_tools=("search", "find"), require_approval="never"),
    )
    all_targets = {**targets, "code_interpreter": HostedTarget("all")}
    assert choose_hosted_servers(
        ["web_search", "code_interpreter", "file_search"], all_targets
    ) == (McpServer("all", require_approval="never"),)


def test_calls_are_known_by_whole_names_and_by_prefixes() -> None:
    assert CALLS.find("brave__search") == "web_search"
    assert CALLS.find("brave__search_more") is None
    assert CALLS.find("python__run") == "code_interpreter"


# Calls as items.


def test_a_search_of_the_web_has_its_query_and_its_sources() -> None:
    started = to_json(make_hosted_call_item("web_search", REPLY, 0, '{"count":3,"query":"bees"}'))
    done = make_hosted_call_item("web_search", REPLY, 0, '{"count":3,"query":"bees"}', FOUND)

    assert (started["status"], started["action"]["sources"]) == ("in_progress", [])
    completed = to_json(done)
    assert completed["id"] == f"ws_{'0' * 35}_0"
    assert completed["action"] == {
        "type": "search",
        "query": "bees",
        "queries": ["bees"],
        "sources": [
            {"type": "url", "url": "https://bees.example/a"},
            {"type": "url", "url": "https://cows.example/b"},
        ],
    }
    assert "sources" not in to_json(select_fields(done, ()))["action"]
    assert to_json(select_fields(done, ["web_search_call.action.sources"])) == completed


def test_a_page_that_is_opened_has_its_url() -> None:
    item = to_json(
        make_hosted_call_item("web_search", REPLY, 1, '{"url":"https://a.example"}', "Text.")
    )

    assert item["action"] == {"type": "open_page", "url": "https://a.example"}


@pytest.mark.parametrize(
    ("output", "results"),
    [
        ("Just text.", [{"text": "Just text."}]),
        ("[1]", [{"text": "[1]"}]),
        (
            '{"results":[{"file_id":"f","filename":"a.md","score":0.5,"text":"bees"}]}',
            [{"file_id": "f", "filename": "a.md", "score": 0.5, "text": "bees"}],
        ),
        (
            '[{"id":1,"name":"a","content":{"b":1}}]',
            [{"file_id": "1", "filename": "a", "text": '{"b":1}'}],
        ),
    ],
)
def test_a_search_in_files_has_its_results(output: str, results: list[Any]) -> None:
    item = to_json(make_hosted_call_item("file_search", REPLY, 0, '{"q":"bees"}', output))

    assert item["queries"] == ["bees"]
    assert [{k: v for k, v in each.items() if v is not None} for each in item["results"]] == results


def test_a_program_has_its_code_and_its_logs() -> None:
    item = to_json(
        make_hosted_call_item("code_interpreter", REPLY, 0, '{"code":"1+1"}', "2", server="python")
    )
    failed = to_json(
        make_hosted_call_item(
            "code_interpreter", REPLY, 0, "{}", "No.", is_error=True, server="python"
        )
    )

    assert (item["code"], item["container_id"]) == ("1+1", "python")
    assert item["outputs"] == [{"type": "logs", "logs": "2"}]
    assert (failed["status"], failed["code"]) == ("failed", None)


# Links and citations.


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("", {}),
        ("Nothing here: ftp://x javascript:alert(1)", {}),
        ("See [the bees](https://b.example/a_(b)).", {"https://b.example/a_(b)": "the bees"}),
        ("See https://b.example/x, and more.", {"https://b.example/x": ""}),
        (FOUND, {"https://bees.example/a": "Bees", "https://cows.example/b": ""}),
        (
            '{"web":{"results":[{"title":"Bees","url":"https://b.example"}]}}',
            {"https://b.example": "Bees"},
        ),
        ('["https://b.example"]', {"https://b.example": ""}),
        ("[link to Bees, text/html, https://b.example/a: on bees]", {"https://b.example/a": ""}),
    ],
)
def test_links_are_found_in_results_of_any_form(text: str, links: dict[str, str]) -> None:
    assert find_links(text) == links


def test_a_result_has_at_most_so_many_links() -> None:
    many = [f"https://a.example/{n}" for n in range(MAX_LINKS * 3)]

    assert len(find_links("\n".join(many))) == MAX_LINKS
    assert len(find_links(" ".join(many))) == MAX_LINKS
    assert len(find_links(msgspec.json.encode(many).decode())) == MAX_LINKS


def test_known_urls_of_an_answer_are_cited_where_they_stand() -> None:
    titles = {"https://b.example/a": "Bees", "https://c.example": ""}
    text = "🐝 [here](https://b.example/a) and https://c.example. Not https://d.example"

    annotations = citations(text, titles)

    assert [text[each["start_index"] : each["end_index"]] for each in annotations] == [
        "[here](https://b.example/a)",
        "https://c.example",
    ]
    assert [each["title"] for each in annotations] == ["Bees", "https://c.example"]
    assert citations(text, {}) == ()


@given(st.text(alphabet="[]()ahtps:/.é \n", max_size=60), st.text(max_size=30))
def test_citations_are_ordered_and_within_the_text(text: str, tail: str) -> None:
    full_text = f"{text}[x](https://b.example/a){tail} https://b.example/a"
    annotations = citations(full_text, {"https://b.example/a": "", **find_links(full_text)})

    ends = [0]
    for each in annotations:
        assert ends[-1] <= each["start_index"] < each["end_index"] <= len(full_text)
        assert each["url"] in full_text[each["start_index"] : each["end_index"]]
        ends.append(each["end_index"])


# In a thread.


def test_calls_of_a_run_and_its_answer_are_shown_with_sources_and_citations() -> None:
    common: dict[str, Any] = {"thread_id": "thread_1", "run_id": "run_1", "created_at": 0}
    call = ToolCall("c1", "brave__search", '{"query":"bees"}')
    other = ToolCall("c2", "brave__other", "{}")
    messages = [
        Message(id="msg_1", number=1, role="assistant", tool_calls=(call, other), **common),
        Message(
            id="msg_2", number=2, role="tool", tool_call_id="c1", content=(Text(FOUND),), **common
        ),
        Message(
            id="msg_3", number=3, role="tool", tool_call_id="c2", content=(Text("x"),), **common
        ),
        Message(
            id="msg_4",
            number=4,
            role="assistant",
            content=(Text("See https://bees.example/a"),),
            **common,
        ),
    ]
    actions = index_actions(
        Action(
            id=f"act_{call_id}",
            turn=1,
            tool_call_id=call_id,
            name=name,
            arguments={},
            runs_on="server",
            server="brave",
            expires_at=1,
            **common,
        )
        for call_id, name in (("c1", "brave__search"), ("c2", "brave__other"))
    )

    sources = find_sources(CALLS, messages)
    items = [to_json(item) for item in to_items(messages, actions, hosted={"run_1": sources})]

    assert [item["type"] for item in items] == [
        "web_search_call",
        "function_call",
        "function_call_output",
        "message",
    ]
    assert items[1]["call_id"] == items[2]["call_id"] == "c2"
    (annotation,) = items[-1]["content"][0]["annotations"]
    assert (annotation["type"], annotation["title"]) == ("url_citation", "Bees")
    answer_only = to_items(messages[3:], actions, hosted={"run_1": sources})
    assert to_json(answer_only[0]) == items[-1]
