"""Who is let in: keys, scopes, other people's things, and pages of other origins."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec
import pytest
from conftest import SETTINGS, Served, eventually, served
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from antiphon.calls import CALLS, path_fields
from antiphon.errors import AntiphonError, BadSettings, InvalidRequest
from antiphon.keys import make_key
from antiphon.server.access import check_bind, check_origin
from antiphon.server.serve import serving

CANARY = "canary-6f1d2c"
TOOLS = [{"name": "get_flight_times", "parameters": {"type": "object", "properties": {}}}]
ASK = {"role": "user", "content": f"When does the next LAX-JFK flight leave? {CANARY}"}
BEARER = "authorization"


# The matrix: every operation, with every kind of key, and with other people's ids everywhere.


@dataclass(frozen=True)
class Operation:
    """One operation with every field that holds an id, and what else it needs."""

    method: str
    path: str
    fields: dict[str, Any]
    ids: dict[str, str]  # field -> which of a world's ids goes there
    scope: str | None = None  # where reading and writing are not enough

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    async def ask(
        self, client: httpx2.AsyncClient, ids: dict[str, str], **headers: str
    ) -> httpx2.Response:
        fields = self.fields | ids
        path = self.path
        for name in [name for name in fields if f"{{{name}}}" in path]:
            path = path.replace(f"{{{name}}}", str(fields.pop(name)))
        if self.method == "GET":
            return await client.get(path, params=fields, headers=headers)
        if self.path == "/v1/files":
            return await client.post(path, params={"name": "a.txt"}, content=b"a", headers=headers)
        body = {"json": fields} if fields else {}
        return await client.request(self.method, path, headers=headers, **body)


NEEDED: dict[str, list[dict[str, Any]]] = {
    "CreateMessage": [{"content": "hi"}, {"content": "17:00", "role": "tool"}],
    "SubmitToolOutput": [{"output": "17:00"}],
    "Process": [{"message": {"content": "hi"}}, {}],
    "CreatePerson": [{"name": "eve"}],
    "SignIn": [{"name": "ann", "password": "wrong"}],
    "CreateKey": [{"name": "laptop", "owner": "ann"}],
}
"""What calls need besides ids, in each of the ways they can be meant."""

UNMEANT = {
    ("CreateMessage", 0): {"run_id", "tool_call_id"},
    ("Process", 0): {"run_id"},
    ("Process", 1): {"thread_id", "assistant_id"},
}
"""The ids that contradict one of those ways."""

KINDS = {
    "assistant_id": "assistant",
    "thread_id": "thread",
    "parent_id": "thread",
    "person_id": "person",
    "key_id": "key",
    "message_id": "message",
    "run_id": "run",
    "action_id": "action",
    "file_id": "file",
    "tool_call_id": "tool_call",
}
AFTER = {
    "ListAssistants": "assistant",
    "ListThreads": "thread",
    "ListMessages": "message",
    "ListRuns": "run",
    "ListActions": "action",
    "ListFiles": "file",
    "ListPeople": "person",
    "ListKeys": "key",
    "ListLiveRuns": "run",
}


def _operations() -> Iterator[Operation]:
    for call in CALLS:
        method, path = call.route.split(" ")
        ids = {name: KINDS[name] for name in call.__struct_fields__ if name in KINDS}
        if call.__name__ in AFTER:
            ids["after"] = AFTER[call.__name__]
        for way, needed in enumerate(NEEDED.get(call.__name__, [{}])):
            unmeant = UNMEANT.get((call.__name__, way), set())
            meant = {name: kind for name, kind in ids.items() if name not in unmeant}
            yield Operation(method, path, needed, meant, call.scope)
    yield Operation("POST", "/v1/files", {}, {})
    yield Operation("GET", "/v1/files/{file_id}/content", {}, {"file_id": "file"})


OPERATIONS = list(_operations())
OWNED = [operation for operation in OPERATIONS if operation.scope is None]
WITH_IDS = [operation for operation in OWNED if operation.ids]


async def _world(client: httpx2.AsyncClient) -> dict[str, str]:
    """One of everything, all of it said to be the caller's."""
    assistant = (await client.post("/v1/assistants", json={"name": CANARY})).json()["id"]
    file = await client.post("/v1/files", params={"name": f"{CANARY}.txt"}, content=CANARY)
    turn = await client.post("/v1/process", json={"message": ASK, "tools": TOOLS})
    assert "event: action.required" in turn.text, turn.text
    run = (await client.get("/v1/runs")).json()["data"][0]
    action = (await client.get("/v1/actions", params={"run_id": run["id"]})).json()["data"][0]
    messages = await client.get("/v1/messages", params={"thread_id": run["thread_id"]})
    return {
        "assistant": assistant,
        "thread": run["thread_id"],
        "message": messages.json()["data"][0]["id"],
        "run": run["id"],
        "action": action["id"],
        "tool_call": action["tool_call_id"],
        "file": file.json()["id"],
        "person": "person_1",
        "key": "key_1",
    }


def _nobodys(id: str) -> str:
    """An id of the same shape and length that was never given out."""
    kind, _, rest = id.rpartition("_")
    return f"{kind}_{rest[::-1]}" if kind else rest[::-1] + "x"


def test_every_operation_of_the_document_is_in_the_matrix(document: dict[str, Any]) -> None:
    documented = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/v1")
    }

    assert documented == {operation.name for operation in OPERATIONS}


def test_every_id_of_a_call_is_in_the_matrix() -> None:
    ids = {name for call in CALLS for name in call.__struct_fields__ if name.endswith("_id")}

    assert ids == set(KINDS)
    assert {call.__name__ for call in CALLS if "after" in call.__struct_fields__} == {
        *AFTER,
        "Follow",
    }


@pytest.fixture
async def document(client: httpx2.AsyncClient) -> dict[str, Any]:
    return (await client.get("/openapi.json")).json()


async def test_no_operation_opens_without_a_good_key(server: Served) -> None:
    good, revoked = await server.key("ann"), await server.key("ann")
    ids = await _world(await server.client(good))
    await server.runtime.store.revoke_key(server.keys[revoked])
    bad: list[dict[str, str]] = [
        {},
        {BEARER: "Bearer"},
        {BEARER: f"Basic {good}"},
        {BEARER: good},
        {BEARER: f"Bearer {good}x"},
        {BEARER: f"Bearer {good[:-1]}"},
        {BEARER: f"Bearer {good[:15]}{'A' * 43}"},
        {BEARER: f"Bearer {revoked}"},
        {BEARER: "Bearer ' OR 1=1--"},
        {"x-api-key": good},
        {"cookie": f"key={good}"},
    ]
    client = await server.client()

    for operation in OPERATIONS:
        for headers in bad:
            given = {name: ids[kind] for name, kind in operation.ids.items()}
            answer = await operation.ask(client, given, **headers)
            assert answer.status_code == 401, (operation.name, headers)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert CANARY not in answer.text


async def test_a_key_that_may_read_writes_nothing(server: Served) -> None:
    ids = await _world(await server.client(await server.key("ann")))
    reader = await server.client(await server.key("ann", "read"))

    for operation in OPERATIONS:
        if operation.path.endswith("/events"):
            continue  # it would follow the run for as long as that waits
        given = {name: ids[kind] for name, kind in operation.ids.items() if name != "after"}
        answer = await operation.ask(reader, given)
        wanted = 200 if operation.method == "GET" and operation.scope is None else 403
        assert answer.status_code == wanted, (operation.name, answer.text)


async def test_a_key_that_may_write_reads_nothing(server: Served) -> None:
    writer = await server.client(await server.key("ann", "write"))

    assert (await writer.get("/v1/threads")).status_code == 403
    assert (await writer.post("/v1/threads")).status_code == 201


async def test_only_a_key_that_may_administer_administers(server: Served) -> None:
    ids = await _world(await server.client(await server.key("ann")))
    ann = await server.client(await server.key("ann", "read", "write"))
    root = await server.client(await server.key("root", "admin"))
    governed = [operation for operation in OPERATIONS if operation.scope == "admin"]

    assert len(governed) == 12
    for operation in governed:
        given = {name: ids[kind] for name, kind in operation.ids.items() if name != "after"}
        refused = await operation.ask(ann, given)
        answer = await operation.ask(root, given)

        assert refused.status_code == 403, operation.name
        assert refused.json()["code"] == "forbidden"
        assert answer.json().get("code") != "forbidden", (operation.name, answer.text)
    assert (await ann.head("/v1/people")).status_code == 403


async def test_other_peoples_ids_are_answered_like_ids_that_never_were(two: Two) -> None:
    for operation, field in ((each, field) for each in WITH_IDS for field in each.ids):
        kind = operation.ids[field]
        own = {
            name: two.bens[other]
            for name, other in operation.ids.items()
            if name not in (field, "after")
        }
        foreign = await operation.ask(two.ben, own | {field: two.anns[kind]})
        nobodys = await operation.ask(two.ben, own | {field: _nobodys(two.anns[kind])})
        told = nobodys.content.replace(_nobodys(two.anns[kind]).encode(), two.anns[kind].encode())

        about = f"{operation.name} by {field}: {foreign.text}"
        assert (foreign.status_code, foreign.content) == (nobodys.status_code, told), about
        assert foreign.status_code == 404 or foreign.json()["data"] == [], about
        assert dict(foreign.headers) | _VARYING == dict(nobodys.headers) | _VARYING
        assert CANARY not in foreign.text
    assert await _snapshot(two.ann, two.anns) == two.before


async def test_a_thread_holds_no_other_peoples_files(two: Two) -> None:
    for part in ({"type": "file"}, {"type": "image"}):
        content = [part | {"file_id": two.anns["file"]}]
        body = {"thread_id": two.bens["thread"], "content": content}
        answer = await two.ben.post("/v1/messages", json=body)

        assert answer.status_code == 404


async def test_an_idempotency_key_of_somebody_else_means_nothing(two: Two) -> None:
    once = {"idempotency-key": "shared"}
    anns = await two.ann.post("/v1/threads", json={"title": CANARY}, headers=once)
    bens = await two.ben.post("/v1/threads", json={"title": CANARY}, headers=once)

    assert anns.json()["id"] != bens.json()["id"]
    assert "idempotency-replayed" not in bens.headers


_VARYING = {"date": "", "content-length": ""}


@dataclass
class Two:
    """Two owners on one server, and the ids of what each has."""

    ann: httpx2.AsyncClient
    ben: httpx2.AsyncClient
    anns: dict[str, str]
    bens: dict[str, str]
    before: list[str]


@pytest.fixture
async def two(server: Served) -> Two:
    ann = await server.client(await server.key("ann"))
    ben = await server.client(await server.key("ben"))
    anns, bens = await _world(ann), await _world(ben)
    return Two(ann, ben, anns, bens, await _snapshot(ann, anns))


async def _snapshot(client: httpx2.AsyncClient, ids: dict[str, str]) -> list[str]:
    """Everything that an owner can read, as text."""
    texts = []
    for operation in OWNED:
        if operation.method == "GET" and not operation.path.endswith("/events"):
            given = {name: ids[kind] for name, kind in operation.ids.items() if name != "after"}
            texts.append((await operation.ask(client, given)).text)
    return texts


# Keys.


async def test_a_key_is_kept_as_a_hash_and_has_256_random_bits(server: Served) -> None:
    store = server.runtime.store
    key, text = await make_key(store, "ann", "laptop", ("write", "read"))
    found = await store.find_key(key.prefix)

    assert found is not None
    assert text.startswith(key.prefix)
    assert len(base64.urlsafe_b64decode(text[len(key.prefix) :] + "=")) == 32
    assert text[len(key.prefix) :] not in repr(await store.keys()) + repr(found)
    assert key.scopes == ("read", "write")


@pytest.mark.parametrize("scopes", [(), ("root",), ("read", "root")])
async def test_a_key_has_scopes_that_exist(server: Served, scopes: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest):
        await make_key(server.runtime.store, "ann", scopes=scopes)


async def test_the_scheme_may_be_written_in_any_case(server: Served) -> None:
    key = await server.key("ann")
    client = await server.client()

    answers = [
        await client.get("/v1/threads", headers={"Authorization": f"{scheme} {key}"})
        for scheme in ("Bearer", "bearer", "BEARER")
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200]


async def test_two_authorization_headers_are_none(server: Served) -> None:
    key = await server.key("ann")
    headers = [(BEARER, f"Bearer {key}"), (BEARER, f"Bearer {key}")]

    answer = await (await server.client()).get("/v1/threads", headers=headers)

    assert answer.status_code == 401


async def test_without_keys_loopback_is_the_owner_local(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/v1/threads", headers={BEARER: "Bearer whatever"})

    assert answer.status_code == 200


async def test_the_first_key_locks_the_door_at_once_for_who_brings_it(server: Served) -> None:
    client = await server.client()
    mine = (await client.post("/v1/threads")).json()["id"]
    keyed = await server.client(await server.key("ann"))

    assert (await keyed.get(f"/v1/threads/{mine}")).status_code == 404


async def test_the_first_key_locks_the_door_within_seconds_for_who_has_none(
    server: Served,
) -> None:
    client = await server.client()
    assert (await client.get("/v1/threads")).status_code == 200
    await server.key("ann")

    async def locked() -> bool:
        return (await client.get("/v1/threads")).status_code == 401

    await eventually(locked)


async def test_revoking_the_last_key_does_not_open_the_door(server: Served) -> None:
    key = await server.key("ann")
    await server.runtime.store.revoke_key(server.keys[key])

    for client in (await server.client(), await server.client(key)):
        assert (await client.get("/v1/threads")).status_code == 401


async def test_a_revoked_key_is_refused_within_seconds(server: Served) -> None:
    key = await server.key("ann")
    client = await server.client(key)
    assert (await client.get("/v1/threads")).status_code == 200
    await server.runtime.store.revoke_key(server.keys[key])

    async def refused() -> bool:
        return (await client.get("/v1/threads")).status_code == 401

    await eventually(refused)


async def test_health_needs_no_key_and_metrics_do(server: Served) -> None:
    key = await server.key("ann")
    client = await server.client()
    answers = {
        path: (await client.get(path)).status_code
        for path in ("/healthz", "/readyz", "/openapi.json", "/metrics")
    }

    assert answers == {"/healthz": 200, "/readyz": 200, "/openapi.json": 200, "/metrics": 401}
    assert (await client.get("/metrics", headers={BEARER: f"Bearer {key}"})).status_code == 200


# Pages of other origins, and names that are not ours.


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "127.0.0.1.evil.test",
        "localhost.evil.test",
        "localhost.",
        "",
        "0.0.0.0",
        "127.0.0.1:8000:1",
        "[::1",
        "[::1]x",
        "169.254.1.1",
        "127.0.0.1@evil.test",
    ],
)
async def test_without_keys_only_loopback_names_are_answered(
    client: httpx2.AsyncClient, host: str
) -> None:
    answer = await client.get("/v1/threads", headers={"host": host})

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.8.8.8:80", "[::1]", "[::1]:8000"]
)
async def test_every_loopback_name_is_answered(client: httpx2.AsyncClient, host: str) -> None:
    assert (await client.get("/v1/threads", headers={"host": host})).status_code == 200


async def test_two_host_headers_are_refused(server: Served) -> None:
    answer = await server.raw(
        b"GET /v1/threads HTTP/1.1\r\nHost: localhost\r\nHost: evil.test\r\n"
        b"Connection: close\r\n\r\n"
    )

    assert answer.startswith(b"HTTP/1.1 403 ")


async def test_with_a_key_any_name_is_answered(server: Served) -> None:
    client = await server.client(await server.key("ann"))

    async def answered() -> bool:
        answer = await client.get("/v1/threads", headers={"host": "chat.example"})
        return answer.status_code == 200

    await eventually(answered)


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("origin", ["https://evil.test", "null", "http://localhost:1", "file://"])
async def test_a_foreign_origin_is_refused(server: Served, origin: str, keyed: bool) -> None:
    client = await server.client(await server.key("ann") if keyed else None)

    for path in ("/v1/threads", "/healthz", "/openapi.json"):
        answer = await client.post(path, headers={"origin": origin})
        assert answer.status_code == 403


async def test_the_own_origin_is_answered(server: Served) -> None:
    client = await server.client()

    answer = await client.post("/v1/threads", headers={"origin": server.url})

    assert answer.status_code == 201


@given(st.binary(max_size=30), st.binary(max_size=30), st.booleans())
def test_any_host_and_origin_are_judged(host: bytes, origin: bytes, locked: bool) -> None:
    scope = {"type": "http", "headers": [(b"host", host), (b"origin", origin)]}

    with pytest.raises(AntiphonError):
        check_origin(scope, locked=locked)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.test", ""])
def test_another_address_is_bound_only_with_a_key(host: str) -> None:
    check_bind(host, has_keys=True)

    with pytest.raises(BadSettings):
        check_bind(host, has_keys=False)


async def test_a_server_without_keys_refuses_another_address() -> None:
    with pytest.raises(BadSettings):
        async with serving(replace(SETTINGS, host="0.0.0.0")):
            pass


async def test_who_is_connected_is_not_what_a_header_says() -> None:
    async with served() as server:
        client = await server.client()
        answer = await client.get("/v1/threads", headers={"x-forwarded-for": "10.0.0.1"})

    assert answer.status_code == 200


def test_no_field_of_a_path_is_missing_in_its_route() -> None:
    for call in CALLS:
        assert set(path_fields(call)) <= set(call.__struct_fields__)
        assert msgspec.json.schema(call)
