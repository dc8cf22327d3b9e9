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
"""A value for a field of each type; of numbers, switches and words it is found."""


def defaults(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The default of each field that has one."""
    known = {
        field.name: field.default_factory()
        if field.default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT
        else field.default
        for field in msgspec.structs.fields(kind)
    }
    return {name: value for name, value in known.items() if value is not msgspec.NODEFAULT}


def field_types(kind: type) -> dict[str, Any]:
    """The type of each field, without its bounds and what stands for no value."""
    return {name: _plain(hint) for name, hint in get_type_hints(kind).items()}


def _plain(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        members = [each for each in get_args(hint) if each not in (NoneType, msgspec.UnsetType)]
        return members[0] if len(members) == 1 else frozenset(members)
    return hint


def another(kind: Any, value: Any) -> Any:
    """Another value for a field of this type that has this value."""
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
    asked, kept = defaults(request_type), defaults(record)
    both = asked.keys() & kept.keys()
    if record is Run:
        both -= FROM_ASSISTANT

    assert both
    assert {name: asked[name] for name in both} == {name: kept[name] for name in both}


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
    these, those = field_types(one), field_types(other)
    both = these.keys() & those.keys()

    assert both
    assert {name: these[name] for name in both} == {name: those[name] for name in both}


def test_every_field_of_a_run_request_is_a_field_of_the_run() -> None:
    asked = set(CreateRun.__struct_fields__) - NOT_OF_THE_RUN

    assert asked <= set(Run.__struct_fields__)
    assert asked & set(Assistant.__struct_fields__) >= FROM_ASSISTANT


async def test_every_field_of_a_run_request_reaches_the_run() -> None:
    async with open_rig("say Hi.") as rig:
        thread = (await rig.dispatcher.dispatch(CreateThread(), BY)).value
        assistant = (await rig.dispatcher.dispatch(CreateAssistant(), BY)).value
        kinds, usual = field_types(RunCall), defaults(RunCall)
        fields = set(RunCall.__struct_fields__) - NOT_OF_THE_RUN - NEEDS_A_CUT_ANSWER
        given = {name: another(kinds[name], usual[name]) for name in fields}
        given["assistant_id"] = assistant.id
        run = (await rig.dispatcher.dispatch(CreateRun(thread.id, **given), BY)).value

        assert {name: getattr(run, name) for name in fields} == given


def test_an_assistant_can_be_changed_in_all_that_it_is_created_with() -> None:
    changed = set(UpdateAssistant.__struct_fields__) - {"assistant_id"}

    assert changed == set(CreateAssistant.__struct_fields__)


def test_the_options_of_the_sdk_are_the_fields_of_the_request() -> None:
    assert Options.__optional_keys__ == set(Process.__struct_fields__) - NOT_OPTIONS
