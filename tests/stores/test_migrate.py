"""A database that was copied to another kind of database answers every request as before."""

from __future__ import annotations

import asyncio
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest
from msgspec.structs import replace

from antiphon.runtime.runtime import open_store
from antiphon.runtime.wiring import open_dump
from antiphon.stores.dump import TABLES, CopyStep, Dump, Plan, Row, Table, copy_database, plan_copy
from antiphon.types.errors import BadSettings, Conflict
from tests.support.providers.upstream import Upstream
from tests.support.server.served import SETTINGS, Served, serve
from tests.support.services.postgres import Postgres

TOOLS = [{"name": "f", "parameters": {"type": "object"}}]
NAMED_DIFFERENTLY = {"contents", "drives", "fresh", "log", "meta", "once", "uploads"}
NOT_COPIED = {
    ("keys", "begun"),  # detects concurrent changes, as a version number
    *(("messages", "search"), ("threads", "search")),
}
INDEXES = {
    f"{index}{part}"
    for index in ("message_index", "title_index", "page_index")
    for part in ("", "_config", "_content", "_data", "_docsize", "_idx")
}
SQL = files("antiphon.stores") / "sql"
NOT_MOVED = {
    *("migrations", "blank", "reindex", "sqlite_sequence", "sqlite_stat1", *INDEXES),
    *("documents", "pages"),  # read again from the files
    *("chat_imports", "import_pieces"),  # unfinished imports: the owner uploads the file again
}


@pytest.fixture(scope="session")
def full_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an SQLite file with records of every kind."""
    path = tmp_path_factory.mktemp("rich") / "antiphon.db"

    async def fill() -> None:
        async with Upstream() as upstream:
            settings = replace(
                SETTINGS, database=f"sqlite:///{path}", base_url=upstream.url, model="quirk:ok"
            )
            async with serve(settings) as server:
                await _fill_database(server)

    asyncio.run(fill())
    return path


@pytest.fixture
async def source_and_target(
    full_database: Path, tmp_path: Path, postgres: Postgres
) -> tuple[str, str]:
    """Return an SQLite database with records of every kind, and an empty PostgreSQL one."""
    shutil.copy(full_database, tmp_path / "here.db")
    return f"sqlite:///{tmp_path}/here.db", await postgres.create()


async def _fill_database(server: Served) -> None:
    """Fill a database as users do: messages, tools, unfinished runs."""
    root = await server.client(await server.key("root", "admin"))
    ann = await server.client(await server.key("ann"))
    await root.post("/v1/people", json={"name": "Zoë", "password": "long enough"})
    await root.post("/v1/projects", json={"name": "Moon"})
    await ann.post("/v1/assistants", json={"name": "helper"})
    await ann.post("/v1/files", params={"name": "a.bin"}, content=bytes(range(256)))
    await ann.post("/v1/files", params={"name": "empty.bin"}, content=b"")
    hook = (await ann.post("/v1/webhooks", json={"url": "https://hooks.invalid/"})).json()
    schedule_fields = {"message": "Report.", "cron": "@yearly"}
    schedule = (await ann.post("/v1/schedules", json=schedule_fields)).json()["id"]
    run_id = (await ann.post(f"/v1/schedules/{schedule}/run")).json()["id"]
    await ann.post(f"/v1/runs/{run_id}/cancel")
    await ann.post("/v1/memories", json={"text": "Größe 🎼"})
    key = {"idempotency-key": "once"}
    thread = (await ann.post("/v1/threads", json={"title": "Größe 🎼"}, headers=key)).json()["id"]
    folder = (await ann.post("/v1/folders", json={"name": "Größe"})).json()["id"]
    await ann.patch(f"/v1/threads/{thread}", json={"folder_id": folder})
    answer = await ann.post("/v1/process", json={"thread_id": thread, "message": {"content": "go"}})
    assert '"completed"' in answer.text
    await ann.post(f"/v1/threads/{thread}/fork", json={})
    assert (await ann.post(f"/v1/threads/{thread}/shares", json={})).status_code == 201
    tool_request = {
        "message": {"content": "go"},
        "model": "quirk:t_no_index_parallel",
        "tools": TOOLS,
    }
    assert "action.required" in (await ann.post("/v1/process", json=tool_request)).text
    for _ in range(3):
        cancelled_id = (await ann.post("/v1/runs", json={"thread_id": thread})).json()["id"]
        await ann.post(f"/v1/runs/{cancelled_id}/cancel")
    for number in range(140):  # more than a segment holds
        content = {"thread_id": thread, "content": f"message {number}"}
        assert (await ann.post("/v1/messages", json=content)).status_code == 201
    # Nothing is sent while databases are compared.
    disabled = await ann.patch(f"/v1/webhooks/{hook['webhook']['id']}", json={"enabled": False})
    assert disabled.status_code == 200


async def move_database(source: str, target: str) -> Plan:
    async with open_dump(source) as source_dump, open_dump(target, new=True) as target_dump:
        assert source_dump is not None
        assert target_dump is not None
        return await copy_database(source_dump, target_dump, lambda _: None)


@asynccontextmanager
async def reader(database: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve the API over a database; yield a client of an administrator."""
    async with serve(replace(SETTINGS, database=database)) as server:
        yield await server.client(await server.key("root", "admin"))


async def everything(client: httpx2.AsyncClient) -> list[tuple[str, bytes]]:
    """Read all that an owner and an administrator can read, page by page."""
    answers: list[tuple[str, bytes]] = []

    async def get(path: str, **query: Any) -> Any:
        response = await client.get(path, params=query, headers={"antiphon-owner": "ann"})
        answers.append((f"{path} {query}", response.content))
        return response.json() if response.headers["content-type"] == "application/json" else None

    for thread in (await get("/v1/threads", limit=100))["data"]:
        page = {"next": None, "has_more": True}
        while page["has_more"]:
            after = {"after": page["next"]} if page["next"] else {}
            page = await get("/v1/messages", thread_id=thread["id"], limit=50, **after)
    for run in (await get("/v1/runs", limit=100))["data"]:
        await get("/v1/actions", run_id=run["id"])
        if run["ended_at"] is not None:
            await get(f"/v1/runs/{run['id']}/events")
            await get(f"/v1/runs/{run['id']}/events", after=3)
    for file in (await get("/v1/files"))["data"]:
        await get(f"/v1/files/{file['id']}/content")
    for path in ("shares", "assistants", "folders", "people", "usage", "live_runs", "projects"):
        await get(f"/v1/{path}")
    for webhook in (await get("/v1/webhooks"))["data"]:
        await get(f"/v1/webhooks/{webhook['id']}/deliveries", limit=100)
    await get("/v1/memories")
    for schedule in (await get("/v1/schedules"))["data"]:
        await get(f"/v1/schedules/{schedule['id']}/occurrences")
    return answers


async def test_what_was_moved_is_told_the_same_and_goes_on(
    source_and_target: tuple[str, str],
) -> None:
    source, target = source_and_target
    async with reader(source) as client:
        before = await everything(client)
        assert (await client.get("/v1/live_runs")).json()["data"]

    plan = await move_database(source, target)

    assert plan.counts["messages"] > 140
    assert plan.counts["segments"] >= 1
    assert (plan.counts["webhooks"], plan.counts["schedules"]) == (1, 1)
    assert (plan.counts["occurrences"], plan.counts["personal"]) == (1, 1)
    assert plan.counts["shares"] == 1
    assert plan.counts["deliveries"] >= 5
    async with reader(target) as client:
        assert await everything(client) == before
        client.headers["antiphon-owner"] = "ann"
        (live_run,) = (await client.get("/v1/live_runs")).json()["data"]
        run_id = live_run["run"]["id"]
        actions = (await client.get("/v1/actions", params={"run_id": run_id})).json()["data"]
        for action in actions:
            body = {"run_id": run_id, "tool_call_id": action["tool_call_id"], "output": "42"}
            assert (await client.post("/v1/submit_tool_output", json=body)).status_code == 200
        run = (await client.get(f"/v1/runs/{run_id}")).json()
        assert run["status"] == "queued"
        repeated = await client.post(
            "/v1/threads", json={"title": "Größe 🎼"}, headers={"idempotency-key": "once"}
        )
        assert repeated.headers["idempotency-replayed"] == "true"
        assert (await client.post("/v1/process", json={"message": {"content": "hi"}})).is_success


async def test_there_and_back_is_where_it_was(
    source_and_target: tuple[str, str], tmp_path: Path
) -> None:
    source, target = source_and_target
    async with reader(source) as client:
        before = await everything(client)
    last_database = f"sqlite:///{tmp_path}/back.db"
    await move_database(source, target)
    await move_database(target, last_database)

    async with open_dump(source) as first, open_dump(last_database) as last:
        assert first is not None
        assert last is not None
        assert await first.count_rows() == await last.count_rows()
        for table in TABLES:
            first_rows, last_rows = [await read_all_rows(each, table) for each in (first, last)]
            assert first_rows == last_rows, table.name
    async with reader(last_database) as client:
        assert await everything(client) == before
        client.headers["antiphon-owner"] = "ann"
        newest = await client.post("/v1/process", json={"message": {"content": "hi"}})
        assert '"completed"' in newest.text
        runs = (await client.get("/v1/runs")).json()["data"]
        assert runs[0]["id"] in newest.text


async def read_all_rows(dump: Dump, table: Table) -> list[Row]:
    """Return all rows of a table, without the columns that differ between kinds of databases."""
    all_rows: list[Row] = []
    place = table.start
    while rows := await dump.read(table, place):
        place = table.place(rows[-1])
        all_rows += [row[table.unlike :] for row in rows]
    return all_rows


class Killed(Exception):
    """The process was killed here."""


class DyingTarget:
    """Target whose process dies at the batch of this number, after or before it is written."""

    def __init__(self, inner: Dump, batch: int, *, written: bool) -> None:
        self._inner = inner
        self._left = batch
        self._written = written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def write(
        self, table: Table, rows: Sequence[Row], before: bytes | None, progress: bytes
    ) -> None:
        self._left -= 1
        if self._left >= 0 or self._written:
            await self._inner.write(table, rows, before, progress)
        if self._left < 0:
            raise Killed


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
async def test_a_move_that_is_killed_goes_on_where_it_was(
    source_and_target: tuple[str, str], tmp_path: Path, kind: str
) -> None:
    source, target = (
        source_and_target
        if kind == "postgresql"
        else (source_and_target[0], f"sqlite:///{tmp_path}/there.db")
    )
    deaths = 0
    batch = 0
    while True:
        async with open_dump(source) as source_dump, open_dump(target, new=True) as target_dump:
            assert source_dump is not None
            assert target_dump is not None
            steps: list[CopyStep] = []
            try:
                await copy_database(
                    source_dump,
                    DyingTarget(target_dump, batch, written=bool(deaths % 2)),
                    steps.append,
                )
                break
            except Killed:
                deaths += 1
                batch = deaths % 3
            has_begun = await target_dump.progress() is not None
        if has_begun:
            with pytest.raises(BadSettings, match="has not ended"):
                async with open_store(replace(SETTINGS, database=target)):
                    pass

    assert deaths > 4
    assert steps[-1].done == steps[-1].of
    async with open_store(replace(SETTINGS, database=target)) as store:
        assert await store.keys()


async def test_a_target_with_data_of_its_own_is_refused(
    source_and_target: tuple[str, str], tmp_path: Path
) -> None:
    source, _ = source_and_target
    used_database = f"sqlite:///{tmp_path}/taken.db"
    async with serve(replace(SETTINGS, database=used_database)) as server:
        await (await server.client()).post("/v1/threads")

    with pytest.raises(Conflict, match="data of its own"):
        await move_database(source, used_database)


async def test_half_of_one_database_does_not_become_half_of_another(
    source_and_target: tuple[str, str], tmp_path: Path
) -> None:
    source, target = source_and_target
    other = f"sqlite:///{tmp_path}/other.db"
    async with serve(replace(SETTINGS, database=other)) as server:
        await server.key("eve")
    async with open_dump(source) as source_dump, open_dump(target, new=True) as target_dump:
        assert source_dump is not None
        assert target_dump is not None
        with pytest.raises(Killed):
            await copy_database(
                source_dump, DyingTarget(target_dump, 2, written=True), lambda _: None
            )

    with pytest.raises(Conflict, match="half of another"):
        await move_database(other, target)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_database_that_is_at_work_is_not_moved(
    source_and_target: tuple[str, str], tmp_path: Path, postgres: Postgres, kind: str
) -> None:
    source, target = source_and_target
    if kind == "postgresql":
        await move_database(source, target)
        source, target = target, f"sqlite:///{tmp_path}/there.db"
    async with Upstream() as upstream:
        settings = replace(SETTINGS, database=source, base_url=upstream.url, model="quirk:endless")
        async with serve(settings) as server:
            client = await server.client(await server.key("eve"))
            body = {"message": {"content": "go"}, "background": True}
            assert (await client.post("/v1/process", json=body)).status_code == 202
            await upstream.wait_for_request(1)

            with pytest.raises(Conflict):
                await move_database(source, target)
            async with open_dump(source) as source_dump:
                assert source_dump is not None
                with pytest.raises(Conflict, match="driven: 1"):
                    await plan_copy(source_dump, source_dump)


async def test_nobody_else_writes_while_a_database_is_moved(
    source_and_target: tuple[str, str],
) -> None:
    source, target = source_and_target
    path = source.removeprefix("sqlite:///")
    async with open_dump(source) as source_dump:
        assert source_dump is not None
        await source_dump.lock()
        with (
            closing(sqlite3.connect(path, timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("DELETE FROM keys")
    await move_database(source, target)
    async with open_dump(target) as target_dump:
        assert target_dump is not None
        await target_dump.lock()
        connection = await asyncpg.connect(target)
        await connection.execute("SET lock_timeout = '100ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await connection.execute("DELETE FROM keys")
        await connection.close()


async def test_what_has_changed_after_it_was_moved_is_noticed(
    source_and_target: tuple[str, str],
) -> None:
    source, target = source_and_target
    async with open_dump(source) as source_dump, open_dump(target, new=True) as target_dump:
        assert source_dump is not None
        assert target_dump is not None
        with pytest.raises(Killed):
            await copy_database(
                source_dump, DyingTarget(target_dump, 12, written=True), lambda _: None
            )
    with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as file:
        file.execute("UPDATE assistants SET doc = CAST(replace(doc, 'helper', 'hinder') AS BLOB)")
        file.commit()

    with pytest.raises(Conflict, match="assistants"):
        await move_database(source, target)


async def test_no_table_is_forgotten(source_and_target: tuple[str, str]) -> None:
    """Every table has a rule for moving a database."""
    source, target = source_and_target
    async with open_dump(target, new=True):
        pass
    with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as file:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = {name for (name,) in file.execute(query)}
    connection = await asyncpg.connect(target)
    rows = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relkind IN ('r', 'p') AND NOT relispartition"
    )
    await connection.close()

    known_tables = {table.name for table in TABLES} | NAMED_DIFFERENTLY | NOT_MOVED
    assert tables | {name for (name,) in rows} <= known_tables


async def test_no_column_is_forgotten(source_and_target: tuple[str, str]) -> None:
    source, target = source_and_target
    async with open_dump(target, new=True):
        pass
    with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as file:
        in_sqlite = file.execute(
            "SELECT tables.name, columns.name FROM sqlite_master AS tables, "
            "pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'"
        ).fetchall()
    connection = await asyncpg.connect(target)
    in_postgres = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name NOT LIKE 'log_%' "
        "AND is_generated = 'NEVER'"
    )
    await connection.close()

    for kind, columns in (("sqlite", in_sqlite), ("postgres", in_postgres)):
        sql_text = (SQL / f"{kind}_moving.sql").read_text()
        words = set(re.findall(r"\w+", sql_text))
        expected_columns = {
            tuple(each) for each in columns if each[0] not in NOT_MOVED
        } - NOT_COPIED
        assert {each for each in expected_columns if each[1] not in words} == set()
