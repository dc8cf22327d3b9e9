"""Four ways to a runtime: a sync and an async client, each in this process and over HTTP.

A scenario is written once, for the sync client, and runs in all four ways; the results are compared
without ids and times.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec

from antiphon.client.async_client import AsyncClient
from antiphon.client.async_events import AsyncStream
from antiphon.client.sync_client import Client
from antiphon.server.serve import run_server
from antiphon.settings.settings import Settings
from antiphon.types.errors import AntiphonError

SETTINGS = Settings(
    model="demo", database="memory:", demo_delay=0, port=0, shutdown_timeout=0.1, documents=False
)

Ways = dict[str, Client]


@contextmanager
def four_ways(settings: Settings = SETTINGS) -> Iterator[Ways]:
    """Open the clients, each with its own runtime."""
    with ExitStack() as stack:
        enter = stack.enter_context
        yield {
            "embedded": enter(Client(settings=settings)),
            "http": enter(Client(enter(serve_in_thread(settings)))),
            "embedded, on a loop": enter(_open_on_loop(lambda: AsyncClient(settings=settings))),
            "http, on a loop": enter(
                _open_on_loop(functools.partial(AsyncClient, enter(serve_in_thread(settings))))
            ),
        }


def in_all_ways(scenario: Callable[[Any], object]) -> Callable[[Ways], None]:
    """Return a test that the scenario succeeds in every way, with the same result in each."""

    def test(ways: Ways) -> None:
        results = {name: plain(scenario(client)) for name, client in ways.items()}

        for name, result in results.items():
            assert result == results["embedded"], name

    test.__name__, test.__doc__ = scenario.__name__, scenario.__doc__
    return test


def plain(value: object) -> Any:
    """Return the value as JSON, with ids replaced by kind and rank, and times by 0."""
    text = msgspec.json.encode(_builtins(value)).decode()
    ranks: dict[str, str] = {}

    def replace_id(match: re.Match[str]) -> str:
        return ranks.setdefault(match[0], f"{match[1]}_{len(ranks)}")

    text = re.sub(
        r"\b(asst|folder|thread|msg|run|act|file|call|share)_[0-9a-z]{8}[0-9a-z_]*",
        replace_id,
        text,
    )
    return msgspec.json.decode(re.sub(r"\b1\d{12}\b", "0", text))


def _builtins(value: object) -> Any:
    match value:
        case AntiphonError():
            return [type(value).__name__, value.code, value.message, value.details]
        case list() | tuple():
            return [_builtins(each) for each in value]
        case dict():
            return {name: _builtins(each) for name, each in value.items()}
        case bytes():
            return value.decode()
        case _:
            return msgspec.to_builtins(value)


@contextmanager
def serve_in_thread(settings: Settings) -> Iterator[str]:
    """Run a server in its own thread; yield its address."""
    address: Future[str] = Future()
    stopped = threading.Event()

    async def serve() -> None:
        async with run_server(settings) as url:
            address.set_result(url)
            await asyncio.to_thread(stopped.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield address.result(60)
    finally:
        stopped.set()
        thread.join()


@contextmanager
def _open_on_loop(create_client: Callable[[], AsyncClient]) -> Iterator[Any]:
    with asyncio.Runner() as runner:
        client = create_client()
        yield _Synchronous(runner, client)
        runner.run(client.close())


class _Synchronous:
    """Wraps an async client or stream as a sync one: the loop runs during each call."""

    def __init__(self, runner: asyncio.Runner, inner: object) -> None:
        self._runner = runner
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return self._wait(getattr(self._inner, name))

    def __iter__(self) -> Iterator[Any]:
        while (each := self._runner.run(anext(self._inner, None))) is not None:  # type: ignore[call-overload]
            yield each

    def __next__(self) -> Any:
        return next(iter(self))

    def __enter__(self) -> _Synchronous:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            return self._wait(self._runner.run(value))
        if isinstance(value, AsyncIterator | AsyncStream):
            return _Synchronous(self._runner, value)
        if inspect.ismethod(value):
            return lambda *args, **kwargs: self._wait(value(*args, **kwargs))
        return value
