"""Operations on the caller's personal instructions and memories."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from antiphon.api.operation import Deleted, Id, Listed, Operation
from antiphon.types.personal import (
    MAX_INSTRUCTIONS_LENGTH,
    MAX_MEMORY_LENGTH,
    Memory,
    PersonalSettings,
)

MemoryText = Annotated[str, Meta(min_length=1, max_length=MAX_MEMORY_LENGTH)]
PersonalInstructions = Annotated[str, Meta(max_length=MAX_INSTRUCTIONS_LENGTH)]


class GetPersonalSettings(Operation[PersonalSettings], frozen=True):
    """Get the caller's instructions for every assistant, and the switches of both."""

    route: ClassVar[str] = "GET /v1/personal_settings"
    answer: ClassVar[Any] = PersonalSettings


class UpdatePersonalSettings(Operation[PersonalSettings], frozen=True):
    """Change the given fields; the others stay.

    Models read the instructions in all runs of the caller but those in temporary threads, those
    with `personal` of false, and those of requests in other protocols. With `memory_enabled` of
    false no memory is read or added by models; the memories stay. Raises `InvalidRequest` for
    characters that control, turn or hide text.
    """

    route: ClassVar[str] = "PATCH /v1/personal_settings"
    answer: ClassVar[Any] = PersonalSettings

    instructions: PersonalInstructions | msgspec.UnsetType = msgspec.UNSET
    instructions_enabled: bool | msgspec.UnsetType = msgspec.UNSET
    memory_enabled: bool | msgspec.UnsetType = msgspec.UNSET


class ListMemories(Operation[Listed[Memory]], frozen=True):
    """List what is remembered about the caller, oldest first; all of it, for it is bounded."""

    route: ClassVar[str] = "GET /v1/memories"
    answer: ClassVar[Any] = Listed[Memory]


class CreateMemory(Operation[Memory], frozen=True):
    """Add a memory, one line that models read in later conversations of the caller.

    With `run_id` it is a memory that the assistant of that run wrote: it is refused in a temporary
    thread, and while memory is off. Raises `Conflict` if there are as many as there may be, or one
    with the same text, and `InvalidRequest` for characters that control, turn or hide text.
    """

    route: ClassVar[str] = "POST /v1/memories"
    answer: ClassVar[Any] = Memory
    http_status: ClassVar[int] = 201

    text: MemoryText
    run_id: Id | None = None


class UpdateMemory(Operation[Memory], frozen=True):
    """Replace the text of a memory, whose source is the person then. Raises as `CreateMemory`."""

    route: ClassVar[str] = "PATCH /v1/memories/{memory_id}"
    answer: ClassVar[Any] = Memory

    memory_id: Id
    text: MemoryText


class DeleteMemory(Operation[Deleted], frozen=True):
    """Delete one memory."""

    route: ClassVar[str] = "DELETE /v1/memories/{memory_id}"
    answer: ClassVar[Any] = Deleted

    memory_id: Id


class MemoriesDeleted(msgspec.Struct, frozen=True):
    """The number of memories that were deleted."""

    deleted: int


class DeleteMemories(Operation[MemoriesDeleted], frozen=True):
    """Delete all memories of the caller; the instructions stay."""

    route: ClassVar[str] = "DELETE /v1/memories"
    answer: ClassVar[Any] = MemoriesDeleted
