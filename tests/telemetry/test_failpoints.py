from __future__ import annotations

from collections.abc import Iterator

import pytest

from antiphon.telemetry.failpoints import arm, hit
from antiphon.types import errors


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


def test_a_point_that_is_not_armed_does_nothing() -> None:
    hit("append.after_commit")


def test_a_deed_is_done_at_its_pass_and_at_no_other() -> None:
    arm("append.after_commit:raise@3, claim.before_commit:raise")
    hit("append.after_commit")
    hit("append.after_commit")
    with pytest.raises(errors.Unavailable, match=r"append\.after_commit"):
        hit("append.after_commit")
    hit("append.after_commit")

    with pytest.raises(errors.Unavailable):
        hit("claim.before_commit")


@pytest.mark.parametrize("spec", ["append", "append:", "append:explode", "append:kill@x"])
def test_a_deed_that_does_not_exist_is_refused_and_what_was_armed_stays(spec: str) -> None:
    arm("append:raise")
    with pytest.raises(errors.BadSettings):
        arm(spec)

    with pytest.raises(errors.Unavailable):
        hit("append")
