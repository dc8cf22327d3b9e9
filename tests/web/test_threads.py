"""Threads over the web: they are listed, opened from their end, renamed, branched and deleted."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from antiphon import tool
from antiphon.api.operations import ListMessages
from antiphon.client.async_client import AsyncClient
from antiphon.client.async_transport import AsyncTransport
from antiphon.client.compaction import KEEP
from antiphon.client.thread_families import latest_threads
from antiphon.types.messages import File, Text
from antiphon.web.routes.threads import list_thread_rows, read_thread
from tests.support.web.named import browser_of, id_of, many_may_come
from tests.support.web.visiting import Browser, Chat, open_chat
from tests.support.wires.ui_judge import Judge


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with open_chat() as chat:
        yield chat


@pytest.fixture
async def browser(chat: Chat) -> Browser:
    return await chat.browser().arrive()


@pytest.fixture
def client(chat: Chat) -> AsyncClient:
    """Client of the owner whose threads the browser sees."""
    return chat.site.client


@tool
def look(place: str) -> str:
    """See what is there."""
    return f"in {place}: nothing"


async def send_messages(client: AsyncClient, *texts: str, thread_id: str | None = None) -> str:
    """Create a thread with these messages and no answer, or add to one; return its id."""
    thread_id = thread_id or (await client.create_thread()).id
    for text in texts:
        await client.create_message(thread_id, text)
    return thread_id


async def answer_thread(client: AsyncClient, words: str, **options: Any) -> str:
    """Have this message answered, in a new thread by default; return the id of the thread."""
    async with client.converse(words, **options) as events:
        async for _ in events:
            pass
    return events.thread_id or ""


class RecordingTransport:
    """A transport that records its calls."""

    def __init__(self, transport: AsyncTransport) -> None:
        self.calls: list[object] = []
        self._transport = transport

    async def send(self, call: Any, key: str | None = None) -> Any:
        self.calls.append(call)
        return await self._transport.send(call, key)


def wait_a_millisecond() -> None:
    """Wait for the next millisecond: changes in the same millisecond have no order."""
    now = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == now:
        pass


async def list_titles(browser: Browser, query: str = "") -> list[str]:
    answer = await browser.get(f"/api/threads{query}")
    return [row["title"] for row in answer.json["data"]]


# Lists.


async def test_threads_are_listed_the_last_changed_first(
    browser: Browser, client: AsyncClient
) -> None:
    bees = await send_messages(client, "About bees")
    wait_a_millisecond()
    await send_messages(client, "About cows")
    wait_a_millisecond()
    await send_messages(client, "They hum", thread_id=bees)

    answer = await browser.get("/api/threads")
    first, second = answer.json["data"]
    assert (first["title"], second["title"]) == ("About bees", "About cows")
    assert (first["id"], first["messages"], first["running"]) == (bees, 2, False)
    assert answer.json["has_more"] is False


async def test_threads_are_found_by_words_in_them(browser: Browser, client: AsyncClient) -> None:
    await send_messages(client, "About bees", "They hum")
    await send_messages(client, "About cows")

    assert await list_titles(browser, "?q=hum") == ["About bees"]


async def test_a_list_goes_on_where_it_ended_whatever_has_changed_before(
    browser: Browser, client: AsyncClient
) -> None:
    threads = []
    for number in range(5):
        wait_a_millisecond()
        threads.append(await send_messages(client, f"thread {number}"))
    first = (await browser.get("/api/threads?limit=2")).json
    wait_a_millisecond()
    await send_messages(client, "more", thread_id=threads[4])
    rest = await list_titles(browser, f"?limit=2&after={first['next']}")

    assert [row["title"] for row in first["data"]] == ["thread 4", "thread 3"]
    assert rest == ["thread 2", "thread 1"]


async def test_the_list_goes_on_to_the_oldest_thread_and_a_search_finds_it(
    browser: Browser, client: AsyncClient
) -> None:
    oldest = await send_messages(client, "About the oldest bee of 1999")
    for number in range(510):
        await send_messages(client, f"thread {number}")
    ids: list[str] = []
    page: dict[str, Any] = {"has_more": True, "next": ""}
    while page["has_more"]:
        query = f"&after={page['next']}" if page["next"] else ""
        page = (await browser.get(f"/api/threads?limit=100{query}")).json
        ids += [row["id"] for row in page["data"]]

    assert len(ids) == len(set(ids)) == 511
    assert oldest in ids
    assert await list_titles(browser, "?q=%22oldest bee%22 1999") == [
        "About the oldest bee of 1999"
    ]
    assert await list_titles(browser, "?q=%22bee oldest%22") == []
    wait_a_millisecond()
    await send_messages(client, "They still hum", thread_id=oldest)
    assert (await list_titles(browser))[0] == "About the oldest bee of 1999"


@pytest.mark.parametrize("query", ["limit=0", "limit=x", f"after={'x' * 201}", "q=%00"])
async def test_a_list_with_invalid_parameters_is_refused(browser: Browser, query: str) -> None:
    answer = await browser.get(f"/api/threads?{query}")

    assert answer.status_code == 422
    assert answer.json["code"] == "invalid_request"


async def test_a_list_after_a_thread_that_does_not_exist_says_so(browser: Browser) -> None:
    answer = await browser.get("/api/threads?after=yesterday")

    assert answer.status_code == 404
    assert answer.json["code"] == "not_found"
    assert "yesterday" in answer.text


async def test_a_thread_is_running_while_another_of_its_family_is(
    browser: Browser, client: AsyncClient
) -> None:
    thread_id = await send_messages(client, "one", "two")
    messages = (await browser.get(f"/api/threads/{thread_id}/messages")).json["messages"]
    run = await client.create_run(thread_id)
    branch = await browser.post(
        f"/api/threads/{thread_id}/branch", {"message_id": messages[1]["id"]}
    )
    wait_a_millisecond()
    await send_messages(client, "zwei", thread_id=branch.json["id"])
    [row] = (await browser.get("/api/threads")).json["data"]

    assert (row["id"], row["running"]) == (branch.json["id"], True)
    await client.cancel_run(run.id)
    [row] = (await browser.get("/api/threads")).json["data"]
    assert row["running"] is False


async def test_a_title_cannot_turn_text_around(browser: Browser, client: AsyncClient) -> None:
    await client.create_thread(title="a\u202eb\x1b[31m\nc")
    thread_id = await send_messages(client, "hi")
    await client.update_thread(thread_id, title="a\u202eb\x1b[31m\nc")

    assert await list_titles(browser) == ["a<U+202E>b␛[31m c"]


# Opening threads.


async def test_a_thread_is_opened_with_its_messages_and_their_usage(
    browser: Browser, client: AsyncClient
) -> None:
    thread_id = await answer_thread(client, "Look at the garden", tools=[look])
    answer = (await browser.get(f"/api/threads/{thread_id}/messages")).json
    question, reply = answer["messages"]

    assert answer["thread"]["id"] == thread_id
    assert question["parts"] == [{"type": "text", "text": "Look at the garden"}]
    assert reply["id"] == reply["metadata"]["runId"]
    assert reply["metadata"]["status"] == "completed"
    assert reply["metadata"]["usage"]["outputTokens"] > 0
    kinds = [part["type"] for part in reply["parts"]]
    assert kinds.count("dynamic-tool") == 1
    assert kinds[-1] == "data-status"
    assert answer["active_run"] is None
    assert answer["has_earlier"] is False
    assert answer["branches"] == []


async def test_families_are_asked_for_only_of_threads_that_are_not_listed(chat: Chat) -> None:
    transport = RecordingTransport(chat.site.client.transport)
    client = AsyncClient.over(cast("AsyncTransport", transport))
    for _ in range(5):
        thread_id = await send_messages(client, "Hello.")
        await client.create_run(thread_id)
    transport.calls.clear()
    all_rows = await list_thread_rows(client, chat.site.relays, latest_threads(limit=10))
    first_calls, transport.calls = transport.calls, []
    newest_rows = await list_thread_rows(client, chat.site.relays, latest_threads(limit=2))

    assert [row.running for row in all_rows.data] == [True] * 5
    assert [row.running for row in newest_rows.data] == [True] * 2
    # The calls are for the list, the pinned threads, runs and families.
    assert (len(first_calls), len(transport.calls)) == (3, 6)


async def test_a_run_under_way_is_named_and_not_among_the_messages(
    browser: Browser, client: AsyncClient
) -> None:
    thread_id = await send_messages(client, "hello")
    run = await client.create_run(thread_id, metadata={"via": "web"})
    answer = (await browser.get(f"/api/threads/{thread_id}/messages")).json

    assert answer["active_run"] == {"id": run.id, "status": "queued", "via": "web"}
    assert [message["role"] for message in answer["messages"]] == ["user"]
    assert (await browser.get("/api/threads")).json["data"][0]["running"] is True


async def test_the_instructions_of_a_thread_are_sent_unless_they_are_an_assistants(
    browser: Browser, client: AsyncClient
) -> None:
    assistant = await client.create_assistant(instructions="Be brief.")
    plain = await answer_thread(client, "hi", instructions="Rhyme.")
    assistant_thread_id = await answer_thread(client, "hi", assistant_id=assistant.id)

    answer = (await browser.get(f"/api/threads/{plain}/messages")).json
    assert (answer["system"], answer["assistant_id"]) == ("Rhyme.", None)
    answer = (await browser.get(f"/api/threads/{assistant_thread_id}/messages")).json
    assert (answer["system"], answer["assistant_id"]) == (None, assistant.id)


async def test_a_long_thread_comes_in_pieces_from_its_end(
    browser: Browser, client: AsyncClient
) -> None:
    thread_id = await send_messages(client, *(f"message {number}" for number in range(1, 26)))
    texts: list[str] = []
    query = ""
    for more in (True, True, False):
        address = f"/api/threads/{thread_id}/messages?limit=10{query}"
        answer = (await browser.get(address)).json
        texts = [message["parts"][0]["text"] for message in answer["messages"]] + texts
        query = f"&before={answer['messages'][0]['metadata']['number']}"
        assert answer["has_earlier"] is more

    assert texts == [f"message {number}" for number in range(1, 26)]


async def test_a_piece_begins_with_a_message_of_a_person(
    browser: Browser, client: AsyncClient
) -> None:
    thread_id = await answer_thread(client, "Look at the garden", tools=[look])
    await answer_thread(client, "Look at the house", tools=[look], thread_id=thread_id)
    address = f"/api/threads/{thread_id}/messages?limit=2"
    last = (await browser.get(address)).json
    number = last["messages"][0]["metadata"]["number"]
    first = (await browser.get(f"{address}&before={number}")).json

    assert [message["role"] for message in last["messages"]] == ["user", "assistant"]
    assert [message["role"] for message in first["messages"]] == ["user", "assistant"]
    assert (last["has_earlier"], first["has_earlier"]) == (True, False)


@pytest.mark.parametrize("length", [150, 1000])
async def test_a_long_thread_is_opened_without_reading_its_beginning(
    chat: Chat, length: int
) -> None:
    transport = RecordingTransport(chat.site.client.transport)
    client = AsyncClient.over(cast("AsyncTransport", transport))
    thread_id = await send_messages(client, *(f"message {number}" for number in range(length)))
    transport.calls.clear()
    view = await read_thread(client, thread_id, None, 100)

    assert len(view.messages) == 100
    assert len([call for call in transport.calls if isinstance(call, ListMessages)]) == 1


async def test_a_summary_is_a_line_in_the_thread(browser: Browser, client: AsyncClient) -> None:
    thread_id = await answer_thread(client, "one")
    for _ in range(KEEP):
        await answer_thread(client, "more", thread_id=thread_id)
    await client.compact(thread_id)
    answer = (await browser.get(f"/api/threads/{thread_id}/messages")).json

    last = answer["messages"][-1]
    assert last["role"] == "system"
    assert [part["type"] for part in last["parts"]] == ["data-compaction"]


async def test_an_attachment_is_named_by_its_address_here(
    browser: Browser, client: AsyncClient
) -> None:
    upload = await client.upload_file(b"%PDF-", "a report.pdf")
    thread = await client.create_thread()
    await client.create_message(thread.id, (Text("Read this"), File(upload.id)))
    answer = (await browser.get(f"/api/threads/{thread.id}/messages")).json

    assert answer["messages"][0]["parts"][1] == {
        "type": "file",
        "url": f"/api/files/{upload.id}",
        "mediaType": "application/pdf",
        "filename": "a report.pdf",
    }


async def test_a_thread_that_is_opened_again_shows_what_was_streamed(browser: Browser) -> None:
    question = "When does the next flight from LAX to JFK leave?"
    message = {"content": question}
    stream_response = await browser.open("POST", "/api/messages/process", message, buffered=True)
    judge = Judge(5).read(
        f"{frame}\n\n".encode() for frame in stream_response.text.split("\n\n")[:-1]
    )
    thread_id = judge.message["metadata"]["threadId"]
    [_, reply] = (await browser.get(f"/api/threads/{thread_id}/messages")).json["messages"]

    assert "dynamic-tool" in {part["type"] for part in reply["parts"]}
    assert reply["id"] == judge.message["id"]
    assert reply["parts"] == judge.parts
    assert reply["metadata"].items() >= judge.message["metadata"].items()


# Changing threads.


async def test_a_thread_is_renamed(browser: Browser, client: AsyncClient) -> None:
    thread_id = await send_messages(client, "About bees")
    answer = await browser.open("PATCH", f"/api/threads/{thread_id}", {"title": "Insects"})

    assert answer.json["title"] == "Insects"
    assert (await client.get_thread(thread_id)).title == "Insects"


async def test_a_branch_ends_before_a_message_and_stands_in_the_list(
    browser: Browser, client: AsyncClient
) -> None:
    thread_id = await send_messages(client, "one", "two", "three")
    messages = (await browser.get(f"/api/threads/{thread_id}/messages")).json["messages"]
    wait_a_millisecond()
    answer = await browser.post(
        f"/api/threads/{thread_id}/branch", {"message_id": messages[1]["id"]}
    )
    branch = answer.json
    await send_messages(client, "zwei", thread_id=branch["id"])

    assert answer.status_code == 201
    assert (branch["messages"], branch["replaces"]) == (1, thread_id)
    [row] = (await browser.get("/api/threads")).json["data"]
    assert (row["id"], row["replaces"]) == (branch["id"], thread_id)
    branches = (await browser.get(f"/api/threads/{branch['id']}/messages")).json["branches"]
    versions = [thread_id, branch["id"]]
    fork = {"number": 2, "at": versions, "here": 1, "repeated": False}
    assert branches == [fork | {"messages": versions, "columns": ["", ""]}]


async def test_a_branch_that_is_requested_again_with_its_key_is_the_same_one(
    browser: Browser, client: AsyncClient
) -> None:
    thread_id = await send_messages(client, "one", "two")
    messages = (await browser.get(f"/api/threads/{thread_id}/messages")).json["messages"]
    request = {"message_id": messages[1]["id"], "repeat": True, "key": "asked-of-another-model"}
    first, second = [
        (await browser.post(f"/api/threads/{thread_id}/branch", request)).json for _ in range(2)
    ]

    assert first["id"] == second["id"]
    assert first["branch_begins"] == 2
    assert (await browser.get(f"/api/threads/{thread_id}")).json["branch_begins"] is None
    assert len((await client.list_threads()).data) == 2


async def test_a_thread_is_not_branched_before_a_message_of_another_thread(
    browser: Browser, client: AsyncClient
) -> None:
    thread_id, other_id = await send_messages(client, "one"), await send_messages(client, "other")
    messages = (await browser.get(f"/api/threads/{other_id}/messages")).json["messages"]
    answer = await browser.post(
        f"/api/threads/{thread_id}/branch", {"message_id": messages[0]["id"]}
    )

    assert answer.status_code == 404


async def test_a_deleted_thread_takes_along_the_versions_that_it_replaces(
    browser: Browser, client: AsyncClient
) -> None:
    thread_id = await send_messages(client, "one", "two")
    other_id = await send_messages(client, "another")
    messages = (await browser.get(f"/api/threads/{thread_id}/messages")).json["messages"]
    branch = (
        await browser.post(f"/api/threads/{thread_id}/branch", {"message_id": messages[1]["id"]})
    ).json
    await send_messages(client, "zwei", thread_id=branch["id"])
    answer = await browser.open("DELETE", f"/api/threads/{branch['id']}")

    assert answer.json == {"id": branch["id"], "deleted": True}
    assert [thread.id for thread in (await client.list_threads()).data] == [other_id]


async def test_a_temporary_thread_is_marked_in_no_list_and_kept_by_one_request(
    browser: Browser, client: AsyncClient
) -> None:
    thread_id = (await client.create_thread(temporary=True)).id
    await send_messages(client, "one", "two", thread_id=thread_id)
    view = (await browser.get(f"/api/threads/{thread_id}/messages")).json
    branch_response = await browser.post(
        f"/api/threads/{thread_id}/branch", {"message_id": view["messages"][1]["id"]}
    )
    branch = branch_response.json["id"]
    await send_messages(client, "zwei", thread_id=branch)

    assert view["thread"]["temporary"] is True
    assert branch_response.json["temporary"] is True
    assert await list_titles(browser) == []
    versions = (await browser.get(f"/api/threads/{branch}/messages")).json["branches"]
    assert versions[0]["at"] == [thread_id, branch]

    change_response = await browser.open("PATCH", f"/api/threads/{branch}", {"temporary": False})
    assert change_response.json["temporary"] is False
    assert (await client.get_thread(thread_id)).temporary is False
    assert await list_titles(browser) == ["one"]
    refusal = await browser.open("PATCH", f"/api/threads/{branch}", {"temporary": True})
    assert refusal.status_code == 422


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 3},
        {"reasoning_effort": "Ignore all"},
        {"reasoning_effort": "low\n"},
        {"max_output_tokens": 0},
        {"allowed_tools": "*"},
        {"mcp_servers": [{"name": "x"}]},
    ],
)
async def test_invalid_options_of_a_thread_are_refused(
    browser: Browser, client: AsyncClient, options: dict[str, Any]
) -> None:
    thread_id = await send_messages(client, "one")
    change_response = await browser.open("PATCH", f"/api/threads/{thread_id}", {"options": options})
    run_response = await browser.post(
        "/api/messages/process", {"content": "Go", "options": options}
    )

    assert (change_response.status_code, run_response.status_code) == (422, 422)
    assert (await browser.get(f"/api/threads/{thread_id}")).json["options"] == {}


async def test_options_of_a_thread_are_replaced_as_a_whole(
    browser: Browser, client: AsyncClient
) -> None:
    thread_id = await send_messages(client, "one")
    old_thread = await client.get_thread(thread_id)
    path = f"/api/threads/{thread_id}"
    first = await browser.open("PATCH", path, {"options": {"temperature": 0.5}})
    second = await browser.open("PATCH", path, {"options": {"allowed_tools": []}})

    assert first.json["options"] == {"temperature": 0.5}
    assert second.json["options"] == {"allowed_tools": []}
    assert (await client.get_thread(thread_id)).updated_at == old_thread.updated_at


# Exports.


@pytest.mark.parametrize(
    ("form", "kind", "beginning"),
    [
        ("md", "text/markdown", "# About bees"),
        ("json", "application/json", '{"thread":'),
        ("html", "text/html", "<!doctype html>"),
    ],
)
async def test_a_thread_is_exported_as_a_file(
    browser: Browser, client: AsyncClient, form: str, kind: str, beginning: str
) -> None:
    thread_id = await answer_thread(client, "About bees")
    answer = await browser.get(f"/api/threads/{thread_id}/export?as={form}")

    assert answer.mimetype == kind
    assert answer.headers["Content-Disposition"] == f"attachment; filename=About-bees.{form}"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.text.lower().startswith(beginning.lower())
    assert "About bees" in answer.text


async def test_an_unknown_format_of_an_export_is_refused(
    browser: Browser, client: AsyncClient
) -> None:
    answer = await browser.get(f"/api/threads/{await send_messages(client, 'hi')}/export?as=pdf")

    assert answer.status_code == 422


# Owners.


async def test_a_thread_of_another_person_is_unknown_to_every_request() -> None:
    async with many_may_come() as chat:
        ann = await id_of(await browser_of(chat, "ann"))
        anns_client = chat.site.client.on_behalf_of(ann)
        thread_id = await send_messages(anns_client, "secret")
        [message] = (await anns_client.list_messages(thread_id)).data
        browser = await browser_of(chat, "bob")
        address = f"/api/threads/{thread_id}"

        assert await list_titles(browser) == []
        for answer in (
            await browser.get(address),
            await browser.get(f"{address}/messages"),
            await browser.get(f"{address}/export"),
            await browser.open("PATCH", address, {"title": "mine"}),
            await browser.open("DELETE", address),
            await browser.post(f"{address}/branch", {"message_id": message.id}),
        ):
            assert (answer.status_code, answer.json["code"]) == (404, "not_found")
        assert (await anns_client.get_thread(thread_id)).title == "secret"


async def test_a_page_learns_the_user_and_the_features_of_the_installation(
    browser: Browser,
) -> None:
    me = (await browser.get("/api/me")).json

    assert me["person"] == {"id": "local", "name": "local", "role": "admin"}
    assert (me["login"], me["title"], me["languages"]) == ("none", "Antiphon", ["en", "de", "es"])
    assert me["model"] == "demo"
    assert me["csrf"]
    assert me["limits"]["upload_bytes"] > 1_000_000
    assert {"name", "description", "server", "asks"} == me["tools"][0].keys()


async def test_a_page_whose_reader_has_to_log_in_is_told_how() -> None:
    async with open_chat(login="password", web_title="Ours") as chat:
        answer = await chat.browser().get("/api/me")

        assert answer.status_code == 401
        assert (answer.json["login"], answer.json["site"]) == ("password", "Ours")


async def test_models_are_listed(browser: Browser) -> None:
    models = (await browser.get("/api/models")).json["data"]

    assert "demo" in [model["id"] for model in models]
    assert models[0].keys() == {"id", "provider", "default", "context_tokens", "lacks"}


async def test_a_folder_moves_all_versions_of_a_thread_and_other_names_are_refused(
    browser: Browser, client: AsyncClient
) -> None:
    create_response = await browser.post(
        "/api/folders", {"name": " Taxes ", "instructions": "Be exact."}
    )
    folder = create_response.json["id"]
    first = await send_messages(client, "one")
    latest = await client.create_thread(metadata={"replaces": first})
    await send_messages(client, *["two"] * 20, thread_id=latest.id)  # past the millisecond of "one"

    move_response = await browser.open("PATCH", f"/api/threads/{latest.id}", {"folder_id": folder})

    assert (create_response.status_code, create_response.json["name"]) == (201, "Taxes")
    assert move_response.json["folder_id"] == folder
    assert (await client.get_thread(first)).folder_id == folder
    thread_list = await browser.get(f"/api/threads?folder_id={folder}")
    assert [each["id"] for each in thread_list.json["data"]] == [latest.id]
    assert (await browser.get("/api/threads?folder_id=none")).json["data"] == []
    assert (await browser.get("/api/folders")).json["data"] == [{"id": folder, "name": "Taxes"}]
    for name in ("", "a\nb", "\x1b[2J", "\u202ex", "x" * 129):
        assert (await browser.post("/api/folders", {"name": name})).status_code == 422
    delete_response = await browser.open("DELETE", f"/api/folders/{folder}")
    assert delete_response.json["deleted"] is True
    assert (await client.get_thread(first)).folder_id is None
    assert (await browser.get(f"/api/folders/{folder}")).status_code == 404
