"""Beside the conversation: the list of threads, assistants, and the settings of the page."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, ViewportSize, expect

from antiphon.client.async_client import AsyncClient
from tests.support.web.accessible import wider
from tests.support.web.chats import SECONDS, Chat, chatting

LIST_MARKED_WORDS = (
    "() => [...(CSS.highlights.get('found-words') ?? [])].map((each) => each.toString())"
)
"""The words of a search that are marked in the conversation."""
PHONE: ViewportSize = {"width": 390, "height": 844}


@pytest_asyncio.fixture(loop_scope="session")
async def answered_chat(chat: Chat) -> Chat:
    """A page with one question and its answer."""
    await say(chat, "How do tides work?", "The moon pulls.")
    return chat


async def say(chat: Chat, question: str, reply: str) -> None:
    """Send this question in a new chat, and have the model answer it."""
    await chat.page.get_by_role("button", name="New chat").click()
    await chat.say(question)
    await (await chat.model.next_request()).answer(reply)
    await chat.wait_until_idle()
    await expect(entry(chat, question)).to_be_visible()


def entry(chat: Chat, title: str) -> Locator:
    """Return the thread of this title in the sidebar."""
    return chat.page.locator(".thread", has_text=title)


async def choose(chat: Chat, title: str, action: str) -> None:
    """Choose this action in the menu of the thread."""
    await entry(chat, title).hover()
    await entry(chat, title).get_by_role("button").click()
    await chat.page.get_by_role("menuitem", name=action).click()


async def list_titles(chat: Chat) -> list[str]:
    """Return the titles of the threads that the server has."""
    answer = await chat.context.request.get(f"{chat.up.url}/api/threads")
    return [thread["title"] for thread in (await answer.json())["data"]]


@pytest.mark.slow
async def test_threads_stand_under_their_day_and_are_found_by_their_words(
    answered_chat: Chat,
) -> None:
    await say(answered_chat, "Name a planet.", "Neptune.")
    await entry(answered_chat, "How do tides work?").get_by_role("link").click()
    await answered_chat.sees("The moon pulls.")

    await expect(answered_chat.page.locator(".threads section > h2")).to_have_text(["Today"])
    await expect(answered_chat.page.locator(".thread a")).to_have_text(
        ["Name a planet.", "How do tides work?"]
    )
    await expect(answered_chat.page.locator(".thread a[aria-current=page]")).to_have_text(
        "How do tides work?"
    )
    search = answered_chat.page.get_by_role("searchbox")
    await search.fill("tides")
    await expect(answered_chat.page.locator(".thread a")).to_have_text(["How do tides work?"])
    await search.fill("volcano")
    await expect(answered_chat.page.locator(".side-empty")).to_have_text("No chat holds “volcano”.")


@pytest.mark.slow
async def test_found_words_are_marked_and_lead_to_their_message(chat: Chat) -> None:
    hostile = "<img src=x onerror=alert(1)> the Crème of the \u202ecrop"
    async with AsyncClient(chat.up.url) as client:
        thread = await client.create_thread(title="Long one")
        for number in range(1, 131):
            text = hostile if number == 3 else f"words {number} " * 30
            await client.create_message(thread.id, text)
        other_thread = await client.create_thread(title="Other one")
        await client.create_message(other_thread.id, "No more of it.")
    await chat.open()
    await chat.page.get_by_role("searchbox").fill("creme")
    hit = chat.page.locator(".hit a")
    await expect(hit).to_have_text("<img src=x onerror=alert(1)> the Crème of the <U+202E>crop")
    await expect(hit.locator("mark")).to_have_text(["Crème"])
    await chat.page.get_by_role("searchbox").press("ArrowDown")
    await chat.page.keyboard.press("ArrowDown")
    await expect(hit).to_be_focused()
    await chat.page.keyboard.press("Enter")

    message = chat.page.locator("article", has_text="the Crème of the")
    await expect(message).to_be_focused()
    await expect(message).to_be_in_viewport()
    await chat.wait_until(f"() => ({LIST_MARKED_WORDS})().join() === 'Crème'")
    await chat.page.get_by_role("searchbox").fill("***")
    await expect(chat.page.locator(".hit")).to_have_count(0)
    await chat.page.get_by_role("searchbox").fill("")
    await expect(chat.page.locator(".thread")).to_have_count(2)
    await expect(message).to_be_in_viewport()
    await chat.wait_until(f"() => ({LIST_MARKED_WORDS})().length === 0")


@pytest.mark.slow
async def test_older_threads_come_as_one_scrolls(chat: Chat) -> None:
    post = chat.context.request.post
    for number in range(42):
        create_response = await post(
            f"{chat.up.url}/v1/threads", data={"title": f"Thread {number}"}
        )
        message = {
            "thread_id": (await create_response.json())["id"],
            "role": "user",
            "content": "Hello",
        }
        await post(f"{chat.up.url}/v1/messages", data=message)
    await chat.page.reload()
    rows = chat.page.locator(".thread")
    await expect(rows).to_have_count(40)
    await rows.last.scroll_into_view_if_needed()
    await expect(rows).to_have_count(42)
    await chat.say("A new one")
    await (await chat.model.next_request()).answer("Yes.")
    await chat.wait_until_idle()

    await expect(rows).to_have_count(43)


@pytest.mark.slow
async def test_a_thread_is_renamed_in_its_place(answered_chat: Chat) -> None:
    field = answered_chat.page.get_by_role("textbox", name="Title of the chat")
    await choose(answered_chat, "How do tides work?", "Rename")
    await field.fill("Given up")
    await field.press("Escape")
    await choose(answered_chat, "How do tides work?", "Rename")
    await field.fill("<b>Tides</b>")
    async with answered_chat.page.expect_response(lambda answer: answer.request.method == "PATCH"):
        await field.press("Enter")
        await expect(answered_chat.page.locator(".topbar h1")).to_have_text("<b>Tides</b>")
    await answered_chat.page.reload()

    await expect(entry(answered_chat, "<b>Tides</b>")).to_be_visible()


@pytest.mark.slow
async def test_a_pinned_thread_stands_first_after_a_reload_too(answered_chat: Chat) -> None:
    await choose(answered_chat, "How do tides work?", "Pin")
    await say(answered_chat, "Name a planet.", "Neptune.")
    headings, links = (
        answered_chat.page.locator(".threads section > h2"),
        answered_chat.page.locator(".thread a"),
    )
    await expect(headings).to_have_text(["Pinned", "Today"])
    await answered_chat.page.reload()
    await expect(headings).to_have_text(["Pinned", "Today"])
    await expect(links).to_have_text(["How do tides work?", "Name a planet."])

    await choose(answered_chat, "How do tides work?", "Unpin")

    await expect(headings).to_have_text(["Today"])
    await answered_chat.page.reload()
    await expect(links).to_have_text(["Name a planet.", "How do tides work?"])


@pytest.mark.slow
async def test_an_archived_thread_is_in_its_own_list_until_something_is_said(
    answered_chat: Chat,
) -> None:
    titles = answered_chat.page.locator(".thread a")
    archive = answered_chat.page.get_by_role("button", name="Archive", exact=True)
    await say(answered_chat, "Name a planet.", "Neptune.")
    await choose(answered_chat, "How do tides work?", "Archive")
    await expect(titles).to_have_text(["Name a planet."])
    await answered_chat.page.get_by_role("button", name="Undo").click()
    await expect(titles).to_have_count(2)
    await choose(answered_chat, "How do tides work?", "Archive")
    await expect(titles).to_have_count(1)

    await answered_chat.page.get_by_role("searchbox").fill("tides")
    await expect(answered_chat.page.get_by_role("img", name="In the archive")).to_be_visible()
    await answered_chat.page.get_by_role("searchbox").fill("")
    await archive.click()
    await expect(titles).to_have_text(["How do tides work?"])
    await titles.first.click()
    await answered_chat.sees("The moon pulls.")
    await answered_chat.say("And in a lake?")
    await (await answered_chat.model.next_request()).answer("Hardly.")
    await answered_chat.wait_until_idle()
    await expect(titles).to_have_count(0)
    await archive.click()

    await expect(titles).to_have_text(["How do tides work?", "Name a planet."])


@pytest.mark.slow
async def test_threads_are_tagged_and_filtered_by_a_tag(answered_chat: Chat) -> None:
    titles = answered_chat.page.locator(".thread a")
    field = answered_chat.page.get_by_role("textbox", name="Tags, separated by commas")
    await say(answered_chat, "Name a planet.", "Neptune.")
    await choose(answered_chat, "How do tides work?", "Tags")
    await field.fill("Sea, <b>moon</b>")
    await field.press("Enter")
    chips = answered_chat.page.locator(".side-filters .chip")
    await expect(chips).to_have_text(["Archive", "Select", "<b>moon</b>", "Sea"])
    await chips.last.click()
    await expect(titles).to_have_text(["How do tides work?Sea<b>moon</b>"])
    await answered_chat.page.reload()
    await expect(titles).to_have_count(2)
    await choose(answered_chat, "How do tides work?", "Tags")
    await field.fill("")
    await field.press("Enter")

    await expect(chips).to_have_text(["Archive", "Select"])
    await expect(titles).to_have_text(["Name a planet.", "How do tides work?"])


async def test_a_deleted_thread_can_be_called_back_until_the_page_is_left(
    answered_chat: Chat,
) -> None:
    await choose(answered_chat, "How do tides work?", "Delete")
    await expect(entry(answered_chat, "How do tides work?")).to_have_count(0)
    await answered_chat.page.get_by_role("button", name="Undo").click()
    await expect(entry(answered_chat, "How do tides work?")).to_be_visible()
    assert await list_titles(answered_chat) == ["How do tides work?"]

    await choose(answered_chat, "How do tides work?", "Delete")
    await expect(answered_chat.page).to_have_url(f"{answered_chat.up.url}/")
    await answered_chat.page.goto("about:blank")
    async with asyncio.timeout(SECONDS):
        while await list_titles(answered_chat):
            pass


@pytest.mark.slow
async def test_a_thread_is_saved_as_a_file(answered_chat: Chat, tmp_path: Path) -> None:
    async with answered_chat.page.expect_download() as download_info:
        await choose(answered_chat, "How do tides work?", "Export as Markdown")
    file = tmp_path / "saved"
    await (await download_info.value).save_as(file)

    assert "The moon pulls." in file.read_text()


@pytest.mark.slow
async def test_an_answer_in_the_making_is_marked(chat: Chat) -> None:
    await chat.say("Take your time.")
    reply = await chat.model.next_request()
    await reply.say("Hm")
    await chat.sees("Hm")
    mark = chat.page.get_by_role("img", name="An answer is being written")
    await expect(mark).to_be_visible()
    await reply.answer(".")

    await chat.wait_until_idle()
    await expect(mark).to_have_count(0)


@pytest.mark.slow
async def test_a_starter_question_is_asked(chat: Chat) -> None:
    await chat.page.get_by_role("button", name="What is the weather like in Lisbon").click()
    reply = await chat.model.next_request()
    await reply.answer("Sunny.")
    await chat.sees("Sunny.")

    assert await chat.read_messages() == [
        ["user", "What is the weather like in Lisbon today?"],
        ["assistant", "Sunny."],
    ]


@pytest.mark.slow
async def test_on_a_phone_the_sidebar_lies_over_the_view(chat: Chat) -> None:
    await chat.page.set_viewport_size(PHONE)
    await chat.page.reload()
    sidebar = chat.page.locator("#sidebar")
    await expect(sidebar).to_be_hidden()
    await chat.page.get_by_role("button", name="Show sidebar").click()
    await expect(sidebar).to_be_visible()
    await expect(chat.page.locator("main")).to_have_attribute("inert", "")
    await chat.page.keyboard.press("Escape")

    await expect(sidebar).to_be_hidden()
    await expect(chat.page.get_by_role("button", name="Show sidebar")).to_be_focused()


@pytest.mark.slow
async def test_colours_and_language_are_chosen_and_kept(chat: Chat) -> None:
    await settings(chat)
    await chat.page.get_by_text("Dark", exact=True).click()
    page = chat.page.locator("html")
    await expect(page).to_have_attribute("data-theme", "dark")
    await chat.page.get_by_label("Language").select_option("de")
    await expect(chat.page.get_by_role("heading", name="Einstellungen")).to_be_visible()
    await chat.page.reload()
    await expect(chat.page.get_by_role("heading", level=1)).to_have_text("Was möchten Sie wissen?")
    await expect(page).to_have_attribute("lang", "de")

    # Colours are set before the script of the page runs.
    await chat.context.route("**/bundle.mjs", lambda route: route.abort())
    await chat.page.reload()
    await expect(page).to_have_attribute("data-theme", "dark")


async def settings(chat: Chat) -> None:
    await chat.page.get_by_role("button", name="Settings").click()


@pytest.mark.slow
async def test_instructions_of_a_thread_reach_the_model(chat: Chat) -> None:
    await chat.page.get_by_role("button", name="Give this chat instructions").click()
    await chat.page.get_by_label("What should the model keep in mind?").fill("Rhyme.")
    await chat.page.get_by_role("button", name="Save").click()
    await chat.say("Hello")
    reply = await chat.model.next_request()
    await reply.answer("Bellow.")
    await chat.wait_until_idle()

    assert "Rhyme." in json.dumps(reply.messages)


async def test_an_assistant_is_made_and_answers(chat: Chat) -> None:
    await make(chat, name="Poet", instructions="Only verse.", starters="A poem on rain\nOn snow")
    await chat.page.get_by_role("button", name="Start a chat").click()
    await expect(chat.page.get_by_role("heading", level=1)).to_have_text("Poet")
    await chat.page.get_by_role("button", name="A poem on rain").click()
    reply = await chat.model.next_request()
    await reply.answer("Drip.")
    await chat.wait_until_idle()

    assert "Only verse." in json.dumps(reply.messages)


async def make(chat: Chat, **fields: str) -> None:
    """Create an assistant with the form."""
    labels = {"name": "Name", "instructions": "Instructions", "starters": "Questions to begin with"}
    await chat.page.get_by_role("link", name="Assistants").click()
    await chat.page.get_by_role("link", name="New assistant").first.click()
    for name, text in fields.items():
        await chat.page.get_by_label(labels[name], exact=True).fill(text)
    await chat.page.get_by_role("button", name="Save").click()
    await expect(chat.page.locator(".assistant h2")).to_contain_text([fields["name"]])


@pytest.mark.slow
async def test_an_assistant_is_edited_copied_and_deleted(chat: Chat) -> None:
    await make(chat, name="Poet")
    await act(chat, "Poet", "Edit")
    await chat.page.get_by_label("Name", exact=True).fill("Novelist")
    await chat.page.get_by_role("button", name="Save").click()
    await act(chat, "Novelist", "Copy")
    cards = chat.page.locator(".assistant h2")
    await expect(cards).to_have_count(2)
    await act(chat, "Novelist (copy)", "Delete")
    await chat.page.get_by_role("dialog").get_by_role("button", name="Delete").click()

    await expect(cards).to_have_text(["Novelist"])


async def act(chat: Chat, assistant: str, action: str) -> None:
    # With the keyboard: a pointer would miss a button that moves below a note that appears.
    await chat.page.get_by_role("button", name=f"Actions for “{assistant}”").press("Enter")
    await chat.page.get_by_role("menuitem", name=action).click()


@pytest.mark.slow
async def test_a_link_shows_the_card_of_a_shared_assistant(chat: Chat) -> None:
    await make(chat, name="Poet", starters="A poem on rain")
    await act(chat, "Poet", "Share")
    dialog = chat.page.get_by_role("dialog", name="Share: Poet")
    await dialog.get_by_role("button", name="Make a link").click()
    link = await chat.page.get_by_label("Link to this assistant").input_value()
    await chat.page.goto(link)
    await expect(chat.page.get_by_role("heading", level=1)).to_have_text("Poet")
    await chat.page.get_by_role("button", name="Take a copy").click()

    await expect(chat.page.locator("#composer")).to_be_visible()
    await chat.page.get_by_role("button", name="A poem on rain").click()
    reply = await chat.model.next_request()
    await reply.answer("Drip.")
    await chat.sees("Drip.")
    await expect(chat.page).to_have_url(re.compile(r"/t/thread_\w+$"))
    await chat.wait_until_idle()


@pytest.mark.slow
async def test_an_address_that_leads_nowhere_says_so_and_leads_on(chat: Chat) -> None:
    for address in ("/nowhere", "/t/thread_none", "/assistants/none", "/admin/no", "/a/none"):
        await chat.open(address)
        await chat.page.get_by_role("link", name="Begin a new chat").click()

        await expect(chat.composer).to_be_visible()


@pytest.mark.slow
async def test_the_list_is_read_on_to_the_oldest_thread_as_it_is_scrolled(chat: Chat) -> None:
    async with AsyncClient(chat.up.url) as client:
        for number in range(90):
            thread = await client.create_thread(title=f"chat {number}")
            await client.create_message(thread.id, "hi")
    await chat.open()
    rows = chat.page.locator(".thread a")
    await expect(rows).to_have_count(40)
    await chat.page.locator(".threads").evaluate("(list) => list.scrollTo(0, list.scrollHeight)")
    await expect(rows).to_have_count(80)
    await chat.page.locator(".threads").evaluate("(list) => list.scrollTo(0, list.scrollHeight)")
    await expect(rows).to_have_count(90)
    await expect(rows.last).to_have_text("chat 0")

    await rows.last.click()
    await chat.sees("hi")
    await chat.say("Still there?")
    await (await chat.model.next_request()).answer("Yes.")
    await chat.wait_until_idle()
    await expect(rows.first).to_have_text("chat 0")
    await expect(rows).to_have_count(90)
    await chat.page.get_by_role("searchbox").fill("CHÄT 12")
    await expect(rows).to_have_text(["chat 12"])


@pytest.mark.slow
async def test_many_threads_are_marked_by_keys_tagged_archived_and_deleted(
    answered_chat: Chat,
) -> None:
    page, titles = answered_chat.page, answered_chat.page.locator(".thread a")
    select = page.get_by_role("button", name="Select", exact=True)
    await say(answered_chat, "Name a planet.", "Neptune.")
    await say(answered_chat, "Name a star.", "Vega.")
    await select.click()
    planet = page.get_by_role("checkbox", name="Select “Name a planet.”")
    await titles.filter(has_text="Name a planet.").click()
    await titles.filter(has_text="Name a planet.").click()
    await expect(planet).not_to_be_checked()
    await planet.focus()
    await page.keyboard.press("Space")
    address = page.url
    await titles.filter(has_text="Name a star.").click()
    assert page.url == address
    bar = page.get_by_role("group", name="2 selected")
    await bar.get_by_role("button", name="Tags").click()
    await bar.get_by_role("textbox").fill("sky, night")
    await bar.get_by_role("textbox").press("Enter")
    await expect(page.locator(".side-filters .chip", has_text="night")).to_be_visible()
    await expect(bar).to_have_count(0)

    await page.locator(".side-filters .chip", has_text="sky").click()
    await expect(titles).to_have_count(2)
    await select.click()
    await page.get_by_role("button", name="Select all shown").click()
    await bar.get_by_role("button", name="Archive").click()
    await expect(titles).to_have_count(0)
    await page.get_by_role("button", name="Archive", exact=True).click()
    await expect(titles).to_have_count(2)

    await select.click()
    await page.get_by_role("button", name="Select all shown").click()
    await bar.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(titles).to_have_count(0)
    await page.get_by_role("button", name="Undo").click()
    await expect(titles).to_have_count(2)
    await select.click()
    await page.get_by_role("button", name="Select all shown").click()
    await bar.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await page.goto("about:blank")
    async with asyncio.timeout(SECONDS):
        while (
            await (
                await answered_chat.context.request.get(f"{answered_chat.up.url}/api/tags")
            ).json()
        )["data"]:
            pass

    assert await list_titles(answered_chat) == ["How do tides work?"]


@pytest.mark.slow
async def test_a_title_that_a_model_writes_is_shown_when_it_comes(
    chromium: Browser, tmp_path: Path
) -> None:
    flags = ("--no-servers", "--title-model", "run")
    async with chatting(chromium, tmp_path, *flags) as chat:
        await chat.say("How do tides work?")
        await (await chat.model.next_request()).answer("The moon pulls.")
        await chat.wait_until_idle()
        await expect(chat.page.locator(".topbar h1")).to_have_text("How do tides work?")
        await (await chat.model.next_request()).answer("**Tides** & <b>moon</b>")

        await expect(chat.page.locator(".topbar h1")).to_have_text("Tides & <b>moon</b>")
        await expect(chat.page.locator(".thread a")).to_have_text(["Tides & <b>moon</b>"])


async def test_sections_of_the_settings_are_reached_by_their_names_with_the_keyboard(
    chat: Chat,
) -> None:
    await chat.page.set_viewport_size({"width": 320, "height": 640})
    await chat.page.keyboard.press("Control+,")
    sections = chat.page.get_by_role("navigation", name="Sections")
    await expect(sections.get_by_role("button", name="General")).to_have_attribute(
        "aria-current", "true"
    )
    data = sections.get_by_role("button", name="Your data")
    await data.focus()
    await chat.page.keyboard.press("Enter")

    await expect(chat.page.get_by_role("heading", name="Your data")).to_be_focused()
    await expect(chat.page.get_by_role("heading", name="Your data")).to_be_in_viewport()
    await expect(data).to_have_attribute("aria-current", "true")
    await expect(data).to_be_in_viewport()
    assert await wider(chat.page) == []
