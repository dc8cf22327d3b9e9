"""Responses that only one WebSocket knows: those with `store: false`, and prepared ones.

A WebSocket continues its own responses whether or not they are stored. An unstored one works in a
temporary thread that is kept until the WebSocket ends. A prepared response (`generate: false`) has
no run: its input is put before that of the request which continues it.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from msgspec.structs import replace
from starlette.types import Scope

from antiphon.api.operations import GetRun
from antiphon.server.caller_api import CallerApi
from antiphon.types.errors import NotFound, TryAgain
from antiphon.types.runs import Status
from antiphon.wires.openai.response_object import ResponseHead, parse_response_id
from antiphon.wires.openai.response_request import ResponseRequest

MAX_THREADS = 64
"""Conversations that one WebSocket keeps; the one that was used longest ago is deleted first."""
LANE = "antiphon.lane"
"""ASGI extension of a request that came over a WebSocket: its `Lane`, as `memory`."""


class _Thread(NamedTuple):
    """A temporary thread: the lane that used it last, and its runs."""

    lane: str | None
    runs: Mapping[str, CallerApi]


class _Prepared(NamedTuple):
    request: ResponseRequest
    size: int


class ResponseMemory:
    """Responses of one WebSocket. `max_bytes` limits the input of those that are prepared."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._threads: dict[str, _Thread] = {}
        self._prepared: dict[str, _Prepared] = {}

    @property
    def thread_ids(self) -> Collection[str]:
        """The temporary threads whose responses can be continued."""
        return self._threads.keys()

    async def keep(self, lane: str | None, thread_id: str, run_id: str, api: CallerApi) -> None:
        """Remember a run with its thread until the WebSocket ends."""
        before = self._threads.pop(thread_id, None)
        runs = {**(before.runs if before else {}), run_id: api}
        self._threads[thread_id] = _Thread(lane, runs)
        while len(self._threads) > MAX_THREADS:
            await self.forget(next(iter(self._threads)))

    def find_thread(self, lane: str | None, response_id: str) -> str | None:
        """Return the thread of an unstored response, if this lane used it last."""
        parsed = parse_response_id(response_id)
        for thread_id, thread in self._threads.items():
            if parsed is not None and parsed[0] in thread.runs and thread.lane == lane:
                return thread_id
        return None

    async def forget(self, thread_id: str) -> None:
        """Delete a thread."""
        thread = self._threads.pop(thread_id, None)
        if thread is not None:
            for run_id, api in thread.runs.items():
                await api.delete_run(run_id)

    async def clear(self) -> None:
        """Delete all threads."""
        self._prepared.clear()
        while self._threads:
            await self.forget(next(iter(self._threads)))

    def prepare(self, request: ResponseRequest, size: int) -> str:
        """Store a request of `size` bytes, to be continued; return the id of its response."""
        while self._prepared and sum(each.size for each in self._prepared.values()) + size > (
            self._max_bytes
        ):
            del self._prepared[next(iter(self._prepared))]
        response_id = f"resp_{secrets.token_hex(16)}"
        self._prepared[response_id] = _Prepared(request, size)
        return response_id

    def complete(self, request: ResponseRequest) -> ResponseRequest:
        """Return the request with the input of the prepared response that it continues."""
        prepared = self._prepared.get(request.previous_response_id or "")
        if prepared is None:
            return request
        first = prepared.request
        return replace(
            request,
            input=[*_items(first.input), *_items(request.input)],
            previous_response_id=first.previous_response_id,
            conversation=first.conversation,
        )


class Lane(NamedTuple):
    """One order of requests over a WebSocket, with the memory that all its lanes share."""

    name: str | None
    memory: ResponseMemory

    @property
    def unstored_in(self) -> Collection[str]:
        """The threads whose unstored responses can be continued."""
        return self.memory.thread_ids

    def complete(self, request: ResponseRequest) -> ResponseRequest:
        """Return the request for a stream, with the input of a prepared response before it."""
        return replace(self.memory.complete(request), stream=True)

    async def keep(self, head: ResponseHead, api: CallerApi) -> None:
        """Remember an unstored response; forget one that has failed, with what it continued."""
        await self.memory.keep(self.name, head.thread_id, head.run_id, api)
        with suppress(NotFound, TryAgain):
            if (await api.ask(GetRun(head.run_id))).status is Status.FAILED:
                await self.memory.forget(head.thread_id)

    async def forget(self, response_id: str | None) -> None:
        """Forget an unstored response that could not be continued; a fork forgets nothing."""
        thread_id = self.memory.find_thread(self.name, response_id or "")
        if thread_id is not None:
            await self.memory.forget(thread_id)


def find_lane(scope: Scope) -> Lane | None:
    """Return the lane of a request; None for a request over HTTP."""
    lane: Lane | None = scope.get("extensions", {}).get(LANE, {}).get("memory")
    return lane


def _items(input: str | list[Any] | None) -> Iterable[Any]:
    if isinstance(input, str):
        return [{"type": "message", "role": "user", "content": input}]
    return input or ()
