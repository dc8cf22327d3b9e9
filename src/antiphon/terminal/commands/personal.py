"""Commands about what every assistant reads of the person: instructions, and memories."""

from __future__ import annotations

from collections.abc import AsyncIterator

from antiphon.client.formatting import count_noun
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.input.keyboard import Box, KeyChoice
from antiphon.terminal.spans import Line, StyledText
from antiphon.types.errors import InvalidRequest
from antiphon.types.personal import MAX_MEMORIES, Memory
from antiphon.types.terminal_safe import one_line

_ON_OFF = {"on": True, "off": False}


async def _instructions(chat: CommandContext, words: str) -> None:
    match words:
        case "":
            settings = await chat.client.get_personal_settings()
            if not settings.instructions:
                chat.ui.say("There are none. /instructions TEXT writes them.", "faint")
                return
            chat.ui.say(settings.instructions, place="approval")
            state = "read" if settings.instructions_enabled else "not read, for they are off"
            chat.ui.say(f"They are {state}, in all your chats but temporary ones.", "faint")
        case "on" | "off":
            await chat.client.update_personal_settings(instructions_enabled=_ON_OFF[words])
            chat.ui.say(f"Your instructions are {words}, from your next message on.", "faint")
        case "clear":
            await chat.client.update_personal_settings(instructions="")
            chat.ui.say("Your instructions are removed, from your next message on.", "faint")
        case text:
            await chat.client.update_personal_settings(instructions=text)
            chat.ui.say("Every assistant reads this, from your next message on.", "faint")


async def _memory(chat: CommandContext, words: str) -> None:
    action, _, rest = words.partition(" ")
    rest = rest.strip()
    match action:
        case "" | "list":
            await _list(chat, rest)
        case "add" if rest:
            memory = await chat.client.create_memory(rest)
            chat.ui.say(f"Remembered: {one_line(memory.text, 'approval')}", "faint")
        case "edit" if rest:
            number, _, text = rest.partition(" ")
            if not text.strip():
                raise InvalidRequest("A text is missing", expected="/memory edit NUMBER TEXT")
            await chat.client.update_memory(_id_of_number(chat, number), text)
            chat.ui.say(f"Memory {number} is changed.", "faint")
        case "delete" if rest == "all":
            await _delete_all(chat)
        case "delete" if rest:
            await chat.client.delete_memory(_id_of_number(chat, rest))
            chat.ui.say(f"Memory {rest} is deleted.", "faint")
        case "on" | "off" if not rest:
            await chat.client.update_personal_settings(memory_enabled=_ON_OFF[action])
            chat.ui.say(f"Memory is {action}, from your next message on.", "faint")
        case _:
            raise InvalidRequest(
                f"/memory {one_line(action)} is not complete, or no action",
                expected="/memory [list WORDS|add TEXT|edit NUMBER TEXT|delete NUMBER|on|off]",
            )


async def _list(chat: CommandContext, words: str) -> None:
    memories = (await chat.client.list_memories()).data
    found = [each for each in memories if words.casefold() in each.text.casefold()]
    chat.state.listed_memories = tuple(each.id for each in found)
    chat.ui.show_rows([_row(number, memory) for number, memory in enumerate(found, 1)])
    if not (await chat.client.get_personal_settings()).memory_enabled:
        chat.ui.say("Memory is off: models read none of it. /memory on turns it on.", "warning")
    elif not memories:
        chat.ui.say("Nothing is remembered about you. /memory add TEXT adds a memory.", "faint")
    elif not found:
        chat.ui.say(f"No memory has {one_line(words)!r} in it.", "faint")
    else:
        chat.ui.say(f"{len(memories)} of {MAX_MEMORIES}. /memory delete NUMBER.", "faint")


def _row(number: int, memory: Memory) -> Line:
    origin = "  (from a chat)" if memory.source == "assistant" else ""
    return (
        StyledText(f"{number:>3}  ", "mark"),
        StyledText(one_line(memory.text, "approval")),
        StyledText(origin, "faint"),
    )


def _id_of_number(chat: CommandContext, number: str) -> str:
    """Return the id of a memory by its number in the last list."""
    listed = chat.state.listed_memories
    if not (number.isascii() and number.isdigit() and 1 <= int(number) <= len(listed)):
        raise InvalidRequest(
            "There is no memory of this number",
            expected=f"a number from 1 to {len(listed)}" if listed else "a number of a list",
            received=one_line(number),
            hint="/memory lists them with their numbers.",
        )
    return listed[int(number) - 1]


async def _delete_all(chat: CommandContext) -> None:
    rows: list[Line] = [
        (StyledText("Delete all memories? This cannot be undone."),),
    ]
    box = Box(
        rows=lambda _: rows,
        choices=(KeyChoice("n", "no"), KeyChoice("y", "yes, delete all")),
        default="n",
    )
    if await chat.ui.keyboard.choose(box) != "y":
        return
    gone = await chat.client.delete_memories()
    chat.state.listed_memories = ()
    chat.ui.say(f"{count_noun(gone.deleted, 'memory', 'memories')} deleted.", "faint")


async def _complete_memory(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    actions = {
        "add ": "add a memory",
        "edit ": "replace the text of a memory, by its number",
        "delete ": "delete a memory by its number, or all",
        "list ": "list memories with these words",
        "on": "models read and add memories",
        "off": "models read and add none",
    }
    for action, meaning in actions.items():
        if action.startswith(begun):
            yield action, meaning


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="memory",
        arguments="[list|add|edit|delete|on|off]",
        meaning="what assistants remember about you, in all chats",
        run=_memory,
        proposals=_complete_memory,
    ),
    SlashCommand(
        name="instructions",
        arguments="[TEXT|on|off|clear]",
        meaning="what every assistant reads, in all your chats",
        run=_instructions,
    ),
)
