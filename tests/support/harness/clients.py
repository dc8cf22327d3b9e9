"""People who use the servers while these die: each does its own things, and asks until answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from random import Random
from typing import Any

from tests.support.harness import plain
from tests.support.harness.plain import Answer, Cut
from tests.support.harness.record import Entry, Record, What

WAIT = (0.01, 0.08)  # seconds between a try that failed and the next
AGAIN = 0.2  # how often what was acknowledged is sent once more
AT_ONCE = 0.15  # how often it is sent twice at the same time
EXPIRES_SECONDS = 300  # more than any call waits, less than a clock may be wrong

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
    """One client. `urls` gives the servers as they are just now, some of them dead."""

    def __init__(
        self, name: str, random: Random, urls: Callable[[], list[str]], record: Record
    ) -> None:
        self.name = name
        self.unheard: list[str] = []
        """Requests that nobody has answered, nor refused, nor broken off."""
        self._random = random
        self._urls = urls
        self._record = record
        self._said = 0

    async def live(self, over: asyncio.Event) -> None:
        """Do one thing after another until it is over; what was begun is ended."""
        while not over.is_set():
            deed = self._random.choice(DEEDS)
            await deed(self)

    # What people do

    async def chat(self) -> None:
        """A thread, messages and a run, each asked for by itself, and the answer streamed."""
        thread = await self.thread()
        for _ in range(self._random.randint(1, 3)):
            await self.message(thread)
        run = await self.run(thread)
        await self.hear(run["id"])

    async def tools(self) -> None:
        """A run whose tools run here, perhaps several at once, each output sent more than once."""
        thread = await self.thread()
        both = self._random.random() < 0.5
        await self.message(thread, FLIGHTS + (" Ask for both at once." if both else ""))
        run = await self.run(thread, tools=[TOOL], max_attempts=10, expires_in=EXPIRES_SECONDS)
        heard = await self.hear(run["id"])
        await self.answer_calls(run["id"], by_message=self._random.random() < 0.3)
        await self.hear(run["id"], heard)

    async def process(self) -> None:
        """All in one call; without waiting for its end now and then."""
        body = {"message": {"content": self._word()}, "max_attempts": self._random.choice((2, 10))}
        if self._random.random() < 0.3:
            body["background"] = True
        run_id = await self.begin(body)
        if not body.get("background"):
            await self.hear(run_id)

    async def cancel(self) -> None:
        """A run that is stopped on its way."""
        thread = await self.thread()
        await self.message(thread, "Tell me a long story.")
        run = await self.run(thread, background=True)
        await asyncio.sleep(self._random.uniform(0, 0.5))
        await self.until_told("cancel", f"/v1/runs/{run['id']}/cancel", {}, {"run_id": run["id"]})

    async def quarrel(self) -> None:
        """Two outputs for one call at the same time: the first one that is kept stays."""
        run_id = await self.begin(
            {"message": {"content": f"{self._word()} {FLIGHTS}"}, "tools": [TOOL]}
        )
        await self.hear(run_id)
        for action in await self.actions(run_id):
            await asyncio.gather(
                *(self.output(run_id, action["tool_call_id"], self._word()) for _ in range(2))
            )

    # How they do it

    async def thread(self) -> str:
        answer = await self.until_told("thread", "/v1/threads", {"title": self._word()})
        return str(answer.json["id"])

    async def message(self, thread_id: str, content: str = "") -> None:
        body = {"thread_id": thread_id, "content": f"{self._word()} {content}".strip()}
        await self.until_told("message", "/v1/messages", body)

    async def run(self, thread_id: str, **options: Any) -> Any:
        body = {"thread_id": thread_id, "metadata": {"marker": self._word()}, **options}
        return (await self.until_told("run", "/v1/runs", body)).json

    async def output(
        self, run_id: str, tool_call_id: str, output: str, thread_id: str | None = None
    ) -> None:
        """Save an output; with a thread as a message with role tool."""
        body = {"run_id": run_id, "tool_call_id": tool_call_id, "output": output}
        sent: dict[str, Any] = body
        path = "/v1/submit_tool_output"
        if thread_id:
            path = "/v1/messages"
            sent = {"role": "tool", "content": output, "thread_id": thread_id, **body}
            del sent["output"]
        await self.until_told("output", path, sent, body)

    async def actions(self, run_id: str) -> list[Any]:
        query = {"run_id": run_id, "status": "pending"}
        listed: list[Any] = (await self.get("/v1/actions", query)).json["data"]
        return listed

    async def answer_calls(self, run_id: str, *, by_message: bool) -> None:
        """Run the tools, which takes no time, and send what they say, in any order."""
        actions = await self.actions(run_id)
        self._random.shuffle(actions)
        for action in actions:
            thread_id = action["thread_id"] if by_message else None
            await self.output(run_id, action["tool_call_id"], self._word(), thread_id)

    async def begin(self, body: dict[str, Any]) -> str:
        """`/process`, until its first event was heard, or its answer came; returns the run's id."""
        op, key = self._record.begin(), self._word()
        entry = Entry(op, "invoke", "process", body)
        while True:
            self._record.add(entry)
            url = self._random.choice(self._urls())
            try:
                async with (
                    asyncio.timeout(plain.PATIENCE),
                    plain.open_request(
                        url, "POST", "/v1/process", body, headers={"Idempotency-Key": key}
                    ) as stream,
                ):
                    run_id = await self._run_of(stream)
            except Cut:
                run_id = None
            except TimeoutError:
                run_id = None
                self.unheard.append(f"POST /v1/process: no event within {plain.PATIENCE} s")
            if run_id:
                self._record.add(replace(entry, kind="ok", status=200, answer={"id": run_id}))
                return run_id
            self._record.add(replace(entry, kind="unknown"))
            await self._pause()

    async def _run_of(self, stream: plain.Stream) -> str | None:
        if stream.status == 202:
            return str((await stream.read()).json["id"])
        if stream.status != 200:
            assert stream.status == 503, await stream.read()
            return None
        async with aclosing(stream.events()) as events:
            async for told in events:
                if told.type == "run.status":
                    run_id = str(told.json["run_id"])
                    self._record.hear(run_id, told.number, told.data)
                    return run_id
        return None

    async def hear(self, run_id: str, after: int = 0) -> int:
        """Ask for the turn behind event `after` and hear it to its end, from whichever server."""
        last: int | None = None
        while True:
            url = self._random.choice(self._urls())
            try:
                async with self._turn(url, run_id, last) as stream:
                    if stream.status == 409:  # it was asked for before, and is over
                        last = after
                    elif stream.status == 200:
                        async with aclosing(stream.events()) as events:
                            async for told in events:
                                self._record.hear(run_id, told.number, told.data)
                                last = told.number
                                if told.type == "turn.ended":
                                    return last
                        if await self._rests(run_id):
                            return last or after
            except Cut:
                pass
            await self._pause()

    def _turn(self, url: str, run_id: str, last: int | None) -> Any:
        if last is None:
            return plain.open_request(url, "POST", "/v1/completions", {"run_id": run_id})
        path, headers = f"/v1/runs/{run_id}/events", {"Last-Event-ID": str(last)}
        return plain.open_request(url, "GET", path, headers=headers)

    async def _rests(self, run_id: str) -> bool:
        run = (await self.get(f"/v1/runs/{run_id}")).json
        return run["status"] not in ("queued", "in_progress")

    async def get(self, path: str, query: Mapping[str, Any] | None = None) -> Answer:
        """Read something, from whoever answers."""
        while True:
            try:
                answer = await self._ask("GET", path, query=query)
            except Cut:
                await self._pause()
                continue
            if answer.status == 200:
                return answer
            assert answer.status == 503, answer.body
            await self._pause()

    async def until_told(
        self, what: What, path: str, body: Any, asked: dict[str, Any] | None = None
    ) -> Answer:
        """The same request again and again, to any server, until one says yes or no."""
        entry = Entry(self._record.begin(), "invoke", what, asked or body)
        headers = {"Idempotency-Key": self._word()}
        if self._random.random() < AT_ONCE:
            answer, _ = await asyncio.gather(
                self._until_told(entry, path, body, headers),
                self._until_told(entry, path, body, headers),
            )
            return answer
        answer = await self._until_told(entry, path, body, headers)
        if self._random.random() < AGAIN:
            await self._until_told(entry, path, body, headers)
        return answer

    async def _until_told(
        self, entry: Entry, path: str, body: Any, headers: Mapping[str, str]
    ) -> Answer:
        while True:
            self._record.add(entry)
            try:
                answer = await self._ask("POST", path, body, headers=headers)
            except Cut:
                self._record.add(replace(entry, kind="unknown"))
            else:
                if answer.status < 500 and "retry-after" not in answer.headers:
                    kind = "ok" if answer.status < 300 else "fail"
                    self._record.add(
                        replace(entry, kind=kind, status=answer.status, answer=answer.json)
                    )
                    return answer
                self._record.add(replace(entry, kind="unknown", status=answer.status))
            await self._pause()

    async def _ask(self, *asked: Any, **options: Any) -> Answer:
        """One try, with whichever server."""
        try:
            return await plain.ask(self._random.choice(self._urls()), *asked, **options)
        except plain.Silence as silence:
            self.unheard.append(str(silence))
            raise

    async def _pause(self) -> None:
        await asyncio.sleep(self._random.uniform(*WAIT))

    def _word(self) -> str:
        """Something that nobody else says."""
        self._said += 1
        return f"{self.name}-{self._said}"


DEEDS: tuple[Callable[[Person], Any], ...] = (
    Person.chat,
    Person.tools,
    Person.tools,
    Person.process,
    Person.cancel,
    Person.quarrel,
)
