import asyncio
import contextvars
import dataclasses
import json
import threading
from functools import partial
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import pytest

from antiphon.tools.docstrings import parse_docstring
from antiphon.tools.functions import Functions, Handler, tool
from antiphon.types.errors import AntiphonError, BadSettings
from antiphon.types.messages import ToolCall, ToolResult


class Place(msgspec.Struct):
    name: str
    within: "Place | None" = None


@dataclasses.dataclass
class Traveller:
    name: str
    age: int = 30


class Wishes(TypedDict):
    budget: float
    sights: NotRequired[list[str]]


def plan(
    city: str,
    traveller: Traveller,
    wishes: Wishes,
    *,
    days: int = 3,
    pace: Literal["slow", "fast"] = "slow",
    tags: list[str] = ["sun"],  # noqa: B006
    note: Annotated[str | None, "shown to the driver"] = None,
) -> dict[str, Any]:
    """Plan a trip.

    It may take a while.

    Args:
        city: where to go,
            as it is written there.
        days (int): how long.

    Returns:
        The plan.
    """
    return {"city": city, "name": traveller.name, "days": days, "tags": tags, "note": note}


TRIP = {"city": "Rome", "traveller": {"name": "Bo"}, "wishes": {"budget": 10}}


def get_schema(function: Any) -> dict[str, Any]:
    (spec,) = Functions([function]).specs()
    return spec.parameters


async def call_tool(function: Any, arguments: Any = None, name: str | None = None) -> ToolResult:
    functions = Functions([function])
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {})
    return await functions.call(ToolCall("c1", name or functions.specs()[0].name, text))


def test_a_signature_becomes_a_schema_without_references():
    assert get_schema(plan) == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "where to go, as it is written there."},
            "traveller": {
                "title": "Traveller",
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "age": {"type": "integer", "default": 30},
                },
                "required": ["name"],
            },
            "wishes": {
                "title": "Wishes",
                "type": "object",
                "properties": {
                    "budget": {"type": "number"},
                    "sights": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["budget"],
            },
            "days": {"type": "integer", "description": "how long.", "default": 3},
            "pace": {"enum": ["fast", "slow"], "default": "slow"},
            "tags": {"type": "array", "items": {"type": "string"}, "default": ["sun"]},
            "note": {
                "anyOf": [{"type": "string"}, {"type": "null"}],
                "description": "shown to the driver",
                "default": None,
            },
        },
        "required": ["city", "traveller", "wishes"],
        "additionalProperties": False,
    }


def test_a_type_that_holds_itself_stays_a_reference():
    def find(place: Place, other: list[Place]) -> None: ...

    parameters = get_schema(find)

    assert parameters["properties"]["place"] == {"$ref": "#/$defs/Place"}
    assert parameters["properties"]["other"]["items"] == {"$ref": "#/$defs/Place"}
    assert parameters["$defs"]["Place"]["properties"]["within"]["anyOf"][0] == {
        "$ref": "#/$defs/Place"
    }


def test_a_default_that_is_no_json_is_not_in_the_schema():
    def find(place: str, sort: Any = object()) -> None: ...  # noqa: B008

    assert get_schema(find)["properties"]["sort"] == {}
    assert get_schema(find)["required"] == ["place"]


def test_the_docstring_is_the_description_up_to_its_sections():
    (spec,) = Functions([plan]).specs()

    assert (spec.name, spec.description) == ("plan", "Plan a trip.\n\nIt may take a while.")


@pytest.mark.parametrize(
    "docstring",
    [
        "Do.\n\nArgs:\n    a (int): The a,\n        at length.\n    b: The b: it.\n\n"
        "Returns:\n    c: x",
        "Do.\n\nParameters\n----------\na : int\n    The a,\n    at length.\nb\n    The b: it.\n\n"
        "Returns\n-------\nc\n    x",
        "Do.\n\n:param int a: The a,\n    at length.\n:param b: The b: it.\n:returns: x",
    ],
    ids=["google", "numpy", "sphinx"],
)
def test_three_styles_of_docstring_are_read(docstring: str):
    sections = parse_docstring(docstring)

    assert sections.text == "Do."
    assert sections.parameters == {"a": "The a, at length.", "b": "The b: it."}


def test_a_decorated_function_is_the_function_it_was():
    @tool
    def double(x: int) -> int:
        return 2 * x

    @tool(name="half-of", description="Halve.")
    def halve(x: int) -> int:
        return x // 2

    first, second = Functions([double, halve]).specs()

    assert (double(4), halve(4)) == (8, 2)
    assert (first.name, second.name, second.description) == ("double", "half-of", "Halve.")


class Bag:
    def __init__(self) -> None:
        self.things: list[str] = []

    def put(self, thing: str) -> int:
        self.things.append(thing)
        return len(self.things)

    async def __call__(self, thing: str) -> str:
        return f"no {thing}"


async def test_methods_partials_and_objects_are_tools_too():
    bag = Bag()
    tools = Functions(
        [bag.put, tool(name="put_hat")(partial(bag.put, "hat")), tool(name="ask")(bag)]
    )

    outputs = [
        (await tools.call(ToolCall("c", name, arguments))).output
        for name, arguments in [
            ("put", '{"thing":"coat"}'),
            ("put_hat", ""),
            ("ask", '{"thing":"x"}'),
        ]
    ]

    assert outputs == ["1", "2", "no x"]
    assert bag.things == ["coat", "hat"]


async def test_arguments_become_what_the_signature_says():
    result = await call_tool(plan, TRIP | {"days": 5})

    assert json.loads(result.output) == {
        "city": "Rome",
        "name": "Bo",
        "days": 5,
        "tags": ["sun"],
        "note": None,
    }


async def test_a_number_in_quotes_is_taken_for_the_number():
    assert json.loads((await call_tool(plan, TRIP | {"days": "5"})).output)["days"] == 5


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({**TRIP, "town": "x"}, "unknown: town"),
        ({"city": "Rome"}, "missing: traveller, wishes"),
        ({**TRIP, "days": "many"}, "Wrong argument days: Expected `int`, got `str`."),
        (
            {**TRIP, "traveller": {}},
            "Wrong argument traveller: Object missing required field `name`",
        ),
        (
            {**TRIP, "pace": "wild"},
            "Wrong argument pace: Invalid enum value 'wild', wanted one of 'fast', 'slow'.",
        ),
        ("[1]", "not a JSON object"),
        ("{", "not a JSON object"),
    ],
)
async def test_a_model_is_told_what_is_wrong_with_its_arguments(arguments: Any, expected: str):
    result = await call_tool(plan, arguments)

    assert result.is_error
    assert expected in result.output


async def test_a_model_that_missed_a_parameter_reads_the_names_of_all():
    result = await call_tool(plan, {})

    assert "The tool takes: city, traveller, wishes, days (optional)" in result.output


async def test_an_unknown_tool_is_answered_with_the_names_of_the_known_ones():
    assert await call_tool(plan, {}, name="plot") == ToolResult(
        "There is no tool plot. The tools are: plan.", is_error=True, fault="unknown_tool"
    )


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        ({"a": [1, True]}, '{"a":[1,true]}'),
        (Place("here"), '{"name":"here","within":null}'),
        (ToolResult("no", is_error=True), "no"),
    ],
)
async def test_a_result_is_text_or_json(value: Any, output: str):
    assert (await call_tool(tool(name="f")(lambda: value))).output == output


def raise_error() -> None:
    raise ValueError("too late")


async def raise_error_later() -> None:
    raise ValueError("too late")


@pytest.mark.parametrize("function", [raise_error, raise_error_later])
async def test_an_exception_is_a_result_without_a_traceback(function: Any):
    assert await call_tool(function) == ToolResult(
        "ValueError: too late", is_error=True, fault="failed"
    )


@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt(), StopIteration()])
async def test_a_tool_cannot_take_its_caller_down(error: BaseException):
    def leave() -> None:
        raise error

    assert (await call_tool(leave)).is_error


async def test_a_result_that_is_no_json_is_an_error_result():
    result = await call_tool(tool(name="f")(lambda: [object()]))

    assert result.is_error
    assert result.output.startswith("TypeError: ")


async def test_what_a_tool_awaits_may_be_cancelled_and_the_call_is_only_failed():
    async def wait() -> None:
        task = asyncio.create_task(asyncio.sleep(60))
        task.cancel()
        await task

    assert await call_tool(wait) == ToolResult("CancelledError", is_error=True, fault="failed")


async def test_cancelling_the_call_cancels_an_async_tool():
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    task = asyncio.create_task(call_tool(wait))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()


async def test_a_sync_tool_runs_in_a_thread_and_sees_the_context():
    who = contextvars.ContextVar("who", default="nobody")
    who.set("Bo")

    result = await call_tool(tool(name="f")(lambda: [who.get(), threading.current_thread().name]))

    assert json.loads(result.output) == ["Bo", "antiphon-tool"]


def test_a_tool_that_outlives_its_loop_ends_in_silence():
    started, go_on = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def linger() -> None:
        threads.append(threading.current_thread())
        started.set()
        go_on.wait(60)

    async def leave() -> None:
        task = asyncio.create_task(call_tool(linger))
        await asyncio.to_thread(started.wait, 60)
        task.cancel()

    asyncio.run(leave())
    go_on.set()

    threads[0].join(60)
    assert not threads[0].is_alive()


async def test_a_parameter_of_type_tool_call_gets_the_call_and_is_not_in_the_schema():
    def book(seat: str, call: ToolCall) -> str:
        return f"{seat} by {call.id}"

    assert list(get_schema(book)["properties"]) == ["seat"]
    assert (await call_tool(book, {"seat": "3A"})).output == "3A by c1"


def takes_a_lock(lock: threading.Event | None = None) -> None: ...


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda: 1, "is no name for a tool"),
        (tool(name="f")(lambda *a: 1), "must each have a name"),
        (tool(name="f")(lambda a, /: 1), "positional only"),
        (tool(name="not a name")(lambda: 1), "is no name for a tool"),
        (tool(name="f")(takes_a_lock), "parameter `lock` .* which a model cannot write"),
        (3, "A tool is a function, and 3 is none"),
    ],
)
def test_what_no_model_could_call_is_refused(function: Any, expected: str):
    with pytest.raises(TypeError, match=expected):
        Functions([function])


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(TypeError, match="Two tools are named plan"):
        Functions([plan, plan])


@pytest.mark.parametrize("kind", [object, list[object], dict[str, object], threading.Event])
def test_a_refusal_names_tool_parameter_file_line_and_what_would_do(kind: Any):
    def weather(place: Any) -> None: ...

    weather.__annotations__["place"] = kind
    line = weather.__code__.co_firstlineno

    with pytest.raises(AntiphonError) as error_info:
        Functions([weather])

    for expected in ("weather", "`place`", f"{__file__}, line {line}", "str, int", "Any"):
        assert expected in str(error_info.value)
    assert error_info.value.__suppress_context__


def test_an_annotation_that_names_nothing_is_refused_with_its_place():
    def weather(place: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(BadSettings, match=r"weather .*'Nowhere' is not defined"):
        Functions([weather])


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_handler_takes_every_call_by_name(is_async: bool):
    def handle(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, **arguments}

    async def handle_later(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return handle(name, arguments)

    handler = Handler(handle_later if is_async else handle)
    result = await handler.call(ToolCall("c", "f", '{"x":1}'))

    assert result.output == '{"name":"f","x":1}'


@pytest.mark.parametrize("broken", ["{", "[]", '{"a":' * 5_000 + "1" + "}" * 5_000])
async def test_arguments_that_are_no_object_reach_no_function_and_no_handler(broken: str):
    received_arguments: list[object] = []

    def f(x: int = 0) -> None:
        received_arguments.append(x)

    for toolbox in (
        Functions([f]),
        Handler(lambda name, arguments: received_arguments.append(arguments)),
    ):
        result = await toolbox.call(ToolCall("c1", "f", broken))
        assert result.fault == "invalid_arguments"
        assert "not a JSON object" in result.output
    assert received_arguments == []
