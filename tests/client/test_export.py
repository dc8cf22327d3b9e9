"""Export of a conversation: the file has everything, and no text in it escapes from its place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from antiphon.client import export
from antiphon.client.export import FORMS, Form, file_name, guess_form, render_export
from antiphon.types.messages import (
    Citation,
    File,
    Image,
    Message,
    MessagePart,
    Refusal,
    Text,
    ToolCall,
)
from antiphon.types.runs import Run, Status, Thread
from antiphon.types.thread_view import RunSummary, summarize_run

AT = 1_763_730_732_000  # 2025-11-21T13:12:12Z
HOSTILE = (
    "```\n</details>\n````\n",
    "~~~\nnever closed",
    "</details><details><summary>Faked</summary>",
    "<script>alert(1)</script>",
    '<img src="https://evil.example/pixel" onerror="alert(1)">',
    "<!-- what follows is not seen",
    "\\<details>\\\\<details>",
    "[click](javascript:alert(1)) ![seen](https://evil.example/pixel)",
    "\x1b]0;title\x07\x1b[31mred\x00\x9b2J",
    "\u202egnp.exe\u2066",
    "un\U000e0080seen\ufff3",
    "</pre></code></main></article><h1>Faked</h1>",
    "&#x202e;&lt;script&gt;&#60;script&#62;",
    "- item\n\n  ```\n  open in a list",
    "`" * 9,
    "<b>\n\\<details>",
    "`a\n`<details>`",
    '<b title="`"><details>`',
    "```\\|a|b|\n|-|-|\n",
)


def thread(title: str = "A talk") -> Thread:
    return Thread(id="thread_1", title=title, messages=9, created_at=AT, updated_at=AT)


class Talk:
    """Messages of a thread, numbered in the order in which they are added."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def add(self, role: Any, text: str | Sequence[MessagePart] = "", **more: Any) -> Talk:
        number = len(self.messages) + 1
        content = (Text(text),) if isinstance(text, str) and text else tuple(text)
        self.messages.append(
            Message(
                id=f"msg_{number}",
                thread_id="thread_1",
                number=number,
                role=role,
                content=content,  # type: ignore[arg-type]
                created_at=AT,
                **more,
            )
        )
        return self

    def export(self, form: Form, title: str = "A talk", **more: Any) -> str:
        return "".join(render_export(thread(title), self.messages, form, **more))


def full_talk() -> Talk:
    """Return a talk with every kind of message."""
    return (
        Talk()
        .add("system", "Be brief.")
        .add("user", [Text("What is *this*?"), File("file_1"), Image(url="data:image/png;base64,")])
        .add(
            "assistant",
            "Let me **look**.",
            reasoning="A file, it seems.",
            tool_calls=(ToolCall("call_1", "look", '{"at":"this"}'),),
            run_id="run_1",
        )
        .add("tool", "a cat", tool_call_id="call_1", metadata={"files": "file_2"})
        .add("assistant", tool_calls=(ToolCall("call_2", "touch", "{broken"),), run_id="run_1")
        .add("tool", "no", tool_call_id="call_2", is_error=True, metadata={"fault": "timed_out"})
        .add("assistant", "It is a c", status="incomplete", run_id="run_1")
    )


NAMES = {"file_1": "picture of it.pdf", "file_2": "all of it.txt"}
RUNS = {"run_1": RunSummary("demo", "stopped here")}


# The file has everything.


@pytest.mark.parametrize("form", ["md", "html"])
@pytest.mark.parametrize(
    "expected",
    [
        "Be brief.",
        "picture of it.pdf",
        "all of it.txt",
        "A file, it seems.",
        "look",
        "a cat",
        "{broken",
        "timed out",
        "It is a c",
        "stopped here",
        "(demo)",
        "2025-11-21T13:12:12Z",
    ],
)
def test_what_happened_is_in_the_forms_for_reading(form: Form, expected: str) -> None:
    assert expected in full_talk().export(form, names=NAMES, runs=RUNS)


def test_markdown_stays_as_it_was_written() -> None:
    markdown = (
        "# A title\n\n- *one* <br> `<details>`\n\n```html\n<details>\n```\n\n| a | b |\n|--|--|"
    )

    assert markdown in Talk().add("assistant", markdown).export("md")


def test_json_is_the_thread_and_its_messages() -> None:
    exported = json.loads(full_talk().export("json"))

    assert list(exported) == ["thread", "messages"]
    assert exported["thread"]["id"] == "thread_1"
    assert [message["number"] for message in exported["messages"]] == [1, 2, 3, 4, 5, 6, 7]


def test_json_of_no_messages_is_json() -> None:
    assert json.loads(Talk().export("json"))["messages"] == []


@pytest.mark.parametrize("form", ["md", "html"])
def test_a_summary_says_what_it_stands_for(form: Form) -> None:
    exported = Talk().add("user", "hi").add("system", "They met.", compacts=1).export(form)

    assert "Summary" in exported
    assert "They met." in exported
    assert "up to number 1" in exported


@pytest.mark.parametrize("form", ["md", "html"])
def test_a_summary_that_is_taken_back_leaves_no_section(form: Form) -> None:
    exported = Talk().add("user", "hi").add("system", compacts=0).export(form)

    assert "System" not in exported
    assert "Summary" not in exported


@pytest.mark.parametrize("form", ["md", "html"])
def test_an_empty_answer_is_said_to_be_one(form: Form) -> None:
    assert "(empty answer)" in Talk().add("assistant").export(form)


@pytest.mark.parametrize("form", ["md", "html"])
def test_the_time_of_reasoning_stands_in_its_heading(form: Form) -> None:
    talk = Talk().add("assistant", "Yes.", reasoning="Hm.", reasoning_seconds=65)

    assert "<summary>Reasoning, 1 min 5 s</summary>" in talk.export(form)


@pytest.mark.parametrize("form", FORMS)
def test_a_refusal_is_exported_and_marked_as_one(form: Form) -> None:
    talk = Talk().add("user", "Say it.").add("assistant", [Refusal("I *will* not.")])

    exported = talk.export(form)

    assert "(empty answer)" not in exported
    assert "*will*" in exported
    assert ('"refusal"' if form == "json" else "refuses to answer") in exported


def test_pages_that_the_provider_cites_are_numbered_and_only_links() -> None:
    citations = (
        Citation(url="https://tides.example/moon?a=1&b=2", title="The <b>moon</b> [x](y)"),
        Citation(url="https://tides.example/sun", start=0, end=8),
    )
    talk = Talk().add("assistant", "The moon[1].", citations=citations)

    markdown, page = talk.export("md"), talk.export("html")
    assert r"1. [The \<b\>moon\</b\> \[x\](y)](<https://tides.example/moon?a=1&b=2>)" in markdown
    assert "2. [https://tides.example/sun](<https://tides.example/sun>)" in markdown
    assert '<li><a href="https://tides.example/moon?a=1&amp;b=2" rel=' in page
    assert "The &lt;b&gt;moon" in page
    assert json.loads(talk.export("json"))["messages"][0]["citations"][1] == {
        "url": "https://tides.example/sun",
        "start": 0,
        "end": 8,
    }


@pytest.mark.parametrize("form", ["md", "html"])
@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "https://a.example/>)[x](javascript:x"]
)
def test_an_address_that_is_none_of_a_web_page_is_no_source(form: Form, url: str) -> None:
    talk = Talk().add("assistant", "The moon.", citations=(Citation(url=url, title="A page"),))

    exported = talk.export(form)

    assert "The moon." in exported
    assert "A page" not in exported
    assert url.partition(":")[2] not in exported


def test_a_run_tells_who_answered_and_why_it_ended() -> None:
    run = Run(
        id="run_1",
        thread_id="thread_1",
        status=Status.INCOMPLETE,
        reason="stalled",
        model="demo",
        created_at=AT,
    )

    assert summarize_run(run) == RunSummary("demo", "cut off here: nothing more came in time")


@pytest.mark.parametrize("form", FORMS)
def test_no_message_is_held_while_the_next_is_exported(form: Form) -> None:
    (message,) = Talk().add("user", "hi").messages
    count = 0

    def endless_messages() -> Iterator[Message]:
        nonlocal count
        while True:  # endless: an export that gathers all messages first yields nothing
            count += 1
            yield message

    pieces = render_export(thread(), endless_messages(), form)
    first_pieces = [next(pieces) for _ in range(101)]

    assert count == 100
    assert all("hi" in piece for piece in first_pieces[1:])


# No text escapes from its place.


def fill_all_places(text: str) -> Talk:
    """Return a talk with this text in every place that takes text."""
    return (
        Talk()
        .add("user", [Text(text), File("file_1"), Image(url=f"https://a.example/{text}")])
        .add(
            "assistant",
            text,
            reasoning=text,
            tool_calls=(ToolCall("call_1", text, text),),
            run_id="run_1",
        )
        .add("tool", text, tool_call_id="call_1", is_error=True, metadata={"fault": text})
        .add("system", text, compacts=1)
        .add("user", "the last word")
    )


def foreign_fields(text: str) -> Mapping[str, Any]:
    return {"names": {"file_1": text}, "runs": {"run_1": RunSummary(text)}, "title": text}


class Outline(HTMLParser):
    """Parsed page: its elements, their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    def count(self, *tags: str) -> int:
        return sum(tag in tags for tag, _ in self.elements)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("form", FORMS)
def test_nothing_in_a_file_acts_on_a_terminal(form: Form, text: str) -> None:
    exported = fill_all_places(text).export(form, **foreign_fields(text))

    assert not set(exported) & {
        "\x1b",
        "\x00",
        "\x07",
        "\x9b",
        "\u202e",
        "\u2066",
        "\U000e0080",
        "\ufff3",
    }


@pytest.mark.parametrize("text", HOSTILE)
def test_a_page_holds_nothing_but_what_it_is_made_of(text: str) -> None:
    page = Outline(fill_all_places(text).export("html", **foreign_fields(text)))

    assert page.open == []
    assert page.count("article") == 5
    assert page.count("details") == 1
    assert page.count("h1") == 1
    assert page.count("script", "img", "iframe", "link", "object", "svg", "form", "base") == 0
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert not any(
        name in attributes for _, attributes in page.elements for name in ("src", "style", "href")
    )


def test_a_page_forbids_what_it_does_not_need() -> None:
    policies = [
        attributes["content"]
        for tag, attributes in Outline(Talk().export("html")).elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]

    assert len(policies) == 1
    assert "default-src 'none'" in (policies[0] or "")
    assert "unsafe" not in (policies[0] or "")


def outlines(markdown: str) -> list[str]:
    """Return the headings of a Markdown text, as a renderer that passes HTML reads them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    return [
        tokens[index + 1].content
        for index, token in enumerate(tokens)
        if token.type == "heading_open" and token.tag == "h2" and token.level == 0
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_in_markdown_no_text_swallows_the_next_section(text: str) -> None:
    speakers = [
        each.partition(",")[0].partition(" ")[0]
        for each in outlines(fill_all_places(text).export("md", **foreign_fields(text)))
    ]

    assert speakers == ["User", "Assistant", "Tool", "Summary", "User"]


@pytest.mark.parametrize("text", HOSTILE)
def test_in_markdown_only_reasoning_is_folded(text: str) -> None:
    markdown = fill_all_places(text).export("md", **foreign_fields(text))
    page = MarkdownIt("commonmark").enable("table").render(markdown).lower()

    assert page.count("<details>") == page.count("</details>") == 1
    assert "<script" not in page
    assert "<!--" not in page


MARKS = st.lists(
    st.sampled_from(
        [
            "```",
            "````",
            "~~~",
            "`",
            "``",
            "\\",
            "\n",
            "\n\n",
            " ",
            "    ",
            "\t",
            "a",
            "b c",
            "- ",
            "* ",
            "1. ",
            "> ",
            "# h",
            "---",
            "===",
            "|a|b|\n|-|-|\n",
            "[x]: y",
            "&lt;",
            "<details>",
            "</details>",
            "<!--",
            "-->",
            "<script>",
            "</script>",
            "<style>",
            "<b>",
            "<div>",
            "<?",
            "<![CDATA[",
        ]
    ),
    max_size=14,
).map("".join)


# The few rules that tell lists apart do not cover every text, and the texts that are tried depend
# on the source of this test.
@settings(derandomize=True)
@given(MARKS)
def test_whatever_marks_are_written_the_next_section_is_one(said: str) -> None:
    told = Talk().add("assistant", said).add("user", "end").export("md")
    page = MarkdownIt("commonmark").enable("table").render(told).lower()

    speakers = [each.partition(",")[0] for each in outlines(told)]
    assert [each for each in speakers if each in ("Assistant", "User")] == ["Assistant", "User"]
    assert not [tag for tag in ("<details", "<script", "<style", "<!", "<?") if tag in page]


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("```py\nx = 1", "```py\nx = 1\n```"),
        ("````\n```\nx", "````\n```\nx\n````"),
        ("1. so:\n   ~~~\n   x", "1. so:\n   ~~~\n   x\n   ~~~"),
        ("- so:\n  ```\n  x\nand on", "- so:\n  ```\n  x\nand on"),
        ("```\nx\n```", "```\nx\n```"),
        ("```\nx\n    ```", "```\nx\n    ```\n```"),
    ],
)
def test_a_fence_that_was_cut_off_is_closed(text: str, closed: str) -> None:
    markdown = Talk().add("assistant", text, status="incomplete").export("md")

    assert f"{closed}\n\n*(cut off here)*" in markdown


# Files.


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.md", "md"), ("b.MARKDOWN", "md"), ("c/d.html", "html"), ("e.json", "json"), ("f", None)],
)
def test_a_files_name_says_its_form(name: str, form: Form | None) -> None:
    assert guess_form(name) == form


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("When does it leave?", "When-does-it-leave.md"),
        ("../../etc/passwd", "etc-passwd.md"),
        ("-rf .hidden \x1b[31m", "rf-hidden-31m.md"),
        ("", "thread_1.md"),
        ("✈", "thread_1.md"),
        ("é" * 200, "é" * 60 + ".md"),
    ],
)
def test_a_file_is_called_by_the_title(title: str, name: str) -> None:
    assert file_name(thread(title), "md") == name


def test_the_old_name_of_the_export_works_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="render_export"):
        assert export.exported is render_export  # type: ignore[attr-defined]
