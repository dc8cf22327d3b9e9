"""Pydantic models and fields as parameters of tools."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, Optional

import pytest
from pydantic import BaseModel, Field, field_validator

from antiphon.tools.functions import Functions, UnfitTool
from antiphon.types.messages import ToolCall


class Leg(BaseModel):
    start: str = Field(description="IATA code")
    kilometres: int = Field(ge=0)


class Trip(BaseModel):
    legs: list[Leg]
    pace: Literal["slow", "fast"] = "slow"

    @field_validator("legs")
    @classmethod
    def check_legs(cls, legs: list[Leg]) -> list[Leg]:
        if not legs:
            raise ValueError("a trip has a leg")
        return legs


class Node(BaseModel):
    next: Optional[Node] = None  # noqa: UP045 - pydantic resolves it later


async def plan(
    trip: Trip, days: Annotated[int, Field(ge=1, le=5, description="how many")] = 2
) -> Trip:
    """Plan a trip."""
    assert isinstance(trip, Trip)
    assert isinstance(trip.legs[0], Leg)
    return trip.model_copy(update={"pace": "fast"}) if days > 2 else trip


async def call(arguments: str) -> Any:
    return await Functions([plan]).call(ToolCall("call_1", "plan", arguments))


def test_models_and_fields_become_a_schema_without_references() -> None:
    properties = Functions([plan]).specs()[0].parameters["properties"]

    leg = properties["trip"]["properties"]["legs"]["items"]
    assert leg["properties"]["start"]["description"] == "IATA code"
    assert leg["properties"]["kilometres"]["minimum"] == 0
    assert properties["days"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 5,
        "description": "how many",
        "default": 2,
    }


async def test_a_tool_gets_models_and_may_return_one() -> None:
    result = await call('{"trip":{"legs":[{"start":"LAX","kilometres":3974}]},"days":"3"}')

    assert result.output == '{"legs":[{"start":"LAX","kilometres":3974}],"pace":"fast"}'


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            '{"trip":{"legs":[{"start":"LAX","kilometres":-1}]}}',
            "Wrong argument trip: legs.0.kilometres: Input should be greater than or equal to 0.",
        ),
        ('{"trip":{"legs":[]}}', "Wrong argument trip: legs: Value error, a trip has a leg."),
        ('{"trip":7}', "Wrong argument trip: the value: Input should be a valid dictionary"),
        (
            '{"trip":{"legs":[{"start":"LAX","kilometres":1}]},"days":9}',
            "Wrong argument days: Expected `int` <= 5.",
        ),
    ],
)
async def test_a_model_that_does_not_fit_is_explained(arguments: str, expected: str) -> None:
    result = await call(arguments)

    assert (result.is_error, result.fault) == (True, "invalid_arguments")
    assert result.output.startswith(expected)


def test_a_model_that_holds_itself_is_refused() -> None:
    def walk(node: Node) -> None: ...

    with pytest.raises(UnfitTool, match="parameter `node` is annotated as Node"):
        Functions([walk])


@dataclasses.dataclass
class Cat:
    lives: Annotated[int, Field(le=9)]


@dataclasses.dataclass
class Dog:
    barks: bool


def adopt(
    pets: list[Cat | Dog], stars: int = Field(3, ge=1, le=5), tags: list[str] | None = None
) -> str:
    """Adopt pets."""
    return repr((pets, stars, tags))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"pets":[{"barks":true}]}', "([Dog(barks=True)], 3, None)"),
        ('{"pets":[{"lives":7}],"stars":5}', "([Cat(lives=7)], 5, None)"),
        ('{"pets":[{"lives":10}]}', "Wrong argument pets: 0.Cat.lives: Input should be less"),
        ('{"pets":[],"stars":9}', "Wrong argument stars: Expected `int` <= 5."),
    ],
)
async def test_unions_of_classes_and_fields_as_defaults_are_understood(
    arguments: str, expected: str
) -> None:
    result = await Functions([adopt]).call(ToolCall("call_1", "adopt", arguments))

    assert result.output.startswith(expected)


def test_a_field_as_a_default_is_in_the_schema() -> None:
    parameters = Functions([adopt]).specs()[0].parameters

    assert parameters["required"] == ["pets"]
    assert parameters["properties"]["stars"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 5,
        "default": 3,
    }
