"""Commands about threads: list, switch, branch, delete."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from msgspec.structs import replace

from antiphon.api.operations import ListTags
from antiphon.client import thread_families
from antiphon.client.folders import find_folder, list_folders
from antiphon.client.formatting import count_noun
from antiphon.terminal import chat_state, resume
from antiphon.terminal.commands.command import CommandContext, SlashCommand
from antiphon.terminal.input.keyboard import Box, KeyChoice
from antiphon.terminal.spans import Line, StyledText
from antiphon.terminal.thread_list import (
    format_count,
    format_notes,
    format_tags,
    format_time,
    format_title,
)
from antiphon.terminal.thread_picker import pick_thread
from antiphon.types.accounts import DAY_MS
from antiphon.types.errors import InvalidRequest
from antiphon.types.folders import Folder
from antiphon.types.messages import Message, Text
from antiphon.types.runs import Thread
from antiphon.types.terminal_safe import one_line

LISTED = 20
ALL = "all"
ARCHIVED = "archived"
FOLDER = "folder"
TAG = "#"
MORE = "more"
SHARE_TOOLS = "tools"
SHARE_OFF = "off"
TEMPORARY = "--temporary"
NOTHING_SAID = "You have sent no message here yet"


async def _list_threads(chat: CommandContext, words: str) -> None:
    going_on = words == MORE
    if not going_on:
        first, _, rest = words.partition(" ")
        hidden, archived = first == ALL, first == ARCHIVED
        folder = await _find_named_folder(chat, words)
        words = rest.strip() if hidden or archived else "" if folder else words
        tag = words.removeprefix(TAG).strip() if words.startswith(TAG) else None
        chat.state.listed_threads, chat.state.next_search, chat.state.found = (), None, ()
        chat.state.next_listing = thread_families.latest_threads(
            "" if tag else words,
            hidden=hidden,
            limit=LISTED,
            archived=archived,
            tag=tag or None,
            folder_id=folder.id if folder else None,
        )
    if chat.state.next_listing is None:
        chat.ui.say("There are no more. /threads lists them from the beginning.", "faint")
        return
    page = await thread_families.list_page(chat.client, chat.state.next_listing)
    known = set(chat.state.listed_threads)
    found = [each for each in page.data if each.messages and each.id not in known]
    if not found and not going_on:
        text = f"No thread has {words!r} in it." if words else "There is no thread yet."
        if tag := chat.state.next_listing.tag:
            text = f"There is no thread with the tag {format_tags([tag])}."
        if chat.state.next_listing.folder_id:
            text = "There is no thread in this folder."
        chat.ui.say(text, "faint")
    rows = [
        _row(number, each, chat)
        for number, each in enumerate(found, len(chat.state.listed_threads) + 1)
    ]
    chat.ui.show_rows(rows)
    chat.state.listed_threads = (*chat.state.listed_threads, *(thread.id for thread in found))
    chat.state.next_listing = (
        replace(chat.state.next_listing, after=page.next) if page.has_more else None
    )
    if rows:
        more = f" /threads {MORE} shows further ones." if page.has_more else ""
        chat.ui.say(f"/resume NUMBER continues one.{more}", "faint")


async def _find_named_folder(chat: CommandContext, words: str) -> Folder | None:
    """Return the folder of `folder NAME`; None for other words. Raises `NotFound`."""
    first, _, name = words.partition(" ")
    named = first == FOLDER and name.strip()
    return await find_folder(chat.client, name.strip()) if named else None


def _row(number: int, thread: Thread, chat: CommandContext) -> Line:
    return (
        StyledText(f"{number:>3}  ", "mark"),
        StyledText(f"{format_time(thread)}  {format_count(thread):>12}  ", "faint"),
        StyledText(format_title(thread)),
        StyledText(format_notes(thread, chat.state.thread_id), "faint"),
    )


async def _resume(chat: CommandContext, words: str) -> None:
    folder = await _find_named_folder(chat, words)
    if words and not folder:
        found, search_words = chat.state.found, chat.state.search_words
        await chat.switch_thread(await resume.find_thread(chat.client, chat.state, words))
        if words.isdecimal() and 0 < int(words) <= len(found):
            await resume.show_found(chat.client, chat.ui, found[int(words) - 1], search_words)
    elif chat.ui.keyboard.by_lines:
        await _list_threads(chat, words)
    elif picked := await pick_thread(chat.client, chat.ui, chat.state.thread_id, folder):
        # As it is now, or an error if it was deleted meanwhile.
        await chat.switch_thread(await chat.client.get_thread(picked.id))


async def _complete_threads(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    wanted = begun.casefold()
    recent = await chat.client.transport.send(thread_families.latest_threads(limit=LISTED))
    if begun.startswith(f"{FOLDER} ") or (begun and FOLDER.startswith(begun)):
        for folder in await list_folders(chat.client):
            proposal = f"{FOLDER} {one_line(folder.name)}"
            if proposal.casefold().startswith(wanted):
                yield proposal, "pick one of this folder"
    for thread in recent.data:
        if thread.id.startswith(begun) or wanted in thread.title.casefold():
            yield thread.id, format_title(thread)


async def _start_thread(chat: CommandContext, words: str) -> None:
    first, _, title = words.partition(" ")
    temporary = first == TEMPORARY
    if await chat_state.delete_temporary_threads(chat.client, chat.state):
        chat.ui.say("The temporary thread is deleted.", "faint")
    chat.state.enter_thread(None, title.strip() if temporary else words, temporary=temporary)
    if temporary:
        text = "A temporary thread begins with your next message: it is in no list, and is deleted"
        chat.ui.say(f"{text} when you leave it. /keep keeps it.", "warning")
    else:
        chat.ui.say("A new thread begins with your next message.", "faint")


async def _complete_new(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    if begun and TEMPORARY.startswith(begun):
        yield TEMPORARY, "a thread that is not kept"


async def _keep(chat: CommandContext, words: str) -> None:
    if not chat.state.temporary:
        raise InvalidRequest("This thread is not temporary", hint="It is kept already.")
    if chat.state.thread_id is not None:
        await thread_families.keep_family(chat.client, await _current_thread(chat))
    chat.state.temporary = False
    chat.state.temporary_threads.clear()
    chat.ui.say("This thread is kept.", "faint")


async def _rename(chat: CommandContext, words: str) -> None:
    if not words:
        raise InvalidRequest("A title is missing", expected="/rename TITLE")
    if chat.state.thread_id is not None:
        await chat.client.update_thread(chat.state.thread_id, title=words)
    chat.state.title = words
    chat.ui.say(f"This thread is called: {words}", "faint")


async def _pin(chat: CommandContext, words: str) -> None:
    thread = await _current_thread(chat)
    await chat.client.update_thread(thread.id, pinned=not thread.pinned)
    how = "no longer pinned" if thread.pinned else "pinned: /threads lists it first"
    chat.ui.say(f"This thread is {how}.", "faint")


async def _share(chat: CommandContext, words: str) -> None:
    thread = await _current_thread(chat)
    if words == SHARE_OFF:
        shares = (await chat.client.list_shares(thread.id)).data
        for share in shares:
            await chat.client.delete_share(share.id)
        revoked = count_noun(len(shares), "link")
        chat.ui.say(f"Revoked: {revoked} to this thread.", "faint")
        return
    if words not in ("", SHARE_TOOLS):
        raise InvalidRequest(
            "/share does not know these words.",
            expected=f"nothing, `{SHARE_TOOLS}` or `{SHARE_OFF}`",
            received=words,
        )
    new = await chat.client.create_share(thread.id, include_tools=words == SHARE_TOOLS)
    shown = count_noun(new.share.messages, "message")
    days = (new.share.expires_at - new.share.created_at) // DAY_MS
    chat.ui.say(f"/shared/{new.token}")
    chat.ui.say(
        f"Behind the web chat's address, this shows {shown} for {count_noun(days, 'day')};"
        f" /share {SHARE_OFF} ends it.",
        "faint",
    )


async def _archive(chat: CommandContext, words: str) -> None:
    thread = await _current_thread(chat)
    await chat.client.update_thread(thread.id, archived=not thread.archived)
    if thread.archived:
        chat.ui.say("This thread is no longer in the archive.", "faint")
        return
    chat.ui.say(
        f"This thread is in the archive: /threads {ARCHIVED} lists it, and your next message takes"
        " it out.",
        "faint",
    )


async def _tag(chat: CommandContext, words: str) -> None:
    given = [tag.strip() for tag in words.split(",") if tag.strip()]
    if not given:
        await _show_tags(chat)
        return
    thread = await _current_thread(chat)
    less = [tag[1:] for tag in given if tag.startswith("-")]
    more = [tag.removeprefix(TAG) for tag in given if not tag.startswith("-")]
    tags = thread_families.change_tags(thread.tags, more)
    tags = thread_families.change_tags(tags, less, remove=True)
    changed = await chat.client.update_thread(thread.id, tags=tags)
    chat.ui.say(f"Tags of this thread: {format_tags(changed.tags)}", "faint")


async def _show_tags(chat: CommandContext) -> None:
    if chat.state.thread_id is not None:
        thread = await chat.client.get_thread(chat.state.thread_id)
        chat.ui.say(f"Tags of this thread: {format_tags(thread.tags)}", "faint")
    counts = [each async for each in chat.client.paginate(ListTags())]
    for each in counts:
        archived = f", {each.archived} in the archive" if each.archived else ""
        count = f"{count_noun(each.threads, 'thread')}{archived}"
        chat.ui.say(f"{format_tags([each.tag])}: {count}", "faint")
    if counts:
        chat.ui.say("/threads #TAG lists the threads of a tag.", "faint")


async def _complete_tags(chat: CommandContext, begun: str) -> AsyncIterator[tuple[str, str]]:
    wanted = begun.removeprefix(TAG).casefold()
    for each in (await chat.client.list_tags()).data:
        if each.tag.casefold().startswith(wanted):
            yield each.tag, count_noun(each.threads, "thread")


async def _delete(chat: CommandContext, words: str) -> None:
    thread = (
        await resume.find_thread(chat.client, chat.state, words)
        if words
        else await _current_thread(chat)
    )
    versions = await thread_families.list_family(chat.client, thread)
    match await _confirm_deletion(chat, thread, len(versions)):
        case "y":
            await thread_families.delete_family(chat.client, thread)
        case "o":
            await chat.client.delete_thread(thread.id)
            versions = [thread]
        case _:
            chat.ui.say("Nothing was deleted.", "faint")
            return
    if chat.state.thread_id in [each.id for each in versions]:
        chat.state.enter_thread(None)
    others = len(versions) - 1
    what = f"and {count_noun(others, 'other version')} are" if others else "is"
    chat.ui.say(f"{thread.id} {what} deleted.", "faint")


async def _confirm_deletion(chat: CommandContext, thread: Thread, versions: int) -> str:
    """Return the key of the answer; `versions` are what a list shows as one thread."""
    several = f", in all {versions} versions" if versions > 1 else ""
    question = f"Delete “{format_title(thread)}” with its {format_count(thread)}{several}?"
    rows: list[Line] = [
        (StyledText(question, "strong"),),
        (StyledText("It cannot be brought back.", "faint"),),
    ]
    choices = [KeyChoice("n", "no")]
    if several:
        choices += [KeyChoice("y", "yes, delete all of them"), KeyChoice("o", "only this version")]
    else:
        choices.append(KeyChoice("y", "yes, delete it"))
    box = Box(rows=lambda columns: rows, choices=tuple(choices), default="n")
    return await chat.ui.keyboard.choose(box)


async def _current_thread(chat: CommandContext) -> Thread:
    if chat.state.thread_id is None:
        raise InvalidRequest(
            "This thread has no messages yet", hint="/threads lists what there is."
        )
    return await chat.client.get_thread(chat.state.thread_id)


# Branches.


async def _fork(chat: CommandContext, words: str) -> None:
    here = await _current_thread(chat)
    messages = await resume.load_messages(chat.client, chat.state)
    branch = await _create_branch(chat, here, messages, words)
    chat.state.enter_thread(branch)
    chat.ui.say(
        f"This is a branch now, with {format_count(branch)}. /resume {here.id} goes back.",
        "faint",
    )


async def _create_branch(
    chat: CommandContext, here: Thread, messages: Sequence[Message], words: str
) -> Thread:
    if words:
        return await thread_families.branch_before(
            chat.client, _own_message(messages, words), replace=False
        )
    if messages:
        return await thread_families.branch_after(chat.client, messages[-1], replace=False)
    return await chat.client.fork_thread(here.id)


def _own_message(messages: Sequence[Message], words: str) -> Message:
    """Return the user's own message with this number, counted from the last."""
    own = [message for message in messages if message.role == "user"]
    if not own:
        raise InvalidRequest(NOTHING_SAID)
    if not words.isdecimal() or not 0 < int(words) <= len(own):
        raise InvalidRequest(
            "There is no such message of yours",
            expected=f"a number from 1, your last message, to {len(own)}",
            received=words,
        )
    return own[-int(words)]


async def _undo(chat: CommandContext, words: str) -> None:
    messages = await resume.load_messages(chat.client, chat.state)
    message = _last_own_message(messages)
    before = message.thread_id
    branch = await thread_families.branch_before(chat.client, message)
    chat.state.enter_thread(branch)
    chat.ui.keyboard.refill(message.text)
    lost = any(not isinstance(part, Text) for part in message.content)
    chat.ui.say(
        f"Taken back: {format_count(branch)} left, and your words are in the line again."
        f"{' What was attached has to be attached again.' if lost else ''}"
        f" /resume {before} has all as it was.",
        "faint",
    )


def _last_own_message(messages: Sequence[Message]) -> Message:
    for message in reversed(messages):
        if message.role == "user":
            return message
    raise InvalidRequest(NOTHING_SAID)


async def _retry(chat: CommandContext, words: str) -> None:
    messages = await resume.load_messages(chat.client, chat.state)
    message = _last_own_message(messages)
    if message is not messages[-1]:
        chat.state.enter_thread(await thread_families.branch_after(chat.client, message))
    chat.ui.say("Another answer:", "faint")
    await chat.send(None)


async def _continue(chat: CommandContext, words: str) -> None:
    thread = await _current_thread(chat)
    newest = await thread_families.find_newest_run(chat.client, thread.id)
    if newest is not None and not newest.status.ended:
        await chat.resume_run(newest)
        return
    messages = await resume.load_messages(chat.client, chat.state)
    match [message for message in messages if message.role != "system"][-1:]:
        case [Message(role="assistant", status="incomplete") | Message(role="tool")]:
            await chat.send(None, continues=True)
        case [Message(role="assistant")] | []:
            raise InvalidRequest(
                "The last answer is whole", hint="Say what comes next, or /retry for another."
            )
        case _:
            await chat.send(None)


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand(
        name="threads",
        arguments="[WORDS]",
        meaning="list threads with these words or this #TAG; `all` has replaced ones, `archived`"
        " the archive, `folder NAME` those of a folder",
        run=_list_threads,
    ),
    SlashCommand(
        name="resume",
        arguments="[NUMBER|ID|WORDS|last]",
        meaning="continue another thread: that one, `last`, or one picked from a list, with"
        " `folder NAME` from those of a folder",
        run=_resume,
        proposals=_complete_threads,
    ),
    SlashCommand(
        name="new",
        arguments=f"[{TEMPORARY}] [TITLE]",
        meaning="begin a new thread, or one that is deleted when you leave it",
        run=_start_thread,
        proposals=_complete_new,
    ),
    SlashCommand(
        name="keep", meaning="keep this temporary thread, which is deleted otherwise", run=_keep
    ),
    SlashCommand(
        name="clear",
        meaning="start a new thread; the screen and the old thread stay",
        run=lambda chat, words: _start_thread(chat, ""),
    ),
    SlashCommand(name="rename", arguments="TITLE", meaning="give this thread a title", run=_rename),
    SlashCommand(name="pin", meaning="list this thread before all others, or no longer", run=_pin),
    SlashCommand(
        name="share",
        arguments=f"[{SHARE_TOOLS}|{SHARE_OFF}]",
        meaning="make a link under which this thread can be read as it is now; or end its links",
        run=_share,
    ),
    SlashCommand(
        name="archive",
        meaning="leave this thread out of lists until it goes on, or list it again",
        run=_archive,
    ),
    SlashCommand(
        name="tag",
        arguments="[TAG, -TAG]",
        meaning="add tags to this thread, or remove them; alone, list all tags",
        run=_tag,
        proposals=_complete_tags,
    ),
    SlashCommand(
        name="fork",
        arguments="[N]",
        meaning="continue in a branch: from here, or from before your Nth last message",
        run=_fork,
    ),
    SlashCommand(
        name="undo",
        meaning="take back your last message and its answer; a branch replaces this thread",
        run=_undo,
    ),
    SlashCommand(
        name="edit",
        meaning="change your last message and say it again, in the same way",
        run=_undo,
    ),
    SlashCommand(
        name="retry",
        meaning="another answer to your last message, in the same way",
        run=_retry,
    ),
    SlashCommand(name="continue", meaning="continue an answer that was cut off", run=_continue),
    SlashCommand(
        name="delete",
        arguments="[NUMBER|ID|WORDS]",
        meaning="delete this thread, or that one, after a question",
        run=_delete,
        proposals=_complete_threads,
    ),
)
