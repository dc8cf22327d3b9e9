"""Runs: list them, show what one did step by step, compare two, cancel one.

Times are those of the stored records. Tokens of single replies are read from a run's events: they
are unknown until the run has ended, and once its events are past retention.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from antiphon.api.operations import ListRuns
from antiphon.cli.console import format_table, format_time, note, print_json, print_list, take
from antiphon.cli.flags import CLIENT, parse_number
from antiphon.cli.threads import resolve_thread
from antiphon.client.async_client import AsyncClient
from antiphon.client.formatting import count_noun, dollars, format_duration
from antiphon.client.run_timeline import RunTimeline, TimelineStep, load_timeline
from antiphon.client.thread_families import find_newest_run
from antiphon.settings.loading import LoadedSettings
from antiphon.types.errors import NotFound
from antiphon.types.runs import Run, Status, Usage
from antiphon.types.terminal_safe import clean

FLAGS = ("database", "redis", *CLIENT)
PAGE = 100
MOST = 100_000  # runs of one list
LAST = "last"
MEANT = "a run's id, or `last`"
BAR = 32  # characters of the longest bar
HEAD = ("id", "created", "status", "model", "turns", "calls", "tokens", "took", "thread")


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="list|show|compare|cancel"
    )
    listing = actions.add_parser("list", parents=[flags], help="list runs, the newest first")
    listing.add_argument("--thread", metavar="ID", help="only those of this conversation")
    listing.add_argument("--status", choices=[each.value for each in Status], help="only these")
    listing.add_argument(
        "--limit",
        type=partial(parse_number, MOST),
        default=20,
        metavar="N",
        help="the maximum number, 20 by default",
    )
    listing.add_argument("--json", action="store_true", help="as one JSON list")
    show = actions.add_parser("show", parents=[flags], help="show the steps of a run")
    show.add_argument("id", nargs="?", default=LAST, help=f"{MEANT}, the default")
    show.add_argument("--json", action="store_true", help="as JSON")
    compare = actions.add_parser("compare", parents=[flags], help="show two runs side by side")
    compare.add_argument("id", help=MEANT)
    compare.add_argument("other", help=MEANT)
    compare.add_argument("--json", action="store_true", help="as one JSON list")
    cancel = actions.add_parser("cancel", parents=[flags], help="cancel a run")
    cancel.add_argument("id", help=MEANT)


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Run the action through a client."""
    asyncio.run(_run_action(args, loaded))
    return 0


async def _run_action(args: Namespace, loaded: LoadedSettings) -> None:
    async with AsyncClient(settings=loaded.settings) as client:
        match args.action:
            case "list":
                thread_id = (await resolve_thread(client, args.thread)).id if args.thread else None
                status = Status(args.status) if args.status else None
                listing = ListRuns(thread_id, min(args.limit, PAGE), status=status)
                found = await take(client.paginate(listing), args.limit)
                print_list(found, HEAD, _row, "There are no such runs.", as_json=args.json)
            case "show":
                await _show(client, args)
            case "compare":
                await _compare(client, args)
            case _:
                cancelled = await client.cancel_run(await _resolve_run(client, args.id))
                note(f"{cancelled.id} is {cancelled.status.value}.")


async def _resolve_run(client: AsyncClient, reference: str) -> str:
    """Return the id of the run. Raises `NotFound` if there is no last one."""
    if reference != LAST:
        return reference
    if (newest := await find_newest_run(client)) is None:
        raise NotFound("nothing was answered here yet", hint="`antiphon ask` begins a run.")
    return newest.id


def _row(run: Run) -> tuple[str, ...]:
    took = "" if run.ended_at is None else format_duration(run.ended_at - run.created_at)
    return (
        run.id,
        format_time(run.created_at),
        run.status.value,
        run.model,
        str(run.turn),
        str(run.tool_calls),
        f"{run.usage.input_tokens + run.usage.output_tokens:,}",
        took,
        run.thread_id,
    )


# One run.


async def _show(client: AsyncClient, args: Namespace) -> None:
    timeline = await load_timeline(client, await _resolve_run(client, args.id))
    if args.json:
        print_json(timeline)
        return
    for line in format_timeline(timeline):
        print(clean(line))


def format_timeline(timeline: RunTimeline, width: int = BAR) -> Iterator[str]:
    """Yield lines about a run, and a line with a bar for each of its steps."""
    run = timeline.run
    yield f"{run.id}  {run.status.value}  {run.model}  {format_time(run.created_at)}"
    if run.error is not None:
        yield f"{run.error.code}: {run.error.message}"
    yield ", ".join(filter(None, (figure(timeline) for _, figure in _SUMMARY)))
    yield ""
    rows = [_step_row(step, timeline, width) for step in timeline.steps]
    yield from format_table(("from", "step", "took", "", ""), rows).split("\n")


def _step_row(step: TimelineStep, timeline: RunTimeline, width: int) -> tuple[str, ...]:
    began = timeline.run.created_at
    total = max(1, timeline.end - began)
    left = min(round((step.began_at - began) / total * width), width - 1)
    length = max(1, round((step.milliseconds or 0) / total * width))
    bar = ("." * left + "=" * length)[:width].ljust(width, ".")
    took = "..." if step.milliseconds is None else format_duration(step.milliseconds)
    what = " ".join(filter(None, (step.kind, str(step.turn or ""), step.name)))
    at = format_duration(max(0, step.began_at - began))
    return at, what, took, f"|{bar}|", ", ".join(_details(step))


def _details(step: TimelineStep) -> Iterator[str]:
    if step.outcome:
        yield step.outcome
    if step.usage is not None and step.usage != Usage():
        yield f"{step.usage.input_tokens:,} tokens in, {step.usage.output_tokens:,} out"
    if step.where == "server":
        yield "at the server"
    for reason in step.restarts:
        yield f"restarted: {reason}"


# Two runs.


async def _compare(client: AsyncClient, args: Namespace) -> None:
    ids = [await _resolve_run(client, each) for each in (args.id, args.other)]
    timelines = [await load_timeline(client, each) for each in ids]
    if args.json:
        print_json(timelines)
        return
    rows = [(name, *(figure(timeline) for timeline in timelines)) for name, figure in _FIGURES]
    print(clean(format_table(("", *ids), (row for row in rows if any(row[1:])))))
    for run in (timeline.run for timeline in timelines):
        replies = await client.list_messages(
            run.thread_id, run_id=run.id, role="assistant", order="newest", limit=1
        )
        answer = replies.data[0].full_text if replies.data else ""
        print(clean(f"\n{run.id} answers:\n{answer or '(nothing)'}"))


def _duration(milliseconds: int | None) -> str:
    return "" if milliseconds is None else format_duration(milliseconds)


def _tokens(timeline: RunTimeline) -> str:
    usage = timeline.run.usage
    return f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"


def _restarts(timeline: RunTimeline) -> str:
    restarts = sum(len(step.restarts) for step in timeline.steps)
    return count_noun(restarts, "restart") if restarts else ""


_Figures = Sequence[tuple[str, Callable[[RunTimeline], str]]]
_SUMMARY: _Figures = (
    ("turns", lambda timeline: count_noun(timeline.run.turn, "turn")),
    ("calls", lambda timeline: count_noun(timeline.run.tool_calls, "tool call")),
    ("tokens", _tokens),
    ("cost", lambda timeline: dollars(timeline.run.usage.cost)),
    ("took", lambda timeline: _duration(timeline.milliseconds)),
)
"""Figures of one run, in this order."""
_FIGURES: _Figures = (
    ("status", lambda timeline: timeline.run.status.value),
    ("model", lambda timeline: timeline.run.model),
    *_SUMMARY,
    ("in replies", lambda timeline: _duration(timeline.time_in("reply"))),
    ("in tools", lambda timeline: _duration(timeline.time_in("call"))),
    ("restarts", _restarts),
)
"""Figures by which two runs are compared, in this order."""
