"""Commands about skills, instructions and slash commands of folders; slash commands from files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from antiphon.client import mentions
from antiphon.client.formatting import count_noun
from antiphon.settings.trust import open_trust_record
from antiphon.skills.commands import FileCommand
from antiphon.skills.discovery import Finder, FoundFile
from antiphon.skills.review import Review, review_found
from antiphon.skills.skill import Skill
from antiphon.skills.workspace import Workspace, explain_untrusted
from antiphon.terminal import chat_state, paging, resume, spans
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.input.keyboard import Box, KeyChoice, in_rows
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.ui_manager import Ui
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.terminal_safe import clean, one_line

TRUST, USE, RELOAD = "trust", "use", "reload"
SEEN = 12
"""Lines of a message that are shown when a command sends it; the thread has all of it."""
GUTTER = "  | "
"""In front of every line of a file, so that none can pass for a word of the chat."""
_NAME_WIDTH = 30

Expand = Callable[[str], str]
"""Returns the message for what was typed."""


def announce_workspace(ui: Ui, workspace: Workspace) -> None:
    """Print what the folder brings that does not count, and what cannot be used."""
    if untrusted := workspace.untrusted:
        ui.say(explain_untrusted(untrusted, "/skills trust"), "warning")
    if broken := [each for each in workspace.broken if each.own]:
        ui.say(f"{count_noun(len(broken), 'file')} of yours cannot be used: /skills", "warning")


# Slash commands from files.


def file_command(command: FileCommand) -> SlashCommand:
    """Return the slash command that sends the text of a file."""

    async def carry_out(chat: CommandContext, words: str) -> None:
        await _send(chat, command.expand, words, draft=f"/{command.name} {words}")

    return SlashCommand(
        name=command.name,
        arguments=clean(command.arguments),
        meaning=clean(command.meaning),
        run=carry_out,
        sends_words=True,
    )


async def _send(chat: CommandContext, expand: Expand, words: str, *, draft: str) -> None:
    """Send a message that is made of what was typed, with the files that were typed."""
    typed = await chat_state.prepare(chat.state, words)
    text = expand(typed.text)
    lines = resume.user_lines(text, chat.ui.theme)
    left = len(lines) - SEEN
    if left > 1:
        lines = [*lines[:SEEN], (StyledText(f"  ({left} more lines)", "faint"),)]
    chat.ui.show(lines)
    content = await mentions.upload_attachments(chat.client, replace(typed, text=text))
    outcome = await chat.send(content, draft=draft.rstrip())
    if outcome.run_id is not None:
        chat.state.attached.clear()


# /skills


async def _run_skills(chat: CommandContext, words: str) -> None:
    first, _, rest = words.partition(" ")
    match first:
        case "":
            _list(chat)
        case "trust":
            await _trust(chat, rest.strip())
        case "use":
            await _use(chat, rest.strip())
        case "reload":
            await chat.load_workspace()
            announce_workspace(chat.ui, chat.workspace)
            skills = count_noun(len(chat.workspace.skills.names), "skill")
            commands = count_noun(len(chat.workspace.commands), "command")
            chat.ui.say(f"There are {skills} and {commands} from files now.", "faint")
        case _:
            _show(chat, words)


def _list(chat: CommandContext) -> None:
    found = chat.workspace.found
    if not found:
        chat.ui.say("There are no skills here; `antiphon skills add` adds one.", "faint")
        return
    titles = (("skill", "Skills"), ("instructions", "Instructions"), ("command", "Commands"))
    for kind, title in titles:
        group = [each for each in found if each.kind == kind]
        if group:
            chat.ui.show([(StyledText(title, "strong"),)])
            chat.ui.show_rows(map(_row, group))
    hints = ["/skills NAME shows a skill, /skills use NAME TEXT has the model use it"]
    if chat.workspace.untrusted:
        hints.append("/skills trust shows what is not trusted, and asks")
    chat.ui.say("; ".join(hints) + ".", "faint")


def _row(found: FoundFile) -> Line:
    mark = "/" if found.kind == "command" else ""
    name = f"{mark}{one_line(found.name)}"[:_NAME_WIDTH]
    words = found.why if found.state == "broken" else _describe(found)
    return (
        StyledText(f"  {name:<{_NAME_WIDTH}}  ", "mark"),
        StyledText(f"{found.state:<11}  ", "faint" if found.ready else "warning"),
        StyledText(one_line(words)),
    )


def _describe(found: FoundFile) -> str:
    match found.content:
        case Skill(description=description):
            return description
        case FileCommand(meaning=meaning):
            return meaning
        case _:
            return str(found.file)


def _show(chat: CommandContext, name: str) -> None:
    found = _find(chat, name)
    ui = chat.ui
    ui.say(one_line(f"{found.name}: {found.state} ({found.file})"), "strong")
    if found.why:
        ui.say(one_line(found.why), "faint")
    if isinstance(found.content, Skill):
        ui.say(found.content.description)
        for warning in found.content.warnings:
            ui.say(warning, "faint")
        ui.say(found.content.instructions.strip(), place="approval")
    elif isinstance(found.content, FileCommand):
        ui.say(found.content.text, place="approval")


async def _use(chat: CommandContext, words: str) -> None:
    """Send a message with the instructions of a skill and what was typed."""
    name, _, text = words.partition(" ")
    if name not in chat.workspace.skills.names:
        raise _no_skill_error(chat, name)
    instructions = await asyncio.to_thread(chat.workspace.skills.activation, name)

    def expand(typed: str) -> str:
        return f"{typed or f'Use the skill {name}.'}\n\n{instructions}"

    await _send(chat, expand, text.strip(), draft=f"/skills use {words}")


async def _trust(chat: CommandContext, name: str) -> None:
    untrusted = [each for each in chat.workspace.untrusted if name in ("", each.name)]
    if not untrusted:
        if name:
            raise NotFound(f"This folder brings nothing named {name} that is not trusted")
        chat.ui.say("This folder brings nothing that is not trusted.", "faint")
        return
    finder = Finder(chat.environ, Path.cwd())
    try:
        for found in untrusted:
            await _review(chat, found, await asyncio.to_thread(finder.find_replaced, found))
    finally:
        await chat.load_workspace()


async def _review(chat: CommandContext, found: FoundFile, replaced: FoundFile | None) -> None:
    """Show all of it, ask, and store a yes."""
    try:
        seen = await asyncio.to_thread(review_found, found, replaced)
    except InvalidRequest as problem:
        chat.ui.say(problem.full_message, "error")
        return
    lines = list(_review_lines(seen))
    chat.ui.show(lines)
    if await _confirm(chat, found, seen, lines):
        record = open_trust_record(chat.environ)
        await asyncio.to_thread(record.trust, seen.file, seen.digest)
        chat.ui.say(f"{found.name} counts from now on, as long as it says the same.", "faint")
    else:
        chat.ui.say(f"{found.name} is not trusted, and not used.", "faint")


def _review_lines(seen: Review) -> Iterator[Line]:
    """Yield all that is to be seen, with nothing hidden in it."""
    for name, text in seen.files:
        yield ()
        yield (StyledText(one_line(name, "approval"), "strong"),)
        for line in clean(text, "approval").replace("\t", "    ").split("\n"):
            yield (StyledText(GUTTER, "faint"), StyledText(line))
    if seen.others:
        yield (StyledText("Its other files, which `antiphon skills show` shows:", "faint"),)
        yield from ((StyledText(f"{GUTTER}{one_line(each, 'approval')}"),) for each in seen.others)


async def _confirm(
    chat: CommandContext, found: FoundFile, seen: Review, lines: Sequence[Line]
) -> bool:
    name = one_line(found.name, "approval")
    rows: Sequence[Line] = [
        (
            StyledText("Trust "),
            StyledText(name, "strong"),
            StyledText(f", as it is shown above in {count_noun(len(lines), 'line')}?"),
        ),
        (StyledText(f"{seen.summary}.", "faint"),),
    ]
    choices = [KeyChoice("n", "no"), KeyChoice("y", "yes, until it changes")]
    if not chat.ui.keyboard.by_lines:
        choices.append(KeyChoice("v", "view it in the pager"))
    box = Box(rows=in_rows(rows), choices=tuple(choices), default="n")
    async with chat.ui.question_lock:
        while (key := await chat.ui.keyboard.choose(box)) == "v":
            await paging.open_pager(chat.ui, name, "\n".join(map(spans.text, lines)))
    return key == "y"


def _find(chat: CommandContext, name: str) -> FoundFile:
    """Return what has this name, one that counts first. Raises `NotFound`."""
    wanted = name.removeprefix("/")
    found = [each for each in chat.workspace.found if each.name == wanted]
    if not found:
        raise _no_skill_error(chat, name)
    return next((each for each in found if each.ready), found[0])


def _no_skill_error(chat: CommandContext, name: str) -> InvalidRequest:
    if any(each.name == name for each in chat.workspace.untrusted):
        return InvalidRequest(f"The skill {name} is not trusted", hint=f"/skills {TRUST} shows it.")
    names = ", ".join(chat.workspace.skills.names[:20])
    return InvalidRequest(
        f"There is no skill {name}" if name else "Which skill?",
        expected=f"one of: {names}" if names else None,
        hint="/skills lists them.",
    )


async def _complete(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    first, blank, rest = begun.partition(" ")
    if not blank:
        verbs = (
            (TRUST, "see what this folder brings, and trust it"),
            (USE, "have the model use a skill"),
            (RELOAD, "look for skills again"),
        )
        for verb, meaning in verbs:
            if verb.startswith(first):
                yield f"{verb} ", meaning
    found = chat.workspace.untrusted if first == TRUST else chat.workspace.found
    begin = f"{first} " if first in (TRUST, USE) and blank else ""
    wanted = rest if begin else begun
    for each in found:
        if each.name.startswith(wanted) and (first == TRUST or each.kind == "skill"):
            yield f"{begin}{each.name}", _describe(each)


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="skills",
        arguments="[NAME | use NAME TEXT | trust [NAME] | reload]",
        meaning="skills, project instructions and slash commands from files",
        run=_run_skills,
        sends_words=True,
        proposals=_complete,
    ),
)
