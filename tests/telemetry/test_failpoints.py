from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.telemetry import failpoints
from antiphon.telemetry.failpoints import arm, hit
from antiphon.types import errors


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    arm("")


def test_a_point_that_is_not_armed_does_nothing() -> None:
    hit("append.after_commit")


def test_an_armed_action_happens_at_its_pass_and_at_no_other() -> None:
    arm("append.after_commit:raise@3, claim.before_commit:raise")
    hit("append.after_commit")
    hit("append.after_commit")
    with pytest.raises(errors.Unavailable, match=r"append\.after_commit"):
        hit("append.after_commit")
    hit("append.after_commit")

    with pytest.raises(errors.Unavailable):
        hit("claim.before_commit")


@pytest.mark.parametrize("spec", ["append", "append:", "append:explode", "append:kill@x"])
def test_an_action_that_does_not_exist_is_refused_and_what_was_armed_stays(spec: str) -> None:
    arm("append:raise")
    with pytest.raises(errors.BadSettings):
        arm(spec)

    with pytest.raises(errors.Unavailable):
        hit("append")


def test_every_point_that_the_list_names_is_in_the_code() -> None:
    package = Path(failpoints.__file__).parents[1]
    code = "".join(each.read_text() for each in package.rglob("*.py"))
    points = set(re.findall(r'hit\("([a-z_.]+)"\)', code))
    # A point of any work, such as `hit(f"{what}.before_wake")`.
    suffixes = tuple(f".{end}" for end in re.findall(r'hit\(f"\{[a-z_.]+\}\.([a-z_]+)"\)', code))

    documented_points = re.findall(r"`([a-z]+\.[a-z_]+)`", failpoints.__doc__ or "")

    assert documented_points
    assert [
        point for point in documented_points if point not in points and not point.endswith(suffixes)
    ] == []
