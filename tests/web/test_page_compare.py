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
from tests.support.web.accessible import findings, set_size, set_theme, wider
from tests.support.web.chats import SECONDS, Chat, chatting

NAMES = ["told", "second"]


@pytest_asyncio.fixture(loop_scope="session")
async def comparison(chat: Chat) -> Chat:
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


async def test_two_models_answer_beside_each_other_and_the_chat_goes_on_with_one(
    comparison: Chat,
) -> None:
    first, second = await ask(comparison, "How do tides work?")
    await comparison.page.wait_for_url("**/c/*/*")
    await first.say("The moon ")
    await second.say("Gravity ")
    await expect(side(comparison, "told")).to_contain_text("The moon")
    await expect(side(comparison, "second")).to_contain_text("Gravity")
    await expect(comparison.asked).to_have_count(1)

    await comparison.page.reload()
    await first.answer("pulls.")
    await second.answer("differs.")
    await expect(side(comparison, "told")).to_contain_text("The moon pulls.")
    await expect(side(comparison, "second")).to_contain_text("Gravity differs.")
    await comparison.wait_until_idle()

    first, second = await ask(comparison, "And at night?")
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
    await comparison.wait_until_idle()
    await expect(comparison.page.locator(".thread")).to_have_count(1)

    await (
        side(comparison, "second").get_by_role("button", name="Go on with this one").press("Enter")
    )
    await comparison.page.wait_for_url("**/t/*")
    await comparison.sees("Likewise.")
    await expect(comparison.composer).to_be_focused()
    await expect(
        comparison.page.get_by_role("group", name="Versions of this message")
    ).to_have_text("2/2")
    await comparison.say("Thanks")
    assert (await comparison.model.next_request()).body["model"] == "second"


async def test_a_model_that_fails_shows_it_at_its_side_and_the_other_goes_on(
    comparison: Chat,
) -> None:
    first, second = await ask(comparison, "How do tides work?")
    await second.refuse(400, "this model is tired")
    await first.say("The moon ")
    await expect(side(comparison, "second")).to_contain_text("this model is tired")
    await first.answer("pulls.")

    await expect(side(comparison, "told")).to_contain_text("The moon pulls.")
    await comparison.wait_until_idle()
    log = comparison.page.locator("[data-announced=status]")
    await expect(log).to_contain_text("told: The answer is complete.")


@pytest.mark.slow
async def test_a_model_that_is_refused_is_asked_again_at_its_side(comparison: Chat) -> None:
    async def refuse(route: Route) -> None:
        if "second" in (route.request.post_data or ""):
            problem = {"status": 403, "code": "quota_exceeded", "detail": "Tokens are used up."}
            await route.fulfill(
                status=403, body=json.dumps(problem), content_type="application/problem+json"
            )
        else:
            await route.continue_()

    await comparison.page.route("**/process*", refuse)
    await comparison.say("How do tides work?")
    await (await comparison.model.next_request()).answer("The moon pulls.")
    await expect(side(comparison, "second")).to_contain_text("Tokens are used up.")
    await expect(side(comparison, "told")).to_contain_text("The moon pulls.")
    await comparison.page.unroute("**/process*")
    await comparison.page.reload()
    await side(comparison, "second").get_by_role("button", name="Try again").click()
    reply = await comparison.model.next_request()
    await reply.answer("Gravity differs.")

    assert reply.body["model"] == "second"
    await expect(side(comparison, "second")).to_contain_text("Gravity differs.")
    await expect(comparison.asked).to_have_count(1)


@pytest.mark.slow
async def test_another_answer_is_asked_of_the_model_whose_answer_it_is(comparison: Chat) -> None:
    for reply in await ask(comparison, "How do tides work?"):
        await reply.answer("By gravity.")
    await comparison.page.wait_for_url("**/c/*/*")
    await comparison.wait_until_idle()
    first, second = comparison.page.url.split("/")[-2:]
    await side(comparison, "second").get_by_role("button", name="Answer again").click()
    reply = await comparison.model.next_request()
    assert (reply.body["model"], reply.messages[-1]["content"]) == ("second", "How do tides work?")
    await comparison.page.reload()
    await reply.answer("By the moon.")
    await expect(side(comparison, "second")).to_contain_text("By the moon.")
    await expect(side(comparison, "told")).to_contain_text("By gravity.")
    await comparison.wait_until_idle()
    assert comparison.page.url.split("/")[-2] == first
    await expect(comparison.asked).to_have_count(1)

    versions = side(comparison, "second").get_by_role("group", name="Versions of this message")
    await expect(versions).to_have_text("2/2")
    await versions.get_by_role("button", name="Previous version").press("Enter")
    await expect(side(comparison, "second")).to_contain_text("By gravity.")
    assert comparison.page.url.split("/")[-2:] == [first, second]
    for reply in await ask(comparison, "And at night?"):
        await reply.answer("Likewise.")
    await comparison.wait_until_idle()


@pytest.mark.slow
async def test_an_edited_question_goes_to_both_models_again(comparison: Chat) -> None:
    for question in ("How do tides work?", "And at night?"):
        for reply in await ask(comparison, question):
            await reply.answer(f"{reply.body['model']}, {len(reply.messages)} messages.")
        await comparison.wait_until_idle()
    await comparison.composer.press("ArrowUp")
    field = comparison.page.get_by_role("textbox", name="Your message, to be written anew")
    await expect(field).to_have_value("And at night?")
    await field.fill("And at noon?")
    await field.press("Enter")
    first, second = await next_replies(comparison)
    for reply, name in ((first, "told"), (second, "second")):
        questions_sent = [each["content"] for each in reply.messages if each["role"] == "user"]
        assert questions_sent == ["How do tides work?", "And at noon?"]
        assert f"{name}, " in reply.messages[-2]["content"]
    await first.answer("High.")
    await second.answer("Low.")
    await expect(side(comparison, "told")).to_contain_text("High.")
    await expect(side(comparison, "second")).to_contain_text("Low.")
    await comparison.wait_until_idle()
    questions = comparison.asked.locator(".message-text")
    await expect(questions).to_have_text(["How do tides work?", "And at noon?"])

    await comparison.asked.first.get_by_role("button", name="Edit").click()
    await field.fill("How do clouds work?")
    await field.press("Enter")
    for reply in await next_replies(comparison):
        questions_sent = [each["content"] for each in reply.messages if each["role"] == "user"]
        assert questions_sent == ["How do clouds work?"]
        await reply.answer("By water.")
    await expect(side(comparison, "second")).to_contain_text("By water.")
    await comparison.wait_until_idle()
    await expect(questions).to_have_text(["How do clouds work?"])
    await expect(comparison.page.locator(".thread")).to_have_count(1)

    versions = comparison.asked.get_by_role("group", name="Versions of this message")
    await expect(versions).to_have_text("2/2")
    await versions.get_by_role("button", name="Previous version").press("Enter")
    await expect(questions.first).to_have_text("How do tides work?")
    await expect(side(comparison, "told")).to_contain_text("High.")
    await expect(side(comparison, "second")).to_contain_text("Low.")
    await expect(versions.first).to_have_text("1/2")


@pytest.mark.slow
async def test_a_cut_answer_goes_on_and_an_artifact_is_opened_at_either_side(
    comparison: Chat,
) -> None:
    first, second = await ask(comparison, "Draw a plan.")
    await first.answer("```markdown title=Plan\n# First plan\n```")
    await second.say("```markdown title=Plan\n# Second plan\n```\n\nThis is")
    await second.end("length")
    await comparison.page.wait_for_url("**/c/*/*")
    await side(comparison, "second").get_by_role("button", name="Continue").click()
    reply = await comparison.model.next_request()
    assert reply.body["model"] == "second"
    await reply.answer(" the plan.")
    await expect(side(comparison, "second")).to_contain_text("This is the plan.")
    await comparison.wait_until_idle()

    panel = comparison.page.locator(".artifact-panel")
    await side(comparison, "second").get_by_role("button", name="Open").click()
    await expect(panel.get_by_role("heading", name="Second plan")).to_be_visible()
    await side(comparison, "told").get_by_role("button", name="Open").click()
    await expect(panel.get_by_role("heading", name="First plan")).to_be_visible()
    await side(comparison, "second").get_by_role("button", name="Go on with this one").click()
    await expect(panel).to_have_count(0)


@pytest.mark.slow
async def test_a_comparison_that_cannot_be_read_again_stays_in_view_and_an_edit_is_kept(
    comparison: Chat,
) -> None:
    for reply in await ask(comparison, "How do tides work?"):
        await reply.answer("By gravity.")
    await comparison.page.wait_for_url("**/c/*/*")
    await comparison.wait_until_idle()
    await comparison.page.route("**/api/threads/**", lambda route: route.abort())
    await side(comparison, "second").get_by_role("button", name="Answer again").click()
    note = (
        side(comparison, "second")
        .get_by_role("alert")
        .filter(has_text="No other version was begun")
    )
    await expect(note).to_contain_text("cannot be reached")
    await expect(side(comparison, "second")).to_contain_text("By gravity.")
    await comparison.asked.first.get_by_role("button", name="Edit").click()
    field = comparison.page.get_by_role("textbox", name="Your message, to be written anew")
    await field.fill("How do clouds work?")
    await field.press("Enter")
    await expect(comparison.asked.get_by_role("alert")).to_contain_text("Your text is kept")
    await expect(field).to_have_value("How do clouds work?")

    await comparison.page.unroute("**/api/threads/**")
    await field.press("Enter")
    for reply in await next_replies(comparison):
        await reply.answer("By water.")
    await expect(side(comparison, "second")).to_contain_text("By water.")
    await comparison.wait_until_idle()
    await expect(comparison.page.locator(".messages").get_by_role("alert")).to_have_count(0)


@pytest.mark.slow
async def test_a_model_that_is_not_asked_again_has_a_note_at_its_side(comparison: Chat) -> None:
    for reply in await ask(comparison, "How do tides work?"):
        await reply.answer("By gravity.")
    await comparison.page.wait_for_url("**/c/*/*")
    await comparison.wait_until_idle()
    second = comparison.page.url.split("/")[-1]
    await comparison.page.route(f"**/{second}/branch", lambda route: route.abort())
    await comparison.asked.first.get_by_role("button", name="Edit").click()
    field = comparison.page.get_by_role("textbox", name="Your message, to be written anew")
    await field.fill("How do clouds work?")
    await field.press("Enter")
    reply = await comparison.model.next_request()
    assert reply.body["model"] == "told"
    await reply.answer("By water.")
    note = side(comparison, "second").get_by_role("alert")
    await expect(note).to_contain_text("Only the other model was asked.")
    await comparison.wait_until_idle()

    await comparison.page.unroute(f"**/{second}/branch")
    await note.get_by_role("button", name="Try again").click()
    reply = await comparison.model.next_request()
    assert (reply.body["model"], reply.messages[-1]["content"]) == ("second", "How do clouds work?")
    await reply.answer("By water.")
    await expect(note).to_have_count(0)
    await comparison.wait_until_idle()


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
async def test_the_second_model_is_asked_though_the_first_is_refused(comparison: Chat) -> None:
    await refuse_models(comparison, "told")
    await comparison.say("How do tides work?")
    reply = await comparison.model.next_request()
    assert reply.body["model"] == "second"
    await reply.say("Gravity ")
    await comparison.page.wait_for_url("**/c/*/*")
    await expect(side(comparison, "told")).to_contain_text("Tokens of told are used up.")
    await comparison.page.reload()
    await reply.answer("pulls.")
    await expect(side(comparison, "second")).to_contain_text("Gravity pulls.")
    await expect(side(comparison, "told")).to_contain_text("Tokens of told are used up.")
    await expect(comparison.asked).to_have_count(1)
    await refuse_models(comparison)
    await side(comparison, "told").get_by_role("button", name="Try again").click()
    reply = await comparison.model.next_request()
    assert (reply.body["model"], len(reply.messages)) == ("told", 1)
    await reply.answer("The moon pulls.")

    await expect(side(comparison, "told")).to_contain_text("The moon pulls.")
    await expect(comparison.asked).to_have_count(1)
    await comparison.wait_until_idle()


@pytest.mark.slow
async def test_a_question_that_both_models_are_refused_says_so_for_each_and_is_kept(
    comparison: Chat,
) -> None:
    await refuse_models(comparison, "told", "second")
    await comparison.say("How do tides work?")
    for name in NAMES:
        alert = comparison.page.get_by_role("alert").filter(has_text=f"{name}: Tokens of {name}")
        await expect(alert).to_be_visible()
    await comparison.page.get_by_role("button", name="Edit").click()
    await expect(comparison.composer).to_have_value("How do tides work?")
    button = comparison.page.get_by_role("button", name="Compare with a second model")
    await expect(button).to_have_text("second")
    await comparison.composer.press("Enter")
    await expect(comparison.page.get_by_role("alert")).to_have_count(2)
    await comparison.page.reload()
    await refuse_models(comparison)
    await comparison.page.get_by_role("button", name="Try again").click()
    for reply in await next_replies(comparison):
        await reply.answer("By gravity.")

    await comparison.page.wait_for_url("**/c/*/*")
    await expect(side(comparison, "told")).to_contain_text("By gravity.")
    await expect(side(comparison, "second")).to_contain_text("By gravity.")
    await comparison.wait_until_idle()


@pytest.mark.slow
async def test_one_of_two_answers_is_stopped_or_both(comparison: Chat) -> None:
    first, second = await ask(comparison, "How do tides work?")
    await first.say("The moon ")
    await second.say("Gravity ")
    await expect(side(comparison, "second")).to_contain_text("Gravity")
    await side(comparison, "second").get_by_role("button", name="Stop second").click()
    await second.closed.wait()
    await expect(side(comparison, "second")).to_contain_text("Stopped")
    await first.answer("pulls.")
    await comparison.wait_until_idle()

    first, second = await ask(comparison, "And at night?")
    await first.say("It ")
    await second.say("It ")
    await expect(side(comparison, "second")).to_contain_text("It")
    await comparison.page.get_by_role("button", name="Stop the answer").click()
    await first.closed.wait()
    await second.closed.wait()
    await comparison.wait_until_idle()


async def test_each_of_two_answers_asks_for_its_own_call(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = ("--no-servers", "--tools", str(tmp_path / "tools.py"), "--ask", "*")
    async with chatting(chromium, tmp_path, *flags) as comparison:
        await choose(comparison)
        await expect(comparison.page.locator(".compare-note")).to_have_text(
            "Tools can run twice, once for each answer."
        )
        for reply, command in zip(await ask(comparison, "Do it."), ("ls", "df"), strict=True):
            await reply.call("shell", {"command": command}, id=f"of-{command}")
            await reply.end("tool_calls")
        questions = comparison.page.locator(".approvals")
        await expect(questions.locator(".approval")).to_have_count(2)
        assert ran(tmp_path) == []

        await questions.locator(".approval.line").last.get_by_role("button").click()
        await expect(questions).to_contain_text("second asks:")
        await expect(questions.locator("[data-open] .argument")).to_contain_text('"df"')
        button = questions.get_by_role("button", name="Allow once")
        await button.evaluate("() => new Promise((read) => setTimeout(read, 350))")
        await button.click()
        await (await comparison.model.next_request()).answer("Full.")
        await expect(side(comparison, "second")).to_contain_text("Full.")
        assert ran(tmp_path) == ["df"]
        await expect(questions).to_contain_text("told asks:")


async def test_a_server_that_is_killed_and_begun_again_goes_on_at_both_sides(
    chromium: Browser, tmp_path: Path
) -> None:
    quick = ("--lease-duration", "1", "--heartbeat-interval", "0.2", "--expiry-interval", "0.2")
    async with chatting(chromium, tmp_path, "--no-servers", *quick) as comparison:
        await choose(comparison)
        first, second = await ask(comparison, "How do tides work?")
        await first.say("The moon ")
        await second.say("Gravity ")
        await expect(side(comparison, "second")).to_contain_text("Gravity")
        await comparison.up.kill()
        await comparison.up.begin()

        first, second = await next_replies(comparison)
        await first.answer("The moon pulls.")
        await second.answer("Gravity differs.")
        await comparison.wait_until_idle()
        await expect(side(comparison, "told").locator(".message-text")).to_have_text(
            "The moon pulls."
        )
        await expect(side(comparison, "second").locator(".message-text")).to_have_text(
            "Gravity differs."
        )


@pytest.mark.slow
async def test_a_page_that_is_left_before_the_second_model_is_asked_asks_it_later(
    comparison: Chat,
) -> None:
    branch_requested = asyncio.Event()
    await comparison.page.route("**/branch", lambda route: branch_requested.set())
    await comparison.say("How do tides work?")
    await branch_requested.wait()
    await comparison.page.unroute("**/branch")
    await comparison.page.reload()

    first, second = await next_replies(comparison)
    await first.answer("The moon pulls.")
    await second.answer("Gravity differs.")
    await comparison.page.wait_for_url("**/c/*/*")
    await expect(side(comparison, "second")).to_contain_text("Gravity differs.")
    await comparison.wait_until_idle()
    assert comparison.model.waiting == 0


async def test_a_temporary_chat_is_deleted_with_both_answers(comparison: Chat) -> None:
    await comparison.page.get_by_role("checkbox", name="Temporary chat").check()
    for reply in await ask(comparison, "Whom do I trust?"):
        await reply.answer("Nobody.")
    await comparison.page.wait_for_url("**/c/*/*")
    await comparison.wait_until_idle()
    ids = comparison.page.url.split("/")[-2:]
    assert [await thread_exists(comparison, each) for each in ids] == [True, True]
    await expect(comparison.page.locator(".thread")).to_have_count(0)

    await comparison.page.get_by_role("button", name="New chat").click()
    await comparison.page.get_by_role("dialog").get_by_role("button", name="Leave").click()
    async with asyncio.timeout(SECONDS):
        while any([await thread_exists(comparison, each) for each in ids]):
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
    other_tab = await chat.tab(chat.page.url.removeprefix(chat.up.url))
    for reply in await ask(chat, "Thanks"):
        await reply.answer("Welcome.")
    await expect(side(other_tab, "told (1)")).to_contain_text("Welcome.")
    await expect(side(other_tab, "told (2)")).to_contain_text("Welcome.")


@pytest.mark.slow
async def test_both_answers_are_one_chat_in_the_list_and_leave_with_it(comparison: Chat) -> None:
    for reply in await ask(comparison, "How do tides work?"):
        await reply.answer("By gravity.")
    await comparison.page.wait_for_url("**/c/*/*")
    await comparison.wait_until_idle()
    row = comparison.page.locator(".thread.here")
    await expect(row).to_have_count(1)
    await row.hover()
    await row.get_by_role("button", name="Actions").click()
    await comparison.page.get_by_role("menuitem", name="Delete").click()

    await expect(comparison.page).to_have_url(f"{comparison.up.url}/")
    await expect(comparison.page.locator(".thread")).to_have_count(0)
    await expect(comparison.answers).to_have_count(0)


@pytest.mark.slow
async def test_an_address_without_two_answers_says_so(comparison: Chat) -> None:
    for reply in await ask(comparison, "How do tides work?"):
        await reply.answer("By gravity.")
    await comparison.page.wait_for_url("**/c/*/*")
    await comparison.wait_until_idle()
    thread = comparison.page.url.split("/")[-2]
    alert = comparison.page.get_by_role("alert")

    await comparison.page.goto(f"{comparison.up.url}/c/{thread}/thread_nothing")
    await expect(alert).to_contain_text("There is no second conversation at this address")
    await expect(comparison.composer).to_have_count(0)
    await alert.get_by_role("link", name="Open How do tides work?").click()
    await comparison.page.wait_for_url(f"**/t/{thread}")
    await comparison.sees("By gravity.")

    await comparison.page.goto(f"{comparison.up.url}/c/{thread}/{thread}")
    await expect(alert).to_contain_text("are not answers to the same question")


@pytest.mark.slow
async def test_two_answers_can_be_read_by_everybody(comparison: Chat, axe: str) -> None:
    first, second = await ask(comparison, "How do tides work?")
    await second.say("Gravity pulls.")
    await expect(side(comparison, "second")).to_contain_text("Gravity")
    violations = await findings(comparison.page, axe)
    await first.refuse(400, "this model is tired")
    await second.answer("\n\n## How\n\n| a | b |\n|--|--|\n| 1 | 2 |\n")
    await comparison.wait_until_idle()
    for theme in ("light", "dark"):
        await set_theme(comparison.page, theme)
        violations += await findings(comparison.page, axe)
    await set_size(comparison.page, (320, 640))  # as at 400 %

    assert [*violations, *await findings(comparison.page, axe), *await wider(comparison.page)] == []
