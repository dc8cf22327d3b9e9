"""Sample requests for every operation of the OpenAPI document, with the places of their ids.

`find_unfilled_fields` returns the fields of the document that no sample fills, so that a test fails
until an operation that is new in the API has its samples here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from antiphon.api.operations import OPERATIONS
from antiphon.types.json_values import is_list, is_object

Json = dict[str, Any]


@dataclass(frozen=True)
class IdOf:
    """Placeholder for the id of a record of this kind."""

    kind: str


@dataclass(frozen=True)
class SampleRequest:
    """Request of an operation; `fields` are of path, query or body, with `IdOf` in place of ids."""

    method: str
    path: str
    fields: Json
    header_names: frozenset[str] = frozenset()  # the headers that the document names
    scope: str | None = None  # if neither reading nor writing is enough

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def required_access(self) -> str:
        return self.scope or ("read" if self.method == "GET" else "write")

    @property
    def endless(self) -> bool:
        """True if the response is a stream that stays open while the run waits."""
        return self.path.endswith("/events")

    def id_paths(self) -> Sequence[tuple[str, ...]]:
        """Return the path to each id in the fields."""
        return [id_path for id_path, _ in _find_ids(self.fields)]

    def id_at(self, id_path: tuple[str, ...]) -> IdOf:
        (result,) = (
            placeholder for place, placeholder in _find_ids(self.fields) if place == id_path
        )
        return result

    def fill(self, ids: Mapping[str, str], **instead: str) -> Json:
        """Return the fields with these ids; `instead` has exceptions by their dotted paths."""
        return _fill_value(self.fields, ids, instead, ())

    async def send(
        self, client: httpx2.AsyncClient, fields: Json, headers: Mapping[str, str] = {}
    ) -> httpx2.Response:
        fields = dict(fields)
        path = self.path
        for name in [name for name in fields if f"{{{name}}}" in path]:
            path = path.replace(f"{{{name}}}", str(fields.pop(name)))
        if self.method in ("GET", "DELETE"):
            return await client.request(self.method, path, params=fields, headers=headers)
        if path == "/v1/files":
            return await client.post(path, params=fields, content=b"a", headers=headers)
        body: Json = {"json": fields} if fields else {}
        return await client.request(self.method, path, headers=headers, **body)


KINDS = {
    "action_id": "action",
    "assistant_id": "assistant",
    "file_id": "file",
    "folder_id": "folder",
    "import_id": "import",
    "key_id": "key",
    "message_id": "message",
    "owner": "owner",
    "parent_id": "thread",
    "person_id": "person",
    "project_id": "project",
    "provider": "provider",
    "run_id": "run",
    "thread_id": "thread",
    "tool_call_id": "tool_call",
    "webhook_id": "webhook",
    "event_id": "event",
    "schedule_id": "schedule",
    "memory_id": "memory",
    "share_id": "share",
    "token": "link",
}
"""Kind of the record whose id a field of this name holds."""

LISTS = {
    "actions": "action",
    "acts": "act",
    "assistants": "assistant",
    "files": "file",
    "folders": "folder",
    "keys": "key",
    "live_runs": "run",
    "messages": "message",
    "owners": "owner",
    "people": "person",
    "projects": "project",
    "published_assistants": "published",
    "runs": "run",
    "schedules": "occurrence",
    "threads": "thread",
    "webhooks": "event",
}
"""Kind of the records in the list at this path, whose ids `after` takes."""

FOREIGN = {"PastMessage"}
"""Schemas with ids of other programs; the ids of their files are filled below."""

_THREAD, _RUN, _FILE = IdOf("thread"), IdOf("run"), IdOf("file")

SAMPLE_FIELDS: dict[str, tuple[Json, ...]] = {
    "add_import_piece": ({"import_id": IdOf("import"), "offset": 0, "content": "YQ=="},),
    "append_messages": (
        {"thread_id": _THREAD, "messages": [{"content": "hi"}], "replace_from": IdOf("message")},
        {"thread_id": _THREAD, "messages": [{"content": [{"type": "file", "file_id": _FILE}]}]},
        {"thread_id": _THREAD, "messages": [{"content": [{"type": "image", "file_id": _FILE}]}]},
    ),
    "claim_actions": (
        {"tools": ["nobodys_tool"], "thread_id": _THREAD, "assistant_id": IdOf("assistant")},
    ),
    "complete": ({"run_id": _RUN},),
    "create_assistant": ({"name": "helper", "file_ids": [_FILE]},),
    "create_browser_token": (
        {"origins": ["https://shop.example.org"], "thread_id": _THREAD},
        {"origins": ["https://shop.example.org"], "assistant_id": IdOf("assistant")},
    ),
    "create_chat_import": ({"size": 1000},),
    "create_folder": ({"name": "taxes", "file_ids": [_FILE]},),
    "create_key": ({"name": "laptop", "owner": IdOf("owner"), "person_id": IdOf("person")},),
    "create_memory": ({"text": "Likes tea.", "run_id": _RUN},),
    "create_message": (
        {"thread_id": _THREAD, "content": "hi"},
        {"thread_id": _THREAD, "content": [{"type": "file", "file_id": _FILE}]},
        {"thread_id": _THREAD, "content": [{"type": "image", "file_id": _FILE}]},
        {
            "thread_id": _THREAD,
            "role": "tool",
            "content": "17:00",
            "run_id": _RUN,
            "tool_call_id": IdOf("tool_call"),
        },
    ),
    "create_person": ({"name": "eve"},),
    "create_project": ({"name": "moon"},),
    "create_run": ({"thread_id": _THREAD, "assistant_id": IdOf("assistant")},),
    "create_speech": ({"text": "Hello."},),
    "create_transcription": ({"audio": "YQ==", "media_type": "audio/webm"},),
    "copy_shared": ({"token": IdOf("link")},),
    "copy_published_assistant": ({"assistant_id": IdOf("published")},),
    "get_published_assistant": ({"assistant_id": IdOf("published")},),
    "remove_published_assistant": ({"assistant_id": IdOf("published")},),
    "list_published_assistants": ({"after": IdOf("published")},),
    "create_share": ({"thread_id": _THREAD},),
    "create_schedule": (
        {"message": "hi", "cron": "@daily", "thread_id": _THREAD},
        {"message": "hi", "run_at": 2_000_000_000_000, "assistant_id": IdOf("assistant")},
    ),
    "create_thread": (
        {"title": "notes"},
        {"title": "notes", "folder_id": IdOf("folder")},
        {"messages": [{"content": [{"type": "file", "file_id": _FILE}]}]},
        {"messages": [{"content": [{"type": "image", "file_id": _FILE}]}]},
    ),
    "create_webhook": ({"url": "https://hooks.invalid/"},),
    "fork_thread": ({"thread_id": _THREAD, "message_id": IdOf("message")},),
    "list_threads": (
        {"after": _THREAD},
        {"parent_id": _THREAD},
        {"folder_id": IdOf("folder")},
    ),
    "change_threads": (
        {"thread_ids": [_THREAD], "action": "archive"},
        {"thread_ids": [_THREAD], "action": "move", "folder_id": IdOf("folder")},
    ),
    "search_files": (
        {"q": "canary", "file_ids": [_FILE]},
        {"q": "canary", "thread_id": _THREAD, "assistant_id": IdOf("assistant")},
    ),
    "list_files": ({"after": _FILE}, {"thread_id": _THREAD, "assistant_id": IdOf("assistant")}),
    "list_pages": ({"file_id": _FILE, "page": 1, "after": "1"},),
    "list_tags": ({"after": "work"},),
    "preview_schedule": ({"cron": "@daily"},),
    "process": (
        {
            "thread_id": _THREAD,
            "assistant_id": IdOf("assistant"),
            "message": {"content": [{"type": "file", "file_id": _FILE}]},
        },
        {"message": {"content": [{"type": "image", "file_id": _FILE}]}},
        {"history": [{"content": [{"type": "file", "file_id": _FILE}]}]},
        {"history": [{"content": [{"type": "image", "file_id": _FILE}]}]},
        {"run_id": _RUN},
    ),
    "record_act": ({"what": "mcp_server.added", "target": "far"},),
    "release_claim": ({"action_id": IdOf("action"), "attempt": 7},),
    "renew_claim": ({"action_id": IdOf("action"), "attempt": 7},),
    "save_task": (
        {"action_id": IdOf("action"), "task_id": "t1", "origin": "far", "tool": "job"},
        {
            "action_id": IdOf("action"),
            "task_id": "t1",
            "origin": "far",
            "tool": "job",
            "attempt": 7,
        },
    ),
    "search": ({"q": "umbrella", "after": "9.9.9"},),
    "set_feedback": ({"message_id": IdOf("reply"), "rating": "down"},),
    "set_owners_provider_key": (
        {"owner": IdOf("owner"), "provider": "openai", "key": "sk-taken-over"},
    ),
    "set_provider_key": ({"provider": "openai", "key": "sk-own"},),
    "sign_in": ({"name": "ann", "password": "not this one"},),
    "submit_tool_output": ({"run_id": _RUN, "tool_call_id": IdOf("tool_call"), "output": "17:00"},),
    "submit_tool_outputs": (
        {
            "run_id": _RUN,
            "outputs": [{"tool_call_id": IdOf("tool_call"), "output": "17:00"}],
        },
    ),
    "update_assistant": ({"assistant_id": IdOf("assistant"), "name": "taken over"},),
    "update_folder": ({"folder_id": IdOf("folder"), "name": "taken over"},),
    "update_key": ({"key_id": IdOf("key"), "name": "taken over"},),
    "update_memory": ({"memory_id": IdOf("memory"), "text": "taken over"},),
    "update_person": ({"person_id": IdOf("person"), "name": "taken over"},),
    "update_project": ({"project_id": IdOf("project"), "name": "taken over"},),
    "update_schedule": (
        {"schedule_id": IdOf("schedule"), "thread_id": _THREAD},
        {"schedule_id": IdOf("schedule"), "assistant_id": IdOf("assistant")},
    ),
    "update_thread": (
        {"thread_id": _THREAD, "title": "taken over"},
        {"thread_id": _THREAD, "folder_id": IdOf("folder")},
    ),
    "update_share": ({"share_id": IdOf("share"), "title": "taken over"},),
    "update_webhook": ({"webhook_id": IdOf("webhook"), "description": "taken over"},),
    "upload_file": ({"name": "a.txt"},),
}
"""Sample fields by operation; those of other operations are derived from the document."""

_SCOPES = {call.route: call.scope for call in OPERATIONS}


def build_sample_requests(document: Json) -> Iterator[SampleRequest]:
    """Build the requests of all operations below `/v1`."""
    for path, method, operation in _list_operations(document):
        header_names = frozenset(
            each["name"] for each in operation["parameters"] if each["in"] == "header"
        )
        route = f"{method.upper()} {path}"
        for fields in SAMPLE_FIELDS.get(
            operation["operationId"], (_derive_fields(path, operation),)
        ):
            yield SampleRequest(method.upper(), path, fields, header_names, _SCOPES.get(route))


def find_unfilled_fields(document: Json) -> set[str]:
    """Return the required fields and the fields with ids that no sample request fills."""
    missing: set[str] = set()
    filled: dict[str, set[str]] = {}
    for sample in build_sample_requests(document):
        filled.setdefault(sample.name, set()).update(_list_names(sample.fields))
    for path, method, operation in _list_operations(document):
        name = f"{method.upper()} {path}"
        missing |= {
            f"{name}: {field}" for field in _list_wanted_fields(operation, document) - filled[name]
        }
    return missing


def make_unknown_id(id: str) -> str:
    """Return an id of the same shape and length that no record has."""
    kind, _, rest = id.rpartition("_")
    return f"{kind}_{rest[::-1]}" if kind else rest[::-1] + "x"


def _list_operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        if path.startswith("/v1"):
            for method, operation in methods.items():
                yield path, method, {"parameters": [], **operation}


def _derive_fields(path: str, operation: Json) -> Json:
    kinds = KINDS | {"after": LISTS.get(path.split("/")[2], "")}
    names = [
        each["name"] for each in operation["parameters"] if _holds_id(each["name"], each["schema"])
    ]
    return {name: IdOf(kinds[name]) for name in names if kinds.get(name)}


def _holds_id(name: str, schema: Json) -> bool:
    return (
        name.endswith("_id") or name in KINDS or (name, schema.get("type")) == ("after", "string")
    )


def _list_wanted_fields(operation: Json, document: Json) -> set[str]:
    wanted = {
        each["name"]
        for each in operation["parameters"]
        if each["in"] == "path" or _holds_id(each["name"], each["schema"])
    }
    for body in operation.get("requestBody", {}).get("content", {}).values():
        wanted |= set(body["schema"].get("required", ())) - {"file"}
        wanted |= set(_id_fields(body["schema"], document["components"]["schemas"], set()))
    return wanted


def _id_fields(schema: Any, schemas: Json, seen: set[str]) -> Iterator[str]:
    """Return the names of fields that hold ids, at any depth."""
    if is_object(schema):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            name = reference.rpartition("/")[2]
            if name not in seen and name not in FOREIGN:
                seen.add(name)
                yield from _id_fields(schemas[name], schemas, seen)
            return
        for name, field in schema.get("properties", {}).items():
            if _holds_id(name, field):
                yield name
        for inner in schema.values():
            yield from _id_fields(inner, schemas, seen)
    elif is_list(schema):
        for inner in schema:
            yield from _id_fields(inner, schemas, seen)


def _find_ids(value: Any, id_path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], IdOf]]:
    if isinstance(value, IdOf):
        yield id_path, value
    elif is_object(value):
        for name, inner in value.items():
            yield from _find_ids(inner, (*id_path, name))
    elif is_list(value):
        for number, inner in enumerate(value):
            yield from _find_ids(inner, (*id_path, str(number)))


def _fill_value(
    value: Any, ids: Mapping[str, str], instead: Mapping[str, str], id_path: tuple[str, ...]
) -> Any:
    if isinstance(value, IdOf):
        return instead.get(".".join(id_path), ids[value.kind])
    if is_object(value):
        return {
            name: _fill_value(inner, ids, instead, (*id_path, name))
            for name, inner in value.items()
        }
    if is_list(value):
        return [
            _fill_value(inner, ids, instead, (*id_path, str(n))) for n, inner in enumerate(value)
        ]
    return value


def _list_names(value: Any) -> Iterator[str]:
    if is_object(value):
        for name, inner in value.items():
            yield name
            yield from _list_names(inner)
    elif is_list(value):
        for inner in value:
            yield from _list_names(inner)
