"""Instructions of a person for every assistant, and memories that assistants have of the person."""

from __future__ import annotations

from typing import Literal

import msgspec

MemorySource = Literal["person", "assistant"]

MAX_MEMORIES = 100
MAX_MEMORY_LENGTH = 300
MAX_INSTRUCTIONS_LENGTH = 4_000


class PersonalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Instructions of a person for every assistant, and the switches of both. Time in ms.

    Models read `instructions` only while `instructions_enabled` is true. While `memory_enabled` is
    false, models read no memory and add none; those that are there stay. `updated_at` is 0 before
    the first change.
    """

    instructions: str = ""
    instructions_enabled: bool = True
    memory_enabled: bool = True
    updated_at: int = 0


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """A note about a person that models read in later conversations. Times in ms.

    `source` is `assistant` for a note that a model wrote and the person approved; `run_id` and
    `thread_id` are then the run and the thread in which it was written, which may be deleted since.
    A change of the text by hand makes the person its source.
    """

    id: str
    text: str
    source: MemorySource = "person"
    thread_id: str | None = None
    run_id: str | None = None
    created_at: int
    updated_at: int


class PersonalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The settings and the memories of one owner, oldest first, as they are stored."""

    settings: PersonalSettings = PersonalSettings()
    memories: tuple[Memory, ...] = ()


NOTHING_PERSONAL = PersonalRecord()
"""The record of an owner that has written nothing."""
