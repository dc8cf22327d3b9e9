"""The document that describes the API."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import msgspec
import pytest
import schemathesis

from antiphon.api.operations import OPERATIONS
from antiphon.server import openapi
from antiphon.types.events import TYPES


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return msgspec.json.decode(openapi.build_document())


def _references(node: Any) -> Iterator[str]:
    match node:
        case {"$ref": str(reference)}:
            yield reference
        case dict():
            for inner in node.values():
                yield from _references(inner)
        case list():
            for inner in node:
                yield from _references(inner)
        case _:
            pass


def test_every_call_is_an_operation(document: dict[str, Any]) -> None:
    for call in OPERATIONS:
        method, path = call.route.split(" ")
        assert method.lower() in document["paths"][path]


def test_names_of_operations_are_told_apart(document: dict[str, Any]) -> None:
    names = [each["operationId"] for path in document["paths"].values() for each in path.values()]

    assert len(names) == len(set(names))


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in _references(document):
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_every_operation_declares_how_it_can_fail(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if path.startswith("/v1"):
                assert {"401", "403", "503"} <= operation["responses"].keys()


def test_streams_are_documented_with_the_union_of_events(document: dict[str, Any]) -> None:
    stream = document["paths"]["/v1/process"]["post"]["responses"]["200"]["content"]
    event = document["components"]["schemas"]["Event"]

    assert stream["text/event-stream"]["schema"]["contentSchema"] == {
        "$ref": "#/components/schemas/Event"
    }
    assert event["discriminator"]["mapping"].keys() == TYPES


def test_the_same_version_says_the_same(document: dict[str, Any]) -> None:
    assert openapi.build_document() == msgspec.json.encode(document, order=None)


def test_schemathesis_accepts_the_document(document: dict[str, Any]) -> None:
    schema = schemathesis.openapi.from_dict(document)
    schema.validate()

    assert sum(1 for _ in schema.get_all_operations()) >= len(OPERATIONS)


async def test_the_server_serves_it(client: httpx2.AsyncClient, document: dict[str, Any]) -> None:
    answer = await client.get("/openapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == document


def _schemas(node: Any) -> Iterator[dict[str, Any]]:
    match node:
        case dict():
            yield node
            for inner in node.values():
                yield from _schemas(inner)
        case list():
            for inner in node:
                yield from _schemas(inner)
        case _:
            pass


def test_every_call_says_that_a_key_may_have_asked_too_often(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert ("429" in operation["responses"]) == path.startswith("/v1/"), path


def test_every_enum_has_the_type_of_its_values(document: dict[str, Any]) -> None:
    names = {str: "string", int: "integer", type(None): "null"}
    for schema in _schemas(document):
        if isinstance(schema.get("enum"), list):
            types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
            assert {names[type(value)] for value in schema["enum"]} == set(types)


def test_bounds_are_within_int64_for_readers_of_64_bit_floats_too(
    document: dict[str, Any],
) -> None:
    for schema in _schemas(document):
        for bound in (schema.get("minimum"), schema.get("maximum")):
            if isinstance(bound, int):
                assert -(2**63) <= int(float(bound)) < 2**63
                assert int(float(bound)) == bound


def test_a_part_of_a_message_needs_its_type(document: dict[str, Any]) -> None:
    for name in ("Text", "Image", "File"):
        part = document["components"]["schemas"][name]
        assert "type" in part["required"]
        assert part["properties"]["type"] == {"type": "string", "enum": [name.lower()]}


def test_the_document_does_not_depend_on_what_is_imported() -> None:
    code = "from antiphon.server import openapi; print(hash(openapi.build_document()))"
    all_imports = "import antiphon.server.openai.routes, antiphon.server.page_wires.routes"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", f"{imports}; {code}"],
            env=os.environ | {"PYTHONHASHSEED": "0"},
            capture_output=True,
            check=True,
        ).stdout
        for imports in ("import antiphon.cli.serve", all_imports)
    }

    assert len(hashes) == 1
