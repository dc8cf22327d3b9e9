"""Programs of one user share a database: none drives another's runs but with the same settings.

Guarantee G9, and S18: what was said to one provider is never sent to another by a bystander.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from antiphon.api import operations
from antiphon.client.async_client import AsyncClient
from antiphon.engine import transitions
from antiphon.runtime.responses import Response
from antiphon.runtime.runtime import open_runtime
from antiphon.settings.settings import Settings
from antiphon.types import errors
from antiphon.types.accounts import Principal
from antiphon.types.events import RunStatus
from antiphon.types.runs import Run
from tests.support.cli.place import Place
from tests.support.providers.upstream import Upstream

CANARY = "the canary of the first program"


class Programs:
    """Two providers at two addresses, one database, and a program for each provider."""

    def __init__(self, database: str, ours: Upstream, theirs: Upstream) -> None:
        self.ours, self.theirs = ours, theirs
        self.first = Settings(
            database=database, base_url=ours.url, model="quirk:ok", expiry_interval=0.2
        )
        self.other = replace(self.first, base_url=theirs.url)

    async def abandon_run(self, settings: Settings | None = None, *, begun: bool = True) -> Run:
        """A run of the first program, which died with it: in its worker's hands, or before."""
        async with open_runtime(settings or self.first, start_worker=False) as runtime:
            message = operations.NewMessage(CANARY)
            call = operations.Process(message=message, background=True)
            answer = await runtime.dispatcher.open_stream(call, Principal())
            assert isinstance(answer, Response)
            run: Run = answer.value
            if begun:
                taken = await runtime.store.claim(transitions.claim("gone", 1))
                assert taken is not None
                assert taken.run.id == run.id
        return run


@pytest.fixture
async def programs(tmp_path: Path) -> AsyncIterator[Programs]:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(Upstream())
        theirs = await stack.enter_async_context(Upstream())
        yield Programs(f"sqlite:///{tmp_path}/shared.db", ours, theirs)


async def ask_something_else(settings: Settings) -> None:
    async with AsyncClient(settings=settings) as client:
        async for _ in client.converse("something unrelated"):
            pass


async def run_of(settings: Settings, run_id: str) -> Run:
    async with AsyncClient(settings=settings) as client:
        return await client.get_run(run_id)


async def resting(client: AsyncClient, run: Run, *, begun: bool = True) -> Run:
    """The run, once somebody has seen that its worker is gone."""
    queued = 0
    async for event in client.events(run.id):
        queued += isinstance(event, RunStatus) and event.status == "queued"
        if queued == 1 + begun:
            break
    return await client.get_run(run.id)


@pytest.mark.slow
@pytest.mark.parametrize("begun", [True, False])
async def test_a_program_sends_no_run_of_another_to_its_own_provider(
    programs: Programs, begun: bool
) -> None:
    run = await programs.abandon_run(begun=begun)

    async with AsyncClient(settings=programs.other) as client:
        async for _ in client.converse("something unrelated"):
            pass
        found = await resting(client, run, begun=begun)
        async for _ in client.converse("something else"):
            pass

    assert (found.status, found.error) == ("queued", None)
    assert found.waiting_for == programs.ours.url.split("/")[2]
    assert len(programs.theirs.requests) == 2
    assert CANARY not in str([each.body for each in programs.theirs.requests])
    assert not programs.ours.requests


async def test_a_program_without_the_key_fails_no_run_of_another(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"base_url": programs.ours.url, "key_env": "FIRST_PROGRAMS_KEY"}
    keyed = replace(programs.first, base_url=None, model="far:quirk:ok", providers={"far": table})
    monkeypatch.setenv("FIRST_PROGRAMS_KEY", "sk-first")
    run = await programs.abandon_run(keyed)
    monkeypatch.delenv("FIRST_PROGRAMS_KEY")

    bystander = replace(keyed, model="demo", demo_delay=0)
    async with AsyncClient(settings=bystander) as client:
        async for _ in client.converse("something unrelated"):
            pass
        found = await resting(client, run)

    assert (found.status, found.error, found.waiting_for) == ("queued", None, "far")
    assert not programs.ours.requests


async def test_a_run_goes_on_when_its_program_comes_back(programs: Programs) -> None:
    run = await programs.abandon_run()
    await ask_something_else(programs.other)

    async with AsyncClient(settings=programs.first) as client:
        async for _ in client.converse("something unrelated"):
            pass
        async for _ in client.events(run.id):
            pass
        ended = await client.get_run(run.id)

    assert (ended.status, ended.waiting_for) == ("completed", None)
    assert any(CANARY in str(each.body) for each in programs.ours.requests)


async def test_another_key_for_the_same_server_is_no_other_place(programs: Programs) -> None:
    run = await programs.abandon_run(replace(programs.first, provider_key="sk-old"))

    rotated = replace(programs.first, provider_key="sk-new")
    async with AsyncClient(settings=rotated) as client:
        async for _ in client.events(run.id):
            pass

    assert (await run_of(rotated, run.id)).status == "completed"


async def test_a_client_that_only_reads_drives_nothing(programs: Programs) -> None:
    run = await programs.abandon_run()

    async with AsyncClient(settings=programs.first) as client:
        (thread,) = (await client.list_threads()).data
        await client.list_messages(thread.id)
        await client.list_runs(thread_id=thread.id)
        await client.get_run(run.id)
        await client.list_models()
        working = {task.get_name() for task in asyncio.all_tasks()}
        await client.update_thread(thread.id, title="Whales")

    assert not [name for name in working if name.startswith("antiphon ")]
    assert not [each for each in programs.ours.requests if each.body]
    assert (await run_of(programs.first, run.id)).status == "in_progress"


async def test_who_asks_for_a_run_of_other_settings_is_told_which_it_needs(
    programs: Programs,
) -> None:
    run = await programs.abandon_run(begun=False)

    async with AsyncClient(settings=programs.other) as client:
        with pytest.raises(errors.ProviderMismatch) as refused:
            async for _ in client.converse(run_id=run.id):
                pass
        with pytest.raises(errors.ProviderMismatch):
            async for _ in client.process(run_id=run.id):
                pass

    assert refused.value.code == "provider_mismatch"
    assert refused.value.details["provider"] == programs.ours.url.split("/")[2]
    assert refused.value.details["run_id"] == run.id
    assert not programs.theirs.requests


async def test_another_program_may_take_over_the_thread_by_a_run_of_its_own(
    programs: Programs,
) -> None:
    run = await programs.abandon_run(begun=False)

    async with AsyncClient(settings=programs.other) as client:
        with pytest.raises(errors.RunActive):
            async for _ in client.converse("go on", thread_id=run.thread_id):
                pass
        async for _ in client.converse("go on", thread_id=run.thread_id, if_busy="interrupt"):
            pass
        runs = (await client.list_runs(thread_id=run.thread_id)).data

    assert [each.status for each in runs] == ["completed", "cancelled"]
    assert len(programs.theirs.requests) == 1


async def test_a_run_of_the_version_before_rests_until_a_program_asks_for_it(
    programs: Programs, tmp_path: Path
) -> None:
    run = await programs.abandon_run(begun=False)
    with closing(sqlite3.connect(tmp_path / "shared.db")) as connection, connection:
        connection.execute("UPDATE runs SET destination = ''")

    async with AsyncClient(settings=programs.other) as client:
        async for _ in client.converse("something unrelated"):
            pass
        found = await client.get_run(run.id)
        assert found.status == "queued"
        assert found.waiting_for is not None
        assert not any(CANARY in str(each.body) for each in programs.theirs.requests)

        async for _ in client.converse(run_id=run.id):
            pass
        assert (await client.get_run(run.id)).status == "completed"


async def test_neither_keys_nor_paths_are_kept_with_a_run(
    programs: Programs, tmp_path: Path
) -> None:
    secret = "sk-canary-of-a-key"
    where = f"{programs.ours.url}/gateway-token-canary"
    await programs.abandon_run(
        replace(programs.first, provider_key=secret, base_url=where), begun=False
    )

    held = b"".join(path.read_bytes() for path in tmp_path.glob("shared.db*"))
    assert programs.ours.url.split("/")[2].encode() in held
    assert secret.encode() not in held
    assert b"gateway-token-canary" not in held


COMMANDS = (
    ("threads", "list"),
    ("threads", "show", "last"),
    ("threads", "export", "last"),
    ("models",),
    ("doctor",),
    ("config",),
    ("audit",),
)


async def test_commands_that_read_leave_a_waiting_run_alone_and_say_what_it_waits_for(
    place: Place,
) -> None:
    place.database.parent.mkdir(parents=True)
    database = f"sqlite:///{place.database}"
    async with Upstream() as ours, Upstream() as theirs:
        programs = Programs(database, ours, theirs)
        run = await programs.abandon_run(begun=False)
        with closing(sqlite3.connect(place.database)) as connection, connection:
            connection.execute("UPDATE runs SET wanted_at = wanted_at - 60000")
        environ = {"ANTIPHON_BASE_URL": theirs.url, "ANTIPHON_MODEL": "quirk:ok"}
        told = [
            await asyncio.to_thread(place.run, *command, environ=environ) for command in COMMANDS
        ]
        same = {"ANTIPHON_BASE_URL": ours.url, "ANTIPHON_MODEL": "quirk:ok"}
        for command in COMMANDS[1:4:2]:
            await asyncio.to_thread(place.run, *command, environ=same)

        asked = [each for each in (*ours.requests, *theirs.requests) if each.body]
        assert not asked
        assert (await run_of(programs.first, run.id)).status == "queued"
        name = ours.url.split("/")[2]
        show, doctor = told[1], told[4]
        assert show.returncode == 0
        assert f"waits for {name}" in show.stderr
        assert f"1 run waits for {name}: {run.id}" in doctor.stdout
        assert json.loads(told[2].stdout)["thread"]["id"] == run.thread_id
