"""A model's Markdown in a page: set as it was meant, and harmless."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.terminal.markdown.html import render_html

PLAIN = [
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "p",
    "strong",
    "em",
    "s",
    "code",
    "pre",
    "a",
    "ul",
    "ol",
    "li",
    "blockquote",
    "br",
    "hr",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
]
ATTRIBUTES = {"href", "rel", "class", "start"}


class Elements(HTMLParser):
    """Collects the elements that a browser would build."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def assert_harmless(markdown: str) -> None:
    html = render_html(markdown)
    for tag, attributes in Elements(html).elements:
        assert tag in PLAIN
        assert set(attributes) <= ATTRIBUTES
        assert tag == "a" or "href" not in attributes
        if tag == "a":
            assert str(attributes["href"]).lower().startswith(("http://", "https://", "mailto:"))
            assert "noopener" in str(attributes["rel"])
    assert not set(html) & {"\x1b", "\x00", "\x07", "\x9b", "\u202e", "\u2066"}


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("# A *title*", "<h1>A <em>title</em></h1>\n"),
        ("~~no~~ `<b>`", "<p><s>no</s> <code>&lt;b&gt;</code></p>\n"),
        ("```py\n1 < 2\n```", "<pre><code>1 &lt; 2\n</code></pre>\n"),
        ("3. c", '<ol start="3">\n<li>c</li>\n</ol>\n'),
        ("<b>x</b>", "<p>&lt;b&gt;x&lt;/b&gt;</p>\n"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>\n"),
    ],
)
def test_markdown_is_set(markdown: str, html: str) -> None:
    assert render_html(markdown) == html


def test_a_table_keeps_its_alignment_without_a_style() -> None:
    html = render_html("|a|b|\n|-:|--|\n|1|2|")

    assert '<td class="right">1</td>' in html
    assert "style" not in html


@pytest.mark.parametrize(
    "markdown",
    [
        "![a *cat*](https://a.example/p.png)",
        "[![a *cat*](https://a.example/p.png)](https://b.example)",
    ],
)
def test_a_picture_is_one_link_and_loads_nothing(markdown: str) -> None:
    html = render_html(markdown)

    assert "[image: a cat]" in html
    assert html.count("<a ") == 1
    assert "<img" not in html


@pytest.mark.parametrize(
    "markdown",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '[x](https://a.example "&quot; onclick=&quot;alert(1)")',
        "[x](JaVaScRiPt:alert(1)) [y](data:text/html,z) [z](file:///etc/passwd) [r](../up)",
        "[x](&#106;avascript:alert(1)) <javascript:alert(1)> [v](vbscript:x)",
        "![x](javascript:alert(1)) ![y](data:image/png;base64,AA==)",
        "```x&quot;onclick=&quot;y\n</code></pre><script>\n```",
        "&#x202e;&#27;[31m \x1b]0;t\x07 \u202e",
        "[x]: javascript:alert(1)\n\n[x]",
        "|<script>|\n|--|\n|<img src=x>|",
        "> - <details open><summary>x",
    ],
)
def test_nothing_in_a_page_acts_or_loads(markdown: str) -> None:
    assert_harmless(markdown)


@given(
    st.lists(
        st.sampled_from(
            [
                "[",
                "](",
                ")",
                "!",
                "<",
                ">",
                '"',
                "'",
                "`",
                "```",
                "\n",
                " ",
                "&quot;",
                "&#x202e;",
                "javascript:",
                "https://a.example",
                "data:",
                "script",
                "onclick=",
                "x",
                "\\",
                "\x1b",
            ]
        ),
        max_size=20,
    ).map("".join)
)
def test_whatever_is_written_a_page_holds_text_and_links_out_alone(markdown: str) -> None:
    assert_harmless(markdown)
