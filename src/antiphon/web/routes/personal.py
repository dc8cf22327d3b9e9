"""Personal instructions and memories of the user, which every assistant reads."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from flask import Blueprint, Response

from antiphon.api.operations import MemoryText, PersonalInstructions
from antiphon.types.personal import Memory, PersonalSettings
from antiphon.web.http import read_json
from antiphon.web.session import current_client, respond_with

routes = Blueprint("personal", __name__)


class PersonalView(msgspec.Struct, frozen=True):
    """The settings of the user, and all memories, newest first."""

    settings: PersonalSettings
    memories: Sequence[Memory]


class SettingsChange(msgspec.Struct, frozen=True):
    """Changes of the settings."""

    instructions: PersonalInstructions | msgspec.UnsetType = msgspec.UNSET
    instructions_enabled: bool | msgspec.UnsetType = msgspec.UNSET
    memory_enabled: bool | msgspec.UnsetType = msgspec.UNSET


class WrittenMemory(msgspec.Struct, frozen=True):
    """The text of a memory, as the user wrote it."""

    text: MemoryText


@routes.get("/api/personal")
def get_personal() -> Response:
    """Return the settings and the memories of the user."""
    client = current_client()

    async def read() -> PersonalView:
        settings = await client.get_personal_settings()
        memories = (await client.list_memories()).data
        return PersonalView(settings, [*reversed(memories)])

    return respond_with(read())


@routes.patch("/api/personal")
def update_personal() -> Response:
    """Change the settings; return them."""
    changes, client = read_json(SettingsChange), current_client()
    return respond_with(client.update_personal_settings(**msgspec.structs.asdict(changes)))


@routes.post("/api/memories")
def create_memory() -> Response:
    """Add a memory that the user wrote; return it."""
    written, client = read_json(WrittenMemory), current_client()
    return respond_with(client.create_memory(written.text), 201)


@routes.patch("/api/memories/<memory_id>")
def update_memory(memory_id: str) -> Response:
    """Replace the text of a memory; return it."""
    written, client = read_json(WrittenMemory), current_client()
    return respond_with(client.update_memory(memory_id, written.text))


@routes.delete("/api/memories/<memory_id>")
def delete_memory(memory_id: str) -> Response:
    """Delete a memory."""
    return respond_with(current_client().delete_memory(memory_id))


@routes.delete("/api/memories")
def delete_memories() -> Response:
    """Delete all memories; return their number."""
    return respond_with(current_client().delete_memories())
