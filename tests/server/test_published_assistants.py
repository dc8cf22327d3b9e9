"""Published assistants over HTTP: whose they are, when they end, and what others do not get."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from msgspec.structs import replace

from tests.support.server.served import SETTINGS, Served, serve

PIRATE = {"name": "Pirate", "model": "demo", "instructions": "Talk like a pirate."}


@asynccontextmanager
async def publishing(*, on: bool = True) -> AsyncIterator[Served]:
    async with serve(replace(SETTINGS, publishing=on, backend_mcp="urls")) as server:
        yield server


async def publish(author: httpx2.AsyncClient, **fields: object) -> str:
    assistant = (await author.post("/v1/assistants", json={**PIRATE, **fields})).json()
    published = await author.post(f"/v1/assistants/{assistant['id']}/publish")
    assert published.status_code == 200, published.text
    return str(assistant["id"])


async def test_servers_of_an_author_are_not_called_for_others_without_their_approval() -> None:
    async with publishing() as server:
        ann = await server.client(await server.key("ann"))
        ben = await server.client(await server.key("ben"))
        elsewhere = {
            "name": "spy",
            "url": "https://mcp.example.com/mcp",
            "require_approval": "never",
        }
        assistant_id = await publish(ann, mcp_servers=[elsewhere])

        thread = (await ben.post("/v1/threads", json={})).json()["id"]
        asked = {"thread_id": thread, "assistant_id": assistant_id}
        run = (await ben.post("/v1/runs", json=asked)).json()
        copy = await ben.post(f"/v1/published_assistants/{assistant_id}/copies")
        own_thread = (await ann.post("/v1/threads", json={})).json()["id"]
        own = await ann.post("/v1/runs", json={**asked, "thread_id": own_thread})

        assert run["mcp_servers"] == []
        assert copy.json()["mcp_servers"] == []
        assert own.json()["mcp_servers"] == [elsewhere]


async def test_a_stranger_sees_nothing_and_another_owner_changes_nothing() -> None:
    async with publishing() as server:
        ann = await server.client(await server.key("ann"))
        ben, stranger = await server.client(await server.key("ben")), await server.client()
        assistant_id = await publish(ann)

        for path in ("", f"/{assistant_id}"):
            assert (await stranger.get(f"/v1/published_assistants{path}")).status_code == 401
        address = f"/v1/assistants/{assistant_id}"
        refused = [
            await ben.get(address),
            await ben.patch(address, json={"name": "mine"}),
            await ben.delete(address),
            await ben.post(f"{address}/publish"),
            await ben.post(f"{address}/unpublish"),
        ]

        assert [each.status_code for each in refused] == [404] * 5
        assert (await ann.get(address)).json()["name"] == "Pirate"


async def test_where_publishing_is_off_nothing_is_published_listed_or_used() -> None:
    async with publishing(on=False) as server:
        ann = await server.client(await server.key("ann"))
        assistant = (await ann.post("/v1/assistants", json=PIRATE)).json()

        refused = await ann.post(f"/v1/assistants/{assistant['id']}/publish")
        listed = await ann.get("/v1/published_assistants")
        read = await ann.get(f"/v1/published_assistants/{assistant['id']}")

        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "publishing" in refused.json()["hint"]
        assert listed.json()["data"] == []
        assert read.status_code == 404


async def test_an_administrator_takes_back_what_another_owner_has_published() -> None:
    async with publishing() as server:
        admin = await server.client(await server.key("root", "admin"))
        ann = await server.client(await server.key("ann"))
        ben = await server.client(await server.key("ben"))
        assistant_id = await publish(ann)
        address = f"/v1/published_assistants/{assistant_id}"

        assert (await ben.delete(address)).status_code == 403
        assert (await ann.delete(address)).status_code == 403
        assert (await ben.get(address)).status_code == 200
        taken_back = await admin.delete(address)

        assert taken_back.json() == {"id": assistant_id, "deleted": True}
        assert (await ben.get(address)).status_code == 404
        own = (await ann.get(f"/v1/assistants/{assistant_id}")).json()
        assert (own["name"], own["published_at"]) == ("Pirate", None)
        acts = (await admin.get("/v1/acts", params={"owner": "ann"})).json()["data"]
        assert (acts[0]["what"], acts[0]["target"]) == ("assistant.unpublished", assistant_id)
        again = await admin.delete(address)
        assert (again.status_code, again.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("kind", ["people", "projects"])
@pytest.mark.parametrize("end", ["removed", "disabled"])
async def test_what_a_person_or_a_project_published_ends_with_them(kind: str, end: str) -> None:
    async with publishing() as server:
        admin = await server.client(await server.key("root", "admin"))
        owner = (await admin.post(f"/v1/{kind}", json={"name": "Ann"})).json()["id"]
        ann = await server.client(await server.key(owner))
        ben = await server.client(await server.key("ben"))
        assistant_id = await publish(ann)
        address = f"/v1/published_assistants/{assistant_id}"
        assert (await ben.get(address)).json()["author"] == "Ann"

        if end == "removed":
            await admin.delete(f"/v1/{kind}/{owner}")
        else:
            await admin.patch(f"/v1/{kind}/{owner}", json={"disabled": True})

        thread = (await ben.post("/v1/threads", json={})).json()["id"]
        asked = {"thread_id": thread, "assistant_id": assistant_id}
        assert (await ben.get(address)).status_code == 404
        assert (await ben.post("/v1/runs", json=asked)).status_code == 404
        assert (await ben.get("/v1/published_assistants")).json()["data"] == []
        acts = (await admin.get("/v1/acts", params={"owner": owner})).json()["data"]
        assert "assistant.unpublished" in [each["what"] for each in acts]


async def test_an_owner_publishes_a_hundred_assistants_at_most() -> None:
    async with publishing() as server:
        ann = await server.client(await server.key("ann"))
        for _ in range(100):
            await publish(ann)
        one_more = (await ann.post("/v1/assistants", json=PIRATE)).json()["id"]

        refused = await ann.post(f"/v1/assistants/{one_more}/publish")

        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
