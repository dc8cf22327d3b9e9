"""The command about folders of threads."""

from __future__ import annotations

from collections.abc import AsyncIterator

from antiphon.client.folders import find_folder, list_folders
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.spans import StyledText
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.folders import Folder
from antiphon.types.terminal_safe import one_line

NONE = "none"
NEW = "new"


async def _change_folder(chat: CommandContext, words: str) -> None:
    first, _, rest = words.partition(" ")
    if not words:
        await _show_folders(chat)
    elif words == NONE:
        await _move(chat, None)
        chat.ui.say("This thread is in no folder.", "faint")
    elif first == NEW:
        if not rest.strip():
            raise InvalidRequest("A name is missing", expected="/folder new NAME")
        await _put_into(chat, await chat.client.create_folder(rest.strip()))
    else:
        await _put_into(chat, await find_folder(chat.client, words))


async def _put_into(chat: CommandContext, folder: Folder) -> None:
    await _move(chat, folder.id)
    begins = "" if chat.state.thread_id else ", once it has begun"
    reads = " Models read its instructions from your next message on." * bool(folder.instructions)
    chat.ui.say(f"This thread is in the folder {one_line(folder.name)}{begins}.{reads}", "faint")


async def _move(chat: CommandContext, folder_id: str | None) -> None:
    """Move this thread with all its versions; one that has not begun will begin there."""
    if chat.state.thread_id is not None:
        moved = (chat.state.thread_id,)
        for outcome in (
            await chat.client.change_threads(moved, "move", family=True, folder_id=folder_id)
        ).data:
            if not outcome.done:
                raise NotFound(outcome.message or "The thread was not moved.")
    chat.state.folder_id = folder_id


async def _show_folders(chat: CommandContext) -> None:
    folders = await list_folders(chat.client)
    if not folders:
        chat.ui.say("There is no folder. /folder new NAME creates one.", "faint")
        return
    chat.ui.show_rows(
        [
            (
                StyledText(one_line(folder.name)),
                StyledText("  (here)" if folder.id == chat.state.folder_id else "", "mark"),
                StyledText(f"  {one_line(folder.instructions)[:80]}", "faint"),
            )
            for folder in folders
        ]
    )
    chat.ui.say(
        "/folder NAME moves this thread; /resume folder NAME picks one of a folder.", "faint"
    )


async def _complete_folders(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    wanted = begun.casefold()
    for folder in await list_folders(chat.client):
        if folder.name.casefold().startswith(wanted):
            yield one_line(folder.name), one_line(folder.instructions)[:60]
    for word, meaning in ((NONE, "take this thread out"), (NEW, "a folder that is created")):
        if begun and word.startswith(begun):
            yield word, meaning


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="folder",
        arguments="[NAME|new NAME|none]",
        meaning="move this thread to a folder, a new one or none; list the folders",
        run=_change_folder,
        proposals=_complete_folders,
    ),
)
