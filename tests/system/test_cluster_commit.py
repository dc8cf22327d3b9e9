"""The connection to PostgreSQL is cut at every byte of a commit: each request takes effect once.

Guarantee G4. The bytes are those behind the first that tells the database what to store, up to the
last of its answer: a cut on the way up stores nothing, a cut on the way down stores everything.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.harness import raw_http
from tests.support.harness.checks import text_of
from tests.support.harness.postgres_database import PostgresDatabase
from tests.support.harness.raw_http import Response
from tests.support.providers.upstream import Upstream
from tests.support.services.fault_proxy import BOTH, Cut, FaultProxy, Way
from tests.support.services.postgres import Postgres

SHORT_PLACES, ALL_PLACES = 8, 10_000
ANSWER_SECONDS = 20.0  # two are promised, and the machine may be busy
AGAIN_SECONDS = 30.0
NEVER = "3000"
IDLE = {
    "ANTIPHON_MODEL": "quirk:stall_first",
    "ANTIPHON_FIRST_CHUNK_TIMEOUT": NEVER,
    "ANTIPHON_MAX_CONCURRENT_RUNS": "1",
    "ANTIPHON_LEASE_DURATION": NEVER,
    "ANTIPHON_HEARTBEAT_INTERVAL": NEVER,
    "ANTIPHON_EXPIRY_INTERVAL": NEVER,
    "ANTIPHON_SHUTDOWN_TIMEOUT": "0.1",
}
"""Settings that keep a worker from the database while it waits for the model in one run."""


@dataclass
class ProxiedServer:
    """Server, and the proxy through which it reaches the database."""

    url: str
    link: FaultProxy
    database: PostgresDatabase
    drives_runs: bool
    word_count: int = 0

    async def measure_answer(self, path: str, body: Any, ways: tuple[Way, ...]) -> int:
        """Count the bytes behind the word until the call has its response."""
        new_word = self.new_word()
        self.link.cut(Cut(1_000_000, new_word.encode(), ways))
        assert (await self.ask(path, _replace_word(body, new_word), new_word)).status < 300
        self.link.heal()
        return self.link.passed

    async def ask(self, path: str, body: Any, key: str) -> Response:
        headers = {"Idempotency-Key": key}
        return await raw_http.send_request(
            self.url, "POST", path, body, headers=headers, timeout=ANSWER_SECONDS
        )

    async def ask_again(self, path: str, body: Any, key: str) -> Response:
        """Repeat the call until it is answered, which must be soon."""
        deadline = time.monotonic() + AGAIN_SECONDS
        while True:
            answer = await self.ask(path, body, key)
            if answer.status != 503 or time.monotonic() > deadline:
                return answer
            assert "retry-after" in answer.headers
            await asyncio.sleep(0.05)

    def new_word(self) -> str:
        """Return a word that no message has yet."""
        self.word_count += 1
        return f"word-{self.word_count}-"


@pytest.fixture(params=["undriven", pytest.param("driven", marks=pytest.mark.soak)])
async def proxied_server(
    request: pytest.FixtureRequest, postgres: Postgres, serve: Any, upstream: Upstream
) -> AsyncIterator[ProxiedServer]:
    """Run a server with one connection to the database, so that each call goes the measured way.

    Its worker waits in another run, so that nothing but the call passes the proxy; or it drives
    the runs that the test begins, at any time.
    """
    address = await postgres.create()
    link = FaultProxy(postgres.port).start()
    try:
        through = postgres.address(address.rpartition("/")[2], link.port)
        settings = {"ANTIPHON_DATABASE": through, "ANTIPHON_DATABASE_CONNECTIONS": "1"}
        if request.param == "undriven":
            settings |= {"ANTIPHON_BASE_URL": upstream.url, **IDLE}
        server = await serve(**settings)
        proxied_server = ProxiedServer(
            server.url, link, PostgresDatabase(address), drives_runs=request.param == "driven"
        )
        if not proxied_server.drives_runs:
            assert (await proxied_server.ask(*PROCESS, "the-run-that-waits")).status < 300
            await upstream.wait_for_request(1)
        yield proxied_server
        await server.stop_cleanly()
    finally:
        link.stop()


MESSAGE = ("/v1/messages", {"content": "{word}"})
PROCESS = ("/v1/process", {"message": {"content": "{word}"}, "background": True})
PLACES = [SHORT_PLACES, pytest.param(ALL_PLACES, marks=pytest.mark.soak)]


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("call", [MESSAGE, PROCESS], ids=lambda call: call[0])
@pytest.mark.parametrize("way", BOTH)
async def test_a_commit_that_is_cut_at_any_byte_is_cleared_up(
    proxied_server: ProxiedServer, call: tuple[str, Any], way: Way, places: int
) -> None:
    path, body = call
    if path == "/v1/messages":
        thread = (await raw_http.send_request(proxied_server.url, "POST", "/v1/threads", {})).json
        body = {**body, "thread_id": thread["id"]}
    await proxied_server.measure_answer(path, body, (way,))
    # The second measurement counts, once the statements are prepared.
    bytes_behind = await proxied_server.measure_answer(path, body, (way,))

    words = []
    for after in _spread_evenly(bytes_behind, places):
        word = proxied_server.new_word()
        proxied_server.link.cut(Cut(after, word.encode(), (way,)))
        first_answer = await _try_call(proxied_server, path, _replace_word(body, word), word)
        proxied_server.link.heal()
        answer = await proxied_server.ask_again(path, _replace_word(body, word), word)

        assert answer.status < 300, (after, answer)
        assert first_answer is None or first_answer.json["id"] == answer.json["id"]
        words.append(word)
    # The measured answer may hold bytes of the worker or of the housekeeping, which a later answer
    # lacks: no cut happens behind its end.
    assert proxied_server.link.cuts >= (1 if proxied_server.drives_runs else 0.5 * len(words))
    counts = Counter(
        text_of(message) for message in (await proxied_server.database.load()).messages
    )
    assert {word: counts[word] for word in words if counts[word] != 1} == {}


async def _try_call(
    proxied_server: ProxiedServer, path: str, body: Any, key: str
) -> Response | None:
    """Return the answer of a call that may be cut: None if it has none, or may be tried again."""
    try:
        answer = await proxied_server.ask(path, body, key)
    except raw_http.NoResponse:
        raise
    except raw_http.ConnectionCut:
        return None
    if answer.status == 503:
        assert "retry-after" in answer.headers
        return None
    assert answer.status < 300, answer
    return answer


def _spread_evenly(count: int, places: int) -> list[int]:
    """Return so many numbers below `count`, the last among them."""
    places = min(places, count)
    return sorted({(count - 1) * place // max(1, places - 1) for place in range(places)})


def _replace_word(body: Any, word: str) -> Any:
    match body:
        case dict():
            return {name: _replace_word(value, word) for name, value in body.items()}
        case str():
            return body.replace("{word}", word)
        case _:
            return body
