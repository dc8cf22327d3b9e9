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
async def open_server(*, on: bool = True) -> AsyncIterator[Served]:
    async with serve(replace(SETTINGS, publishing=on, backend_mcp="urls")) as server:
        yield server


async def publish(author: httpx2.AsyncClient, **fields: object) -> str:
    assistant = (await author.post("/v1/assistants", json={**PIRATE, **fields})).json()
    answer = await author.post(f"/v1/assistants/{assistant['id']}/publish")
    assert answer.status_code == 200, answer.text
    return str(assistant["id"])


async def test_servers_of_an_author_are_not_called_for_others_without_their_approval() -> None:
    async with open_server() as server:
        ann = await server.client(await server.key("ann"))
        ben = await server.client(await server.key("ben"))
        other_server = {
            "name": "spy",
            "url": "https://mcp.example.com/mcp",
            "require_approval": "never",
        }
        assistant_id = await publish(ann, mcp_servers=[other_server])

        thread = (await ben.post("/v1/threads", json={})).json()["id"]
        body = {"thread_id": thread, "assistant_id": assistant_id}
        run = (await ben.post("/v1/runs", json=body)).json()
        copy = await ben.post(f"/v1/published_assistants/{assistant_id}/copies")
        own_thread = (await ann.post("/v1/threads", json={})).json()["id"]
        own_run = await ann.post("/v1/runs", json={**body, "thread_id": own_thread})

        assert run["mcp_servers"] == []
        assert copy.json()["mcp_servers"] == []
        assert own_run.json()["mcp_servers"] == [other_server]


async def test_a_stranger_sees_nothing_and_another_owner_changes_nothing() -> None:
    async with open_server() as server:
        ann = await server.client(await server.key("ann"))
        ben, anonymous = await server.client(await server.key("ben")), await server.client()
        assistant_id = await publish(ann)

        for path in ("", f"/{assistant_id}"):
            assert (await anonymous.get(f"/v1/published_assistants{path}")).status_code == 401
        address = f"/v1/assistants/{assistant_id}"
        answers = [
            await ben.get(address),
            await ben.patch(address, json={"name": "mine"}),
            await ben.delete(address),
            await ben.post(f"{address}/publish"),
            await ben.post(f"{address}/unpublish"),
        ]

        assert [each.status_code for each in answers] == [404] * 5
        assert (await ann.get(address)).json()["name"] == "Pirate"


async def test_where_publishing_is_off_nothing_is_published_listed_or_used() -> None:
    async with open_server(on=False) as server:
        ann = await server.client(await server.key("ann"))
        assistant = (await ann.post("/v1/assistants", json=PIRATE)).json()

        answer = await ann.post(f"/v1/assistants/{assistant['id']}/publish")
        list_answer = await ann.get("/v1/published_assistants")
        fetched = await ann.get(f"/v1/published_assistants/{assistant['id']}")

        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert "publishing" in answer.json()["hint"]
        assert list_answer.json()["data"] == []
        assert fetched.status_code == 404


async def test_an_administrator_takes_back_what_another_owner_has_published() -> None:
    async with open_server() as server:
        admin = await server.client(await server.key("root", "admin"))
        ann = await server.client(await server.key("ann"))
        ben = await server.client(await server.key("ben"))
        assistant_id = await publish(ann)
        address = f"/v1/published_assistants/{assistant_id}"

        assert (await ben.delete(address)).status_code == 403
        assert (await ann.delete(address)).status_code == 403
        assert (await ben.get(address)).status_code == 200
        answer = await admin.delete(address)

        assert answer.json() == {"id": assistant_id, "deleted": True}
        assert (await ben.get(address)).status_code == 404
        assistant_after = (await ann.get(f"/v1/assistants/{assistant_id}")).json()
        assert (assistant_after["name"], assistant_after["published_at"]) == ("Pirate", None)
        acts = (await admin.get("/v1/acts", params={"owner": "ann"})).json()["data"]
        assert (acts[0]["what"], acts[0]["target"]) == ("assistant.unpublished", assistant_id)
        second_answer = await admin.delete(address)
        assert (second_answer.status_code, second_answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("kind", ["people", "projects"])
@pytest.mark.parametrize("end", ["removed", "disabled"])
async def test_what_a_person_or_a_project_published_ends_with_them(kind: str, end: str) -> None:
    async with open_server() as server:
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
        body = {"thread_id": thread, "assistant_id": assistant_id}
        assert (await ben.get(address)).status_code == 404
        assert (await ben.post("/v1/runs", json=body)).status_code == 404
        assert (await ben.get("/v1/published_assistants")).json()["data"] == []
        acts = (await admin.get("/v1/acts", params={"owner": owner})).json()["data"]
        assert "assistant.unpublished" in [each["what"] for each in acts]


async def test_an_owner_publishes_a_hundred_assistants_at_most() -> None:
    async with open_server() as server:
        ann = await server.client(await server.key("ann"))
        for _ in range(100):
            await publish(ann)
        hundredth = (await ann.post("/v1/assistants", json=PIRATE)).json()["id"]

        answer = await ann.post(f"/v1/assistants/{hundredth}/publish")

        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
