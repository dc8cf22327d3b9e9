"""A run's field means the same wherever it is declared: in requests, records and the SDK."""

from typing import Any

import msgspec
import pytest

from antiphon.api.operations import CreateAssistant, CreateRun, Process, UpdateAssistant
from antiphon.client.conversation import Options
from antiphon.types.runs import Assistant, Run

FROM_ASSISTANT = {"model", "instructions", "tools", "mcp_servers", "sampling"}
"""Fields that a request leaves out to have the assistant's."""


def defaults(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The default of each field that has one."""
    known = {
        field.name: field.default_factory()
        if field.default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT
        else field.default
        for field in msgspec.structs.fields(kind)
    }
    return {name: value for name, value in known.items() if value is not msgspec.NODEFAULT}


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


def test_every_setting_of_a_run_request_is_a_field_of_the_run() -> None:
    asked = set(CreateRun.__struct_fields__) - {"if_busy"}

    assert asked <= set(Run.__struct_fields__)
    assert asked & set(Assistant.__struct_fields__) >= FROM_ASSISTANT


def test_an_assistant_can_be_changed_in_all_that_it_is_created_with() -> None:
    changed = set(UpdateAssistant.__struct_fields__) - {"assistant_id"}

    assert changed == set(CreateAssistant.__struct_fields__)


def test_the_options_of_the_sdk_are_fields_of_the_request() -> None:
    assert Options.__optional_keys__ <= set(Process.__struct_fields__)
