"""Checks of the records of an archive, beyond their types: ids, numbers, times and texts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec
from msgspec.structs import replace

from antiphon.api.operation import convert
from antiphon.api.operations import CreateFolder, CreateSchedule
from antiphon.engine import personal, validation
from antiphon.engine.citations import CitationCollector
from antiphon.engine.cron import parse_cron
from antiphon.runtime.admin.archive import ArchivedRun
from antiphon.runtime.time_zones import load_zone
from antiphon.types.accounts import UsageRow
from antiphon.types.errors import InvalidRequest
from antiphon.types.events import CitationsAdded, Event, MessageCompleted
from antiphon.types.folders import Folder
from antiphon.types.ids import Prefix
from antiphon.types.messages import Message, Refusal
from antiphon.types.personal import Memory, PersonalSettings
from antiphon.types.schedules import Schedule

T = TypeVar("T")

MAX_NUMBER = 2**31 - 2  # of a message, an event, a turn: stores count in 32 bits
MAX_COUNT = 2**53
MAX_TIME = 253_402_300_799_999  # ms: the end of the year 9999
MAX_WORD = 512  # characters of what a store has an index of

_ID = re.compile(r"[a-z]+_[\x21-\x7e]{1,120}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PREFIXES: Mapping[str, Prefix] = {
    "assistants": "asst",
    "folders": "folder",
    "threads": "thread",
    "messages": "msg",
    "runs": "run",
    "actions": "act",
    "files": "file",
    "memories": "mem",
    "schedules": "sched",
    "audit": "audit",
}
_TIMES = (
    *("created_at", "updated_at", "started_at", "ended_at", "expires_at", "at"),
    *("run_at", "last_at"),
)
_WORDS = ("model", "tool_call_id")
_REFERENCES = (
    *("thread_id", "run_id", "parent_id", "folder_id", "assistant_id", "last_run_id", "family"),
)


def validate_fields(kind: str, record: Any) -> None:
    """Check what fields of one name have in common. Raises `InvalidRequest`."""
    prefix = _PREFIXES.get(kind)
    if prefix and (not _ID.fullmatch(record.id) or not record.id.startswith(f"{prefix}_")):
        raise InvalidRequest(
            "This is no id of such a record.",
            expected=f"{prefix}_ and up to 120 letters, digits and signs",
            received=ascii(record.id)[:100],
            where="$.id",
        )
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if name in _TIMES and value is not None:
            validate_number(value, name, 0, MAX_TIME)
        elif name in _REFERENCES and isinstance(value, str) and not _ID.fullmatch(value):
            raise InvalidRequest(
                "This is no id.",
                expected="a prefix, _ and up to 120 letters, digits and signs",
                received=ascii(value)[:100],
                where=f"$.{name}",
            )
        elif name in _WORDS and isinstance(value, str) and len(value) > MAX_WORD:
            raise InvalidRequest(
                "This is too long.",
                expected=f"at most {MAX_WORD} characters",
                received=f"{len(value):,}",
                where=f"$.{name}",
            )


def validate_number(value: int, name: str, least: int, most: int = MAX_NUMBER) -> None:
    """Raise `InvalidRequest` for a number out of bounds."""
    if not least <= value <= most:
        raise InvalidRequest(
            "This number cannot be.",
            expected=f"{least} to {most}",
            received=str(value),
            where=f"$.{name}",
        )


def prepare_record(record: T) -> T:
    """Return the record as it comes in. Raises `InvalidRequest` for one no request could make."""
    match record:
        case Schedule():
            return cast("T", _prepare_schedule(record))
        case Folder(name=name, instructions=text):
            folder = convert({"name": name, "instructions": text}, CreateFolder)
            return cast("T", replace(record, name=validation.parse_folder_name(folder.name)))
        case Memory(text=text):
            personal.validate_memory(text)
        case PersonalSettings(instructions=text):
            personal.validate_instructions(text)
        case _:
            pass
    return record


def _prepare_schedule(schedule: Schedule) -> Schedule:
    """Return the schedule as paused: it starts nothing before a person resumes it.

    Raises `InvalidRequest` for one that no request could create.
    """
    fields = {name: getattr(schedule, name) for name in CreateSchedule.__struct_fields__}
    try:
        msgspec.convert(fields, CreateSchedule, from_attributes=True)
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            "This is no schedule.",
            expected="the fields of a request that creates one",
            received=str(error)[:200],
        ) from error
    if (schedule.cron is None) == (schedule.run_at is None):
        raise InvalidRequest(
            "A schedule has a cron expression or one time.",
            expected="cron or run_at",
            received="neither" if schedule.cron is None else "both",
        )
    load_zone(schedule.timezone)
    if schedule.cron is not None:
        parse_cron(schedule.cron)
    return replace(
        schedule,
        paused=True,
        pause_reason="owner",
        next_at=None,
        failures=0,
        waiting_for=None,
    )


def validate_usage(row: UsageRow) -> None:
    """Raise `InvalidRequest` for a row with a wrong day or number."""
    if not _DAY.fullmatch(row.day):
        raise InvalidRequest(
            "This is no day.",
            expected="a day such as 2026-11-21",
            received=ascii(row.day)[:40],
            where="$.day",
        )
    for name in row.__struct_fields__:
        value = getattr(row, name)
        if isinstance(value, int | float) and not 0 <= value <= MAX_COUNT:
            raise InvalidRequest(
                "This number cannot be.",
                expected=f"0 to {MAX_COUNT}",
                received=str(value),
                where=f"$.{name}",
            )


def prepare_message(message: Message) -> Message:
    """Return the message as it comes in: its citations are cleaned as those of a provider are.

    Raises `InvalidRequest` for a message with wrong numbers, parts or calls.
    """
    validate_number(message.number, "number", 1)
    sent = tuple(part for part in message.content if not isinstance(part, Refusal))
    for _ in validation.attachment_ids(sent):
        pass
    if message.role == "tool" and message.tool_call_id is None:
        raise InvalidRequest(
            "A message with role tool answers a tool call, and this one names none.",
            expected="tool_call_id",
            received="none",
        )
    if message.compacts is not None:
        validate_number(message.compacts, "compacts", 0, message.number)
    for place, call in enumerate(message.tool_calls):
        if len(call.id) > MAX_WORD:
            raise InvalidRequest(
                "The id of a tool call is too long.",
                expected=f"at most {MAX_WORD} characters",
                received=f"{len(call.id):,}",
                where=f"$.tool_calls[{place}].id",
            )
    return _clean_citations(message)


def prepare_event(event: Event) -> Event:
    """Return the event as it comes in: its citations are cleaned as those of a provider are.

    An event whose citations are all left out stays, without any: events are numbered.
    """
    match event:
        case CitationsAdded(citations=citations):
            return CitationsAdded(citations=CitationCollector().add(citations))
        case MessageCompleted(message=message):
            return MessageCompleted(message=_clean_citations(message))
        case _:
            return event


def _clean_citations(message: Message) -> Message:
    if not message.citations:
        return message
    collector = CitationCollector()
    collector.add(message.citations)
    return replace(message, citations=collector.all or msgspec.UNSET)


def validate_run(record: ArchivedRun) -> None:
    """Raise `InvalidRequest` for a run with wrong numbers, or without its end."""
    run = record.run
    validate_number(record.last_event, "last_event", 0)
    validate_number(record.events_after, "events_after", 0, record.last_event)
    for name in run.__struct_fields__:
        if name not in _TIMES and type(value := getattr(run, name)) is int:
            validate_number(value, f"run.{name}", 0)
    for name in run.usage.__struct_fields__:
        if type(value := getattr(run.usage, name)) is int:
            validate_number(value, f"run.usage.{name}", 0, MAX_COUNT)
    if run.status.ended and run.ended_at is None:
        raise InvalidRequest(
            "The run has ended at no time.",
            expected=f"ended_at of a run that is {run.status}",
            received="none",
            where="$.run.ended_at",
        )
