"""A client that acts for an owner sees only that owner's things, over both transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import httpx2
import pytest

from antiphon.api.operations import GetThread
from antiphon.client.async_client import AsyncClient
from antiphon.client.sync_client import Client
from antiphon.runtime.admin.keys import create_unaudited_key
from antiphon.runtime.embedded_transport import AsyncEmbeddedTransport
from antiphon.runtime.runtime import open_runtime
from antiphon.server.serve import run_server
from antiphon.types import errors
from antiphon.types.accounts import Principal
from tests.support.client.either_transport import LINES, SETTINGS, waiting_run


@pytest.fixture(params=LINES)
async def base(request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    async with request.param() as client:
        yield client


async def test_another_owners_things_are_unknown(base: AsyncClient):
    ann, ben = base.on_behalf_of("ann"), base.on_behalf_of("person_ben")
    run = await ann.get_run(await waiting_run(ann))
    (action,) = (await ann.list_actions(run.id)).data
    message = (await ann.list_messages(run.thread_id)).data[0]
    file = await ann.upload_file(b"secret", "a.txt", "text/plain")

    requests: list[Callable[[], Awaitable[Any]]] = [
        lambda: ben.get_thread(run.thread_id),
        lambda: ben.list_messages(run.thread_id),
        lambda: ben.get_message(message.id),
        lambda: ben.get_run(run.id),
        lambda: ben.cancel_run(run.id),
        lambda: ben.list_actions(run.id),
        lambda: ben.get_action(action.id),
        lambda: ben.submit_tool_output(run.id, action.tool_call_id, "17:00"),
        lambda: ben.get_file(file.id),
        lambda: ben.download_file(file.id),
        lambda: anext(ben.events(run.id)),
        lambda: anext(ben.completions(run.id)),
        lambda: base.get_thread(run.thread_id),
    ]
    for send in requests:
        with pytest.raises(errors.NotFound):
            await send()

    assert [(await client.get_caller()).owner for client in (ann, ben)] == ["ann", "person_ben"]
    assert [thread.id for thread in (await ann.list_threads()).data] == [run.thread_id]
    assert (await ben.list_threads()).data == (await base.list_threads()).data == []
    assert await ann.download_file(file.id) == b"secret"


async def test_closing_it_leaves_the_base_and_the_others_open(base: AsyncClient):
    ann = base.on_behalf_of("ann")
    await ann.create_thread(title="mine")

    await ann.close()

    assert (await base.list_threads()).data == []
    (thread,) = (await base.on_behalf_of("ann").list_threads()).data
    assert thread.title == "mine"


async def test_an_act_has_the_actor_for_whom_a_program_acts(base: AsyncClient):
    project = await base.as_actor("person_1").create_project("Moon")
    key_creation = await base.create_key("laptop", project.id)

    key_act, project_act = (await base.list_acts()).data

    assert (project_act.what, project_act.target) == ("project.created", project.id)
    assert project_act.actor == "person_1"
    assert (key_act.what, key_act.target) == ("key.created", key_creation.key.id)
    assert key_act.actor == "local"


async def test_an_admin_who_stops_anothers_run_leaves_an_act_and_its_owner_does_not(
    base: AsyncClient,
):
    ann = base.on_behalf_of("person_ann")
    own_run, stopped_run = [await waiting_run(ann) for _ in range(2)]

    await ann.as_actor("person_ann").cancel_run(own_run)
    await ann.as_actor("person_root").cancel_run(stopped_run)

    (act,) = (await base.list_acts(owner="person_ann")).data
    assert (act.what, act.target) == ("run.cancelled_by_admin", stopped_run)
    assert act.actor == "person_root"


async def test_many_owners_may_ask_at_once(base: AsyncClient):
    owners = [f"person_{number}" for number in range(10)]

    threads = await asyncio.gather(
        *(base.on_behalf_of(owner).create_thread(title=owner) for owner in owners)
    )

    for owner, thread in zip(owners, threads, strict=True):
        assert (await base.on_behalf_of(owner).list_threads()).data == [thread]


@pytest.mark.parametrize("owner", ["", "a b", "a\r\nX: y", "ännchen", "\0", "a" * 129, "\udc80"])
async def test_what_is_no_owner_is_refused(base: AsyncClient, owner: str):
    with pytest.raises(errors.InvalidRequest):
        base.on_behalf_of(owner)


async def test_the_sync_client_acts_for_owners_too():
    def talk(client: Client) -> None:
        ann = client.on_behalf_of("ann")
        thread = ann.create_thread(title="mine")
        ann.close()
        with pytest.raises(errors.NotFound):
            client.get_thread(thread.id)
        assert client.on_behalf_of("ann").get_thread(thread.id) == thread

    def talk_embedded() -> None:
        with Client(settings=SETTINGS) as client:
            talk(client)

    def talk_over_http(url: str) -> None:
        with Client(url) as client:
            talk(client)

    await asyncio.to_thread(talk_embedded)
    async with run_server(SETTINGS) as url:
        await asyncio.to_thread(talk_over_http, url)


async def test_a_transport_over_an_open_runtime_leaves_it_open():
    async with open_runtime(SETTINGS) as runtime:
        client = AsyncClient.over(AsyncEmbeddedTransport.over(runtime))
        thread = await client.on_behalf_of("ann").create_thread()
        await client.close()

        assert (
            await runtime.dispatcher.dispatch(GetThread(thread.id), Principal(owner="ann"))
        ).value == thread


async def test_a_key_without_admin_acts_for_nobody_else(locked_server: tuple[str, dict[str, str]]):
    url, keys = locked_server
    async with AsyncClient(url, api_key=keys["ann"]) as ann:
        caller = await ann.get_caller()
        assert (caller.owner, caller.key_id is not None) == ("ann", True)
        with pytest.raises(errors.Forbidden):
            await ann.on_behalf_of("ben").list_threads()
        with pytest.raises(errors.Forbidden):
            await ann.on_behalf_of("ben").create_thread()
    async with AsyncClient(url, api_key=keys["root"]) as root:
        thread = await root.on_behalf_of("ann").create_thread(title="of ann")
    async with AsyncClient(url, api_key=keys["ann"]) as ann:
        assert await ann.get_thread(thread.id) == thread


async def test_an_owner_header_that_is_none_is_refused(locked_server: tuple[str, dict[str, str]]):
    url, keys = locked_server
    header = "antiphon-owner"
    async with httpx2.AsyncClient(
        base_url=url, headers={"authorization": f"Bearer {keys['root']}"}, trust_env=False
    ) as root:
        for headers in ([(header, "")], [(header, "a b")], [(header, "ann"), (header, "ben")]):
            answer = await root.get("/v1/threads", headers=headers)

            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.fixture
async def locked_server() -> AsyncIterator[tuple[str, dict[str, str]]]:
    async with open_runtime(SETTINGS) as runtime:
        _, ann = await create_unaudited_key(runtime.store, "ann")
        _, root = await create_unaudited_key(runtime.store, "local", scopes=("admin",))
        async with run_server(SETTINGS, lambda _: nullcontext(runtime)) as url:
            yield url, {"ann": ann, "root": root}
