"""Hundreds of streams for an hour, as of people: some leave and return, some read slowly.

    python -m benchmarks.endurance [--minutes 60] [--streams 500] [--rate 10] [--json FILE]

Prints memory, descriptors, lag and cost of each minute, and checks at the end: every event
of every reply came once and in order, memory stayed within 5 % of minute ten, no descriptor is
left open, and lag is steady. Exits with 1 where a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httptools
import msgspec
import uvloop

from benchmarks.bench import Bench
from benchmarks.load import Target, percentile

REPLY_SECONDS = (10, 60)
LEAVERS, DAWDLERS = 0.2, 0.02  # shares of the readers
DAWDLE_SECONDS, DAWDLE_BYTES = 1.0, 300  # a fifth of what a stream of 10 a second sends
PATIENCE = 120.0
WARM_MINUTES = 10  # until memory is steady
MORE_MEMORY, MORE_LAG = 1.05, 2.0

_EVENT = re.compile(rb"id: (\d+)\nevent: ([a-z_.]+)\ndata: ([^\n]*)\n\n")
_STAMP = re.compile(rb"@(\d{16})")
_RUN = re.compile(rb'"run_id":"(\w+)"')
_STATUS = re.compile(rb'"status":"(\w+)"')


class Minute(msgspec.Struct, frozen=True):
    """Values of the server: megabytes, descriptors, microseconds of processor time per event.

    Lags are in milliseconds.
    """

    rss: float
    descriptors: int
    events: int
    cpu: float
    lag_p50: float
    lag_p99: float


@dataclass
class Record:
    """Events and lags of all readers in this minute; ends and errors of the whole run."""

    events: int = 0
    lags: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)


class Reader:
    """One person, who asks, reads, perhaps leaves and comes back, and asks again."""

    def __init__(self, target: Target, record: Record, rate: int, seed: int) -> None:
        self._target = target
        self._record = record
        self._rate = rate
        self._dice = random.Random(seed)
        self._last = 0
        self._run_id = ""

    async def read_replies(self, until: float) -> None:
        """Ask for one reply after the other until that loop time."""
        clock = asyncio.get_running_loop().time
        while clock() < until:
            try:
                await self._read_reply()
            except Exception as error:  # noqa: BLE001 - reported at the end
                self._record.errors.append(f"{self._run_id}: {error!r}")
            await asyncio.sleep(self._dice.random())

    async def _read_reply(self) -> None:
        chunks = self._rate * self._dice.randint(*REPLY_SECONDS)
        self._last, self._run_id = 0, ""
        kind = self._dice.random()
        request = self._target.request(f"frail-{self._rate}-{chunks}")
        leaves = kind < LEAVERS
        dawdles = LEAVERS <= kind < LEAVERS + DAWDLERS
        seconds = self._dice.random() * chunks / self._rate if leaves else None
        ended = await self._read(request, seconds, dawdles=dawdles)
        while not ended:
            resume_request = (
                f"GET /v1/runs/{self._run_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Last-Event-ID: {self._last}\r\n\r\n"
            )
            ended = await self._read(resume_request.encode(), None)

    async def _read(self, request: bytes, seconds: float | None, *, dawdles: bool = False) -> bool:
        """Read until the end, at most for `seconds`; return whether the reply has ended."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._target.child.port, limit=DAWDLE_BYTES if dawdles else 2**16
        )
        writer.write(request)
        try:
            async with asyncio.timeout(seconds):
                return await self._read_events(reader, dawdles=dawdles)
        except TimeoutError:
            return not self._run_id  # without a run id there is no reply to come back to
        finally:
            writer.transport.abort()

    async def _read_events(self, reader: asyncio.StreamReader, *, dawdles: bool) -> bool:
        body = _Body()
        began = asyncio.get_running_loop().time()
        while True:
            if dawdles and asyncio.get_running_loop().time() - began < PATIENCE / 2:
                await asyncio.sleep(DAWDLE_SECONDS)
            data = await reader.read(DAWDLE_BYTES if dawdles else 2**16)
            if not data:
                return False
            body.feed(data)
            end = 0
            for event in _EVENT.finditer(bytes(body.rest)):
                end = event.end()
                if self._record_event(int(event[1]), event[2], event[3], late=dawdles):
                    return True
            del body.rest[:end]

    def _record_event(self, number: int, kind: bytes, line: bytes, *, late: bool) -> bool:
        record = self._record
        if number != self._last + 1:
            record.errors.append(f"{self._run_id}: event {number} came after {self._last}")
        self._last = number
        record.events += 1
        if not self._run_id and (match := _RUN.search(line)):
            self._run_id = match[1].decode()
        if kind == b"text.delta" and not late:
            now = time.monotonic()
            record.lags += [now - int(stamp) / 1e6 for stamp in _STAMP.findall(line)]
        if kind != b"turn.ended":
            return False
        status = _STATUS.search(line)
        record.ends[status[1].decode() if status else "?"] += 1
        return True


class _Body:
    """The body of a response, without its transfer encoding."""

    def __init__(self) -> None:
        self.rest = bytearray()
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Feed bytes of the response. Raises `RuntimeError` for a refusal."""
        self._parser.feed_data(data)
        if (status := self._parser.get_status_code()) != 200:
            raise RuntimeError(f"status {status}: {bytes(self.rest[:300])!r}")

    def on_body(self, data: bytes) -> None:
        """Append to the body; the parser calls this."""
        self.rest += data


async def run(minutes: int, streams: int, rate: int, file: Path | None) -> bool:
    """Run all readers and print each minute; return whether all checks passed."""
    record, measured_minutes = Record(), list[Minute]()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="antiphon-bench-"))
        bench = Bench("full", Path(folder))
        upstream = await stack.enter_async_context(bench.upstream(rate))
        server = await stack.enter_async_context(bench.antiphon(upstream))
        await Reader(server, Record(), rate, 0)._read_reply()
        before = server.child.descriptors()
        until = asyncio.get_running_loop().time() + 60 * minutes
        readers = [Reader(server, record, rate, seed) for seed in range(1, streams + 1)]
        tasks = [asyncio.create_task(_start_reader(each, until, streams)) for each in readers]
        while asyncio.get_running_loop().time() < until:
            measured_minutes.append(await _watch_minute(server, record))
            _print_minute(measured_minutes, file)
        await asyncio.wait(tasks)
        await asyncio.sleep(30)  # idle connections to the model server are closed after 15
        left_open = server.child.descriptors() - before
    return _judge(measured_minutes, record, left_open, streams)


async def _start_reader(reader: Reader, until: float, streams: int) -> None:
    """Start the reader at a random time of the first half minute."""
    await asyncio.sleep(random.Random(id(reader)).random() * min(30, streams / 20))
    await reader.read_replies(until)


async def _watch_minute(server: Target, record: Record) -> Minute:
    record.events, cpu = 0, server.child.cpu()
    record.lags.clear()
    await asyncio.sleep(60)
    return Minute(
        rss=server.child.rss(),
        descriptors=server.child.descriptors(),
        events=record.events,
        cpu=(server.child.cpu() - cpu) / max(1, record.events) * 1e6,
        lag_p50=percentile(record.lags, 50) * 1e3,
        lag_p99=percentile(record.lags, 99) * 1e3,
    )


def _print_minute(minutes: Sequence[Minute], file: Path | None) -> None:
    minute = minutes[-1]
    line = (
        f"minute {len(minutes)}: {minute.rss:.0f} MB, {minute.descriptors} descriptors,"
        f" {minute.events} events,"
        f" {minute.cpu:.0f} µs each, lag {minute.lag_p50:.0f} ms, p99 {minute.lag_p99:.0f} ms"
    )
    print(line, flush=True)
    if file is not None:
        file.write_bytes(msgspec.json.encode(minutes))


def _judge(minutes: Sequence[Minute], record: Record, left_open: int, streams: int) -> bool:
    warm = minutes[min(WARM_MINUTES, len(minutes)) - 1]
    last = minutes[-5:]
    memory = median(each.rss for each in last) / warm.rss
    lag = median(each.lag_p50 for each in last) / warm.lag_p50
    errors = record.errors
    verdicts = {
        f"{len(errors)} replies with a gap or an error: {errors[:5]}": not errors,
        f"memory {memory:.2f} times that of minute {WARM_MINUTES}": memory <= MORE_MEMORY,
        f"lag {lag:.2f} times that of minute {WARM_MINUTES}": lag <= MORE_LAG,
        f"{left_open} descriptors left after {streams} streams": left_open <= streams // 10,
    }
    print(f"replies: {dict(record.ends)}")
    for what, holds in verdicts.items():
        print("holds:" if holds else "DOES NOT HOLD:", what)
    return all(verdicts.values())


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--rate", type=int, default=10, help="chunks a second of each stream")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the minutes there too")
    arguments = parser.parse_args()
    passed = uvloop.run(run(arguments.minutes, arguments.streams, arguments.rate, arguments.json))
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
