"""The tables of OpenAI's fields name every field that the official package knows."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

from antiphon.wires.openai import chat_request, response_request
from antiphon.wires.openai.chat_request import CompletionRequest
from antiphon.wires.openai.response_request import ResponseRequest

TABLES: Mapping[str, tuple[Mapping[str, object], type, type]] = {
    "chat completions": (
        chat_request.FIELDS,
        completion_create_params.CompletionCreateParamsStreaming,
        CompletionRequest,
    ),
    "responses": (
        response_request.FIELDS,
        response_create_params.ResponseCreateParamsStreaming,
        ResponseRequest,
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_field_of_the_original_is_in_the_table(name: str) -> None:
    table, original, _ = TABLES[name]

    known = original.__required_keys__ | original.__optional_keys__

    assert known - set(table) == set(), "say what happens to these fields"
    assert set(table) - known == set(), "these are no fields of the original any more"


@pytest.mark.parametrize("name", TABLES)
def test_a_field_is_read_unless_the_table_says_that_it_is_ignored(name: str) -> None:
    table, _, request_type = TABLES[name]

    ignored = {field for field, (treatment, _) in table.items() if treatment == "ignored"}

    assert set(request_type.__struct_fields__) == set(table) - ignored
