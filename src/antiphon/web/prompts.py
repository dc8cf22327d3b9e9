"""A user's own prompts, kept as a file of theirs at the backend.

Exports, erasure and moves of an owner include them, as all files. Each change uploads the whole
list and deletes the one before; the newest file counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import msgspec
from msgspec import Meta

from antiphon.api.operations import ListFiles
from antiphon.client.async_client import AsyncClient
from antiphon.engine import sanitize
from antiphon.types.errors import Conflict, InvalidRequest, NotFound

PURPOSE = "web_prompts"
"""Purpose of the file at the backend, by which it is found."""
FILE_NAME = "prompts.json"
MEDIA_TYPE = "application/json"

PromptName = Annotated[str, Meta(pattern=r"^[\w-]+\Z", max_length=40)]
PromptText = Annotated[str, Meta(min_length=1, max_length=8000)]


class SavedPrompt(msgspec.Struct, frozen=True):
    """A prompt that its user can name as `/name`; `starter` if an empty chat offers it.

    Marks in the text such as `{{city}}` are places that the user fills in.
    """

    name: PromptName
    text: PromptText
    starter: bool = False


Prompts = Annotated[tuple[SavedPrompt, ...], Meta(max_length=100)]


class PromptList(msgspec.Struct, frozen=True):
    """All prompts of a user.

    `version` identifies the stored list, and in a change the list that was changed; None if there
    was none.
    """

    data: Prompts = ()
    version: str | None = None


class PromptStore:
    """Reads and saves the prompts of users. Runs on the web chat's loop only."""

    def __init__(self) -> None:
        self._saving = asyncio.Lock()

    async def read(self, client: AsyncClient) -> PromptList:
        """Return the prompts of the client's user."""
        while True:
            newest = (await client.list_files(limit=1, purpose=PURPOSE)).data
            if not newest:
                return PromptList()
            try:
                content = await client.download_file(newest[0].id)
            except NotFound:  # changed meanwhile
                continue
            return PromptList(_decode(content), newest[0].id)

    async def save(self, client: AsyncClient, wanted: PromptList) -> PromptList:
        """Save the list in place of the one that it is based on.

        Raises `Conflict` if another one was saved since, `InvalidRequest` if a name occurs twice.
        """
        sanitize.validate_text(msgspec.to_builtins(wanted.data), "$.data")
        _check_names(wanted.data)
        async with self._saving:
            earlier = [each.id async for each in client.paginate(ListFiles(purpose=PURPOSE))]
            if wanted.version != next(iter(earlier), None):
                raise Conflict(
                    "Your prompts were changed elsewhere meanwhile.",
                    hint="They are loaded again: make your change once more.",
                )
            version = None
            if wanted.data:
                content = msgspec.json.encode(wanted.data)
                saved = await client.upload_file(content, FILE_NAME, MEDIA_TYPE, purpose=PURPOSE)
                version = saved.id
            for file_id in earlier:
                with suppress(NotFound):
                    await client.delete_file(file_id)
        return PromptList(wanted.data, version)


def _decode(content: bytes) -> tuple[SavedPrompt, ...]:
    try:
        return msgspec.json.decode(content, type=Prompts)
    except (msgspec.DecodeError, UnicodeError):  # a file of another program
        return ()


def _check_names(prompts: Sequence[SavedPrompt]) -> None:
    seen: set[str] = set()
    for prompt in prompts:
        if prompt.name.casefold() in seen:
            raise InvalidRequest(
                f"There are two prompts of the name {prompt.name}.",
                expected="a name that no other of your prompts has",
                received=prompt.name,
                where="$.data",
            )
        seen.add(prompt.name.casefold())
