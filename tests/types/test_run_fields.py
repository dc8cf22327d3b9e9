"""A run's field means the same wherever it is declared: in requests, records and the SDK."""

from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from antiphon.api.operations import (
    CreateAssistant,
    CreateRun,
    CreateThread,
    Options,
    Process,
    RunCall,
    UpdateAssistant,
)
from antiphon.settings.settings import Settings
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Assistant, Deadlines, McpServer, Run, Sampling
from tests.support.runtime.rig import BY, TOOLS, open_rig

FROM_ASSISTANT = {"model", "instructions", "tools", "mcp_servers", "sampling", "max_tool_calls"}
"""Fields that a request leaves out to have the assistant's."""
NOT_OF_THE_RUN = {"if_busy"}
"""Fields of a request that decide whether and how the run begins."""
NEEDS_A_CUT_ANSWER = {"continues"}
"""Fields of a request that only some threads allow."""
NOT_OPTIONS = {"tools", "background", "message", "run_id"}
"""Fields of a request that the SDK sets itself when it converses."""

VALUES: dict[Any, Any] = {
    str: "another",
    dict[str, str]: {"a": "b"},
    tuple[str, ...]: ("look",),
    tuple[ToolSpec, ...]: TOOLS,
    tuple[McpServer, ...]: (),
    Sampling: Sampling(seed=1),
    Deadlines: Deadlines(turn=9),
}
"""A value for a field of each type; `other_value` finds those of numbers, switches and words."""


def defaults(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the default of each field that has one."""
    values = {
        field.name: field.default_factory()
        if field.default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT
        else field.default
        for field in msgspec.structs.fields(kind)
    }
    return {name: value for name, value in values.items() if value is not msgspec.NODEFAULT}


def field_types(kind: type) -> dict[str, Any]:
    """Return the type of each field, without its bounds and without the types for no value."""
    return {name: _without_none(hint) for name, hint in get_type_hints(kind).items()}


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        members = [each for each in get_args(hint) if each not in (NoneType, msgspec.UnsetType)]
        return members[0] if len(members) == 1 else frozenset(members)
    return hint


def other_value(kind: Any, value: Any) -> Any:
    """Return another value for a field of this type that has this value."""
    if get_origin(kind) is Literal:
        return next(word for word in get_args(kind) if word != value)
    if kind is bool:
        return not value
    return (value or 0) + 1 if kind in (int, float) else VALUES[kind]


@pytest.mark.parametrize(
    ("request_type", "record"), [(CreateRun, Run), (Process, Run), (CreateAssistant, Assistant)]
)
def test_a_request_has_the_defaults_of_its_record(
    request_type: type[msgspec.Struct], record: type[msgspec.Struct]
) -> None:
    request_defaults, record_defaults = defaults(request_type), defaults(record)
    names = request_defaults.keys() & record_defaults.keys()
    if record is Run:
        names -= FROM_ASSISTANT

    assert names
    assert {name: request_defaults[name] for name in names} == {
        name: record_defaults[name] for name in names
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (RunCall, Run),
        (Assistant, RunCall),
        (Settings, RunCall),
        (Options, Process),
        (CreateAssistant, Assistant),
        (UpdateAssistant, CreateAssistant),
    ],
)
def test_a_field_has_one_type(one: type, other: type) -> None:
    first_types, second_types = field_types(one), field_types(other)
    names = first_types.keys() & second_types.keys()

    assert names
    assert {name: first_types[name] for name in names} == {
        name: second_types[name] for name in names
    }


def test_every_field_of_a_run_request_is_a_field_of_the_run() -> None:
    fields = set(CreateRun.__struct_fields__) - NOT_OF_THE_RUN

    assert fields <= set(Run.__struct_fields__)
    assert fields & set(Assistant.__struct_fields__) >= FROM_ASSISTANT


async def test_every_field_of_a_run_request_reaches_the_run() -> None:
    async with open_rig("say Hi.") as rig:
        thread = (await rig.dispatcher.dispatch(CreateThread(), BY)).value
        assistant = (await rig.dispatcher.dispatch(CreateAssistant(), BY)).value
        kinds, default_values = field_types(RunCall), defaults(RunCall)
        fields = set(RunCall.__struct_fields__) - NOT_OF_THE_RUN - NEEDS_A_CUT_ANSWER
        values = {name: other_value(kinds[name], default_values[name]) for name in fields}
        values["assistant_id"] = assistant.id
        run = (await rig.dispatcher.dispatch(CreateRun(thread.id, **values), BY)).value

        assert {name: getattr(run, name) for name in fields} == values


def test_an_assistant_can_be_changed_in_all_that_it_is_created_with() -> None:
    fields = set(UpdateAssistant.__struct_fields__) - {"assistant_id"}

    assert fields == set(CreateAssistant.__struct_fields__)


def test_the_options_of_the_sdk_are_the_fields_of_the_request() -> None:
    assert Options.__optional_keys__ == set(Process.__struct_fields__) - NOT_OPTIONS
