"""Errors as callers see them, and data that stays out of the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec
import pytest
from starlette.types import Receive, Scope, Send

from antiphon.api import problems
from antiphon.runtime.runtime import Runtime, open_runtime
from antiphon.server.app import RuntimeOpener, create_app
from antiphon.server.requests import field
from antiphon.server.serve import run_server
from antiphon.settings.settings import Settings
from antiphon.types import errors
from antiphon.types.errors import AntiphonError
from tests.support.server.served import SETTINGS, asgi, serve

SECRET = "sk-canary-1f2e3d"


def _list_subclasses(kind: type[AntiphonError]) -> list[type[AntiphonError]]:
    return [
        kind,
        *(member for child in kind.__subclasses__() for member in _list_subclasses(child)),
    ]


@pytest.mark.parametrize("kind", _list_subclasses(AntiphonError))
def test_every_error_has_a_place(kind: type[AntiphonError]) -> None:
    error = kind("What went wrong.", expected="a", received="b", hint="c", run_id="run_1")
    document = msgspec.json.decode(problems.problem_document(error))
    status, title = problems.status_and_title(error)

    assert 400 <= status < 600
    assert document == {
        "type": f"/problems/{kind.code}",
        "title": title,
        "status": status,
        "code": kind.code,
        "detail": "What went wrong.",
        "expected": "a",
        "received": "b",
        "hint": "c",
        "run_id": "run_1",
    }


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.RunActive, 409),
        (errors.OutputConflict, 409),
        (errors.UnknownToolCall, 404),
        (errors.RunEnded, 409),
        (errors.NotFound, 404),
        (errors.EventExpired, 410),
        (errors.Overloaded, 503),
        (errors.Unavailable, 503),
        (errors.InvalidEventId, 400),
        (errors.InvalidRequest, 422),
        (problems.Malformed, 400),
        (errors.TooLarge, 413),
        (errors.ProviderAuth, 502),
    ],
)
def test_errors_that_clients_go_by_keep_their_status(
    kind: type[AntiphonError], status: int
) -> None:
    assert problems.status_and_title(kind("x"))[0] == status


@pytest.mark.parametrize(("seconds", "header"), [(None, b"1"), (0.2, b"1"), (7, b"7"), (2.6, b"3")])
def test_an_error_that_may_be_retried_says_when(seconds: float | None, header: bytes) -> None:
    details = {} if seconds is None else {"retry_after": seconds}

    assert dict(problems.problem_headers(errors.Unavailable("x", **details))) == {
        b"retry-after": header
    }


def test_details_never_stand_in_for_what_every_problem_has() -> None:
    error = errors.NotFound("gone", status=200, code="ok", type="x", title="y", detail="z")

    assert msgspec.json.decode(problems.problem_document(error))["status"] == 404


def test_a_header_value_from_outside_is_one_line() -> None:
    assert field(b"x", "a\r\nb\0c\x7f\u2028d") == (b"x", b"abc?d")


async def test_a_fault_of_ours_tells_the_caller_an_id_and_the_log_a_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        run_server(SETTINGS, _open_broken) as url,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        answer = await client.post(
            f"{url}/v1/threads", json={"title": SECRET}, headers={"idempotency-key": SECRET}
        )

    log = caplog.text
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "internal"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.json()["request_id"] in log
    assert "POST /v1/threads failed" in log
    assert "in _break" in log
    assert "builtins.ZeroDivisionError" in log
    assert "Traceback" not in answer.text
    assert SECRET not in log + answer.text


async def test_nothing_of_a_request_gets_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serve() as server:
        client = await server.client(await server.key("ann"))
        await client.post("/v1/threads", json={"title": SECRET})
        await client.post("/v1/threads", json={"title": 1, SECRET: SECRET})
        await client.get(f"/v1/threads/{SECRET}")
        await client.get("/v1/threads", headers={"authorization": f"Bearer {SECRET}"})
        await client.get(f"/{SECRET}?q={SECRET}")

    own_records = [record for record in caplog.records if not record.name.startswith("http")]
    assert SECRET not in "".join(record.getMessage() for record in own_records)


@asynccontextmanager
async def _open_broken(settings: Settings) -> AsyncGenerator[Runtime]:
    async with open_runtime(settings) as runtime:
        runtime.dispatcher = _BrokenDispatcher()  # type: ignore[assignment]
        yield runtime


class _BrokenDispatcher:
    """Dispatcher with a fault whose words quote what the caller wrote."""

    async def dispatch(self, call: Any, owner: str, key: str | None = None) -> object:
        try:
            return _break(call.title)
        except ZeroDivisionError as fault:
            raise LookupError(f"while we kept {call.title}") from fault


def _break(text: str) -> float:
    try:
        return 1 / 0
    except ZeroDivisionError as fault:
        fault.args = (f"divided {text}",)
        raise


@dataclass
class FailingStore:
    """Store of which some methods fail."""

    store: Any
    failures: dict[str, Callable[[], Awaitable[Any]]]

    def __getattr__(self, name: str) -> Any:
        if failure := self.failures.get(name):
            return lambda *_, **__: failure()
        return getattr(self.store, name)


async def _refuse() -> None:
    raise errors.Unavailable("The database does not answer.", retry_after=3)


async def _hang() -> None:
    await asyncio.Event().wait()


def _open_with_failures(failures: dict[str, Callable[[], Awaitable[Any]]]) -> RuntimeOpener:
    @asynccontextmanager
    async def open_failing(settings: Settings) -> AsyncGenerator[Runtime]:
        async with open_runtime(settings) as runtime:
            store = runtime.store
            runtime.store = FailingStore(store, failures)  # type: ignore[assignment]
            yield runtime
            runtime.store = store

    return open_failing


@pytest.mark.parametrize("failure", [_refuse, _hang])
async def test_readiness_names_what_does_not_answer_and_life_goes_on(
    failure: Callable[[], Awaitable[Any]],
) -> None:
    async with (
        run_server(SETTINGS, _open_with_failures({"check": failure})) as url,
        httpx2.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        readiness, health = await client.get("/readyz"), await client.get("/healthz")

    assert readiness.status_code == 503
    assert "database" in readiness.json()["detail"]
    assert int(readiness.headers["retry-after"]) >= 1
    assert health.status_code == 200


async def test_a_database_that_hangs_leaves_the_process_alive_and_unready() -> None:
    failures: dict[str, Callable[[], Awaitable[Any]]] = {}
    async with (
        run_server(SETTINGS, _open_with_failures(failures)) as url,
        httpx2.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        failures |= dict.fromkeys(("keys", "check"), _hang)
        health, readiness = await asyncio.gather(client.get("/healthz"), client.get("/readyz"))
        failures.clear()

    assert (health.status_code, readiness.status_code) == (200, 503)
    assert "database" in readiness.json()["detail"]


async def test_an_application_that_was_not_opened_says_so() -> None:
    async with asgi(create_app(SETTINGS)) as url, httpx2.AsyncClient(trust_env=False) as client:
        answers = [await client.get(url + path) for path in ("/v1/threads", "/readyz")]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert answers[0].json()["code"] == "unavailable"
    assert "lifespan" in answers[0].json()["hint"]


@pytest.mark.parametrize("path", ["/v1", "/v1/nowhere"])
async def test_an_unknown_address_of_the_api_is_a_problem_beside_another_application_too(
    path: str,
) -> None:
    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a page"})

    async with serve(open_companion=lambda _runtime, _ending: nullcontext(page)) as server:
        client = await server.client()
        answer = await client.get(path)
        page_answer = await client.get("/v1x")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert page_answer.text == "a page"


async def test_an_answer_that_has_begun_is_cut_and_no_second_one_is_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def answer_half(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise errors.Unavailable("The rest is not there.")

    async with serve(open_companion=lambda _runtime, _ending: nullcontext(answer_half)) as server:
        client = await server.client()
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get("/half")
        metrics = (await client.get("/metrics")).text

    assert 'route="elsewhere",status="200"} 1' in metrics
    assert "RuntimeError" not in caplog.text


async def test_a_key_that_cannot_be_looked_up_is_to_be_tried_again() -> None:
    async with serve(opener=_open_with_failures({"find_key": _refuse})) as server:
        client = await server.client(await server.key("ann"))
        answer = await client.get("/v1/threads")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")


async def test_a_server_waits_for_a_database_that_is_busy_while_it_starts() -> None:
    refusals = [errors.Unavailable("It took too long."), errors.Unavailable("It took too long.")]

    async def keys(*_: Any) -> list[Any]:
        if refusals:
            raise refusals.pop()
        return []

    async with serve(opener=_open_with_failures({"keys": keys})) as server:
        answer = await (await server.client()).get("/v1/threads")

    assert refusals == []
    assert answer.status_code == 200
