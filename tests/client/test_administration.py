"""People, keys, live runs, usage and servers through an admin's client, over both transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from antiphon.api.operations import ListKeys, ListLiveRuns, ListPeople
from antiphon.client.async_client import AsyncClient
from antiphon.server.serve import run_server
from antiphon.types import errors
from tests.support.client.either_transport import LINES, SETTINGS, waiting_run

PASSWORD = "correct horse battery"


@pytest.fixture(params=LINES)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    async with request.param() as client:
        yield client


# People.


async def test_a_person_signs_in_by_name_and_password(client: AsyncClient):
    person = await client.create_person("Ann", role="admin", password=PASSWORD)

    ann = await client.sign_in("ANN", PASSWORD)

    assert ann.id == person.id
    assert ann.signed_in_at is not None
    assert (person.name, person.role, person.generation) == ("Ann", "admin", 1)
    assert await client.get_person(person.id) == ann
    assert [each async for each in client.paginate(ListPeople(limit=1))] == [ann]


async def test_every_wrong_sign_in_is_refused_with_the_same_words(client: AsyncClient):
    await client.create_person("Ann", password=PASSWORD)
    await client.create_person("Ben", subject="https://id|ben")

    messages: set[str] = set()
    for name, password in (("Ann", "wrong"), ("Eve", PASSWORD), ("Ben", ""), ("Ann", "")):
        with pytest.raises(errors.SignInRefused) as error_info:
            await client.sign_in(name, password)
        messages.add(error_info.value.message)

    assert len(messages) == 1
    assert PASSWORD not in messages.pop()


async def test_a_disabled_person_is_refused_after_the_right_password(client: AsyncClient):
    ann = await client.create_person("Ann", password=PASSWORD, subject="https://id|ann")
    await client.update_person(ann.id, disabled=True)

    with pytest.raises(errors.SignInRefused, match="disabled"):
        await client.sign_in("Ann", PASSWORD)
    with pytest.raises(errors.SignInRefused, match="disabled"):
        await client.sign_in(subject="https://id|ann", create=True)
    with pytest.raises(errors.SignInRefused, match="wrong"):
        await client.sign_in("Ann", "wrong")


async def test_what_voids_logins_makes_a_new_generation(client: AsyncClient):
    ann = await client.create_person("Ann", password=PASSWORD)

    after_rename = await client.update_person(ann.id, name="Anna")
    after_sign_out = await client.update_person(ann.id, sign_out=True)
    after_new_password = await client.update_person(ann.id, password="another password")
    after_disabling = await client.update_person(ann.id, disabled=True)
    after_enabling = await client.update_person(ann.id, disabled=False)

    generations = [
        each.generation
        for each in (
            after_rename,
            after_sign_out,
            after_new_password,
            after_disabling,
            after_enabling,
        )
    ]
    assert generations == [1, 2, 3, 4, 4]
    with pytest.raises(errors.SignInRefused):
        await client.sign_in("Anna", PASSWORD)
    assert (await client.sign_in("Anna", "another password")).generation == 4


async def test_names_are_unique_whatever_their_case(client: AsyncClient):
    await client.create_person("Ann")
    ben = await client.create_person("Ben")

    with pytest.raises(errors.Conflict):
        await client.create_person("aNN")
    with pytest.raises(errors.Conflict):
        await client.update_person(ben.id, name="ANN")
    assert (await client.update_person(ben.id, name="BEN")).name == "BEN"


@pytest.mark.parametrize(
    "name", ["", " ", "a\nb", "a\u202eb", "a\u200bb", "a\U000e0080b", "a\u3164b", "a" * 129]
)
async def test_what_is_no_name_is_refused(client: AsyncClient, name: str):
    with pytest.raises(errors.InvalidRequest):
        await client.create_person(name)


async def test_the_last_admin_stays_one(client: AsyncClient):
    ann = await client.create_person("Ann", role="admin")
    ben = await client.create_person("Ben", role="admin")
    await client.update_person(ben.id, disabled=True)

    for change in (
        client.update_person(ann.id, role="user"),
        client.update_person(ann.id, disabled=True),
        client.delete_person(ann.id),
    ):
        with pytest.raises(errors.Conflict):
            await change
    assert (await client.update_person(ann.id, name="Anna")).role == "admin"

    await client.update_person(ben.id, disabled=False)
    outcomes = await asyncio.gather(
        client.delete_person(ann.id), client.delete_person(ben.id), return_exceptions=True
    )
    assert sum(isinstance(each, errors.Conflict) for each in outcomes) == 1
    assert len((await client.list_people()).data) == 1


async def test_a_subject_is_made_at_first_sight_where_that_is_asked_for(client: AsyncClient):
    await client.create_person("Ann")

    with pytest.raises(errors.SignInRefused):
        await client.sign_in(name="Ann", subject="https://id|7")
    first = await asyncio.gather(
        *(client.sign_in(name="Ann", subject="https://id|7", create=True) for _ in range(3))
    )
    later = await client.sign_in(name="Other", subject="https://id|7", create=True, role="admin")

    assert {each.id for each in first} == {later.id}
    assert (later.name, later.role, later.subject) == ("Ann 2", "user", "https://id|7")


async def test_an_incomplete_or_ambiguous_sign_in_is_refused(client: AsyncClient):
    for attempt in (
        client.sign_in(),
        client.sign_in("Ann"),
        client.sign_in(password=PASSWORD),
        client.sign_in("Ann", PASSWORD, subject="https://id|7"),
    ):
        with pytest.raises(errors.InvalidRequest):
            await attempt


async def test_a_removed_person_leaves_their_threads_and_loses_their_keys(client: AsyncClient):
    ann = await client.create_person("Ann", password=PASSWORD)
    thread = await client.on_behalf_of(ann.id).create_thread()

    await client.delete_person(ann.id)

    with pytest.raises(errors.NotFound):
        await client.get_person(ann.id)
    with pytest.raises(errors.NotFound):
        await client.update_person(ann.id, password=PASSWORD)
    with pytest.raises(errors.NotFound):
        await client.delete_person(ann.id)
    with pytest.raises(errors.SignInRefused):
        await client.sign_in("Ann", PASSWORD)
    assert await client.on_behalf_of(ann.id).get_thread(thread.id) == thread


async def test_a_password_is_in_no_answer_and_no_complaint(client: AsyncClient):
    ann = await client.create_person("Ann", password=PASSWORD)
    texts = [repr(ann), repr(await client.list_people())]
    for request in (
        client.create_person("ann", password=PASSWORD),
        client.create_person("Eve", password="short12"),
        client.sign_in("Eve", PASSWORD),
        client.update_person("person_0", password=PASSWORD),
    ):
        with pytest.raises(errors.CallerError) as error:
            await request
        texts.append(repr(error.value) + repr(error.value.details))

    for each in texts:
        assert not any(secret in each for secret in (PASSWORD, "short12", "argon2"))


# Keys.


async def test_a_key_is_shown_once_and_revoked_for_good():
    async with run_server(SETTINGS) as url, AsyncClient(url) as first:
        root_key = await first.create_key("web", "local", ("admin",))
        async with AsyncClient(url, api_key=root_key.token) as root:
            key_of_ann = await root.create_key("laptop", "ann")
            assert root_key.token not in repr(root_key)
            assert [each async for each in root.paginate(ListKeys(limit=1))] == [
                root_key.key,
                key_of_ann.key,
            ]
            async with AsyncClient(url, api_key=key_of_ann.token) as ann:
                thread = await ann.create_thread()
            assert await root.on_behalf_of("ann").get_thread(thread.id) == thread

            revoked_key = await root.revoke_key(key_of_ann.key.id)
            assert revoked_key.revoked_at is not None
            with pytest.raises(errors.NotFound):
                await root.revoke_key("key_0")
            with pytest.raises(errors.InvalidRequest):
                await root.create_key("laptop", "no owner")


async def test_the_keys_of_a_disabled_person_are_revoked():
    async with run_server(SETTINGS) as url, AsyncClient(url) as first:
        root = AsyncClient(url, api_key=(await first.create_key("root", "local", ("admin",))).token)
        ann = await root.create_person("Ann")
        key = (await root.create_key("laptop", ann.id)).key
        await root.update_person(ann.id, disabled=True)

        keys = {each.id: each for each in (await root.list_keys()).data}
        assert keys[key.id].revoked_at is not None
        assert sum(each.revoked_at is None for each in keys.values()) == 1
        await root.close()


# Live runs, usage, and servers.


async def test_live_runs_of_everybody_are_listed_and_can_be_stopped(client: AsyncClient):
    people = [f"person_{number}" for number in range(3)]
    runs = [await waiting_run(client.on_behalf_of(owner)) for owner in people]

    live_runs = [each async for each in client.paginate(ListLiveRuns(limit=2))]
    assert [(each.owner, each.run.id) for each in live_runs] == list(
        zip(reversed(people), reversed(runs), strict=True)
    )

    await client.on_behalf_of(live_runs[0].owner).cancel_run(live_runs[0].run.id)
    assert [each.run.id for each in (await client.list_live_runs()).data] == [runs[1], runs[0]]


async def test_what_runs_used_is_reported_by_day_model_and_owner(client: AsyncClient):
    for owner, times in (("ann", 2), ("ben", 1)):
        for _ in range(times):
            client_of_owner = client.on_behalf_of(owner)
            await client_of_owner.cancel_run(await waiting_run(client_of_owner))

    report = await client.get_usage(days=2)

    rows = {row.owner: row for row in report.rows}
    assert (rows["ann"].runs, rows["ben"].runs) == (2, 1)
    assert rows["ann"].input_tokens == 2 * rows["ben"].input_tokens > 0
    assert rows["ben"].output_tokens > 0
    assert {row.model for row in report.rows} == {"demo"}
    assert all(row.day > report.since for row in report.rows)
    assert not report.cut
    with pytest.raises(errors.InvalidRequest):
        await client.get_usage(days=0)


async def test_without_servers_none_is_listed(client: AsyncClient):
    assert (await client.list_servers()).data == []
