"""Each promise is tested where the page says, and each that a test names is on the page."""

from __future__ import annotations

import re

import pytest

from tests.support.docs.blocks import ROOT

PAGE = ROOT / "docs/explanation/guarantees.md"
TESTS = ROOT / "tests"
_ROW = re.compile(r"^\| (G\d+) \|.*\| (.*) \|$", re.MULTILINE)
_LINK = re.compile(r"\]\(\.\./\.\./(tests/[\w/]+\.py)\)")
_CLAIM = re.compile(r"\bG(\d+)\b")
_TESTS_OF_PROMISES = {
    number: _LINK.findall(trials) for number, trials in _ROW.findall(PAGE.read_text("utf-8"))
}


def test_every_guarantee_is_on_the_page() -> None:
    assert [*_TESTS_OF_PROMISES] == [f"G{number}" for number in range(1, 32)]


@pytest.mark.parametrize("number", _TESTS_OF_PROMISES)
def test_a_promise_is_tested_by_files_that_name_it(number: str) -> None:
    assert _TESTS_OF_PROMISES[number]
    for file in _TESTS_OF_PROMISES[number]:
        assert number[1:] in _CLAIM.findall((ROOT / file).read_text("utf-8")), file


def test_every_test_that_the_page_names_is_there() -> None:
    files = set(_LINK.findall(PAGE.read_text("utf-8")))

    assert [file for file in sorted(files) if not (ROOT / file).exists()] == []


def test_every_promise_that_a_test_names_is_on_the_page() -> None:
    claims = {
        f"G{number}"
        for file in TESTS.rglob("test_*.py")
        for number in _CLAIM.findall(file.read_text("utf-8"))
    }

    assert claims - {*_TESTS_OF_PROMISES} == set()
