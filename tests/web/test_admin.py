"""Administration over the web: for admins alone, and of the whole installation."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import pytest

from antiphon.api.operations import NewMessage
from tests.support.client.either_transport import waiting_run
from tests.support.web.every_route import routes
from tests.support.web.named import browser_of, id_of, many_may_come
from tests.support.web.visiting import PASSWORD, Browser, Chat, open_chat

ASK = NewMessage("When does the next LAX-JFK flight leave? canary-51")
ADMIN = "/api/admin"


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with many_may_come() as chat:
        yield chat


@pytest.fixture
async def ann(chat: Chat) -> Browser:
    """The browser of an admin."""
    browser = await browser_of(chat, "Ann")
    await chat.site.client.update_person(await id_of(browser), role="admin")
    await _until_admin(browser)
    return browser


@pytest.fixture
async def ben(chat: Chat) -> Browser:
    return await browser_of(chat, "Ben")


async def _until_admin(browser: Browser) -> None:
    """Wait until the cached role of a user has expired."""
    async with asyncio.timeout(60):
        while (await browser.get(f"{ADMIN}/people")).status_code != 200:
            await asyncio.sleep(0.05)


async def list_rows(browser: Browser, kind: str) -> list[dict[str, Any]]:
    answer = await browser.get(f"{ADMIN}/{kind}")
    assert answer.status_code == 200, answer.text
    return answer.json["data"]


# Access.


def _routes(chat: Chat) -> list[tuple[str, str]]:
    """Return every address of administration with each of its methods."""
    items = routes(chat.app).items()
    return [(route.partition(" ")[0], path) for route, path in items if path.startswith(ADMIN)]


async def test_everything_is_refused_to_a_person_who_is_no_admin(chat: Chat, ben: Browser) -> None:
    addresses = _routes(chat)

    assert len(addresses) == 41
    for method, path in addresses:
        body = None if method in ("GET", "DELETE") else {}
        answer = await ben.open(method, path, body)
        assert (answer.status_code, answer.json["code"]) == (403, "forbidden"), (method, path)


async def test_nothing_is_changed_without_the_token_of_the_page(ann: Browser, chat: Chat) -> None:
    for method, path in _routes(chat):
        if method != "GET":
            headers = {"X-Antiphon-CSRF": None}
            answer = await ann.open(method, path, {}, headers=headers)
            assert answer.status_code == 403, (method, path)


async def test_an_admin_who_is_made_an_ordinary_user_administers_no_more(
    chat: Chat, ann: Browser
) -> None:
    cem = await browser_of(chat, "Cem")
    person = await id_of(cem)
    await ann.open("PATCH", f"{ADMIN}/people/{person}", {"role": "admin"})
    await _until_admin(cem)

    await ann.open("PATCH", f"{ADMIN}/people/{person}", {"role": "user"})

    async with asyncio.timeout(60):
        while (await cem.get(f"{ADMIN}/people")).status_code != 403:
            await asyncio.sleep(0.05)


async def test_without_a_login_the_user_of_the_machine_administers() -> None:
    async with open_chat() as chat:
        browser = await chat.browser().arrive()

        assert await list_rows(browser, "people") == []
        assert [model["id"] for model in await list_rows(browser, "models")] == ["demo"]
        assert await list_rows(browser, "servers") == []


# People.


async def test_people_are_listed_added_changed_and_removed(ann: Browser, ben: Browser) -> None:
    add_response = await ann.post(
        f"{ADMIN}/people", {"name": "Eve", "role": "user", "password": PASSWORD}
    )
    assert add_response.status_code == 201
    eve = add_response.json
    address = f"{ADMIN}/people/{eve['id']}"

    change_response = await ann.open("PATCH", address, {"name": "Eva", "disabled": True})
    signed_out = await ann.open("PATCH", address, {"sign_out": True})
    names = [each["name"] for each in await list_rows(ann, "people")]
    delete_response = await ann.open("DELETE", address)

    assert (
        change_response.json["name"],
        change_response.json["disabled"],
        change_response.json["generation"],
    ) == (
        "Eva",
        True,
        2,
    )
    assert signed_out.json["generation"] == 3
    assert names == ["Ann", "Ben", "Eva"]
    assert delete_response.json == {"id": eve["id"], "deleted": True}
    assert [each["name"] for each in await list_rows(ann, "people")] == ["Ann", "Ben"]
    assert "argon2" not in add_response.text + change_response.text
    assert PASSWORD not in add_response.text + change_response.text


async def test_the_last_admin_stays_one(ann: Browser) -> None:
    address = f"{ADMIN}/people/{await id_of(ann)}"

    for refusal in (
        await ann.open("PATCH", address, {"role": "user"}),
        await ann.open("PATCH", address, {"disabled": True}),
        await ann.open("DELETE", address),
    ):
        assert (refusal.status_code, refusal.json["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "ann"}, 409, "conflict"),
        ({"name": ""}, 422, "invalid_request"),
        ({"name": "a\u202eb"}, 422, "invalid_request"),
        ({"name": "a\0"}, 422, "invalid_request"),
        ({"name": "Eve", "password": "short"}, 422, "invalid_request"),
        ({"name": "Eve", "role": "root"}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
        ([], 422, "invalid_request"),
    ],
)
async def test_a_person_with_an_invalid_or_taken_name_is_not_added(
    ann: Browser, body: Any, status: int, code: str
) -> None:
    answer = await ann.post(f"{ADMIN}/people", body)

    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert len(await list_rows(ann, "people")) == 1


async def test_a_person_key_or_run_that_does_not_exist_is_not_found(ann: Browser) -> None:
    for answer in (
        await ann.open("PATCH", f"{ADMIN}/people/person_0", {"role": "user"}),
        await ann.open("DELETE", f"{ADMIN}/people/person_0"),
        await ann.open("DELETE", f"{ADMIN}/keys/key_0"),
        await ann.post(f"{ADMIN}/runs/run_0/stop", {"owner": "local"}),
    ):
        assert answer.status_code == 404


# Keys.


async def test_a_key_is_shown_once_and_listed_until_it_is_revoked(ann: Browser) -> None:
    request = {"name": "laptop", "owner": "local", "scopes": ["read"]}
    create_response = await ann.post(f"{ADMIN}/keys", request)
    key_list = await ann.get(f"{ADMIN}/keys")
    await ann.open("DELETE", f"{ADMIN}/keys/{create_response.json['key']['id']}")

    assert create_response.status_code == 201
    assert create_response.headers["Cache-Control"] == "no-store"
    assert create_response.json["token"].startswith(create_response.json["key"]["prefix"])
    assert key_list.json["data"] == [create_response.json["key"]]
    assert create_response.json["token"] not in key_list.text
    assert await list_rows(ann, "keys") == []
    for bad_body in (
        {**request, "owner": "a b"},
        {**request, "scopes": []},
        {**request, "scopes": ["x"]},
    ):
        assert (await ann.post(f"{ADMIN}/keys", bad_body)).status_code == 422


# Runs, usage and shared assistants.


async def test_runs_are_listed_with_their_owners_and_can_be_stopped(
    chat: Chat, ann: Browser, ben: Browser
) -> None:
    owner = await id_of(ben)
    run_id = await waiting_run(chat.site.client_for_owner(owner), ASK)
    run_list = await ann.get(f"{ADMIN}/runs")
    [live_run] = run_list.json["data"]

    assert (live_run["run"]["id"], live_run["run"]["status"]) == (run_id, "action_required")
    assert (live_run["owner"], live_run["person"]) == (owner, "Ben")
    assert "canary-51" not in run_list.text

    refusal = await ann.post(f"{ADMIN}/runs/{run_id}/stop", {"owner": "local"})
    assert refusal.status_code == 404
    stop_response = await ann.post(f"{ADMIN}/runs/{run_id}/stop", {"owner": owner})
    assert stop_response.json == {"id": run_id, "status": "cancelled"}
    assert await list_rows(ann, "runs") == []


async def test_usage_is_listed_by_day_model_and_person(
    chat: Chat, ann: Browser, ben: Browser
) -> None:
    owner = await id_of(ben)
    run_id = await waiting_run(chat.site.client_for_owner(owner), ASK)
    await chat.site.client_for_owner(owner).cancel_run(run_id)

    answer = await ann.get(f"{ADMIN}/usage?days=1")
    [row] = answer.json["data"]

    assert (row["owner"], row["person"], row["model"], row["runs"]) == (owner, "Ben", "demo", 1)
    assert row["input_tokens"] > 0
    assert row["day"] == answer.json["since"]
    for days in ("0", "367", "x"):
        assert (await ann.get(f"{ADMIN}/usage?days={days}")).status_code == 422


async def test_assistants_that_anybody_shares_are_listed(ann: Browser, ben: Browser) -> None:
    shared_assistant = (await ben.post("/api/assistants", {"name": "Pirate"})).json
    await ben.post("/api/assistants", {"name": "Private"})
    token = (await ben.post(f"/api/assistants/{shared_assistant['id']}/share", {})).json["token"]

    [row] = await list_rows(ann, "assistants")

    assert (row["id"], row["name"], row["by"], row["token"]) == (
        shared_assistant["id"],
        "Pirate",
        "Ben",
        token,
    )


# With passwords.


async def test_a_password_that_an_admin_sets_is_the_one_that_logs_in() -> None:
    async with open_chat(login="password") as chat:
        await chat.person("Ann", role="admin")
        eve = await chat.person("Eve", password=None)
        ann = await chat.browser().log_in("Ann")

        answer = await ann.open("PATCH", f"{ADMIN}/people/{eve.id}", {"password": PASSWORD})

        assert answer.status_code == 200
        assert (await (await chat.browser().log_in("Eve")).get("/api/me")).json["person"][
            "name"
        ] == "Eve"


# Owners.


async def test_projects_are_made_changed_and_removed(ann: Browser) -> None:
    create_response = await ann.post(f"{ADMIN}/projects", {"name": "Moon"})
    assert create_response.status_code == 201
    address = f"{ADMIN}/projects/{create_response.json['id']}"
    key = await ann.post(f"{ADMIN}/keys", {"name": "robot", "owner": create_response.json["id"]})

    change_response = await ann.open("PATCH", address, {"name": "Mars", "disabled": True})
    projects = await list_rows(ann, "projects")
    delete_response = await ann.open("DELETE", address)

    assert (change_response.json["name"], change_response.json["disabled"]) == ("Mars", True)
    assert projects == [change_response.json]
    assert await list_rows(ann, "keys") == []
    assert key.status_code == 201
    assert delete_response.json == {"id": create_response.json["id"], "deleted": True}
    assert (await ann.post(f"{ADMIN}/projects", {"name": ""})).status_code == 422


async def test_the_limits_of_a_key_are_set_when_it_is_made_and_changed_later(ann: Browser) -> None:
    limits = {"requests_per_minute": 60, "tokens_per_day": 1000}
    request = {"name": "robot", "owner": "local", "limits": limits, "expires_in": 3600}
    key = (await ann.post(f"{ADMIN}/keys", request)).json["key"]

    address = f"{ADMIN}/keys/{key['id']}"
    lower_limits = {"limits": {"requests_per_minute": 5, "tokens_per_day": None}}
    change_response = await ann.open("PATCH", address, lower_limits)

    assert key["limits"] == {**limits, "runs_at_once": None}
    assert key["expires_at"] == key["created_at"] + 3_600_000
    assert change_response.json["limits"] == {
        "requests_per_minute": 5,
        "runs_at_once": None,
        "tokens_per_day": None,
    }
    for bad_body in ({"limits": {"runs_at_once": 0}}, {"limits": {"nope": 1}}):
        assert (await ann.open("PATCH", address, bad_body)).status_code == 422


async def test_the_audit_log_says_who_at_the_page_did_what(chat: Chat, ann: Browser) -> None:
    project = (await ann.post(f"{ADMIN}/projects", {"name": "Moon"})).json
    await ann.open("DELETE", f"{ADMIN}/projects/{project['id']}")
    newest = (await ann.get(f"{ADMIN}/acts")).json

    assert [act["what"] for act in newest["data"][:2]] == ["project.removed", "project.created"]
    assert {act["who"] for act in newest["data"][:2]} == {"Ann"}
    assert newest["data"][0]["actor"] == await id_of(ann)
    rest = (await ann.get(f"{ADMIN}/acts?after={newest['data'][0]['id']}")).json
    assert rest["data"] == newest["data"][1:]
    assert (await ann.get(f"{ADMIN}/acts?after=audit_0")).status_code == 404


CANARY_KEY = "sk-canary-0123456789-abcdefgh"


async def test_a_key_at_a_provider_is_written_and_never_sent_back(
    chat: Chat, ann: Browser, ben: Browser
) -> None:
    owner = await id_of(ben)
    address = f"{ADMIN}/provider_keys/openai/{owner}"
    put_response = await ann.open("PUT", address, {"key": CANARY_KEY})
    key_list = await ann.get(f"{ADMIN}/provider_keys")

    [key] = key_list.json["data"]
    assert (key["owner"], key["person"], key["hint"]) == (owner, "Ben", "...efgh")
    delete_response = await ann.open("DELETE", address)
    assert delete_response.status_code == 200
    assert await list_rows(ann, "provider_keys") == []
    acts = await ann.get(f"{ADMIN}/acts")
    for response in (put_response, key_list, delete_response, acts):
        assert CANARY_KEY[3:] not in response.text
    for bad_body in ({"key": ""}, {"key": "a\r\nb"}, {"key": "k", "base_url": "file:///etc"}):
        assert (await ann.open("PUT", address, bad_body)).status_code == 422
    assert (
        await ann.open("PUT", f"{ADMIN}/provider_keys/demo/{owner}", {"key": "k"})
    ).status_code == 422


async def test_owners_are_counted_exported_and_erased(
    chat: Chat, ann: Browser, ben: Browser
) -> None:
    owner = await id_of(ben)
    await waiting_run(chat.site.client_for_owner(owner), ASK)
    [totals] = [each for each in await list_rows(ann, "owners") if each["owner"] == owner]
    assert (totals["name"], totals["kind"], totals["threads"], totals["runs"]) == (
        "Ben",
        "person",
        1,
        1,
    )

    export = await ann.get(f"{ADMIN}/owners/{owner}/export")
    with zipfile.ZipFile(io.BytesIO(await asyncio.to_thread(export.get_data))) as archive:
        assert "canary-51" in archive.read("messages.jsonl").decode()
    assert export.headers["Content-Disposition"].startswith("attachment; filename=antiphon-person_")
    assert (await ann.get(f"{ADMIN}/owners/nobody/export")).status_code == 404

    erase_response = await ann.open("DELETE", f"{ADMIN}/owners/{owner}")
    assert erase_response.json["done"]
    assert owner not in [each["owner"] for each in await list_rows(ann, "owners")]
    assert [each["name"] for each in await list_rows(ann, "people")] == ["Ann"]
    async with asyncio.timeout(60):
        while (await ben.get("/api/threads")).status_code != 401:
            await asyncio.sleep(0.05)
