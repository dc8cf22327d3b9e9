"""A page becomes the text that a reader sees, in a time that grows with its size."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.tools.html_to_text import html_to_text

PAGE = """<!DOCTYPE html><html><head><title> A
 page </title><style>p { color: red }</style>
<script>if (a < b) document.write("<p>no</p>")</script></head>
<body><nav><a href="/home">Home</a> <a href="#top">Top</a></nav>
<h1>Fish &amp; chips</h1><!-- <p>hidden</p> -->
<p title="a > b">One
  two <b>three</b>.<br>Four.</p>
<ul><li>a<li>b <a href="javascript:alert(1)">c</a></ul>
<table><tr><th>x</th><td>1</td></tr><tr><td>2</td></tr></table>
<pre>  kept
   as it is</pre><img src="c.png" alt="A cat"><svg><text>drawn</text></svg>
<p>1 < 2 &#8212; &#99999999999999; <a href='?q=1&amp;p=2'>next
page</a></body></html>"""

TEXT = """[Home](https://example.org/home) Top

# Fish & chips

One two three.
Four.

- a
- b c

x | 1
2

  kept
   as it is

A cat

1 < 2 \u2014 \ufffd [next page](https://example.org/menu?q=1&p=2)"""


def test_a_page_becomes_the_text_that_a_reader_sees() -> None:
    title, text = html_to_text(PAGE, "https://example.org/menu")

    assert title == "A page"
    assert text == TEXT


@pytest.mark.parametrize(
    "piece",
    [
        *("<", "</", "<a", "<a ", "<a b='", '<a b="', "<a b=", "<a b=\"'>", "<!", "<!--", "<?"),
        *("<![", "&", "&#", "&#9", "&amp", "<script>", "<script></", "<title>", "<svg>", "<div>"),
        *("<a href=x>", " \n", "<pre> ", "<p>x", "</p", "'", '"', "=", '="', "<a =' =\"", "--!>"),
    ],
)
def test_no_page_takes_longer_than_its_size_tells(piece: str) -> None:
    page = piece * (300_000 // len(piece))
    start = time.process_time()
    html_to_text(page, "https://example.org/")

    assert time.process_time() - start < 5  # a tenth of a second here; quadratic would be minutes


@given(st.lists(st.sampled_from(["<", ">", "a", "/", "=", "'", '"', " ", "!", "-", "&", ";", "#"])))
def test_any_text_is_a_page(pieces: list[str]) -> None:
    _, text = html_to_text("".join(pieces), "https://example.org/")

    assert isinstance(text, str)


@given(st.text(alphabet=st.characters(exclude_characters="<&\r", exclude_categories=["C", "Z"])))
def test_text_without_markup_stays_as_it_is(text: str) -> None:
    assert html_to_text(f"<p>{text}</p>", "https://example.org/")[1] == text
