"""An error about a value that is not in a list names the values that are."""

from __future__ import annotations

import enum
from typing import Any, Literal

import msgspec
import pytest

from antiphon.types.enum_values import add_enum_values


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(msgspec.Struct):
    colour: Colour


class Tree(msgspec.Struct):
    leaf: Leaf | None = None
    leaves: list[Leaf] = []
    by_name: dict[str, Leaf] = {}
    pair: tuple[int, Colour] = (1, Colour.RED)
    size: Literal["s", "m"] | None = None
    count: int = 0


def catch_message(value: object, kind: Any) -> str:
    with pytest.raises(msgspec.ValidationError) as error_info:
        msgspec.convert(value, kind)
    return add_enum_values(str(error_info.value), msgspec.json.schema(kind))


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"leaf": {"colour": "green"}}, " - at `$.leaf.colour`"),
        ({"leaves": [{"colour": "red"}, {"colour": "green"}]}, " - at `$.leaves[1].colour`"),
        ({"by_name": {"a": {"colour": "green"}}}, " - at `$.by_name[...].colour`"),
        ({"pair": [1, "green"]}, " - at `$.pair[1]`"),
    ],
)
def test_the_values_of_an_enum_are_found_wherever_it_stands(value: object, where: str) -> None:
    assert (
        catch_message(value, Tree)
        == f"Invalid enum value 'green', wanted one of 'blue', 'red'{where}"
    )


def test_the_values_of_a_literal_are_found_at_the_top_and_below() -> None:
    assert catch_message("x", Literal["a", "b"]) == "Invalid enum value 'x', wanted one of 'a', 'b'"
    assert catch_message({"size": "xl"}, Tree).endswith("wanted one of 'm', 's' - at `$.size`")


def test_other_errors_stay_as_they_are() -> None:
    assert catch_message({"count": "many"}, Tree) == "Expected `int`, got `str` - at `$.count`"


def test_a_long_list_is_cut_and_says_so() -> None:
    kind = enum.Enum("Many", {f"n{each:03}": each for each in range(1000)})  # type: ignore[misc]

    assert catch_message(5000, kind).endswith("28, 29, ...")
