"""Results of unusual replies in three readers: a loop over openai's SDK, its accumulator, Antiphon.

    python -m benchmarks.upstreams [--write]

Each reader reads every scenario that has one right answer. Prints, as Markdown, a table of those
that at least one reader got wrong; `--write` puts it into docs/reference/quirks.md. Where the right
answer is a failure, any exception counts as right; where a call is broken, so do arguments that
cannot be parsed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from antiphon import AsyncClient
from antiphon.api.operations import NewMessage
from antiphon.settings.settings import Settings
from antiphon.types import events
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Deadlines
from tests.support.providers.upstream import SCENARIOS, Scenario, Upstream

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "quirks.md"

IDLE_SECONDS, LIMIT_SECONDS = 3.0, 20.0
AT_ONCE = 4
MATTERS_OF_POLICY = {"after_tools", "endless", "over_cap", "gzip_bomb"} | {
    *("t_missing_closer", "t_deep_args", "done_then_more", "t_finish_without_call"),
    *("t_no_stream_undeclared", "unknown_finish", "length_in_other_words"),
}
CUT_SHORT = {"length", "content_filter"}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "f",
        "strict": True,
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    },
}


@dataclass(frozen=True)
class Outcome:
    """Result of a reader for one reply; `fault` is the failure, if any."""

    text: str = ""
    calls: tuple[tuple[str | None, str | None, str], ...] = ()
    finish_reason: str | None = None
    fault: str = ""

    def __str__(self) -> str:
        if self.fault:
            return self.fault
        parts = [repr(_short(self.text))] if self.text or not self.calls else []
        parts += [
            f"`{name}({_short(arguments)})` as `{call_id}`"
            for call_id, name, arguments in self.calls
        ]
        reason = self.finish_reason
        return ", ".join(parts) + (f", {reason}" if reason in CUT_SHORT else "")


Reader = Callable[[str, str], Awaitable[Outcome]]


async def read_with_loop(url: str, name: str) -> Outcome:
    """Read the reply with the loop of openai's guide: join texts, gather calls by their index."""
    text, finish_reason, calls = "", None, dict[int, Any]()
    async with _sdk(url) as client:
        stream = await client.chat.completions.create(
            model=f"quirk:{name}", messages=_GO, tools=_tools(name), stream=True
        )
        async for chunk in stream:
            if not chunk.choices:
                continue
            choice = chunk.choices[0]
            text += choice.delta.content or ""
            finish_reason = choice.finish_reason or finish_reason
            for piece in choice.delta.tool_calls or ():
                if piece.index not in calls:
                    calls[piece.index] = piece
                else:
                    calls[piece.index].function.arguments += piece.function.arguments
    return Outcome(text, _calls(calls.values()), finish_reason)


async def read_with_accumulator(url: str, name: str) -> Outcome:
    """Read the reply with the SDK's own accumulator."""
    async with (
        _sdk(url) as client,
        client.chat.completions.stream(
            model=f"quirk:{name}", messages=_GO, tools=_tools(name)
        ) as stream,
    ):
        completion = await stream.get_final_completion()
    choice = completion.choices[0]
    calls = _calls(choice.message.tool_calls or ())
    return Outcome(choice.message.content or "", calls, choice.finish_reason)


async def read_with_antiphon(url: str, name: str) -> Outcome:
    """Read the reply with Antiphon's whole runtime."""
    settings = Settings(database="memory:", base_url=url)
    async with AsyncClient(settings=settings) as client:
        turn = client.process(
            message=NewMessage("go"),
            model=f"quirk:{name}",
            tools=[ToolSpec("f")] if name.startswith("t_") else [],
            deadlines=Deadlines(chunk=IDLE_SECONDS),
        )
        turn_events = [event async for event in turn]
        run = await client.get_run(str(turn.run_id))
    text = "".join(each.text for each in turn_events if isinstance(each, events.TextDelta))
    ready = [each for each in turn_events if isinstance(each, events.ToolCallReady)]
    calls = tuple((each.tool_call_id, each.name, each.arguments) for each in ready)
    fault = run.error.code if run.error else ""
    if run.reason in ("disconnected", "stalled"):
        fault = run.reason
    return Outcome(text, calls, run.reason, fault)


READERS: dict[str, Reader] = {
    "loop": read_with_loop,
    "`chat.completions.stream()`": read_with_accumulator,
    "Antiphon": read_with_antiphon,
}


def is_right(scenario: Scenario, outcome: Outcome) -> bool:
    """Return whether the outcome is what the reply means."""
    match scenario.expect:
        case "completed":
            return not outcome.fault and (outcome.text, outcome.calls) == (scenario.text, ())
        case "length" | "content_filter":
            return bool(outcome.fault) or outcome.finish_reason == scenario.expect
        case "action_required":
            ids = [call_id for call_id, _, _ in outcome.calls]
            names = {name for _, name, _ in outcome.calls}
            parsed = [_parse_arguments(arguments) for _, _, arguments in outcome.calls]
            expected = [_parse_arguments(arguments) for arguments in scenario.calls]
            distinct = all(ids) and len(set(ids)) == len(ids)
            return not outcome.fault and names == {"f"} and distinct and parsed == expected
        case "invalid_tool_call":
            is_whole = all(
                name == "f" and _parse_arguments(arguments) is not None
                for _, name, arguments in outcome.calls
                for _, n, arguments in outcome.calls
            )
            return bool(outcome.fault) or not is_whole or not outcome.calls
        case _:
            return bool(outcome.fault)


async def play_scenarios() -> AsyncIterator[tuple[str, list[Outcome]]]:
    """Yield each scenario with the result of every reader."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def read(reader: Reader, name: str) -> Outcome:
        async with Upstream() as upstream, slots:
            upstream.gate.set()
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    return await reader(upstream.url, name)
            except TimeoutError:
                return Outcome(text=f"no end in {LIMIT_SECONDS:.0f} s")
            except Exception as error:  # noqa: BLE001 (any exception is the reader's result)
                return Outcome(fault=f"`{type(error).__name__}`")

    names = [
        name
        for name, scenario in SCENARIOS.items()
        if name not in MATTERS_OF_POLICY and not scenario.declared
    ]
    outcomes = await asyncio.gather(
        *(asyncio.gather(*(read(reader, name) for reader in READERS.values())) for name in names)
    )
    for name, each in zip(names, outcomes, strict=True):
        yield name, each


async def table() -> str:
    """Return the table of the scenarios that a reader got wrong, below the totals."""
    wrong: list[str] = []
    sums = [0] * len(READERS)
    count = 0
    async for name, outcomes in play_scenarios():
        verdicts = [is_right(SCENARIOS[name], each) for each in outcomes]
        count += 1
        sums = [total + verdict for total, verdict in zip(sums, verdicts, strict=True)]
        if not all(verdicts):
            cells = [
                "right" if is_correct else str(each)
                for each, is_correct in zip(outcomes, verdicts, strict=True)
            ]
            wrong.append(_row([f"`{name}`", _meaning(SCENARIOS[name]), *cells]))
    head = _row(["scenario", "right", *READERS]) + "\n" + _row(["---"] * (2 + len(READERS)))
    totals = ", ".join(f"{name} {total}" for name, total in zip(READERS, sums, strict=True))
    measured = f"openai {openai.__version__}, {time.strftime('%Y-%m-%d')}"
    return f"Right, of {count} scenarios ({measured}): {totals}.\n\n" + "\n".join([head, *wrong])


def _meaning(scenario: Scenario) -> str:
    match scenario.expect:
        case "completed":
            return repr(_short(scenario.text))
        case "action_required":
            return ", ".join(f"`f({_short(each)})`" for each in scenario.calls)
        case _:
            return scenario.expect


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"


def _short(text: object) -> str:
    text = str(text)
    return text if len(text) <= 40 else text[:37] + "..."


def _parse_arguments(arguments: str) -> Any:
    try:
        parsed = json.loads(arguments or "{}", parse_constant=_refuse_constant)
    except (TypeError, ValueError):
        return None
    return parsed if isinstance(parsed, dict) else {} if parsed is None else None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _calls(pieces: Any) -> tuple[tuple[str | None, str | None, str], ...]:
    return tuple(
        (piece.id, piece.function.name, piece.function.arguments or "") for piece in pieces
    )


def _tools(name: str) -> Any:
    return [TOOL] if name.startswith("t_") else openai.omit


def _sdk(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=url, api_key="none", timeout=IDLE_SECONDS)


_GO: Any = [{"role": "user", "content": "go"}]


def main() -> None:
    """Print the table, and write it into the docs if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upstreams", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--write", action="store_true", help="put the table into the docs")
    arguments = parser.parse_args()
    markdown = asyncio.run(table())
    print(markdown)
    if arguments.write:
        page = PAGE.read_text()
        mark = re.compile("(<!-- measured: begin -->\n).*?(<!-- measured: end -->)", re.DOTALL)
        PAGE.write_text(mark.sub(lambda match: f"{match[1]}{markdown}\n{match[2]}", page))


if __name__ == "__main__":
    main()
