"""Links to conversations over HTTP: who may use them, and the answers to guessed links."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from msgspec.structs import replace

from antiphon.types.shares import Sharing
from tests.support.server.served import SETTINGS, Served, serve

TITLE = "Trip of ann"


@asynccontextmanager
async def open_server(mode: Sharing) -> AsyncIterator[Served]:
    async with serve(replace(SETTINGS, sharing=mode)) as server:
        yield server


async def share_thread(ann: httpx2.AsyncClient) -> str:
    messages = [{"content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    thread = (await ann.post("/v1/threads", json={"title": TITLE, "messages": messages})).json()
    share_answer = await ann.post(f"/v1/threads/{thread['id']}/shares", json={})
    assert share_answer.status_code == 201, share_answer.text
    return str(share_answer.json()["token"])


async def test_by_default_a_link_is_for_callers_with_a_key_of_their_own() -> None:
    async with open_server("people") as server:
        token = await share_thread(await server.client(await server.key("ann")))
        ben, anonymous = await server.client(await server.key("ben")), await server.client()

        answer = await ben.get(f"/v1/shared/{token}")

        assert answer.json()["title"] == TITLE
        assert "ann" not in answer.text.replace(TITLE, "")
        assert (await anonymous.get(f"/v1/shared/{token}")).status_code == 401


async def test_where_anyone_may_read_a_link_needs_no_key_and_opens_nothing_else() -> None:
    async with open_server("anyone") as server:
        token = await share_thread(await server.client(await server.key("ann")))
        anonymous = await server.client()

        answer = await anonymous.get(f"/v1/shared/{token}")
        unknown_answer = await anonymous.get("/v1/shared/unknown")

        assert [each["text"] for each in answer.json()["messages"]] == ["Hello", "Hi"]
        assert unknown_answer.status_code == 404
        assert (await anonymous.post(f"/v1/shared/{token}/copies")).status_code == 401
        assert (await anonymous.get("/v1/shares")).status_code == 401
        headers = {"authorization": "Bearer ak_wrong"}
        assert (await anonymous.get(f"/v1/shared/{token}", headers=headers)).status_code == 401


async def test_where_sharing_is_off_links_show_nothing_and_none_is_made() -> None:
    async with open_server("off") as server:
        ann = await server.client(await server.key("ann"))
        thread = (await ann.post("/v1/threads", json={})).json()["id"]

        answer = await ann.post(f"/v1/threads/{thread}/shares", json={})

        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert "sharing" in answer.json()["hint"]


async def test_unknown_revoked_and_expired_links_have_one_answer_byte_for_byte() -> None:
    async with open_server("anyone") as server:
        ann = await server.client(await server.key("ann"))
        revoked_token = await share_thread(ann)
        (share,) = (await ann.get("/v1/shares")).json()["data"]
        await ann.delete(f"/v1/shares/{share['id']}")
        anonymous = await server.client()

        answers = [
            await anonymous.get(f"/v1/shared/{token}")
            for token in (revoked_token, revoked_token[:-1], "A" * 32, "%E2%80%AE", "x" * 128)
        ]

        assert {(each.status_code, each.content) for each in answers} == {(404, answers[0].content)}


@pytest.mark.parametrize("mode", ["people", "anyone"])
async def test_guesses_of_links_are_limited_like_logins(mode: Sharing) -> None:
    async with open_server(mode) as server:
        token = await share_thread(await server.client(await server.key("ann")))
        key = await server.key("ben") if mode == "people" else None
        client = await server.client(key)

        answers = [await client.get(f"/v1/shared/guess{n}") for n in range(51)]

        assert [each.status_code for each in answers] == [404] * 50 + [429]
        assert int(answers[-1].headers["retry-after"]) > 0
        assert (await client.get(f"/v1/shared/{token}")).status_code == 200
        other_client = await server.client(await server.key("eve"))
        assert (await other_client.get("/v1/shared/guess")).status_code == 404


@pytest.mark.parametrize("kind", ["people", "projects"])
@pytest.mark.parametrize("end", ["removed", "disabled"])
async def test_links_end_with_the_person_or_the_project_that_made_them(kind: str, end: str) -> None:
    async with open_server("anyone") as server:
        admin = await server.client(await server.key("root", "admin"))
        created = await admin.post(f"/v1/{kind}", json={"name": "Ann"})
        assert created.status_code == 201, created.text
        owner = created.json()["id"]
        token = await share_thread(await server.client(await server.key(owner)))
        reader = await server.client()
        assert (await reader.get(f"/v1/shared/{token}")).status_code == 200

        if end == "removed":
            answer = await admin.delete(f"/v1/{kind}/{owner}")
        else:
            answer = await admin.patch(f"/v1/{kind}/{owner}", json={"disabled": True})

        assert answer.status_code == 200, answer.text
        assert (await reader.get(f"/v1/shared/{token}")).status_code == 404
        audit = (await admin.get("/v1/acts")).json()
        assert ("share.revoked", owner) in [
            (each["what"], each["owner"]) for each in audit["data"]
        ], audit


@pytest.mark.parametrize("kind", ["people", "projects"])
@pytest.mark.parametrize("end", ["removed", "disabled"])
async def test_a_key_that_has_just_ended_with_its_owner_leaves_no_link(kind: str, end: str) -> None:
    """Servers cache a key for seconds, and this one would last for a month."""
    async with open_server("anyone") as server:
        admin = await server.client(await server.key("root", "admin"))
        owner = (await admin.post(f"/v1/{kind}", json={"name": "Ann"})).json()["id"]
        ann = await server.client(await server.key(owner))
        thread = (await ann.post("/v1/threads", json={})).json()["id"]
        assistant = (await ann.post("/v1/assistants", json={"name": "Poet"})).json()["id"]
        if end == "removed":
            await admin.delete(f"/v1/{kind}/{owner}")
        else:
            await admin.patch(f"/v1/{kind}/{owner}", json={"disabled": True})

        share_answer = await ann.post(f"/v1/threads/{thread}/shares", json={})
        publish_answer = await ann.post(f"/v1/assistants/{assistant}/publish")

        assert {share_answer.status_code, publish_answer.status_code} == {401}
        headers = {"antiphon-owner": owner}
        assert (await admin.get("/v1/shares", headers=headers)).json()["data"] == []
        assert (await admin.get("/v1/published_assistants")).json()["data"] == []
