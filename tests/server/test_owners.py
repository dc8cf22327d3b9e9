"""All of an owner: counted, exported as one file, and erased for good."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from antiphon.api import operations
from antiphon.runtime.admin.export import OwnerExporter
from antiphon.runtime.admin.import_owner import OwnerImporter
from antiphon.runtime.admin.owners import OwnerDeleter, OwnerService
from antiphon.runtime.admin.provider_keys import Cipher, ProviderKeyService
from antiphon.runtime.admin.webhook_secrets import WebhookSecretService
from antiphon.runtime.embedded_transport import AsyncEmbeddedTransport
from antiphon.runtime.runtime import mint
from antiphon.server.auth import CACHE_SECONDS
from antiphon.server.streaming import StreamTimeouts
from antiphon.types.accounts import Principal
from antiphon.types.errors import BadSettings
from tests.support.server.owner_data import (
    ASK,
    CANARY,
    TOOL,
    begin,
    erase,
    export_owner,
    fill,
    lines,
    settings,
    wait_for_status,
)
from tests.support.server.served import Served, serve


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(settings(tmp_path)) as server:
        yield server


@pytest.fixture
async def admin(server: Served) -> httpx2.AsyncClient:
    return await server.client(await server.key("ops", "admin"))


# Counts.


async def test_owners_are_listed_with_what_they_have(
    server: Served, admin: httpx2.AsyncClient
) -> None:
    ann = await fill(server, "ann")
    await fill(server, "ben")

    first = (await admin.get("/v1/owners", params={"limit": 1})).json()
    second_page = (await admin.get("/v1/owners", params={"after": first["next"]})).json()
    ben_page = (await admin.get("/v1/owners", params={"owner": "ben"})).json()

    counts = {"threads": 2, "runs": 2, "files": 1, "assistants": 1}
    assert first == {"data": [{"owner": "ann", **counts}], "has_more": True, "next": "ann"}
    assert second_page["data"] == ben_page["data"] == [{"owner": "ben", **counts}]
    assert (await ann.get("/v1/owners")).status_code == 403


# Export.


async def test_an_export_holds_everything_of_an_owner_and_nothing_of_another(
    server: Served, admin: httpx2.AsyncClient
) -> None:
    ann = await fill(server, "ann")
    await fill(server, "ben")

    archive = await export_owner(admin, "ann")

    assert archive.testzip() is None
    manifest = json.loads(archive.read("manifest.json"))
    counts = {"assistants": 1, "threads": 2, "messages": 4, "runs": 2, "actions": 1, "files": 1}
    added_counts = {
        "keys": 1,
        "provider_keys": 1,
        "webhooks": 1,
        "usage": 1,
        "audit": 5,
        "events": 2,
    }
    added_counts |= {"schedules": 1, "memories": 1, "personal_settings": 1, "folders": 1}
    assert manifest["counts"] == {**counts, **added_counts}
    assert manifest["owner"] == "ann"
    for kind in ("threads", "folders", "runs", "assistants"):
        stored = (await ann.get(f"/v1/{kind}")).json()["data"]
        exported = [line.get("run", line) for line in lines(archive, f"{kind}.jsonl")]
        assert exported == stored
    [thread, _] = lines(archive, "threads.jsonl")
    messages = (await ann.get("/v1/messages", params={"thread_id": thread["id"]})).json()["data"]
    assert [line for line in lines(archive, "messages.jsonl") if line in messages] == messages
    [file] = lines(archive, "files.jsonl")
    assert archive.read(file["place"]) == CANARY.encode() * 100
    [provider_key] = lines(archive, "provider_keys.jsonl")
    assert (provider_key["provider"], provider_key["hint"]) == ("openai", "...4711")
    [webhook] = lines(archive, "webhooks.jsonl")
    assert webhook == (await ann.get("/v1/webhooks")).json()["data"][0]
    [schedule] = lines(archive, "schedules.jsonl")
    assert schedule == (await ann.get("/v1/schedules")).json()["data"][0]
    assert lines(archive, "memories.jsonl") == (await ann.get("/v1/memories")).json()["data"]
    [settings] = lines(archive, "personal_settings.jsonl")
    assert settings == (await ann.get("/v1/personal_settings")).json()


async def test_an_export_holds_the_events_of_runs_as_they_were_told(
    server: Served, admin: httpx2.AsyncClient
) -> None:
    ann = await fill(server, "ann")

    archive = await export_owner(admin, "ann")
    [_, ended_run] = lines(archive, "runs.jsonl")
    [_, log] = lines(archive, "events.jsonl")

    answer = await ann.get(f"/v1/runs/{ended_run['run']['id']}/events")
    events = [
        json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")
    ]
    assert (log["run_id"], log["first"]) == (ended_run["run"]["id"], 1)
    assert log["events"] == events
    assert (ended_run["events_after"], ended_run["last_event"]) == (0, len(events))


EVIL = (
    *("..", "...", "..hidden", "a:b", "CON", "nul.txt", "a<b>|?*.txt", "trailing. ", "-rf"),
    *("ü世界.txt", "x" * 250 + ".txt", "%2e%2e%2fetc", "'; rm -rf ~"),
)


async def test_the_names_in_an_export_are_harmless_wherever_it_is_unpacked(
    server: Served, admin: httpx2.AsyncClient, tmp_path: Path
) -> None:
    ann = await server.client(await server.key("ann"))
    created = 0
    for number, name in enumerate(EVIL):
        answer = await ann.post("/v1/files", params={"name": name}, content=b"%d" % number)
        created += answer.status_code == 201
    archive = await export_owner(admin, "ann")
    folder = tmp_path / "unpacked"
    archive.extractall(folder)

    files = [file for file in folder.rglob("*") if file.is_file()]
    places = [line["place"] for line in lines(archive, "files.jsonl")]
    assert created >= 10
    assert len(set(places)) == created
    assert {file.relative_to(folder).as_posix() for file in files} >= set(places)
    for place in places:
        assert place.startswith("files/file_")
        assert len(place) < 160
        assert not set(place[6:]) & set("/\\:<>|?*\"%'")
        assert not place.endswith((".", " "))


async def test_an_export_is_a_download_that_no_page_can_run(
    server: Served, admin: httpx2.AsyncClient
) -> None:
    await fill(server, "ann@example.org")

    answer = await admin.get("/v1/owners/ann@example.org/export")

    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].startswith(
        'attachment; filename="antiphon-ann_example_org-'
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


async def test_an_owner_without_data_is_not_exported_and_only_admins_export(
    server: Served, admin: httpx2.AsyncClient
) -> None:
    ann = await fill(server, "ann")

    assert (await admin.get("/v1/owners/nobody/export")).status_code == 404
    assert (await ann.get("/v1/owners/ann/export")).status_code == 403


@pytest.mark.slow
async def test_however_much_an_owner_has_little_of_it_is_held_at_once(tmp_path: Path) -> None:
    async with serve(settings(tmp_path)) as server:
        dispatcher = server.runtime.dispatcher
        for number in range(30):
            await dispatcher.files.upload("ann", f"{number}.bin", "image/png", bytes(1_000_000))
        tracemalloc.start()
        try:
            archive = await dispatcher.export(operations.ExportOwner("ann"), Principal())
            sent_bytes = 0
            async with aclosing(archive.pieces) as pieces:
                async for piece in pieces:
                    sent_bytes += len(piece)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert sent_bytes > 0
    assert peak < 8_000_000


async def test_what_is_deleted_while_it_is_exported_breaks_nothing(server: Served) -> None:
    ann = await server.client(await server.key("ann"))
    for _ in range(30):
        await ann.post("/v1/threads", json={"title": "x"})
    archive = await server.runtime.dispatcher.export(operations.ExportOwner("ann"), Principal())
    threads = (await ann.get("/v1/threads", params={"limit": 100})).json()["data"]

    export = bytearray()
    async with aclosing(archive.pieces) as pieces:
        async for piece in pieces:
            export += piece
            if threads:
                await ann.delete(f"/v1/threads/{threads.pop()['id']}")

    assert zipfile.ZipFile(io.BytesIO(bytes(export))).testzip() is None


async def test_a_caller_whose_key_is_revoked_meanwhile_gets_no_whole_export(tmp_path: Path) -> None:
    async with serve(settings(tmp_path), timeouts=StreamTimeouts(recheck=0.0)) as server:
        for number in range(12):
            await server.runtime.dispatcher.files.upload(
                "ann", f"{number}", "", os.urandom(1_000_000)
            )
        token = await server.key("ops", "admin")
        admin = await server.client(token)
        async with admin.stream("GET", "/v1/owners/ann/export") as answer:
            pieces = answer.aiter_bytes()
            assert await anext(pieces)
            await server.runtime.store.revoke_key(server.keys[token])
            await asyncio.sleep(CACHE_SECONDS + 0.5)  # a key is cached for so long
            with pytest.raises(httpx2.TransportError):
                await drain(pieces)


async def drain(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        pass


async def test_the_same_export_comes_without_a_server(tmp_path: Path) -> None:
    async with serve(settings(tmp_path)) as server:
        await fill(server, "ann")
        line = AsyncEmbeddedTransport.over(server.runtime)
        pieces = [piece async for piece in line.export("ann")]

    archive = zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
    assert json.loads(archive.read("manifest.json"))["counts"]["threads"] == 2


# Erase.


async def test_everything_of_an_owner_is_erased_and_nothing_of_another(
    server: Served, admin: httpx2.AsyncClient, tmp_path: Path
) -> None:
    ann, ben = await fill(server, "ann"), await fill(server, "ben")
    for client in (ann, ben):  # fills the caches, also those of keys
        await client.get("/v1/threads")

    [*_, last] = await erase(admin, "ann")

    assert last["owner"] == "ann"
    assert (await ann.get("/v1/threads")).status_code == 401
    assert [owner_row["owner"] for owner_row in (await admin.get("/v1/owners")).json()["data"]] == [
        "ben"
    ]
    headers = {"Antiphon-Owner": "ann"}
    for kind in ("threads", "folders", "runs", "files", "assistants", "provider_keys"):
        assert (await admin.get(f"/v1/{kind}", headers=headers)).json()["data"] == []
        assert (await ben.get(f"/v1/{kind}")).json()["data"] != []
    rows = (await admin.get("/v1/usage")).json()["rows"]
    assert {row["owner"] for row in rows} == {"ben"}
    assert await erase(admin, "ann") == [{"owner": "ann", "erased": 0, "done": True}]

    await erase(admin, "ben")
    audit_log = (await admin.get("/v1/acts")).text
    assert CANARY not in audit_log
    assert '"owner.erased"' in audit_log
    for file in tmp_path.glob("antiphon.db*"):
        assert CANARY.encode() not in file.read_bytes(), file.name


async def test_live_runs_are_cancelled_first_and_their_readers_told(
    server: Served, admin: httpx2.AsyncClient
) -> None:
    ann = await server.client(await server.key("ann"))
    run_id = await begin(ann, ASK, tools=[TOOL])
    await wait_for_status(ann, run_id, "action_required")

    async def read_stream() -> str:
        async with ann.stream("GET", f"/v1/runs/{run_id}/events") as answer:
            return "".join([piece async for piece in answer.aiter_text()])

    reading_task = asyncio.create_task(read_stream())
    await asyncio.sleep(0)
    await erase(admin, "ann")

    async with asyncio.timeout(60):
        await reading_task
    assert (await admin.get("/v1/live_runs")).json()["data"] == []


async def test_what_is_begun_while_a_revoked_key_is_still_believed_is_erased_too(
    server: Served, admin: httpx2.AsyncClient
) -> None:
    ann = await server.client(await server.key("ann"))
    await ann.post("/v1/threads", json={"title": CANARY})

    async def create_threads() -> None:
        while (await ann.post("/v1/threads", json={"title": CANARY})).status_code == 201:
            await asyncio.sleep(0.05)

    creating_task = asyncio.create_task(create_threads())
    await erase(admin, "ann")
    await creating_task

    assert (await admin.get("/v1/owners", params={"owner": "ann"})).json()["data"] == []


async def test_an_erasure_that_is_long_says_how_far_it_is_and_goes_on_when_asked_again(
    server: Served, admin: httpx2.AsyncClient
) -> None:
    await fill(server, "ann")
    hours = itertools.count(0.0, 3600.0)
    owners = owners_of(server, lambda: next(hours))

    results = [
        await owners.handlers[operations.EraseOwner](operations.EraseOwner("ann"), Principal())
    ]
    while not results[-1].done:
        results.append(
            await owners.handlers[operations.EraseOwner](operations.EraseOwner("ann"), Principal())
        )

    assert len(results) > 5
    assert all(each.erased > 0 for each in results[:-1])
    assert (await admin.get("/v1/owners", params={"owner": "ann"})).json()["data"] == []


def owners_of(server: Served, clock: Callable[[], float]) -> OwnerService:
    """Return the owners of the server's store, by another clock."""
    store, bus = server.runtime.store, server.runtime.bus

    def seal() -> Cipher:
        raise BadSettings("Nothing is sealed here.")

    keys = ProviderKeyService(store, mint, seal)
    eraser = OwnerDeleter(store, bus, mint, settle=0)
    exporter, importer = OwnerExporter(store, mint), OwnerImporter(store, mint)
    secrets = WebhookSecretService(store, mint, seal)
    return OwnerService(store, keys, secrets, lambda *_: None, eraser, exporter, importer, clock)


async def test_an_owner_may_be_called_whatever_a_header_can_carry(
    server: Served, admin: httpx2.AsyncClient
) -> None:
    for name in ("team/a", "a%2Fb", "..", "?x=1#y"):
        await server.runtime.dispatcher.files.upload(name, "x", "", b"x")
        address = f"/v1/owners/{quote(name, safe='').replace('.', '%2E')}"

        key = await admin.put(f"{address}/provider_keys/openai", json={"key": "sk-1"})
        assert key.json()["owner"] == name
        archive = zipfile.ZipFile(io.BytesIO((await admin.get(f"{address}/export")).content))
        assert json.loads(archive.read("manifest.json"))["owner"] == name
        assert (await admin.delete(address)).json()["owner"] == name
    assert (await admin.get("/v1/owners")).json()["data"] == []


async def test_an_admin_key_does_not_erase_its_own_owner(
    server: Served, admin: httpx2.AsyncClient
) -> None:
    answer = await admin.delete("/v1/owners/ops")

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    ann = await fill(server, "ann")
    assert (await ann.delete("/v1/owners/ann")).status_code == 403


async def test_a_person_goes_with_what_they_own_but_for_the_last_admin(
    server: Served, admin: httpx2.AsyncClient
) -> None:
    people = {
        role: (
            await admin.post("/v1/people", json={"name": f"{CANARY} {role}", "role": role})
        ).json()
        for role in ("admin", "user")
    }
    await fill(server, people["user"]["id"])

    await erase(admin, people["user"]["id"])
    answer = await admin.delete(f"/v1/owners/{people['admin']['id']}")

    assert answer.status_code == 409
    names = [person["role"] for person in (await admin.get("/v1/people")).json()["data"]]
    assert names == ["admin"]
    actions = [act["what"] for act in (await admin.get("/v1/acts")).json()["data"]]
    assert actions[:2] == ["owner.erased", "person.removed"]
