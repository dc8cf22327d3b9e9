"""Clients that use servers while these are killed, and repeat each request until it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from random import Random
from typing import Any

from tests.support.harness import raw_http
from tests.support.harness.raw_http import ConnectionCut, Response
from tests.support.harness.record import Entry, OperationKind, Record

WAIT = (0.01, 0.08)  # seconds between a try that failed and the next
AGAIN = 0.2  # how often an acknowledged request is sent once more
AT_ONCE = 0.15  # how often a request is sent twice at the same time
EXPIRES_SECONDS = 300  # longer than any call waits, shorter than the skew of a clock

TOOL = {
    "name": "get_flight_times",
    "description": "When flights leave.",
    "parameters": {
        "type": "object",
        "properties": {"departure": {"type": "string"}, "arrival": {"type": "string"}},
        "required": ["departure", "arrival"],
    },
}
FLIGHTS = "When do flights leave from LAX to JFK?"


class Person:
    """Client of servers of which some may be dead; `urls` returns their current addresses."""

    def __init__(
        self, name: str, random: Random, urls: Callable[[], list[str]], record: Record
    ) -> None:
        self.name = name
        self.timeouts: list[str] = []
        """Requests that were neither answered nor refused nor cut off."""
        self._random = random
        self._urls = urls
        self._record = record
        self._words = 0

    async def run_until(self, stopped: asyncio.Event) -> None:
        """Act again and again until `stopped` is set; complete the last act."""
        while not stopped.is_set():
            act = self._random.choice(ACTS)
            await act(self)

    # Acts

    async def chat(self) -> None:
        """Create a thread, messages and a run by requests of their own, and stream the reply."""
        thread = await self.thread()
        for _ in range(self._random.randint(1, 3)):
            await self.message(thread)
        run = await self.run(thread)
        await self.read_turn(run["id"])

    async def tools(self) -> None:
        """Run tools of a run, perhaps several at once; each output is sent more than once."""
        thread = await self.thread()
        both = self._random.random() < 0.5
        await self.message(thread, FLIGHTS + (" Ask for both at once." if both else ""))
        run = await self.run(thread, tools=[TOOL], max_attempts=10, expires_in=EXPIRES_SECONDS)
        last = await self.read_turn(run["id"])
        await self.answer_calls(run["id"], by_message=self._random.random() < 0.3)
        await self.read_turn(run["id"], last)

    async def process(self) -> None:
        """Process a message by one request, now and then without waiting for the end."""
        body = {"message": {"content": self._word()}, "max_attempts": self._random.choice((2, 10))}
        if self._random.random() < 0.3:
            body["background"] = True
        run_id = await self.begin_process(body)
        if not body.get("background"):
            await self.read_turn(run_id)

    async def cancel(self) -> None:
        """Cancel a run under way."""
        thread = await self.thread()
        await self.message(thread, "Tell me a long story.")
        run = await self.run(thread, background=True)
        await asyncio.sleep(self._random.uniform(0, 0.5))
        await self.send_until_answered(
            "cancel", f"/v1/runs/{run['id']}/cancel", {}, {"run_id": run["id"]}
        )

    async def race_outputs(self) -> None:
        """Send two outputs for one call at the same time: the first that is stored stays."""
        run_id = await self.begin_process(
            {"message": {"content": f"{self._word()} {FLIGHTS}"}, "tools": [TOOL]}
        )
        await self.read_turn(run_id)
        for action in await self.actions(run_id):
            await asyncio.gather(
                *(self.output(run_id, action["tool_call_id"], self._word()) for _ in range(2))
            )

    # Requests

    async def thread(self) -> str:
        answer = await self.send_until_answered("thread", "/v1/threads", {"title": self._word()})
        return str(answer.json["id"])

    async def message(self, thread_id: str, content: str = "") -> None:
        body = {"thread_id": thread_id, "content": f"{self._word()} {content}".strip()}
        await self.send_until_answered("message", "/v1/messages", body)

    async def run(self, thread_id: str, **options: Any) -> Any:
        body = {"thread_id": thread_id, "metadata": {"marker": self._word()}, **options}
        return (await self.send_until_answered("run", "/v1/runs", body)).json

    async def output(
        self, run_id: str, tool_call_id: str, output: str, thread_id: str | None = None
    ) -> None:
        """Save an output; with a thread as a message with role tool."""
        body = {"run_id": run_id, "tool_call_id": tool_call_id, "output": output}
        message_body: dict[str, Any] = body
        path = "/v1/submit_tool_output"
        if thread_id:
            path = "/v1/messages"
            message_body = {"role": "tool", "content": output, "thread_id": thread_id, **body}
            del message_body["output"]
        await self.send_until_answered("output", path, message_body, body)

    async def actions(self, run_id: str) -> list[Any]:
        query = {"run_id": run_id, "status": "pending"}
        actions: list[Any] = (await self.get("/v1/actions", query)).json["data"]
        return actions

    async def answer_calls(self, run_id: str, *, by_message: bool) -> None:
        """Send an output for each pending call, in any order."""
        actions = await self.actions(run_id)
        self._random.shuffle(actions)
        for action in actions:
            thread_id = action["thread_id"] if by_message else None
            await self.output(run_id, action["tool_call_id"], self._word(), thread_id)

    async def begin_process(self, body: dict[str, Any]) -> str:
        """Send `/process` until its first event or its response arrives; return the run's id."""
        op, key = self._record.begin_operation(), self._word()
        entry = Entry(op, "invoke", "process", body)
        while True:
            self._record.add(entry)
            url = self._random.choice(self._urls())
            try:
                async with (
                    asyncio.timeout(raw_http.TIMEOUT),
                    raw_http.open_request(
                        url, "POST", "/v1/process", body, headers={"Idempotency-Key": key}
                    ) as stream,
                ):
                    run_id = await self._read_run_id(stream)
            except ConnectionCut:
                run_id = None
            except TimeoutError:
                run_id = None
                self.timeouts.append(f"POST /v1/process: no event within {raw_http.TIMEOUT} s")
            if run_id:
                self._record.add(replace(entry, kind="ok", status=200, response={"id": run_id}))
                return run_id
            self._record.add(replace(entry, kind="unknown"))
            await self._pause()

    async def _read_run_id(self, stream: raw_http.Stream) -> str | None:
        if stream.status == 202:
            return str((await stream.read()).json["id"])
        if stream.status != 200:
            assert stream.status == 503, await stream.read()
            return None
        async with aclosing(stream.events()) as events:
            async for event in events:
                if event.type == "run.status":
                    run_id = str(event.json["run_id"])
                    self._record.add_received(run_id, event.number, event.data)
                    return run_id
        return None

    async def read_turn(self, run_id: str, after: int = 0) -> int:
        """Read the turn after event `after` to its end, from any server; return its last number."""
        last: int | None = None
        while True:
            url = self._random.choice(self._urls())
            try:
                async with self._turn(url, run_id, last) as stream:
                    if stream.status == 409:  # it was requested before, and has ended
                        last = after
                    elif stream.status == 200:
                        async with aclosing(stream.events()) as events:
                            async for event in events:
                                self._record.add_received(run_id, event.number, event.data)
                                last = event.number
                                if event.type == "turn.ended":
                                    return last
                        if await self._is_at_rest(run_id):
                            return last or after
            except ConnectionCut:
                pass
            await self._pause()

    def _turn(self, url: str, run_id: str, last: int | None) -> Any:
        if last is None:
            return raw_http.open_request(url, "POST", "/v1/completions", {"run_id": run_id})
        path, headers = f"/v1/runs/{run_id}/events", {"Last-Event-ID": str(last)}
        return raw_http.open_request(url, "GET", path, headers=headers)

    async def _is_at_rest(self, run_id: str) -> bool:
        run = (await self.get(f"/v1/runs/{run_id}")).json
        return run["status"] not in ("queued", "in_progress")

    async def get(self, path: str, query: Mapping[str, Any] | None = None) -> Response:
        """Send a GET request to any server until one answers."""
        while True:
            try:
                answer = await self._send_once("GET", path, query=query)
            except ConnectionCut:
                await self._pause()
                continue
            if answer.status == 200:
                return answer
            assert answer.status == 503, answer.body
            await self._pause()

    async def send_until_answered(
        self, what: OperationKind, path: str, body: Any, request: dict[str, Any] | None = None
    ) -> Response:
        """Repeat a request to any server until it is accepted or refused."""
        entry = Entry(self._record.begin_operation(), "invoke", what, request or body)
        headers = {"Idempotency-Key": self._word()}
        if self._random.random() < AT_ONCE:
            answer, _ = await asyncio.gather(
                self._send_until_answered(entry, path, body, headers),
                self._send_until_answered(entry, path, body, headers),
            )
            return answer
        answer = await self._send_until_answered(entry, path, body, headers)
        if self._random.random() < AGAIN:
            await self._send_until_answered(entry, path, body, headers)
        return answer

    async def _send_until_answered(
        self, entry: Entry, path: str, body: Any, headers: Mapping[str, str]
    ) -> Response:
        while True:
            self._record.add(entry)
            try:
                answer = await self._send_once("POST", path, body, headers=headers)
            except ConnectionCut:
                self._record.add(replace(entry, kind="unknown"))
            else:
                if answer.status < 500 and "retry-after" not in answer.headers:
                    kind = "ok" if answer.status < 300 else "fail"
                    self._record.add(
                        replace(entry, kind=kind, status=answer.status, response=answer.json)
                    )
                    return answer
                self._record.add(replace(entry, kind="unknown", status=answer.status))
            await self._pause()

    async def _send_once(self, *arguments: Any, **options: Any) -> Response:
        """Send a request once, to any server."""
        try:
            return await raw_http.send_request(
                self._random.choice(self._urls()), *arguments, **options
            )
        except raw_http.NoResponse as timeout:
            self.timeouts.append(str(timeout))
            raise

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.uniform(*WAIT))

    def _word(self) -> str:
        """Return a text that is used nowhere else."""
        self._words += 1
        return f"{self.name}-{self._words}"


ACTS: tuple[Callable[[Person], Any], ...] = (
    Person.chat,
    Person.tools,
    Person.tools,
    Person.process,
    Person.cancel,
    Person.race_outputs,
)
