"""Both clients have one method for each operation of the API, with equal parameters."""

import inspect
import pydoc
import re
from typing import Any

import pytest

from antiphon.api import operations
from antiphon.api.operations import OPERATIONS, Operation
from antiphon.client.async_client import AsyncClient
from antiphon.client.async_events import AsyncEvents, AsyncStream
from antiphon.client.sync_client import Client
from antiphon.client.sync_events import Events, Stream
from antiphon.types.runs import Run

STREAMS = {
    operations.Process: "process",
    operations.Complete: "completions",
    operations.Follow: "events",
}


def method_name(call: type[Operation[Any]]) -> str:
    return STREAMS.get(call) or re.sub(r"(?<!^)(?=[A-Z])", "_", call.__name__).lower()


def public_names(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def list_parameters(kind: type, name: str) -> list[tuple[str, Any, Any]]:
    signature = inspect.signature(getattr(kind, name))
    return [(each.name, each.kind, each.default) for each in signature.parameters.values()]


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_every_call_of_the_api_is_a_method(client: type):
    assert {method_name(call) for call in OPERATIONS} <= public_names(client)


@pytest.mark.parametrize(
    ("sync_class", "async_class"),
    [(Client, AsyncClient), (Events, AsyncEvents), (Stream, AsyncStream)],
)
def test_both_surfaces_are_equal(sync_class: type, async_class: type):
    assert public_names(sync_class) == public_names(async_class)
    for name in public_names(sync_class):
        if callable(getattr(sync_class, name)):
            assert list_parameters(sync_class, name) == list_parameters(async_class, name)


@pytest.mark.parametrize("call", OPERATIONS)
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_a_method_takes_what_its_call_takes(client: type, call: type[Operation[Any]]):
    _, *parameters = list_parameters(client, method_name(call))

    path_argument = ["path"] if call.upload else []
    key_argument = ["idempotency_key"] if call.creates else []
    assert [name for name, _, _ in parameters] == [
        *path_argument,
        *call.__struct_fields__,
        *key_argument,
    ]


def test_a_method_presents_itself_as_its_call_does():
    signature = inspect.signature(Client.create_run)

    assert Client.create_run.__name__ == "create_run"
    assert inspect.getdoc(Client.create_run) == inspect.getdoc(operations.CreateRun)
    assert signature.return_annotation is Run
    assert signature.parameters["thread_id"].annotation is str
    assert signature.parameters["max_turns"].default == 50


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_help_shows_the_parameters_of_every_call(client: type):
    text = pydoc.plain(pydoc.render_doc(client))

    assert "create_run(self, /, thread_id: str" in text
    assert "get_page_picture(self, /, file_id: str" in text


def test_streams_say_which_events_they_give():
    assert inspect.signature(Client.process).return_annotation is Events
    assert inspect.signature(AsyncClient.process).return_annotation is AsyncEvents
