"""Every operation of the OpenAPI document, in each way it can be meant, and where it holds ids.

`find_unfilled_fields` returns what the ways leave out of what the document says, so that nothing
that is added to the API is forgotten here.
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
class Its:
    """Stands where the id of a thing of this kind goes."""

    kind: str


@dataclass(frozen=True)
class Way:
    """One operation, asked in one way; `fields` are of path, query or body, with `Its` for ids."""

    method: str
    path: str
    fields: Json
    takes: frozenset[str] = frozenset()  # the headers that the document names
    scope: str | None = None  # where reading and writing are not enough

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def needs(self) -> str:
        return self.scope or ("read" if self.method == "GET" else "write")

    @property
    def endless(self) -> bool:
        """True if its stream follows a run while that waits."""
        return self.path.endswith("/events")

    def places(self) -> Sequence[tuple[str, ...]]:
        """Where ids are, each as the way to it."""
        return [trail for trail, _ in _ids(self.fields)]

    def at(self, trail: tuple[str, ...]) -> Its:
        (found,) = (its for place, its in _ids(self.fields) if place == trail)
        return found

    def fill(self, ids: Mapping[str, str], **instead: str) -> Json:
        """The fields with these ids; `instead` is by the place, its steps joined by a dot."""
        return _fill_value(self.fields, ids, instead, ())

    async def ask(
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
"""Whose id a field of this name holds."""

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
"""What `after` names in the list at this address."""

FOREIGN = {"PastMessage"}
"""Schemas whose ids are of other programs; those of their files are filled below."""

_THREAD, _RUN, _FILE = Its("thread"), Its("run"), Its("file")

MEANT: dict[str, tuple[Json, ...]] = {
    "add_import_piece": ({"import_id": Its("import"), "offset": 0, "content": "YQ=="},),
    "append_messages": (
        {"thread_id": _THREAD, "messages": [{"content": "hi"}], "replace_from": Its("message")},
        {"thread_id": _THREAD, "messages": [{"content": [{"type": "file", "file_id": _FILE}]}]},
        {"thread_id": _THREAD, "messages": [{"content": [{"type": "image", "file_id": _FILE}]}]},
    ),
    "claim_actions": (
        {"tools": ["nobodys_tool"], "thread_id": _THREAD, "assistant_id": Its("assistant")},
    ),
    "complete": ({"run_id": _RUN},),
    "create_assistant": ({"name": "helper", "file_ids": [_FILE]},),
    "create_browser_token": (
        {"origins": ["https://shop.example.org"], "thread_id": _THREAD},
        {"origins": ["https://shop.example.org"], "assistant_id": Its("assistant")},
    ),
    "create_chat_import": ({"size": 1000},),
    "create_folder": ({"name": "taxes", "file_ids": [_FILE]},),
    "create_key": ({"name": "laptop", "owner": Its("owner"), "person_id": Its("person")},),
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
            "tool_call_id": Its("tool_call"),
        },
    ),
    "create_person": ({"name": "eve"},),
    "create_project": ({"name": "moon"},),
    "create_run": ({"thread_id": _THREAD, "assistant_id": Its("assistant")},),
    "create_speech": ({"text": "Hello."},),
    "create_transcription": ({"audio": "YQ==", "media_type": "audio/webm"},),
    "copy_shared": ({"token": Its("link")},),
    "copy_published_assistant": ({"assistant_id": Its("published")},),
    "get_published_assistant": ({"assistant_id": Its("published")},),
    "remove_published_assistant": ({"assistant_id": Its("published")},),
    "list_published_assistants": ({"after": Its("published")},),
    "create_share": ({"thread_id": _THREAD},),
    "create_schedule": (
        {"message": "hi", "cron": "@daily", "thread_id": _THREAD},
        {"message": "hi", "run_at": 2_000_000_000_000, "assistant_id": Its("assistant")},
    ),
    "create_thread": (
        {"title": "notes"},
        {"title": "notes", "folder_id": Its("folder")},
        {"messages": [{"content": [{"type": "file", "file_id": _FILE}]}]},
        {"messages": [{"content": [{"type": "image", "file_id": _FILE}]}]},
    ),
    "create_webhook": ({"url": "https://hooks.invalid/"},),
    "fork_thread": ({"thread_id": _THREAD, "message_id": Its("message")},),
    "list_threads": (
        {"after": _THREAD},
        {"parent_id": _THREAD},
        {"folder_id": Its("folder")},
    ),
    "change_threads": (
        {"thread_ids": [_THREAD], "action": "archive"},
        {"thread_ids": [_THREAD], "action": "move", "folder_id": Its("folder")},
    ),
    "search_files": (
        {"q": "canary", "file_ids": [_FILE]},
        {"q": "canary", "thread_id": _THREAD, "assistant_id": Its("assistant")},
    ),
    "list_files": ({"after": _FILE}, {"thread_id": _THREAD, "assistant_id": Its("assistant")}),
    "list_pages": ({"file_id": _FILE, "page": 1, "after": "1"},),
    "list_tags": ({"after": "work"},),
    "preview_schedule": ({"cron": "@daily"},),
    "process": (
        {
            "thread_id": _THREAD,
            "assistant_id": Its("assistant"),
            "message": {"content": [{"type": "file", "file_id": _FILE}]},
        },
        {"message": {"content": [{"type": "image", "file_id": _FILE}]}},
        {"history": [{"content": [{"type": "file", "file_id": _FILE}]}]},
        {"history": [{"content": [{"type": "image", "file_id": _FILE}]}]},
        {"run_id": _RUN},
    ),
    "record_act": ({"what": "mcp_server.added", "target": "far"},),
    "release_claim": ({"action_id": Its("action"), "attempt": 7},),
    "renew_claim": ({"action_id": Its("action"), "attempt": 7},),
    "save_task": (
        {"action_id": Its("action"), "task_id": "t1", "origin": "far", "tool": "job"},
        {"action_id": Its("action"), "task_id": "t1", "origin": "far", "tool": "job", "attempt": 7},
    ),
    "search": ({"q": "umbrella", "after": "9.9.9"},),
    "set_feedback": ({"message_id": Its("reply"), "rating": "down"},),
    "set_owners_provider_key": (
        {"owner": Its("owner"), "provider": "openai", "key": "sk-taken-over"},
    ),
    "set_provider_key": ({"provider": "openai", "key": "sk-own"},),
    "sign_in": ({"name": "ann", "password": "not this one"},),
    "submit_tool_output": ({"run_id": _RUN, "tool_call_id": Its("tool_call"), "output": "17:00"},),
    "submit_tool_outputs": (
        {
            "run_id": _RUN,
            "outputs": [{"tool_call_id": Its("tool_call"), "output": "17:00"}],
        },
    ),
    "update_assistant": ({"assistant_id": Its("assistant"), "name": "taken over"},),
    "update_folder": ({"folder_id": Its("folder"), "name": "taken over"},),
    "update_key": ({"key_id": Its("key"), "name": "taken over"},),
    "update_memory": ({"memory_id": Its("memory"), "text": "taken over"},),
    "update_person": ({"person_id": Its("person"), "name": "taken over"},),
    "update_project": ({"project_id": Its("project"), "name": "taken over"},),
    "update_schedule": (
        {"schedule_id": Its("schedule"), "thread_id": _THREAD},
        {"schedule_id": Its("schedule"), "assistant_id": Its("assistant")},
    ),
    "update_thread": (
        {"thread_id": _THREAD, "title": "taken over"},
        {"thread_id": _THREAD, "folder_id": Its("folder")},
    ),
    "update_share": ({"share_id": Its("share"), "title": "taken over"},),
    "update_webhook": ({"webhook_id": Its("webhook"), "description": "taken over"},),
    "upload_file": ({"name": "a.txt"},),
}
"""What calls with a body are asked; those without one are asked what the document says."""

_SCOPES = {call.route: call.scope for call in OPERATIONS}


def ways(document: Json) -> Iterator[Way]:
    """Everything that can be asked at addresses of ours, but for what is everybody's."""
    for path, method, said in _operations(document):
        takes = frozenset(each["name"] for each in said["parameters"] if each["in"] == "header")
        route = f"{method.upper()} {path}"
        for fields in MEANT.get(said["operationId"], (_by_its_parameters(path, said),)):
            yield Way(method.upper(), path, fields, takes, _SCOPES.get(route))


def find_unfilled_fields(document: Json) -> set[str]:
    """Fields that hold an id, and required fields, of operations that no way of ours fills."""
    missing: set[str] = set()
    filled: dict[str, set[str]] = {}
    for way in ways(document):
        filled.setdefault(way.name, set()).update(_names(way.fields))
    for path, method, said in _operations(document):
        name = f"{method.upper()} {path}"
        missing |= {
            f"{name}: {field}" for field in _list_wanted_fields(said, document) - filled[name]
        }
    return missing


def nobodys(id: str) -> str:
    """An id of the same shape and length that was never given out."""
    kind, _, rest = id.rpartition("_")
    return f"{kind}_{rest[::-1]}" if kind else rest[::-1] + "x"


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        if path.startswith("/v1"):
            for method, said in methods.items():
                yield path, method, {"parameters": [], **said}


def _by_its_parameters(path: str, said: Json) -> Json:
    kinds = KINDS | {"after": LISTS.get(path.split("/")[2], "")}
    names = [each["name"] for each in said["parameters"] if _holds_id(each["name"], each["schema"])]
    return {name: Its(kinds[name]) for name in names if kinds.get(name)}


def _holds_id(name: str, schema: Json) -> bool:
    return (
        name.endswith("_id") or name in KINDS or (name, schema.get("type")) == ("after", "string")
    )


def _list_wanted_fields(said: Json, document: Json) -> set[str]:
    wanted = {
        each["name"]
        for each in said["parameters"]
        if each["in"] == "path" or _holds_id(each["name"], each["schema"])
    }
    for body in said.get("requestBody", {}).get("content", {}).values():
        wanted |= set(body["schema"].get("required", ())) - {"file"}
        wanted |= set(_id_fields(body["schema"], document["components"]["schemas"], set()))
    return wanted


def _id_fields(schema: Any, schemas: Json, seen: set[str]) -> Iterator[str]:
    """The names of fields that hold ids, however deep."""
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


def _ids(value: Any, trail: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Its]]:
    if isinstance(value, Its):
        yield trail, value
    elif is_object(value):
        for name, inner in value.items():
            yield from _ids(inner, (*trail, name))
    elif is_list(value):
        for number, inner in enumerate(value):
            yield from _ids(inner, (*trail, str(number)))


def _fill_value(
    value: Any, ids: Mapping[str, str], instead: Mapping[str, str], trail: tuple[str, ...]
) -> Any:
    if isinstance(value, Its):
        return instead.get(".".join(trail), ids[value.kind])
    if is_object(value):
        return {name: _fill_value(it, ids, instead, (*trail, name)) for name, it in value.items()}
    if is_list(value):
        return [_fill_value(it, ids, instead, (*trail, str(n))) for n, it in enumerate(value)]
    return value


def _names(value: Any) -> Iterator[str]:
    if is_object(value):
        for name, inner in value.items():
            yield name
            yield from _names(inner)
    elif is_list(value):
        for inner in value:
            yield from _names(inner)
