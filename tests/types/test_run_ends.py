"""Every way in which a run can end has its words: for people, the page and the reference."""

import json
from pathlib import Path
from typing import get_args

import pytest

from antiphon.types.run_ends import RUN_ENDS, RunEnd, find_run_end
from antiphon.types.runs import Reason, Status
from antiphon.wires.openai.chat_stream import find_finish_reason

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "src/antiphon/web/static/chat"
INCOMPLETE = [end for end in RUN_ENDS if end.reason]


def test_every_status_that_ends_a_run_has_a_row() -> None:
    assert {end.status for end in RUN_ENDS} == {each for each in Status if each.ended}


def test_every_reason_has_a_row_with_all_its_words() -> None:
    assert [end.reason for end in INCOMPLETE] == list(get_args(Reason))
    assert all(end.why and end.meaning and end.hint and end.page for end in INCOMPLETE)


@pytest.mark.parametrize("end", RUN_ENDS, ids=lambda end: end.reason or end.status.value)
def test_a_row_is_found_by_its_status_and_reason(end) -> None:
    assert find_run_end(end.status, end.reason) is end


def test_a_reason_of_a_later_version_has_the_row_of_its_status() -> None:
    assert find_run_end(Status.INCOMPLETE, "later").hint  # type: ignore[arg-type]


def test_a_run_that_goes_on_has_nothing_to_say() -> None:
    end = find_run_end(Status.IN_PROGRESS)

    assert (end.export_note, end.hint, end.page) == ("", "", "")


@pytest.mark.parametrize("end", INCOMPLETE, ids=lambda end: end.reason)
def test_a_run_that_reached_a_limit_ends_in_other_protocols_as_one_that_became_too_long(
    end: RunEnd,
) -> None:
    too_long = end.limit_reached or end.reason == "length"

    assert (find_finish_reason(end.reason) == "length") is too_long


def test_the_page_shows_the_sentence_of_each_status_and_reason() -> None:
    source = (PAGE / "outcome.mjs").read_text()
    keys = [end.page for end in RUN_ENDS if end.page and not end.reason]

    assert "`message.incomplete_${reason}`" in source
    assert [key for key in keys if f'"{key}"' not in source] == []


@pytest.mark.parametrize("language", ["en", "de", "es"])
def test_every_end_has_a_sentence_in_each_language(language: str) -> None:
    sentences = json.loads((PAGE / f"i18n/{language}.json").read_text())

    assert [end.page for end in RUN_ENDS if end.page and not sentences.get(end.page)] == []


def test_the_reference_has_a_row_for_each_reason() -> None:
    page = (ROOT / "docs/reference/errors.md").read_text()

    assert [
        end.reason for end in INCOMPLETE if f"| `{end.reason}` | {end.meaning} |" not in page
    ] == []
