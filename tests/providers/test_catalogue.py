"""The catalogue of quirks is complete: every row has scenarios, every scenario has one row."""

from __future__ import annotations

import re

from tests.support.providers.quirks import CATALOGUE
from tests.support.providers.upstream import SCENARIOS


def test_every_scenario_stands_in_one_row_and_every_row_has_one() -> None:
    scenario_names = [name for quirk in CATALOGUE for name in quirk.scenarios]

    assert sorted(scenario_names) == sorted(SCENARIOS.keys() - {"after_tools"})
    assert all(quirk.scenarios for quirk in CATALOGUE)


def test_rows_are_numbered_and_reports_can_be_found() -> None:
    assert [quirk.number for quirk in CATALOGUE] == list(range(1, len(CATALOGUE) + 1))
    for report in (report for quirk in CATALOGUE for report in quirk.reports):
        assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", report), report
