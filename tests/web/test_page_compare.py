"""Two models side by side on one question: both answer at once, until one is chosen."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Route, expect

from tests.support.terminal.consenting import TOOLS, ran
from tests.support.terminal.model import Reply
from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings, set_theme, wider
from tests.support.web.chats import SECONDS, Chat, chatting

NAMES = ["told", "second"]


@pytest_asyncio.fixture(loop_scope="session")
async def two(chat: Chat) -> Chat:
    """A page where the provider has two models, and the second one was chosen to compare with."""
    await choose(chat)
    return chat


async def choose(chat: Chat) -> None:
    """Choose the second model with the keyboard."""
    chat.model.names = NAMES
    await chat.page.reload()
    button = chat.page.get_by_role("button", name="Compare with a second model")
    await button.press("Enter")
    field = chat.page.get_by_role("combobox", name="Search models")
    await expect(field).to_be_focused()
    await field.press_sequentially("second")
    await expect(chat.page.get_by_role("option")).to_have_text(["second"])
    await field.press("Enter")
    await expect(button).to_have_text("second")


async def next_replies(chat: Chat) -> tuple[Reply, Reply]:
    """Wait for the two requests for an answer, to the first model and to the second."""
    requests = [await chat.model.next_request() for _ in NAMES]
    first, second = sorted(requests, key=lambda reply: NAMES.index(reply.body["model"]))
    return first, second


async def ask(chat: Chat, question: str) -> tuple[Reply, Reply]:
    await chat.say(question)
    return await next_replies(chat)


def side(chat: Chat, model: str) -> Locator:
    """Return the last answer of a model, with what surrounds it."""
    return chat.page.get_by_role("group", name=f"Answer from {model}").last


async def test_two_models_answer_beside_each_other_and_the_chat_goes_on_with_one(two: Chat) -> None:
    first, second = await ask(two, "How do tides work?")
    await two.page.wait_for_url("**/c/*/*")
    await first.say("The moon ")
    await second.say("Gravity ")
    await expect(side(two, "told")).to_contain_text("The moon")
    await expect(side(two, "second")).to_contain_text("Gravity")
    await expect(two.asked).to_have_count(1)

    await two.page.reload()
    await first.answer("pulls.")
    await second.answer("differs.")
    await expect(side(two, "told")).to_contain_text("The moon pulls.")
    await expect(side(two, "second")).to_contain_text("Gravity differs.")
    await two.wait_until_idle()

    first, second = await ask(two, "And at night?")
    assert [each["content"] for each in first.messages[-3:]] == [
        "How do tides work?",
        "The moon pulls.",
        "And at night?",
    ]
    assert [each["content"] for each in second.messages[-3:]] == [
        "How do tides work?",
        "Gravity differs.",
        "And at night?",
    ]
    await first.answer("The same.")
    await second.answer("Likewise.")
    await two.wait_until_idle()
    await expect(two.page.locator(".thread")).to_have_count(1)

    await side(two, "second").get_by_role("button", name="Go on with this one").press("Enter")
    await two.page.wait_for_url("**/t/*")
    await two.sees("Likewise.")
    await expect(two.composer).to_be_focused()
    await expect(two.page.get_by_role("group", name="Versions of this message")).to_have_text("2/2")
    await two.say("Thanks")
    assert (await two.model.next_request()).body["model"] == "second"


async def test_a_model_that_fails_shows_it_at_its_side_and_the_other_goes_on(two: Chat) -> None:
    first, second = await ask(two, "How do tides work?")
    await second.refuse(400, "this model is tired")
    await first.say("The moon ")
    await expect(side(two, "second")).to_contain_text("this model is tired")
    await first.answer("pulls.")

    await expect(side(two, "told")).to_contain_text("The moon pulls.")
    await two.wait_until_idle()
    log = two.page.locator("[data-announced=status]")
    await expect(log).to_contain_text("told: The answer is complete.")


@pytest.mark.slow
async def test_a_model_that_is_refused_is_asked_again_at_its_side(two: Chat) -> None:
    async def refuse(route: Route) -> None:
        if "second" in (route.request.post_data or ""):
            problem = {"status": 403, "code": "quota_exceeded", "detail": "Tokens are used up."}
            await route.fulfill(
                status=403, body=json.dumps(problem), content_type="application/problem+json"
            )
        else:
            await route.continue_()

    await two.page.route("**/process*", refuse)
    await two.say("How do tides work?")
    await (await two.model.next_request()).answer("The moon pulls.")
    await expect(side(two, "second")).to_contain_text("Tokens are used up.")
    await expect(side(two, "told")).to_contain_text("The moon pulls.")
    await two.page.unroute("**/process*")
    await two.page.reload()
    await side(two, "second").get_by_role("button", name="Try again").click()
    reply = await two.model.next_request()
    await reply.answer("Gravity differs.")

    assert reply.body["model"] == "second"
    await expect(side(two, "second")).to_contain_text("Gravity differs.")
    await expect(two.asked).to_have_count(1)


@pytest.mark.slow
async def test_another_answer_is_asked_of_the_model_whose_answer_it_is(two: Chat) -> None:
    for reply in await ask(two, "How do tides work?"):
        await reply.answer("By gravity.")
    await two.page.wait_for_url("**/c/*/*")
    await two.wait_until_idle()
    first, second = two.page.url.split("/")[-2:]
    await side(two, "second").get_by_role("button", name="Answer again").click()
    reply = await two.model.next_request()
    assert (reply.body["model"], reply.messages[-1]["content"]) == ("second", "How do tides work?")
    await two.page.reload()
    await reply.answer("By the moon.")
    await expect(side(two, "second")).to_contain_text("By the moon.")
    await expect(side(two, "told")).to_contain_text("By gravity.")
    await two.wait_until_idle()
    assert two.page.url.split("/")[-2] == first
    await expect(two.asked).to_have_count(1)

    versions = side(two, "second").get_by_role("group", name="Versions of this message")
    await expect(versions).to_have_text("2/2")
    await versions.get_by_role("button", name="Previous version").press("Enter")
    await expect(side(two, "second")).to_contain_text("By gravity.")
    assert two.page.url.split("/")[-2:] == [first, second]
    for reply in await ask(two, "And at night?"):
        await reply.answer("Likewise.")
    await two.wait_until_idle()


@pytest.mark.slow
async def test_an_edited_question_goes_to_both_models_again(two: Chat) -> None:
    for question in ("How do tides work?", "And at night?"):
        for reply in await ask(two, question):
            await reply.answer(f"{reply.body['model']}, {len(reply.messages)} messages.")
        await two.wait_until_idle()
    await two.composer.press("ArrowUp")
    field = two.page.get_by_role("textbox", name="Your message, to be written anew")
    await expect(field).to_have_value("And at night?")
    await field.fill("And at noon?")
    await field.press("Enter")
    first, second = await next_replies(two)
    for reply, name in ((first, "told"), (second, "second")):
        questions_sent = [each["content"] for each in reply.messages if each["role"] == "user"]
        assert questions_sent == ["How do tides work?", "And at noon?"]
        assert f"{name}, " in reply.messages[-2]["content"]
    await first.answer("High.")
    await second.answer("Low.")
    await expect(side(two, "told")).to_contain_text("High.")
    await expect(side(two, "second")).to_contain_text("Low.")
    await two.wait_until_idle()
    questions = two.asked.locator(".message-text")
    await expect(questions).to_have_text(["How do tides work?", "And at noon?"])

    await two.asked.first.get_by_role("button", name="Edit").click()
    await field.fill("How do clouds work?")
    await field.press("Enter")
    for reply in await next_replies(two):
        questions_sent = [each["content"] for each in reply.messages if each["role"] == "user"]
        assert questions_sent == ["How do clouds work?"]
        await reply.answer("By water.")
    await expect(side(two, "second")).to_contain_text("By water.")
    await two.wait_until_idle()
    await expect(questions).to_have_text(["How do clouds work?"])
    await expect(two.page.locator(".thread")).to_have_count(1)

    versions = two.asked.get_by_role("group", name="Versions of this message")
    await expect(versions).to_have_text("2/2")
    await versions.get_by_role("button", name="Previous version").press("Enter")
    await expect(questions.first).to_have_text("How do tides work?")
    await expect(side(two, "told")).to_contain_text("High.")
    await expect(side(two, "second")).to_contain_text("Low.")
    await expect(versions.first).to_have_text("1/2")


@pytest.mark.slow
async def test_a_cut_answer_goes_on_and_an_artifact_is_opened_at_either_side(two: Chat) -> None:
    first, second = await ask(two, "Draw a plan.")
    await first.answer("```markdown title=Plan\n# First plan\n```")
    await second.say("```markdown title=Plan\n# Second plan\n```\n\nThis is")
    await second.end("length")
    await two.page.wait_for_url("**/c/*/*")
    await side(two, "second").get_by_role("button", name="Continue").click()
    reply = await two.model.next_request()
    assert reply.body["model"] == "second"
    await reply.answer(" the plan.")
    await expect(side(two, "second")).to_contain_text("This is the plan.")
    await two.wait_until_idle()

    panel = two.page.locator(".artifact-panel")
    await side(two, "second").get_by_role("button", name="Open").click()
    await expect(panel.get_by_role("heading", name="Second plan")).to_be_visible()
    await side(two, "told").get_by_role("button", name="Open").click()
    await expect(panel.get_by_role("heading", name="First plan")).to_be_visible()
    await side(two, "second").get_by_role("button", name="Go on with this one").click()
    await expect(panel).to_have_count(0)


@pytest.mark.slow
async def test_a_comparison_that_cannot_be_read_again_stays_in_view_and_an_edit_is_kept(
    two: Chat,
) -> None:
    for reply in await ask(two, "How do tides work?"):
        await reply.answer("By gravity.")
    await two.page.wait_for_url("**/c/*/*")
    await two.wait_until_idle()
    await two.page.route("**/api/threads/**", lambda route: route.abort())
    await side(two, "second").get_by_role("button", name="Answer again").click()
    note = side(two, "second").get_by_role("alert").filter(has_text="No other version was begun")
    await expect(note).to_contain_text("cannot be reached")
    await expect(side(two, "second")).to_contain_text("By gravity.")
    await two.asked.first.get_by_role("button", name="Edit").click()
    field = two.page.get_by_role("textbox", name="Your message, to be written anew")
    await field.fill("How do clouds work?")
    await field.press("Enter")
    await expect(two.asked.get_by_role("alert")).to_contain_text("Your text is kept")
    await expect(field).to_have_value("How do clouds work?")

    await two.page.unroute("**/api/threads/**")
    await field.press("Enter")
    for reply in await next_replies(two):
        await reply.answer("By water.")
    await expect(side(two, "second")).to_contain_text("By water.")
    await two.wait_until_idle()
    await expect(two.page.locator(".messages").get_by_role("alert")).to_have_count(0)


@pytest.mark.slow
async def test_a_model_that_is_not_asked_again_has_a_note_at_its_side(two: Chat) -> None:
    for reply in await ask(two, "How do tides work?"):
        await reply.answer("By gravity.")
    await two.page.wait_for_url("**/c/*/*")
    await two.wait_until_idle()
    second = two.page.url.split("/")[-1]
    await two.page.route(f"**/{second}/branch", lambda route: route.abort())
    await two.asked.first.get_by_role("button", name="Edit").click()
    field = two.page.get_by_role("textbox", name="Your message, to be written anew")
    await field.fill("How do clouds work?")
    await field.press("Enter")
    reply = await two.model.next_request()
    assert reply.body["model"] == "told"
    await reply.answer("By water.")
    note = side(two, "second").get_by_role("alert")
    await expect(note).to_contain_text("Only the other model was asked.")
    await two.wait_until_idle()

    await two.page.unroute(f"**/{second}/branch")
    await note.get_by_role("button", name="Try again").click()
    reply = await two.model.next_request()
    assert (reply.body["model"], reply.messages[-1]["content"]) == ("second", "How do clouds work?")
    await reply.answer("By water.")
    await expect(note).to_have_count(0)
    await two.wait_until_idle()


async def refuse_models(chat: Chat, *names: str) -> None:
    """Have the server refuse messages to these models."""

    async def answer(route: Route) -> None:
        body = json.loads(route.request.post_data or "{}")
        if (model := body.get("model", "told")) in names:
            detail = f"Tokens of {model} are used up."
            problem = {"status": 403, "code": "quota_exceeded", "detail": detail}
            await route.fulfill(
                status=403, body=json.dumps(problem), content_type="application/problem+json"
            )
        else:
            await route.continue_()

    # The newest handler decides. To remove the last one may leave a module that loads unanswered.
    await chat.page.route("**/process*", answer)


@pytest.mark.slow
async def test_the_second_model_is_asked_though_the_first_is_refused(two: Chat) -> None:
    await refuse_models(two, "told")
    await two.say("How do tides work?")
    reply = await two.model.next_request()
    assert reply.body["model"] == "second"
    await reply.say("Gravity ")
    await two.page.wait_for_url("**/c/*/*")
    await expect(side(two, "told")).to_contain_text("Tokens of told are used up.")
    await two.page.reload()
    await reply.answer("pulls.")
    await expect(side(two, "second")).to_contain_text("Gravity pulls.")
    await expect(side(two, "told")).to_contain_text("Tokens of told are used up.")
    await expect(two.asked).to_have_count(1)
    await refuse_models(two)
    await side(two, "told").get_by_role("button", name="Try again").click()
    reply = await two.model.next_request()
    assert (reply.body["model"], len(reply.messages)) == ("told", 1)
    await reply.answer("The moon pulls.")

    await expect(side(two, "told")).to_contain_text("The moon pulls.")
    await expect(two.asked).to_have_count(1)
    await two.wait_until_idle()


@pytest.mark.slow
async def test_a_question_that_both_models_are_refused_says_so_for_each_and_is_kept(
    two: Chat,
) -> None:
    await refuse_models(two, "told", "second")
    await two.say("How do tides work?")
    for name in NAMES:
        alert = two.page.get_by_role("alert").filter(has_text=f"{name}: Tokens of {name}")
        await expect(alert).to_be_visible()
    await two.page.get_by_role("button", name="Edit").click()
    await expect(two.composer).to_have_value("How do tides work?")
    button = two.page.get_by_role("button", name="Compare with a second model")
    await expect(button).to_have_text("second")
    await two.composer.press("Enter")
    await expect(two.page.get_by_role("alert")).to_have_count(2)
    await two.page.reload()
    await refuse_models(two)
    await two.page.get_by_role("button", name="Try again").click()
    for reply in await next_replies(two):
        await reply.answer("By gravity.")

    await two.page.wait_for_url("**/c/*/*")
    await expect(side(two, "told")).to_contain_text("By gravity.")
    await expect(side(two, "second")).to_contain_text("By gravity.")
    await two.wait_until_idle()


@pytest.mark.slow
async def test_one_of_two_answers_is_stopped_or_both(two: Chat) -> None:
    first, second = await ask(two, "How do tides work?")
    await first.say("The moon ")
    await second.say("Gravity ")
    await expect(side(two, "second")).to_contain_text("Gravity")
    await side(two, "second").get_by_role("button", name="Stop second").click()
    await second.closed.wait()
    await expect(side(two, "second")).to_contain_text("Stopped")
    await first.answer("pulls.")
    await two.wait_until_idle()

    first, second = await ask(two, "And at night?")
    await first.say("It ")
    await second.say("It ")
    await expect(side(two, "second")).to_contain_text("It")
    await two.page.get_by_role("button", name="Stop the answer").click()
    await first.closed.wait()
    await second.closed.wait()
    await two.wait_until_idle()


async def test_each_of_two_answers_asks_for_its_own_call(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = ("--no-servers", "--tools", str(tmp_path / "tools.py"), "--ask", "*")
    async with chatting(chromium, tmp_path, *flags) as two:
        await choose(two)
        await expect(two.page.locator(".compare-note")).to_have_text(
            "Tools can run twice, once for each answer."
        )
        for reply, command in zip(await ask(two, "Do it."), ("ls", "df"), strict=True):
            await reply.call("shell", {"command": command}, id=f"of-{command}")
            await reply.end("tool_calls")
        questions = two.page.locator(".approvals")
        await expect(questions.locator(".approval")).to_have_count(2)
        assert ran(tmp_path) == []

        await questions.locator(".approval.line").last.get_by_role("button").click()
        await expect(questions).to_contain_text("second asks:")
        await expect(questions.locator("[data-open] .argument")).to_contain_text('"df"')
        button = questions.get_by_role("button", name="Allow once")
        await button.evaluate("() => new Promise((read) => setTimeout(read, 350))")
        await button.click()
        await (await two.model.next_request()).answer("Full.")
        await expect(side(two, "second")).to_contain_text("Full.")
        assert ran(tmp_path) == ["df"]
        await expect(questions).to_contain_text("told asks:")


async def test_a_server_that_is_killed_and_begun_again_goes_on_at_both_sides(
    chromium: Browser, tmp_path: Path
) -> None:
    quick = ("--lease-duration", "1", "--heartbeat-interval", "0.2", "--expiry-interval", "0.2")
    async with chatting(chromium, tmp_path, "--no-servers", *quick) as two:
        await choose(two)
        first, second = await ask(two, "How do tides work?")
        await first.say("The moon ")
        await second.say("Gravity ")
        await expect(side(two, "second")).to_contain_text("Gravity")
        await two.up.kill()
        await two.up.begin()

        first, second = await next_replies(two)
        await first.answer("The moon pulls.")
        await second.answer("Gravity differs.")
        await two.wait_until_idle()
        await expect(side(two, "told").locator(".message-text")).to_have_text("The moon pulls.")
        await expect(side(two, "second").locator(".message-text")).to_have_text("Gravity differs.")


@pytest.mark.slow
async def test_a_page_that_is_left_before_the_second_model_is_asked_asks_it_later(
    two: Chat,
) -> None:
    branch_requested = asyncio.Event()
    await two.page.route("**/branch", lambda route: branch_requested.set())
    await two.say("How do tides work?")
    await branch_requested.wait()
    await two.page.unroute("**/branch")
    await two.page.reload()

    first, second = await next_replies(two)
    await first.answer("The moon pulls.")
    await second.answer("Gravity differs.")
    await two.page.wait_for_url("**/c/*/*")
    await expect(side(two, "second")).to_contain_text("Gravity differs.")
    await two.wait_until_idle()
    assert two.model.waiting == 0


async def test_a_temporary_chat_is_deleted_with_both_answers(two: Chat) -> None:
    await two.page.get_by_role("checkbox", name="Temporary chat").check()
    for reply in await ask(two, "Whom do I trust?"):
        await reply.answer("Nobody.")
    await two.page.wait_for_url("**/c/*/*")
    await two.wait_until_idle()
    ids = two.page.url.split("/")[-2:]
    assert [await thread_exists(two, each) for each in ids] == [True, True]
    await expect(two.page.locator(".thread")).to_have_count(0)

    await two.page.get_by_role("button", name="New chat").click()
    await two.page.get_by_role("dialog").get_by_role("button", name="Leave").click()
    async with asyncio.timeout(SECONDS):
        while any([await thread_exists(two, each) for each in ids]):
            await asyncio.sleep(0.02)


async def thread_exists(chat: Chat, thread: str) -> bool:
    return (await chat.context.request.get(f"{chat.up.url}/api/threads/{thread}")).ok


@pytest.mark.slow
async def test_versions_are_shown_beside_each_other(chat: Chat) -> None:
    chat.model.will_say("By gravity.", "By water.")
    await chat.say("How do tides work?")
    await chat.sees("By gravity.")
    await chat.wait_until_idle()
    await chat.page.get_by_role("button", name="Edit").click()
    field = chat.page.get_by_role("textbox", name="Your message, to be written anew")
    await field.fill("How do clouds work?")
    await field.press("Enter")
    await chat.sees("By water.")
    await chat.wait_until_idle()
    await chat.page.get_by_role("link", name="Show two versions beside each other").click()

    await expect(side(chat, "told (1)")).to_contain_text("How do tides work?")
    await expect(side(chat, "told (1)")).to_contain_text("By gravity.")
    await expect(side(chat, "told (2)")).to_contain_text("How do clouds work?")
    await expect(side(chat, "told (2)")).to_contain_text("By water.")
    other = await chat.tab(chat.page.url.removeprefix(chat.up.url))
    for reply in await ask(chat, "Thanks"):
        await reply.answer("Welcome.")
    await expect(side(other, "told (1)")).to_contain_text("Welcome.")
    await expect(side(other, "told (2)")).to_contain_text("Welcome.")


@pytest.mark.slow
async def test_both_answers_are_one_chat_in_the_list_and_leave_with_it(two: Chat) -> None:
    for reply in await ask(two, "How do tides work?"):
        await reply.answer("By gravity.")
    await two.page.wait_for_url("**/c/*/*")
    await two.wait_until_idle()
    row = two.page.locator(".thread.here")
    await expect(row).to_have_count(1)
    await row.hover()
    await row.get_by_role("button", name="Actions").click()
    await two.page.get_by_role("menuitem", name="Delete").click()

    await expect(two.page).to_have_url(f"{two.up.url}/")
    await expect(two.page.locator(".thread")).to_have_count(0)
    await expect(two.answers).to_have_count(0)


@pytest.mark.slow
async def test_an_address_without_two_answers_says_so(two: Chat) -> None:
    for reply in await ask(two, "How do tides work?"):
        await reply.answer("By gravity.")
    await two.page.wait_for_url("**/c/*/*")
    await two.wait_until_idle()
    thread = two.page.url.split("/")[-2]
    alert = two.page.get_by_role("alert")

    await two.page.goto(f"{two.up.url}/c/{thread}/thread_nothing")
    await expect(alert).to_contain_text("There is no second conversation at this address")
    await expect(two.composer).to_have_count(0)
    await alert.get_by_role("link", name="Open How do tides work?").click()
    await two.page.wait_for_url(f"**/t/{thread}")
    await two.sees("By gravity.")

    await two.page.goto(f"{two.up.url}/c/{thread}/{thread}")
    await expect(alert).to_contain_text("are not answers to the same question")


@pytest.mark.slow
async def test_two_answers_can_be_read_by_everybody(two: Chat, axe: str) -> None:
    first, second = await ask(two, "How do tides work?")
    await second.say("Gravity pulls.")
    await expect(side(two, "second")).to_contain_text("Gravity")
    violations = await findings(two.page, axe)
    await first.refuse(400, "this model is tired")
    await second.answer("\n\n## How\n\n| a | b |\n|--|--|\n| 1 | 2 |\n")
    await two.wait_until_idle()
    for theme in ("light", "dark"):
        await set_theme(two.page, theme)
        violations += await findings(two.page, axe)
    await two.page.set_viewport_size({"width": 320, "height": 640})  # as at 400 %

    assert [*violations, *await findings(two.page, axe), *await wider(two.page)] == []
