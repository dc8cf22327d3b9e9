"""On PostgreSQL and Redis too nothing is left of an owner who was erased."""

from __future__ import annotations

import asyncpg
from msgspec.structs import replace
from redis.asyncio import Redis as RedisClient

from antiphon.runtime.admin.encryption import new_key
from tests.support.server.owner_data import CANARY, erase, export_owner, fill, lines
from tests.support.server.served import SETTINGS, serve
from tests.support.services.postgres import Postgres
from tests.support.services.redis import Redis

ROWS = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
"""


async def test_nothing_of_an_erased_owner_is_in_any_table_nor_in_redis(
    postgres: Postgres, redis: Redis, patient_cache: None, patient_postgres: None
) -> None:
    database = await postgres.create()
    settings = replace(SETTINGS, database=database, redis=redis.address, secret_key=new_key())
    async with serve(settings) as server:
        admin = await server.client(await server.key("ops", "admin"))
        await fill(server, "ann")
        await fill(server, "ben")
        assert len(lines(await export_owner(admin, "ann"), "threads.jsonl")) == 2
        assert CANARY in await _in_database(database)

        await erase(admin, "ann")
        assert [owner["owner"] for owner in (await admin.get("/v1/owners")).json()["data"]] == [
            "ben"
        ]
        await erase(admin, "ben")

    assert CANARY not in await _in_database(database)
    assert CANARY.encode() not in await _in_redis(redis.address)


async def _in_database(address: str) -> str:
    """Return all rows of all tables, with bytes decoded as text."""
    connection = await asyncpg.connect(address)
    try:
        texts: list[str] = []
        for (table,) in await connection.fetch(ROWS):
            for row in await connection.fetch(f'SELECT * FROM "{table}"'):
                texts += [
                    value.decode("latin-1") if isinstance(value, bytes) else str(value)
                    for value in row.values()
                ]
        return "\n".join(texts)
    finally:
        await connection.close()


async def _in_redis(address: str) -> bytes:
    client = RedisClient.from_url(address)
    try:
        names = [name async for name in client.scan_iter()]
        return b"".join([await client.dump(name) or b"" for name in names])
    finally:
        await client.aclose()
