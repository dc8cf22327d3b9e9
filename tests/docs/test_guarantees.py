"""Each promise on the page is tried where the page says, and each that a test names is there."""

from __future__ import annotations

import re

import pytest

from tests.support.docs.blocks import ROOT

PAGE = ROOT / "docs/explanation/guarantees.md"
TESTS = ROOT / "tests"
_ROW = re.compile(r"^\| (G\d+) \|.*\| (.*) \|$", re.MULTILINE)
_LINK = re.compile(r"\]\(\.\./\.\./(tests/[\w/]+\.py)\)")
_CLAIM = re.compile(r"\bG(\d+)\b")
_PROMISED = {
    number: _LINK.findall(tried) for number, tried in _ROW.findall(PAGE.read_text("utf-8"))
}


def test_every_guarantee_is_on_the_page() -> None:
    assert [*_PROMISED] == [f"G{number}" for number in range(1, 32)]


@pytest.mark.parametrize("number", _PROMISED)
def test_a_promise_is_tried_by_tests_that_say_so(number: str) -> None:
    assert _PROMISED[number]
    for file in _PROMISED[number]:
        assert number[1:] in _CLAIM.findall((ROOT / file).read_text("utf-8")), file


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(_LINK.findall(PAGE.read_text("utf-8")))

    assert [file for file in sorted(named) if not (ROOT / file).exists()] == []


def test_what_a_test_claims_is_promised() -> None:
    claims = {
        f"G{number}"
        for file in TESTS.rglob("test_*.py")
        for number in _CLAIM.findall(file.read_text("utf-8"))
    }

    assert claims - {*_PROMISED} == set()
