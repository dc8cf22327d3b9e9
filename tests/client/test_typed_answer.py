"""Answers of a type: the request to the model, the accepted answers, and the corrections."""

from __future__ import annotations

import dataclasses
import enum
import sys
import threading
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pytest
from pydantic import BaseModel, Field, field_validator

from antiphon.client.result import Result
from antiphon.client.typed_answer import CORRECTIONS, TypedAnswer, UnfitType
from antiphon.engine.validation import lacks_error
from antiphon.types.errors import InvalidAnswer, InvalidRequest, UnsupportedByProvider
from antiphon.types.messages import Image, Text
from antiphon.types.runs import Sampling, Status


@dataclasses.dataclass
class Flight:
    number: str
    stops: int = 0


@dataclasses.dataclass
class Stay:
    nights: Annotated[int, Field(ge=1, description="how many")]


@dataclasses.dataclass
class Booking:
    what: Flight | Stay


class Trip(msgspec.Struct):
    flights: list[Flight]
    note: str | None = None


class Wish(TypedDict):
    city: str


class Review(BaseModel):
    stars: int = Field(ge=1, le=5)
    author: str


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Prices(msgspec.Struct):
    by_name: dict[str, float]


def make_result(text: str) -> Result[str]:
    return Result(
        run_id="run_1", thread_id="thread_1", status=Status.COMPLETED, text=text, value=text
    )


def get_format(answer: TypedAnswer[Any]) -> dict[str, Any] | None:
    _, options = answer.request()
    return options.get("sampling", Sampling()).response_format


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Flight, '{"number":"AB 12"}', Flight("AB 12")),
        (Flight, '```json\n{"number":"AB 12","stops":1}\n```', Flight("AB 12", 1)),
        (Flight, ' {"number":"AB 12","stops":"1"}\n', Flight("AB 12", 1)),
        (Trip, '{"flights":[{"number":"x"}]}', Trip([Flight("x")])),
        (Wish, '{"city":"Oslo"}', {"city": "Oslo"}),
        (Review, '{"stars":5,"author":"Bo"}', Review(stars=5, author="Bo")),
        (Mood, '{"value":"good"}', Mood.GOOD),
        (Mood, '"bad"', Mood.BAD),
        (Literal["a", "b"], '{"value":"b"}', "b"),
        (int | None, '{"value":null}', None),
        (list[int], '{"value":[1,2]}', [1, 2]),
        (list[int], "[3]", [3]),
        (Flight | None, '{"value":{"number":"x"}}', Flight("x")),
        (dict[str, int], '{"value":7}', {"value": 7}),
        (bool, '{"value":true}', True),
        (Flight | Stay, '{"value":{"nights":2}}', Stay(2)),
        (Review | str, '{"value":"none"}', "none"),
        (list[Flight | Stay], '{"value":[{"nights":2}]}', [Stay(2)]),
        (Booking, '{"what":{"number":"x"}}', Booking(Flight("x"))),
        (Annotated[int, Field(ge=1, le=5)], '{"value":3}', 3),
    ],
)
def test_an_answer_becomes_a_value_of_its_type(kind: Any, text: str, value: object) -> None:
    answer: TypedAnswer[Any] = TypedAnswer(kind, "?", {})

    assert answer.accept(make_result(text))
    assert answer.value == value
    assert type(answer.value) is type(value)


def test_a_schema_is_strict_where_it_can_be() -> None:
    flight = get_format(TypedAnswer(Flight, "?", {}))
    prices = get_format(TypedAnswer(Prices, "?", {}))
    mood = get_format(TypedAnswer(Mood, "?", {}))

    assert flight is not None
    assert flight["json_schema"] == {
        "name": "Flight",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"number": {"type": "string"}, "stops": {"type": "integer"}},
            "required": ["number", "stops"],
            "additionalProperties": False,
        },
    }
    assert prices is not None
    assert prices["json_schema"]["strict"] is False
    assert mood is not None
    assert mood["json_schema"]["schema"]["properties"] == {"value": {"enum": ["bad", "good"]}}


def test_other_options_are_kept_and_the_callers_are_not_changed() -> None:
    options: Any = {"model": "demo", "sampling": Sampling(temperature=0.5)}
    _, request_options = TypedAnswer(Flight, "?", options).request()

    assert request_options.get("model") == "demo"
    assert request_options.get("sampling", Sampling()).temperature == 0.5
    assert options["sampling"].response_format is None


def test_a_provider_without_schemas_is_asked_by_words() -> None:
    answer: TypedAnswer[Flight] = TypedAnswer(Flight, "Which flight?", {})
    answer.handle_refusal(lacks_error("deepseek", ["response_format.json_schema"]))
    text, options = answer.request()

    assert isinstance(text, str)
    assert text.startswith(
        "Which flight?\n\nAnswer with JSON alone, which fits this JSON Schema: {"
    )
    assert options.get("sampling", Sampling()).response_format == {"type": "json_object"}

    answer.handle_refusal(lacks_error("old", ["response_format", "response_format.json_object"]))
    assert get_format(answer) is None
    with pytest.raises(UnsupportedByProvider):
        answer.handle_refusal(lacks_error("old", ["response_format"]))


def test_a_refusal_of_something_else_is_raised() -> None:
    answer: TypedAnswer[Flight] = TypedAnswer(Flight, "?", {})

    with pytest.raises(UnsupportedByProvider):
        answer.handle_refusal(lacks_error("x", ["tools"]))


def test_the_words_follow_parts_of_a_message() -> None:
    parts = (Text("What is this?"), Image(url="https://example.org/a.png"))
    answer: TypedAnswer[Flight] = TypedAnswer(Flight, parts, {})
    answer.handle_refusal(lacks_error("x", ["response_format.json_schema"]))
    text, _ = answer.request()

    assert text[:2] == parts
    assert len(text) == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The flight is AB 12.", "it is no JSON"),
        ("", "it is no JSON"),
        ('{"stops":1}', "Object missing required field `number`"),
        ('{"number":7}', "Expected `str`, got `int` - at `$.number`"),
        ('{"number":"x","stops":NaN}', "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
    ],
)
def test_an_answer_that_does_not_fit_is_corrected_in_its_thread(text: str, reason: str) -> None:
    answer: TypedAnswer[Flight] = TypedAnswer(Flight, "?", {"model": "demo"})

    assert not answer.accept(make_result(text))
    correction, options = answer.request()
    assert isinstance(correction, str)
    assert correction.startswith(f"Your answer does not fit: {reason}")
    assert '"properties":{"number"' in correction
    assert (options.get("thread_id"), options.get("model")) == ("thread_1", "demo")


def test_an_answer_that_is_none_of_the_choices_is_told_the_choices() -> None:
    for kind, text in ((Literal["low", "high"], '{"value":"odd"}'), (Ranked, '{"rank":"odd"}')):
        answer: TypedAnswer[Any] = TypedAnswer(kind, "?", {})

        assert not answer.accept(make_result(text))
        correction, _ = answer.request()
        assert "Invalid enum value 'odd', wanted one of 'high', 'low'" in str(correction)


@dataclasses.dataclass
class Ranked:
    rank: Literal["low", "high"]


class Odd(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def refuse(cls, name: str) -> str:
        raise ValueError(f"odd \x1b[31m{name}")


def test_an_error_with_words_of_the_model_is_safe_to_print() -> None:
    answer: TypedAnswer[Odd] = TypedAnswer(Odd, "?", {})
    for _ in range(CORRECTIONS):
        answer.accept(make_result('{"name":"x"}'))

    with pytest.raises(InvalidAnswer) as error_info:
        answer.accept(make_result('{"name":"\u202ex"}'))
    assert "odd" in str(error_info.value)
    assert str(error_info.value).isprintable()


def test_each_correction_has_a_key_of_its_own() -> None:
    answer: TypedAnswer[Flight] = TypedAnswer(Flight, "?", {})
    keys = [answer.key("k" * 255)]
    for _ in range(CORRECTIONS):
        answer.accept(make_result("no"))
        keys.append(answer.key("k" * 255))

    assert keys[0] == "k" * 255
    assert len(set(keys)) == 1 + CORRECTIONS
    assert all(len(str(key)) <= 255 for key in keys)
    assert answer.key(None) is None


def test_after_two_corrections_the_error_has_the_answer() -> None:
    answer: TypedAnswer[Flight] = TypedAnswer(Flight, "?", {})
    for _ in range(CORRECTIONS):
        assert not answer.accept(make_result("no"))

    with pytest.raises(InvalidAnswer, match="The answer is no Flight: it is no JSON") as error_info:
        answer.accept(make_result("never"))
    assert (error_info.value.text, error_info.value.run_id, error_info.value.thread_id) == (
        *("never", "run_1"),
        "thread_1",
    )


@pytest.mark.parametrize("kind", [threading.Lock, list[threading.Event], lambda: None])
def test_a_type_that_json_cannot_express_is_refused_with_what_can(kind: Any) -> None:
    with pytest.raises(UnfitType, match="which JSON cannot express") as error_info:
        TypedAnswer(kind, "?", {})
    assert error_info.value.details["expected"].startswith("a dataclass")


def test_a_type_beside_a_response_format_is_refused() -> None:
    options: Any = {"sampling": Sampling(response_format={"type": "json_object"})}

    with pytest.raises(InvalidRequest, match="makes its response_format"):
        TypedAnswer(Flight, "?", options)


def test_partial_values_are_those_of_the_type() -> None:
    values: list[object] = []
    of_object = TypedAnswer[Any](Flight, "?", {}).unwrap_for(values.append)
    of_list = TypedAnswer[Any](list[int], "?", {}).unwrap_for(values.append)

    of_object({"number": "AB"})
    of_list({})
    of_list({"value": [1]})

    assert values == [{"number": "AB"}, [1]]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Annotated[int, Field(ge=1, le=5)], '{"value":9}'),
        (Annotated[str, Field(pattern="^[A-Z]{3}$")], '{"value":"code"}'),
        (list[Annotated[int, Field(le=5)]], '{"value":[9]}'),
        (Stay, '{"nights":0}'),
        (Flight | Stay, '{"value":{}}'),
    ],
)
def test_limits_of_pydantic_hold_wherever_they_stand(kind: Any, text: str) -> None:
    assert not TypedAnswer(kind, "?", {}).accept(make_result(text))


def test_limits_of_pydantic_are_in_the_schema() -> None:
    response_format = get_format(TypedAnswer(Stay, "?", {})) or {}

    nights = response_format["json_schema"]["schema"]["properties"]["nights"]
    assert nights == {"type": "integer", "minimum": 1, "description": "how many"}


def test_limits_that_would_be_lost_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic", None)

    with pytest.raises(UnfitType, match="pydantic cannot validate it"):
        TypedAnswer(Stay, "?", {})


@dataclasses.dataclass
class Unresolved:
    x: Nope  # type: ignore[name-defined]  # noqa: F821


@dataclasses.dataclass
class Dividing:
    number: int

    def __post_init__(self) -> None:
        raise ZeroDivisionError


def test_an_annotation_that_names_nothing_is_refused() -> None:
    with pytest.raises(UnfitType, match="Nope"):
        TypedAnswer(Unresolved, "?", {})


def test_a_validator_that_raises_anything_asks_for_a_correction() -> None:
    answer: TypedAnswer[Dividing] = TypedAnswer(Dividing, "?", {})

    assert not answer.accept(make_result('{"number":1}'))
    assert "ZeroDivisionError" in str(answer.request()[0])
