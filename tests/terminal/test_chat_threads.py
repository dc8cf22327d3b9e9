"""The commands about threads, in a chat."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.types.runs import Thread
from tests.support.terminal.chatting import Chatting
from tests.support.terminal.consenting import deliberately
from tests.support.terminal.model import Model


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    async with Model() as model:
        yield model


@pytest.fixture
async def chat(model: Model, tmp_path: Path) -> AsyncIterator[Chatting]:
    async with Chatting(model, home=tmp_path, rows=50) as chat:
        await chat.ready()
        yield chat


async def exchange(chat: Chatting, model: Model, message: str, answer: str) -> None:
    """Send a message, answer it, and wait for the end of the answer."""
    chat.say(message)
    reply = await model.next_request()
    footers = chat.text.count("10 in, 5 out")  # earlier answers on the screen do not count
    await reply.answer(answer)
    await chat.until(lambda: chat.text.count("10 in, 5 out") > footers)


async def list_stored(home: Path, *, temporary: bool = False) -> list[Thread]:
    """Return the threads that the runtime of the chat has."""
    database = f"sqlite:///{home}/data/antiphon/antiphon.db"
    async with AsyncClient(settings=Settings(database=database, model="demo")) as client:
        return list((await client.list_threads(temporary=temporary)).data)


@pytest.mark.slow
async def test_a_temporary_thread_is_in_no_list_and_deleted_when_it_is_left(
    chat: Chatting, model: Model, tmp_path: Path
) -> None:
    chat.say("/new --temporary Secrets")
    await chat.sees("A temporary thread begins with your next message")
    await exchange(chat, model, "Whom do I trust?", "Nobody.")
    assert "temporary" in chat.rows[-1]
    assert [each.title for each in await list_stored(tmp_path, temporary=True)] == ["Secrets"]
    chat.say("/retry")
    await (await model.next_request()).answer("The cat.")
    await chat.until(lambda: chat.text.count("10 in, 5 out") == 2)
    assert len(await list_stored(tmp_path, temporary=True)) == 2
    chat.say("/new")
    await chat.sees("The temporary thread is deleted.")
    await chat.sees("A new thread begins with your next message")

    assert await list_stored(tmp_path, temporary=True) == await list_stored(tmp_path) == []
    assert "temporary" not in chat.rows[-1]


@pytest.mark.slow
async def test_options_of_a_thread_are_set_shown_and_taken_up_again(
    chat: Chatting, model: Model
) -> None:
    chat.say("/set temperature 0.25")
    await chat.sees("temperature: 0.25")
    await exchange(chat, model, "How much is it?", "Four.")
    assert model.requests[-1]["temperature"] == 0.25
    chat.say("/set length 300")
    await chat.sees("length: 300")
    chat.say("/set temperature hot")
    await chat.sees("wanted a number from 0 to 2")
    chat.say("/set weather good")
    await chat.sees("There is no option weather")
    chat.say("/new")
    await exchange(chat, model, "And this?", "Five.")
    assert "temperature" not in model.requests[-1]
    chat.say("/resume How much")
    await chat.sees("Four.")
    chat.say("/set temperature default")
    await chat.sees("temperature: the default")
    await exchange(chat, model, "Again", "Six.")

    assert "temperature" not in model.requests[-1]
    assert 300 in (
        model.requests[-1].get("max_tokens"),
        model.requests[-1].get("max_completion_tokens"),
    )


@pytest.mark.slow
async def test_a_temporary_thread_is_kept_if_the_user_says_so(
    chat: Chatting, model: Model, tmp_path: Path
) -> None:
    chat.say("/new --temporary")
    await chat.sees("/keep keeps it")
    await exchange(chat, model, "Whom do I trust?", "Nobody.")
    threads = await list_stored(tmp_path, temporary=True)
    chat.say("/keep")
    await chat.sees("This thread is kept.")
    chat.say("/keep")
    await chat.sees("This thread is not temporary")
    chat.say("/new")
    await chat.sees("A new thread begins")

    assert [each.id for each in await list_stored(tmp_path)] == [each.id for each in threads]


def last_messages(model: Model) -> list[str]:
    """Return the messages of the last request."""
    return [str(message["content"]) for message in model.requests[-1]["messages"]]


async def test_threads_are_listed_by_number_the_last_changed_first(
    chat: Chatting, model: Model
) -> None:
    await exchange(chat, model, "About bees", "They hum.")
    chat.say("/new")
    await chat.sees("A new thread begins")
    await exchange(chat, model, "About cows", "They moo.")
    chat.say("/threads")
    await chat.sees("/resume NUMBER")

    thread_rows = [row for row in chat.rows if "2 messages" in row]
    assert thread_rows[0].startswith("  1  ")
    assert thread_rows[0].endswith("About cows  (here)")
    assert thread_rows[1].endswith("About bees")


async def test_threads_are_searched_for_words(chat: Chatting, model: Model) -> None:
    await exchange(chat, model, "About bees", "They hum.")
    chat.say("/new")
    await exchange(chat, model, "About cows", "They moo.")
    chat.say("/threads hum")
    await chat.sees("/resume NUMBER")
    chat.say("/threads whales")
    await chat.sees("No thread has 'whales' in it.")

    assert [row[-10:] for row in chat.rows if "2 messages" in row] == ["About bees"]


@pytest.mark.slow
async def test_words_are_found_in_messages_and_a_result_is_opened(
    chat: Chatting, model: Model
) -> None:
    await exchange(
        chat, model, "About bees", f"They hum. {'And so on. ' * 40}Then they \x1b[31mhum."
    )
    chat.say("/new")
    await exchange(chat, model, "About cows", "They moo.")
    chat.say("/search hum")
    await chat.sees("/resume NUMBER continues that thread.")
    result_rows = [row for row in chat.rows if "assistant: They hum. And so on." in row]
    assert len(result_rows) == 1
    assert any(row.startswith("  1  ") and row.endswith("About bees") for row in chat.rows)
    chat.say("/search whales")
    await chat.sees("No message and no title has 'whales' in it.")
    chat.say("/search more")
    await chat.sees("There are no more.")
    chat.say("/search hum")
    await chat.until(lambda: chat.text.count("/resume NUMBER continues that thread.") == 2)
    chat.say("/resume 1")
    await chat.sees("About bees (thread_")
    await chat.sees("Found in message 2, of role assistant:")
    await exchange(chat, model, "And wasps?", "Too.")

    assert last_messages(model)[0] == "About bees"


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["2", "bees", "last"])
async def test_a_thread_is_resumed_by_number_words_or_as_the_last(
    chat: Chatting, model: Model, reference: str
) -> None:
    await exchange(chat, model, "About bees", "They hum.")
    chat.say("/new")
    await exchange(chat, model, "About cows", "They moo.")
    chat.say("/threads")
    await chat.sees("/resume NUMBER")
    chat.say(f"/resume {reference}")
    await chat.until(lambda: chat.text.count("They hum.") == 2)
    await exchange(chat, model, "And wasps?", "Too.")

    assert last_messages(model) == ["About bees", "They hum.", "And wasps?"]


@pytest.mark.slow
async def test_a_list_goes_on_with_the_numbers_that_follow(
    chat: Chatting, model: Model, tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path}/data/antiphon/antiphon.db"
    async with AsyncClient(settings=Settings(database=database, model="demo")) as client:
        for number in range(21):
            thread = await client.create_thread(title=f"About bee {number + 100}")
            await client.create_message(thread.id, "hi")
    chat.say("/threads")
    await chat.sees("/threads more shows further ones.")
    chat.say("/threads more")
    await chat.until(lambda: chat.text.count("/resume NUMBER continues one.") == 2)
    chat.say("/threads more")
    await chat.sees("There are no more.")

    assert [row.split()[0] for row in chat.rows if row.endswith("About bee 100")] == ["21"]
    chat.say("/resume 21")
    await chat.sees("About bee 100 (thread_")


async def test_a_title_with_a_number_is_found_by_it(chat: Chatting, model: Model) -> None:
    await exchange(chat, model, "Plans for 2031", "Fine.")
    chat.say("/new")
    chat.say('/resume "for 2031"')
    await chat.sees("Plans for 2031 (thread_")
    chat.say("/new")
    chat.say("/resume 2031")
    await chat.until(lambda: chat.text.count("Plans for 2031 (thread_") == 2)


async def test_threads_are_proposed_by_their_titles(chat: Chatting, model: Model) -> None:
    await exchange(chat, model, "About bees", "They hum.")
    chat.say("/new")
    await exchange(chat, model, "About cows", "They moo.")
    chat.type("/resume bee")
    await chat.until(lambda: any("thread_" in row and "About bees" in row for row in chat.rows))
    chat.press("tab", "enter")
    await chat.until(lambda: chat.text.count("They hum.") == 2)


async def test_a_number_that_is_none_is_refused_and_nothing_changes(
    chat: Chatting, model: Model
) -> None:
    chat.say("/resume 7")
    await chat.sees("The last list has no thread 7")
    chat.say("/resume whales")
    await chat.sees("No thread has 'whales' in it")


async def test_a_new_thread_has_nothing_of_the_old_and_may_have_a_title(
    chat: Chatting, model: Model
) -> None:
    await exchange(chat, model, "About bees", "They hum.")
    chat.say("/new Big animals")
    await exchange(chat, model, "About cows", "They moo.")
    chat.say("/threads")
    await chat.sees("Big animals  (here)")

    assert last_messages(model) == ["About cows"]


async def test_a_thread_is_renamed(chat: Chatting, model: Model) -> None:
    await exchange(chat, model, "About bees", "They hum.")
    chat.paste("/rename Insects \x1b[31m")
    chat.press("enter")
    await chat.sees("This thread is called: Insects")
    chat.say("/threads")
    await chat.until(lambda: any("2 messages  Insects" in row for row in chat.rows))

    assert not chat.foreign


@pytest.mark.slow
async def test_a_thread_is_shared_by_a_link_until_its_links_are_ended(
    chat: Chatting, model: Model, tmp_path: Path
) -> None:
    await exchange(chat, model, "About bees", "They fly.")
    chat.say("/share")
    await chat.sees("this shows 2 messages for 30 days")
    (path,) = [row.strip() for row in chat.rows if row.strip().startswith("/shared/")]
    database = f"sqlite:///{tmp_path}/data/antiphon/antiphon.db"
    async with AsyncClient(settings=Settings(database=database, model="demo")) as client:
        shared_thread = await client.get_shared(path.removeprefix("/shared/"))
        assert [each.text for each in shared_thread.messages] == ["About bees", "They fly."]

    chat.say("/share everything")
    await chat.sees("does not know these words")
    chat.say("/share off")
    await chat.sees("Revoked: 1 link to this thread.")


@pytest.mark.slow
async def test_a_pinned_thread_is_listed_first_until_it_is_unpinned(
    chat: Chatting, model: Model
) -> None:
    await exchange(chat, model, "About bees", "They hum.")
    chat.say("/pin")
    await chat.sees("This thread is pinned")
    chat.say("/new")
    await exchange(chat, model, "About cows", "They moo.")
    chat.say("/threads")
    await chat.until(lambda: any("(pinned)" in row for row in chat.rows))
    await chat.sees("/resume NUMBER")
    rows = [row.split()[0] for row in chat.rows if " messages  " in row]
    titles = [row.rpartition("messages  ")[2] for row in chat.rows if " messages  " in row]

    assert rows == ["1", "2"]
    assert titles == ["About bees  (pinned)", "About cows  (here)"]
    chat.say("/resume 1")
    await chat.sees("They hum.")
    chat.say("/pin")
    await chat.sees("This thread is no longer pinned")


@pytest.mark.slow
async def test_an_archived_thread_is_listed_apart_until_it_goes_on(
    chat: Chatting, model: Model
) -> None:
    await exchange(chat, model, "About bees", "They hum.")
    chat.say("/archive")
    await chat.sees("This thread is in the archive")
    chat.say("/threads")
    await chat.sees("There is no thread yet.")
    chat.say("/threads archived")
    await chat.until(lambda: any("About bees  (archived, here)" in row for row in chat.rows))
    await exchange(chat, model, "About wasps", "They too.")
    chat.say("/threads")
    await chat.until(lambda: any("4 messages  About bees  (here)" in row for row in chat.rows))


@pytest.mark.slow
async def test_threads_are_tagged_and_listed_by_a_tag(chat: Chatting, model: Model) -> None:
    await exchange(chat, model, "About bees", "They hum.")
    chat.say("/tag honey, Big garden, wax")
    await chat.sees("Tags of this thread: #honey #Big garden #wax")
    chat.say("/tag -HONEY, -wax")
    await chat.sees("Tags of this thread: #Big garden")
    chat.say("/tag")
    await chat.sees("#Big garden: 1 thread")
    chat.say("/threads #honey")
    await chat.sees("There is no thread with the tag #honey.")
    chat.say("/threads #Big garden")
    await chat.until(lambda: any("About bees  (#Big garden, here)" in row for row in chat.rows))


@pytest.mark.slow
async def test_a_fork_goes_on_and_leaves_the_thread_as_it_was(chat: Chatting, model: Model) -> None:
    await exchange(chat, model, "One", "Un.")
    await exchange(chat, model, "Two", "Deux.")
    chat.say("/fork 1")
    await chat.sees("This is a branch now, with 2 messages.")
    await exchange(chat, model, "Three", "Trois.")
    chat.say("/threads")
    await chat.sees("/resume NUMBER")

    assert last_messages(model) == ["One", "Un.", "Three"]
    thread_rows = [row for row in chat.rows if "4 messages" in row]
    assert thread_rows[0].endswith("One  (branch, here)")
    assert thread_rows[1].endswith("One")


@pytest.mark.slow
async def test_a_message_is_taken_back_and_its_words_are_in_the_line_again(
    chat: Chatting, model: Model
) -> None:
    await exchange(chat, model, "One", "Un.")
    await exchange(chat, model, "Two", "Zwei.")
    chat.say("/undo")
    await chat.sees("Taken back: 2 messages left")
    await chat.until(lambda: any(row.startswith("> Two") for row in chat.rows[-3:]))
    await exchange(chat, model, ", in French", "Deux.")
    chat.say("/threads")
    await chat.sees("/resume NUMBER")
    chat.say("/threads all")
    await chat.until(lambda: chat.text.count("/resume NUMBER") == 2)

    assert last_messages(model) == ["One", "Un.", "Two, in French"]
    assert len([row for row in chat.rows if "4 messages" in row]) == 1 + 2


@pytest.mark.slow
async def test_a_last_message_is_edited_even_if_it_was_the_first(
    chat: Chatting, model: Model
) -> None:
    await exchange(chat, model, "Helo", "What?")
    chat.say("/edit")
    await chat.sees("Taken back: 0 messages left")
    chat.press("ctrl-u")
    chat.say("/threads")
    await chat.sees("2 messages  Helo")
    chat.type("Helo")
    chat.press("backspace")
    await exchange(chat, model, "lo", "Hi.")
    chat.say("/threads")
    await chat.until(lambda: chat.text.count("/resume NUMBER") == 2)

    assert last_messages(model) == ["Hello"]
    assert [row[-13:] for row in chat.rows if "2 messages" in row][1:] == ["Hello  (here)"]


@pytest.mark.slow
async def test_another_answer_is_asked_for(chat: Chatting, model: Model) -> None:
    await exchange(chat, model, "Heads or tails?", "Heads.")
    model.will_say("Tails.")
    chat.say("/retry")
    await chat.until(lambda: chat.text.count("10 in, 5 out") == 2)
    await exchange(chat, model, "Sure?", "Yes.")

    assert last_messages(model) == ["Heads or tails?", "Tails.", "Sure?"]


async def test_an_answer_that_was_cut_goes_on(chat: Chatting, model: Model) -> None:
    chat.say("Count")
    reply = await model.next_request()
    await reply.say("One, two, ")
    await chat.sees("One, two")
    chat.press("ctrl-c")
    await chat.sees("[stopped]")
    model.will_say("One, two, three.")
    chat.say("/continue")
    await chat.sees("three.")
    chat.say("/continue")
    await chat.sees("The last answer is whole")

    assert last_messages(model)[1] == "One, two, "
    chat.say("/raw")
    await chat.sees("One, two, three.")


@pytest.mark.slow
async def test_a_thread_is_deleted_only_after_a_yes(chat: Chatting, model: Model) -> None:
    await exchange(chat, model, "About bees", "They hum.")
    chat.say("/delete")
    await chat.sees("Delete “About bees” with its 2 messages?")
    chat.press("escape")
    await chat.sees("Nothing was deleted.")
    chat.say("/delete")
    await chat.sees("Delete “About bees”")
    await deliberately(chat, "y", "is deleted.")
    chat.say("/threads")
    await chat.sees("There is no thread yet.")


async def retry(chat: Chatting, model: Model) -> None:
    """Retry an answer: the thread has two versions, of which lists show the later one."""
    await exchange(chat, model, "About bees", "They hum.")
    model.will_say("They sting.")
    chat.say("/retry")
    await chat.sees("They sting.")
    await chat.until(lambda: chat.text.count("10 in, 5 out") == 2)


@pytest.mark.slow
async def test_the_versions_that_a_list_shows_as_one_thread_are_deleted_as_one(
    chat: Chatting, model: Model
) -> None:
    await retry(chat, model)
    chat.say("/delete")
    await chat.sees("Delete “About bees” with its 2 messages, in all 2 versions?")
    await deliberately(chat, "y", "are deleted.")
    chat.say("/threads all")
    await chat.sees("There is no thread yet.")


@pytest.mark.slow
async def test_one_version_of_a_thread_is_deleted_alone(chat: Chatting, model: Model) -> None:
    await retry(chat, model)
    chat.say("/delete")
    await chat.sees("in all 2 versions?")
    await deliberately(chat, "o", "is deleted.")
    chat.say("/resume last")
    await chat.sees("They hum.")
    chat.say("/threads all")
    await chat.sees("/resume NUMBER")
    assert len([row for row in chat.rows if "2 messages" in row]) == 1


async def test_where_nothing_was_said_there_is_nothing_to_take_back(chat: Chatting) -> None:
    chat.say("/undo")
    await chat.sees("You have sent no message here yet")
    chat.say("/fork")
    await chat.sees("This thread has no messages yet")
    chat.say("/rename")
    await chat.sees("A title is missing; wanted /rename TITLE")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "suffix", "expected_text"),
    [("", "md", "They hum."), ("json", "json", '"role":"user"')],
)
async def test_a_thread_is_exported_to_a_file_of_ones_own(
    chat: Chatting, model: Model, tmp_path: Path, form: str, suffix: str, expected_text: str
) -> None:
    await exchange(chat, model, "About bees", "They hum.")
    chat.say(f"/export {form}")
    await chat.sees("2 messages are in")
    chat.say(f"/export {form}")
    await chat.until(lambda: chat.text.count("2 messages are in") == 2)

    first, second = tmp_path / f"About-bees.{suffix}", tmp_path / f"About-bees-2.{suffix}"
    assert expected_text in first.read_text()
    assert first.read_text() == second.read_text()
    assert first.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
async def test_a_file_that_is_there_is_never_written_over(
    chat: Chatting, model: Model, tmp_path: Path
) -> None:
    (tmp_path / "mine.html").write_text("Mine.")
    await exchange(chat, model, "About bees", "They hum.")
    chat.say("/save mine.html")
    await chat.sees("mine.html is there already")
    chat.say("/save yours.html")
    await chat.sees("2 messages are in")
    chat.say("/save")
    await chat.sees("A file is missing")
    chat.say("/save nowhere/at/all.md")
    await chat.sees("cannot be written")

    assert (tmp_path / "mine.html").read_text() == "Mine."
    assert "They hum." in (tmp_path / "yours.html").read_text()


async def test_a_list_is_cut_at_the_edge_in_ascii_where_only_that_is_wanted(
    model: Model, tmp_path: Path
) -> None:
    async with Chatting(model, "--ascii", home=tmp_path, columns=60) as chat:
        await chat.ready()
        await exchange(chat, model, "A title that is much too long to be seen", "It is.")
        chat.say("/threads")
        await chat.sees("/resume NUMBER")

        (thread_row,) = [row for row in chat.rows if "2 messages" in row]

    assert "A title" in thread_row
    assert thread_row.rstrip().isascii()


async def test_a_list_for_a_screen_reader_is_not_cut(model: Model, tmp_path: Path) -> None:
    title = "A title that is much too long for a row"
    async with Chatting(model, "--screen-reader", home=tmp_path, columns=60) as chat:
        await chat.ready()
        model.will_say("It is.")
        chat.say(title)
        await chat.sees("10 in, 5 out")
        chat.say("/threads")
        await chat.sees("/resume NUMBER")

        list_text = "".join(row.ljust(60) for row in chat.rows).rpartition("2 messages")[2]

    assert f"{title}  (here)" in list_text
