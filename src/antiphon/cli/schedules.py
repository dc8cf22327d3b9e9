"""Schedules: messages that are sent to an assistant at set times, here or on a server.

A schedule has a cron expression or one time, and a time zone. Its runs start in any server, or
program with a worker, that uses the database, each once; without one running, they are missed, and
caught up with as the schedule says. They may use only the tools that the schedule allows. Without
--server it is about the database of this machine.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, get_args

from msgspec import UNSET

from antiphon.cli.console import format_table, format_time, note, print_json, print_list
from antiphon.cli.flags import CLIENT, add_actions, parse_number
from antiphon.client.async_client import AsyncClient
from antiphon.runtime.time_zones import load_zone
from antiphon.settings.loading import LoadedSettings
from antiphon.types.errors import InvalidRequest
from antiphon.types.runs import DAY
from antiphon.types.schedules import MissedPolicy, Occurrence, Schedule
from antiphon.types.terminal_safe import one_line

FLAGS = ("database", "redis", *CLIENT)
NO_SCHEDULES = "There is no schedule. `antiphon schedules add MESSAGE --cron ...` creates one."
HEAD = ("id", "name", "times", "zone", "state", "next", "last run")
HISTORY_HEAD = ("due", "outcome", "run", "status", "thread", "error")
SHOWN_TIMES = 5
SHOWN_HISTORY = 10

ACTIONS = {
    "list": "list the schedules",
    "show": "show a schedule, its next times and what became of the last ones",
    "add": "create a schedule",
    "change": "change a schedule",
    "pause": "start no more runs",
    "resume": "start runs again, from the next time on",
    "run": "start a run now",
    "remove": "delete a schedule with its history; its runs and threads stay",
}


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    of = add_actions(parser, flags, ACTIONS)
    of["add"].add_argument("message", help="the message that is sent each time")
    for name in ACTIONS:
        if name not in ("list", "add"):
            of[name].add_argument("id", help="the schedule, as in `antiphon schedules list`")
        of[name].add_argument(
            "--owner", metavar="OWNER", help="act for this owner; on a server with an admin key"
        )
        if name in ("list", "show", "add", "run"):
            of[name].add_argument("--json", action="store_true", help="as JSON")
    of["change"].add_argument("--message", metavar="TEXT", help="the message that is sent")
    for name in ("add", "change"):
        _add_fields(of[name])
    of["add"].add_argument("--paused", action="store_true", help="create it paused")


def _add_fields(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--cron", metavar="EXPRESSION", help="five fields as in crontab, or @daily and the like")
    add(
        "--at",
        type=_parse_time,
        metavar="TIME",
        help="one time in the time zone of the schedule, as 2026-12-01T08:00",
    )
    add("--timezone", metavar="ZONE", help="such as Europe/Berlin; by default UTC")
    add("--name", metavar="TEXT", help="what it is called")
    add("--assistant", metavar="ID", help="the assistant that is asked")
    add("--model", metavar="MODEL", help="the model, where the assistant has none")
    add("--thread", metavar="ID", help="add to this thread, and begin none for each time")
    add("--title", metavar="TEXT", help="the title of its threads; the time is added")
    add(
        "--allow-tool",
        action="append",
        metavar="GLOB",
        help="a tool that its runs may use, by default none; can be repeated",
    )
    add(
        "--max-total-tokens",
        type=partial(parse_number, 1_000_000_000),
        metavar="N",
        help="the most tokens of a run, read and written",
    )
    add("--max-cost", type=float, metavar="DOLLARS", help="the most money that a run may cost")
    add(
        "--run-timeout",
        type=partial(parse_number, 7 * DAY),
        metavar="SECONDS",
        help="when a run ends at the latest, by default after an hour",
    )
    add(
        "--missed",
        choices=get_args(MissedPolicy),
        help="what follows when times were missed; by default run_once",
    )
    add(
        "--max-missed",
        type=partial(parse_number, 100),
        metavar="N",
        help="how many missed times run_all runs, by default 5",
    )


def _parse_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"wanted a time such as 2026-12-01T08:00, got {text!r}") from None


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Run the action here, or on the server of the settings."""
    asyncio.run(_run(args, loaded))
    return 0


async def _run(args: Namespace, loaded: LoadedSettings) -> None:
    async with AsyncClient(settings=loaded.settings) as own:
        client = own.on_behalf_of(args.owner) if args.owner else own
        match args.action:
            case "list":
                found = (await client.list_schedules()).data
                print_list(found, HEAD, _row, NO_SCHEDULES, as_json=args.json)
            case "show":
                await _show(client, args)
            case "add":
                fields = _read_fields(args)
                given = {name: each for name, each in fields.items() if each is not UNSET}
                created = await client.create_schedule(args.message, paused=args.paused, **given)
                if args.json:
                    print_json(created)
                else:
                    note(f"{created.id} is created. {_describe_next(created)}")
            case "change":
                await _change(client, args)
            case "pause":
                await client.update_schedule(args.id, paused=True)
                note(f"{args.id} is paused.")
            case "resume":
                resumed = await client.update_schedule(args.id, paused=False)
                note(f"{args.id} is resumed. {_describe_next(resumed)}")
            case "run":
                begun = await client.run_schedule(args.id)
                if args.json:
                    print_json(begun)
                else:
                    note(f"Run {begun.id} has begun: `antiphon runs show {begun.id}`.")
            case _:
                await client.delete_schedule(args.id)
                note(f"{args.id} is gone, with its history.")


async def _change(client: AsyncClient, args: Namespace) -> None:
    fields = _read_fields(args)
    if args.at is not None and args.timezone is None:
        zone = (await client.get_schedule(args.id)).timezone
        fields["run_at"] = _to_ms(args.at, zone)
    if all(each is UNSET for each in fields.values()) and args.message is None:
        raise InvalidRequest(
            "Nothing is to be changed.",
            expected="a flag such as --cron or --message",
            hint="antiphon schedules change --help",
        )
    message = UNSET if args.message is None else args.message
    changed = await client.update_schedule(args.id, message=message, **fields)
    note(f"{changed.id} is changed. {_describe_next(changed)}")


def _read_fields(args: Namespace) -> dict[str, Any]:
    """Return the fields of the operation by name; `UNSET` for those that are not given."""
    given = {
        "cron": args.cron,
        "run_at": None if args.at is None else _to_ms(args.at, args.timezone or "UTC"),
        "timezone": args.timezone,
        "name": args.name,
        "assistant_id": args.assistant,
        "model": args.model,
        "thread_id": args.thread,
        "title": args.title,
        "allowed_tools": None if args.allow_tool is None else tuple(args.allow_tool),
        "max_total_tokens": args.max_total_tokens,
        "max_cost": args.max_cost,
        "timeout": args.run_timeout,
        "missed": args.missed,
        "max_missed": args.max_missed,
    }
    return {name: UNSET if value is None else value for name, value in given.items()}


def _to_ms(moment: datetime, zone: str) -> int:
    """Return a time in ms since 1970; one without an offset is in this zone."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=load_zone(zone))
    return round(moment.timestamp() * 1000)


async def _show(client: AsyncClient, args: Namespace) -> None:
    schedule = await client.get_schedule(args.id)
    history = (await client.list_occurrences(args.id, SHOWN_HISTORY)).data
    times: list[str] = []
    if schedule.cron is not None and not schedule.paused:
        preview = await client.preview_schedule(schedule.cron, schedule.timezone, SHOWN_TIMES)
        times = [each.local for each in preview.data]
    if args.json:
        print_json({"schedule": schedule, "next_times": times, "occurrences": history})
        return
    for name, value in _facts(schedule):
        print(f"{name:16}{one_line(value)}")
    for local in times:
        print(f"{'next':16}{local}")
    if history:
        print()
        print(format_table(HISTORY_HEAD, map(_history_row, history)))


def _facts(schedule: Schedule) -> Iterator[tuple[str, str]]:
    """Yield the names and values of what a schedule is and may do."""
    yield "id", schedule.id
    if schedule.name:
        yield "name", schedule.name
    yield "message", schedule.message
    yield "times", f"{_describe_times(schedule)} ({schedule.timezone})"
    yield "state", _describe_state(schedule)
    yield "assistant", schedule.assistant_id or schedule.model or "the default model"
    yield "thread", schedule.thread_id or "a new one each time"
    yield "tools", " ".join(schedule.allowed_tools) or "none"
    cost = "" if schedule.max_cost is None else f", {schedule.max_cost:g} US dollars"
    yield "limits", f"{schedule.max_total_tokens:,} tokens{cost}, {schedule.timeout} seconds"
    last = f", at most {schedule.max_missed}" if schedule.missed == "run_all" else ""
    yield "missed times", schedule.missed + last


def _row(schedule: Schedule) -> Sequence[str]:
    return (
        schedule.id,
        schedule.name or schedule.message[:40],
        _describe_times(schedule),
        schedule.timezone,
        _describe_state(schedule),
        format_time(schedule.next_at),
        schedule.last_run_id or "",
    )


def _describe_times(schedule: Schedule) -> str:
    return schedule.cron or f"once, {format_time(schedule.run_at)}"


def _describe_state(schedule: Schedule) -> str:
    if schedule.paused:
        return f"paused ({schedule.pause_reason})"
    if schedule.next_at is None:
        return "over"
    return f"waits for {schedule.waiting_for}" if schedule.waiting_for else "active"


def _describe_next(schedule: Schedule) -> str:
    if schedule.next_at is None:
        return "It is paused." if schedule.paused else "It has no further time."
    return f"It runs next at {format_time(schedule.next_at)}, in your time."


def _history_row(occurrence: Occurrence) -> Sequence[str]:
    due = format_time(occurrence.due_at) or f"by hand, {format_time(occurrence.created_at)}"
    if occurrence.missed_until not in (None, occurrence.due_at):
        due += f" to {format_time(occurrence.missed_until)}"
    return (
        due,
        occurrence.status,
        occurrence.run_id or "",
        occurrence.run_status or "",
        occurrence.thread_id or "",
        occurrence.error.message if occurrence.error else "",
    )
