"""Programs of one user share a database; each drives only runs that have its own settings.

Guarantee G9, and S18: no other program sends the text of a run to its own provider.
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

    def __init__(self, database: str, own_upstream: Upstream, other_upstream: Upstream) -> None:
        self.own_upstream, self.other_upstream = own_upstream, other_upstream
        self.first = Settings(
            database=database, base_url=own_upstream.url, model="quirk:ok", expiry_interval=0.2
        )
        self.other = replace(self.first, base_url=other_upstream.url)

    async def abandon_run(
        self, settings: Settings | None = None, *, was_claimed: bool = True
    ) -> Run:
        """Return a run of the first program, which died after its worker claimed it, or before."""
        async with open_runtime(settings or self.first, start_worker=False) as runtime:
            message = operations.NewMessage(CANARY)
            call = operations.Process(message=message, background=True)
            answer = await runtime.dispatcher.open_stream(call, Principal())
            assert isinstance(answer, Response)
            run: Run = answer.value
            if was_claimed:
                claim = await runtime.store.claim(transitions.claim("gone", 1))
                assert claim is not None
                assert claim.run.id == run.id
        return run


@pytest.fixture
async def programs(tmp_path: Path) -> AsyncIterator[Programs]:
    async with AsyncExitStack() as stack:
        own_upstream = await stack.enter_async_context(Upstream())
        other_upstream = await stack.enter_async_context(Upstream())
        yield Programs(f"sqlite:///{tmp_path}/shared.db", own_upstream, other_upstream)


async def ask_something_else(settings: Settings) -> None:
    async with AsyncClient(settings=settings) as client:
        async for _ in client.converse("something unrelated"):
            pass


async def get_run(settings: Settings, run_id: str) -> Run:
    async with AsyncClient(settings=settings) as client:
        return await client.get_run(run_id)


async def wait_until_released(client: AsyncClient, run: Run, *, was_claimed: bool = True) -> Run:
    """Return the run after another program has seen that the run's worker is dead."""
    queued_count = 0
    async for event in client.events(run.id):
        queued_count += isinstance(event, RunStatus) and event.status == "queued"
        if queued_count == 1 + was_claimed:
            break
    return await client.get_run(run.id)


@pytest.mark.slow
@pytest.mark.parametrize("was_claimed", [True, False])
async def test_a_program_sends_no_run_of_another_to_its_own_provider(
    programs: Programs, was_claimed: bool
) -> None:
    run = await programs.abandon_run(was_claimed=was_claimed)

    async with AsyncClient(settings=programs.other) as client:
        async for _ in client.converse("something unrelated"):
            pass
        released_run = await wait_until_released(client, run, was_claimed=was_claimed)
        async for _ in client.converse("something else"):
            pass

    assert (released_run.status, released_run.error) == ("queued", None)
    assert released_run.waiting_for == programs.own_upstream.url.split("/")[2]
    assert len(programs.other_upstream.requests) == 2
    assert CANARY not in str([each.body for each in programs.other_upstream.requests])
    assert not programs.own_upstream.requests


async def test_a_program_without_the_key_fails_no_run_of_another(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"base_url": programs.own_upstream.url, "key_env": "FIRST_PROGRAMS_KEY"}
    settings = replace(
        programs.first, base_url=None, model="far:quirk:ok", providers={"far": table}
    )
    monkeypatch.setenv("FIRST_PROGRAMS_KEY", "sk-first")
    run = await programs.abandon_run(settings)
    monkeypatch.delenv("FIRST_PROGRAMS_KEY")

    bystander = replace(settings, model="demo", demo_delay=0)
    async with AsyncClient(settings=bystander) as client:
        async for _ in client.converse("something unrelated"):
            pass
        released_run = await wait_until_released(client, run)

    assert (released_run.status, released_run.error, released_run.waiting_for) == (
        "queued",
        None,
        "far",
    )
    assert not programs.own_upstream.requests


async def test_a_run_goes_on_when_its_program_comes_back(programs: Programs) -> None:
    run = await programs.abandon_run()
    await ask_something_else(programs.other)

    async with AsyncClient(settings=programs.first) as client:
        async for _ in client.converse("something unrelated"):
            pass
        async for _ in client.events(run.id):
            pass
        finished_run = await client.get_run(run.id)

    assert (finished_run.status, finished_run.waiting_for) == ("completed", None)
    assert any(CANARY in str(each.body) for each in programs.own_upstream.requests)


async def test_another_key_for_the_same_server_is_no_other_place(programs: Programs) -> None:
    run = await programs.abandon_run(replace(programs.first, provider_key="sk-old"))

    settings = replace(programs.first, provider_key="sk-new")
    async with AsyncClient(settings=settings) as client:
        async for _ in client.events(run.id):
            pass

    assert (await get_run(settings, run.id)).status == "completed"


async def test_a_client_that_only_reads_drives_nothing(programs: Programs) -> None:
    run = await programs.abandon_run()

    async with AsyncClient(settings=programs.first) as client:
        (thread,) = (await client.list_threads()).data
        await client.list_messages(thread.id)
        await client.list_runs(thread_id=thread.id)
        await client.get_run(run.id)
        await client.list_models()
        task_names = {task.get_name() for task in asyncio.all_tasks()}
        await client.update_thread(thread.id, title="Whales")

    assert not [name for name in task_names if name.startswith("antiphon ")]
    assert not [each for each in programs.own_upstream.requests if each.body]
    assert (await get_run(programs.first, run.id)).status == "in_progress"


async def test_a_client_that_asks_for_a_run_of_other_settings_learns_which_it_needs(
    programs: Programs,
) -> None:
    run = await programs.abandon_run(was_claimed=False)

    async with AsyncClient(settings=programs.other) as client:
        with pytest.raises(errors.ProviderMismatch) as error_info:
            async for _ in client.converse(run_id=run.id):
                pass
        with pytest.raises(errors.ProviderMismatch):
            async for _ in client.process(run_id=run.id):
                pass

    assert error_info.value.code == "provider_mismatch"
    assert error_info.value.details["provider"] == programs.own_upstream.url.split("/")[2]
    assert error_info.value.details["run_id"] == run.id
    assert not programs.other_upstream.requests


async def test_another_program_may_take_over_the_thread_by_a_run_of_its_own(
    programs: Programs,
) -> None:
    run = await programs.abandon_run(was_claimed=False)

    async with AsyncClient(settings=programs.other) as client:
        with pytest.raises(errors.RunActive):
            async for _ in client.converse("go on", thread_id=run.thread_id):
                pass
        async for _ in client.converse("go on", thread_id=run.thread_id, if_busy="interrupt"):
            pass
        runs = (await client.list_runs(thread_id=run.thread_id)).data

    assert [each.status for each in runs] == ["completed", "cancelled"]
    assert len(programs.other_upstream.requests) == 1


async def test_a_run_of_the_version_before_rests_until_a_program_asks_for_it(
    programs: Programs, tmp_path: Path
) -> None:
    run = await programs.abandon_run(was_claimed=False)
    with closing(sqlite3.connect(tmp_path / "shared.db")) as connection, connection:
        connection.execute("UPDATE runs SET destination = ''")

    async with AsyncClient(settings=programs.other) as client:
        async for _ in client.converse("something unrelated"):
            pass
        resting_run = await client.get_run(run.id)
        assert resting_run.status == "queued"
        assert resting_run.waiting_for is not None
        assert not any(CANARY in str(each.body) for each in programs.other_upstream.requests)

        async for _ in client.converse(run_id=run.id):
            pass
        assert (await client.get_run(run.id)).status == "completed"


async def test_neither_keys_nor_paths_are_kept_with_a_run(
    programs: Programs, tmp_path: Path
) -> None:
    secret = "sk-canary-of-a-key"
    base_url = f"{programs.own_upstream.url}/gateway-token-canary"
    await programs.abandon_run(
        replace(programs.first, provider_key=secret, base_url=base_url), was_claimed=False
    )

    stored_bytes = b"".join(path.read_bytes() for path in tmp_path.glob("shared.db*"))
    assert programs.own_upstream.url.split("/")[2].encode() in stored_bytes
    assert secret.encode() not in stored_bytes
    assert b"gateway-token-canary" not in stored_bytes


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
    async with Upstream() as own_upstream, Upstream() as other_upstream:
        programs = Programs(database, own_upstream, other_upstream)
        run = await programs.abandon_run(was_claimed=False)
        with closing(sqlite3.connect(place.database)) as connection, connection:
            connection.execute("UPDATE runs SET wanted_at = wanted_at - 60000")
        environ = {"ANTIPHON_BASE_URL": other_upstream.url, "ANTIPHON_MODEL": "quirk:ok"}
        results = [
            await asyncio.to_thread(place.run, *command, environ=environ) for command in COMMANDS
        ]
        same_settings = {"ANTIPHON_BASE_URL": own_upstream.url, "ANTIPHON_MODEL": "quirk:ok"}
        for command in COMMANDS[1:4:2]:
            await asyncio.to_thread(place.run, *command, environ=same_settings)

        requests = [
            each for each in (*own_upstream.requests, *other_upstream.requests) if each.body
        ]
        assert not requests
        assert (await get_run(programs.first, run.id)).status == "queued"
        name = own_upstream.url.split("/")[2]
        show, doctor = results[1], results[4]
        assert show.returncode == 0
        assert f"waits for {name}" in show.stderr
        assert f"1 run waits for {name}: {run.id}" in doctor.stdout
        assert json.loads(results[2].stdout)["thread"]["id"] == run.thread_id
