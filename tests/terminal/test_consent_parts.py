"""The box of an approval: nothing can be allowed before all of the arguments were shown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from antiphon.terminal import arguments, spans
from antiphon.terminal.consent import ConsentPrompt
from antiphon.terminal.input.keyboard import Box, Field
from antiphon.terminal.paging import Parts
from antiphon.terminal.spans import Line, StyledText
from antiphon.tools.questions import ConsentAnswer, ConsentRequest
from antiphon.types.messages import Hints, Tool, ToolCall, ToolSpec
from antiphon.types.terminal_safe import clean
from tests.support.hostile_arguments import CASES, SMALL, Case

SIZES = [(100, 40), (80, 24), (40, 12)]
every_size = pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


class Person:
    """Keyboard of a person who pages until all was shown, and then presses the next of `keys`."""

    by_lines = False
    echoes = False

    def __init__(self, keys: Sequence[str], size: tuple[int, int]) -> None:
        self.keys = list(keys)
        self.size = size
        self.views: list[str] = []
        self.offered_keys: list[str] = []

    async def choose(self, box: Box) -> str:
        rows = box.rows(self.size[0])
        assert all(spans.line_width(row) < self.size[0] for row in rows)
        self.views.append("\n".join(spans.text(row) for row in rows))
        box_keys = {choice.key for choice in box.choices}
        self.offered_keys.append("".join(sorted(box_keys)))
        if "c" in box_keys or "y" in box_keys:
            return self.keys.pop(0)
        return "m"

    async def write(self, field: Field) -> str | None:
        raise AssertionError("nothing is written here")


async def answer_box(case: Case, *keys: str, size: tuple[int, int] = (80, 24), **tool: Any):
    """Return the answer to the box of a person who presses these keys, and the person."""
    person = Person(keys, size)
    surface: Any = SimpleNamespace(keyboard=person, size=lambda: size, question_lock=asyncio.Lock())
    call = ToolCall(id="c", name="shell", arguments=case.arguments)
    spec = ToolSpec("shell", description="It runs a command. " * 40)
    question = ConsentRequest(
        run_id="r", call=call, tool=Tool(spec=spec, server="far", **tool), digest="d"
    )
    return await ConsentPrompt(surface)(question), person


@every_case
@every_size
async def test_nothing_can_be_allowed_before_all_of_it_was_shown(
    case: Case, size: tuple[int, int]
) -> None:
    answer, person = await answer_box(case, "y", size=size)
    pages_text = _flatten("".join(person.views))

    assert answer == ConsentAnswer(allowed=True)
    assert not any({"y", "s", "a"} & set(keys) for keys in person.offered_keys[:-1])
    assert case.hidden in pages_text


@every_case
@every_size
async def test_the_tool_and_every_argument_are_named_and_nothing_hides(
    case: Case, size: tuple[int, int]
) -> None:
    _, person = await answer_box(case, "y", size=size)
    first = person.views[0]

    assert all("May the model call shell of far" in _flatten(view) for view in person.views)
    assert all(clean(view, "approval") == view for view in person.views)
    assert all(len(view.split("\n")) <= 16 for view in person.views)
    if len(case.names) <= 3 and size[0] >= 80:
        assert all(arguments.short_name(name)[:40] in first for name in case.names)
    pages_text = _flatten("".join(person.views))
    assert all(arguments.short_name(name)[:20] in pages_text for name in case.names)


@pytest.mark.parametrize("size", SIZES[:2])
async def test_the_name_of_a_tool_is_read_to_its_end_before_it_is_allowed(
    size: tuple[int, int],
) -> None:
    name = "read_" + "x" * 240 + "_and_delete"
    _, person = await answer_box(SMALL, "y", size=size, own_name=name)

    assert name in _flatten("".join(person.views))


@pytest.mark.parametrize("size", SIZES[:2])
async def test_a_value_that_is_cut_says_how_long_it_is(size: tuple[int, int]) -> None:
    long_case = Case("", '{"first": "' + "x" * 5_000 + '", "last": true}', (), "")
    _, person = await answer_box(long_case, "y", size=size)

    assert "(5,000 characters)" in person.views[0]
    assert '"last": true' in person.views[0]


@pytest.mark.parametrize("size", SIZES[:2])
async def test_a_call_that_fits_into_one_box_can_be_allowed_at_once(size: tuple[int, int]) -> None:
    answer, person = await answer_box(SMALL, "y", size=size)

    assert answer.allowed
    assert len(person.views) == 1


def test_a_head_that_grows_midway_leaves_nothing_unshown() -> None:
    surface: Any = SimpleNamespace(keyboard=Person((), (80, 24)), size=lambda: (80, 24))
    lines: list[Line] = [(StyledText(f"line {number:03}"),) for number in range(60)]
    head_lines = lines[:1]
    parts = Parts(surface, head=lambda: head_lines, lines=lambda: lines)
    views = [*parts.rows(80)]
    parts.turn()
    views += parts.rows(80)

    head_lines = lines[:7]
    parts.resize()
    for _ in lines:
        views += parts.rows(80)
        if parts.shown:
            break
        parts.turn()

    assert parts.shown
    assert {spans.text(line) for line in lines} <= {spans.text(row) for row in views}


@pytest.mark.parametrize(("key", "keep"), [("s", "session"), ("a", "always")])
async def test_permission_for_longer_needs_a_second_and_different_key(key: str, keep: Any) -> None:
    answer, person = await answer_box(SMALL, key, "c", hints=Hints(destructive=True))

    assert answer == ConsentAnswer(allowed=True, keep=keep)
    assert key not in person.offered_keys[1]
    assert "The tool says that it destroys or overwrites: shell." in _flatten(person.views[1])


async def test_a_person_who_does_not_confirm_is_asked_again() -> None:
    answer, person = await answer_box(SMALL, "a", "n", "n")

    assert answer == ConsentAnswer()
    assert len(person.views) == 3


def _flatten(view: str) -> str:
    return view.replace("\n", "")
