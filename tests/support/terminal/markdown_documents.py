"""Markdown documents of lines of every kind in any order, some of them long, and cuts of these."""

from __future__ import annotations

from hypothesis import strategies as st

LINES = [
    "text",
    "more text",
    "# Head",
    "## H ##",
    "- item",
    "* star",
    "+ plus",
    "1. one",
    "2. two",
    "3) par",
    "> quote",
    ">",
    ">> deep",
    "```",
    "```py",
    "~~~",
    "    code",
    "\tcode",
    "  two",
    "   three",
    "- ",
    "-",
    "1.",
    "---",
    "***",
    "===",
    "",
    "",
    "",
    "| a | b |",
    "|---|---|",
    "|:-:|--:|",
    "a | b",
    "--- | ---",
    "<div>",
    "</div>",
    "<b>",
    "<!-- c",
    "c -->",
    "- > q",
    "> - q",
    "- - n",
    "1. - n",
    "-     code",
    "  - sub",
    "      deep",
    "  1. a",
    "---|",
    "a|",
    "- [ ] task",
    "- [x] done",
    "```` a`b",
    "`````",
    "> sp",
    "\\# no",
    "* * *",
    "- ```",
    "  ```",
    "> ```",
    "x = 1  # colour",
    "def f(): pass",
    "hard  ",
    "break\\",
    "**strong** and *weak*",
    '`code` [link](http://example.org/a "t") ![pic](i.png)',
    "<https://example.org> www ~~gone~~",
    "[ref] and [more][ref]",
    "東京は大きい。とても大きい。",
    "שלום עולם",
    "🙂 👩\u200d🚀 é ❤️",
    "",
]

WORDS = [
    "lorem",
    "ipsum",
    "**bold",
    "text",
    "here**",
    "`code.",
    "x`",
    "[link.",
    "a](http://x.y)",
    "dolor.",
    "Sit",
    "amet,",
    "*emph.",
    "not*",
    "consec!",
    "a_b_c",
    "2",
    "*",
    "3",
    "~~gone~~",
    "<b>x</b>",
    "https://e.com/q?a=1.",
    "東京。です",
    "end.",
    "`",
    "*",
    "[",
    "_",
    "unsettled",
    "antidisestablishmentarianism",
]

DEFINED = ["[ref]: http://a.b/c", "[ref]: /b 'title'", "[ref]\n[ref]: http://c.d", "[ref]: "]

long_lines = st.builds(
    lambda words, times: " ".join(words * times),
    st.lists(st.sampled_from(WORDS), min_size=20, max_size=40),
    st.integers(1, 8),
)
lines = st.one_of(
    st.sampled_from(LINES),
    st.sampled_from(LINES),
    st.sampled_from(DEFINED),
    st.builds(lambda start, rest: f"{start} {rest}", st.sampled_from(LINES), long_lines),
)
short_documents = st.lists(st.sampled_from(LINES), max_size=12).map("\n".join)
documents = st.lists(lines, max_size=12).map("\n".join)


@st.composite
def cut_documents(draw: st.DrawFn, most: int = 40) -> tuple[str, list[str]]:
    """Draw a document, and the same in pieces, with at most `most` cuts."""
    text = draw(documents)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=most)))
    return text, [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]
