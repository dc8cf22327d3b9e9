"""A call that needs approval runs only if a person allows it, with the arguments they have seen."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, expect

from antiphon.types.terminal_safe import clean
from tests.support.hostile_arguments import CASES, Case
from tests.support.terminal.consenting import TOOLS, ran
from tests.support.terminal.mcp_servers import config, raw
from tests.support.terminal.model import Reply
from tests.support.web.accessible import WATCH_FIELD
from tests.support.web.chats import PAINTED, Chat, chatting


@pytest_asyncio.fixture(loop_scope="session")
async def chat(chromium: Browser, tmp_path: Path) -> AsyncIterator[Chat]:
    """A page whose model has one tool, which needs approval each time."""
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = ("--no-servers", "--tools", str(tmp_path / "tools.py"), "--ask", "*")
    async with chatting(chromium, tmp_path, *flags) as chat:
        yield chat


async def ask_for_calls(chat: Chat, *arguments: object, name: str = "shell", id: str = "c") -> None:
    """Have the model call the tool with each of these at once."""
    await chat.say("Do it.")
    await reply_with_calls(await chat.model.next_request(), *arguments, name=name, id=id)
    await expect(questions(chat)).to_have_count(len(arguments))


async def reply_with_calls(
    reply: Reply, *arguments: object, name: str = "shell", id: str = "c"
) -> None:
    """End the reply with these calls."""
    for number, call_arguments in enumerate(arguments):
        await reply.call(name, call_arguments, id=f"{id}{number}", index=number)
    await reply.end("tool_calls")


def questions(chat: Chat) -> Locator:
    """Return the questions that wait for an answer."""
    return chat.page.locator(".approval")


def card(chat: Chat) -> Locator:
    """Return the question that is open."""
    return chat.page.locator(".approval[data-open]")


async def tab_to(chat: Chat, button: Locator) -> None:
    """Press Tab until the button has the focus."""
    for _ in range(12):
        if await button.evaluate("(button) => button === document.activeElement"):
            return
        await chat.page.keyboard.press("Tab")
    await expect(button).to_be_focused()


async def press(question: Locator, name: str) -> None:
    """Press the button, once the question has been there for as long as a person needs."""
    button = question.get_by_role("button", name=name)
    await button.evaluate("() => new Promise((read) => setTimeout(read, 350))")
    await button.click()


async def test_nothing_runs_before_it_is_allowed_after_a_reload_or_in_another_tab(
    chat: Chat, tmp_path: Path
) -> None:
    await ask_for_calls(chat, {"command": "ls"})
    await chat.page.reload()
    await expect(card(chat).locator(".argument")).to_contain_text('"ls"')
    other_tab = await chat.tab(f"/t/{chat.thread}")
    await expect(questions(other_tab)).to_have_count(1)
    assert ran(tmp_path) == []

    await press(questions(other_tab), "Allow once")
    await (await chat.model.next_request()).answer("Done.")
    await chat.wait_until_idle()

    assert ran(tmp_path) == ["ls"]
    await expect(questions(chat)).to_have_count(0)
    await other_tab.page.close()


async def test_what_hides_in_arguments_is_revealed_and_numbers_are_whole(chat: Chat) -> None:
    await ask_for_calls(
        chat, '{"command": "rm \\u202etxt.exe\\u200b", "note": [], "n": 12345678901234567890}'
    )

    await expect(questions(chat)).to_contain_text("<U+202E>")
    await expect(questions(chat)).to_contain_text("<U+200B>")
    await expect(questions(chat)).to_contain_text("12345678901234567890")


async def test_arguments_can_be_edited_and_only_json_is_taken(chat: Chat, tmp_path: Path) -> None:
    await ask_for_calls(chat, {"command": "rm -rf /"})
    question = questions(chat)
    await chat.page.evaluate(WATCH_FIELD, ".approval-editor")
    await question.get_by_role("button", name="Edit").click()
    field = question.get_by_label("Arguments, as you want them")
    takes_next_key, *_ = await chat.page.evaluate("window.fieldWhenShown")

    assert takes_next_key
    await field.fill('{"command": ')
    await expect(question).to_contain_text("This is no JSON")
    await expect(question.get_by_role("button", name="Allow once")).to_be_disabled()
    await field.fill('["ls"]')
    await expect(question).to_contain_text("one JSON object")
    await field.fill('{"command": "ls"}')
    await expect(question).to_contain_text("With your changes")
    await press(question, "Allow once")
    reply = await chat.model.next_request()

    assert ran(tmp_path) == ["ls"]
    assert "ran ls" in str(reply.messages[-1]["content"])
    await reply.answer("Done.")
    await chat.wait_until_idle()


async def test_a_refusal_may_say_why_to_the_model(chat: Chat, tmp_path: Path) -> None:
    await ask_for_calls(chat, {"command": "rm -rf /"})
    await questions(chat).get_by_label("A word to the model").fill("Never the root.")
    await press(questions(chat), "Refuse and say why")
    reply = await chat.model.next_request()

    assert ran(tmp_path) == []
    assert "Never the root." in str(reply.messages[-1]["content"])
    await expect(chat.page.locator(".tool")).to_contain_text("refused")
    await reply.answer("I see.")
    await chat.wait_until_idle()


async def test_a_button_pressed_as_the_question_appeared_is_no_answer(
    chat: Chat, tmp_path: Path
) -> None:
    await chat.page.evaluate(PRESS_AT_ONCE)
    await ask_for_calls(chat, {"command": "ls"})
    await chat.wait_until("() => window.pressed")

    await expect(questions(chat).get_by_role("button", name="Allow once")).to_be_enabled()
    assert ran(tmp_path) == []


PRESS_AT_ONCE = """() => new MutationObserver(() => {
  const yes = document.querySelector(".approval .primary");
  if (!yes || window.pressed) return;
  yes.click();
  window.pressed = true;
}).observe(document.body, {childList: true, subtree: true})"""


async def test_an_answer_is_given_by_keys_alone_and_the_next_question_has_the_focus(
    chat: Chat, tmp_path: Path
) -> None:
    await ask_for_calls(chat, {"command": "one"}, {"command": "two"})
    await expect(chat.composer).to_be_focused()

    for count in (2, 1):
        await expect(questions(chat)).to_have_count(count)
        await chat.page.keyboard.press("Control+Shift+E")
        await expect(card(chat)).to_be_focused()
        button = card(chat).get_by_role("button", name="Allow once")
        await tab_to(chat, button)
        await button.evaluate("() => new Promise((read) => setTimeout(read, 350))")
        await chat.page.keyboard.press("Enter")
    reply = await chat.model.next_request()

    assert sorted(ran(tmp_path)) == ["one", "two"]
    await expect(chat.composer).to_be_focused()
    await reply.answer("Done.")
    await chat.wait_until_idle()


SIZES = {"desktop": (1280, 800), "phone": (390, 800), "200 %": (640, 360)}
SIZES_AND_CASES = [
    *(
        pytest.param(size, CASES[place :: len(SIZES)], id=name)
        for place, (name, size) in enumerate(SIZES.items())
    ),
    *(
        pytest.param(size, CASES, id=f"{name}, all", marks=pytest.mark.soak)
        for name, size in SIZES.items()
    ),
]
"""Each case at one size; the soak tries all at each."""


@pytest.mark.parametrize(("size", "cases"), SIZES_AND_CASES)
async def test_nothing_can_be_allowed_before_all_of_it_was_shown(
    chat: Chat, size: tuple[int, int], cases: Sequence[Case]
) -> None:
    await chat.page.set_viewport_size({"width": size[0], "height": size[1]})
    await chat.open()
    await chat.say("Do it.")
    for number, case in enumerate(cases):
        reply = await chat.model.next_request()
        await reply.call("shell", case.arguments, id=f"h{number}")
        await reply.end("tool_calls")
        question = chat.page.locator(f'.approval[data-approval="h{number}"]')
        await expect(question).to_be_visible()
        allow = question.get_by_role("button", name="Allow once")
        await check_in_view(chat, question, case)
        text = await show_everything(chat, question, allow)
        assert case.hidden in text
        await check_in_view(chat, question, case)
        await press(question, "Refuse")
    await (await chat.model.next_request()).answer("Done.")
    await chat.wait_until_idle()


async def check_in_view(chat: Chat, question: Locator, case: Case) -> None:
    """Check that the tool, the names and the buttons are in view however far it is scrolled."""
    await chat.page.locator("#conversation").evaluate("(it) => it.scrollTo(0, 0)")
    names = question.locator(".approval-names")
    for element in (
        question.get_by_text("shell", exact=True).first,
        names,
        question.get_by_role("button", name="Allow once"),
        question.get_by_role("button", name="Refuse"),
    ):
        await expect(element).to_be_in_viewport(ratio=0.9)
    for name in case.names[:3]:
        await expect(names).to_contain_text(clean(name[:30], "approval"))


CLICK_ON = """async (question) => {
  const named = (name) =>
    [...question.querySelectorAll("button")].find((button) => button.textContent.includes(name));
  for (let clicks = 0; clicks < 400 && named("Allow once").disabled; clicks += 1) {
    named("Show the rest").click();
    await new Promise((painted) =>
      requestAnimationFrame(() => requestAnimationFrame(painted)));
  }
}"""


async def show_everything(chat: Chat, question: Locator, allow: Locator) -> str:
    """Show the rest until the call can be allowed; return what was shown by then."""
    rest_button = question.get_by_role("button", name="Show the rest")
    if not await allow.is_enabled():
        await rest_button.click()
        await chat.page.evaluate(PAINTED)
        await question.evaluate(CLICK_ON)
    await expect(allow).to_be_enabled()
    return await question.locator(".approval-body").inner_text()


async def test_the_end_alone_is_not_all_of_it(chat: Chat) -> None:
    await ask_for_calls(chat, {"command": "ls\n" * 400, "note": ["rm -rf ~"]})
    allow = card(chat).get_by_role("button", name="Allow once")
    await expect(allow).to_be_disabled()
    for fold in await card(chat).locator(".plain-more").all():
        await fold.click()
    body = card(chat).locator(".approval-body")
    await body.evaluate("(body) => { body.scrollTop = body.scrollHeight; }")
    await chat.page.evaluate(PAINTED)

    await expect(allow).to_be_disabled()
    await expect(card(chat)).to_contain_text("1,200 characters")


async def test_the_head_of_a_question_scrolls_by_keys_at_400_percent_and_is_else_no_stop(
    chat: Chat,
) -> None:
    await ask_for_calls(chat, {f"argument_{number}": number for number in range(20)})
    head = card(chat).locator(".approval-head")
    await expect(head).not_to_have_attribute("tabindex", "0")
    await chat.page.set_viewport_size({"width": 360, "height": 225})
    await expect(head).to_have_attribute("tabindex", "0")
    assert "shell" in await head.evaluate(
        "(it) => document.getElementById(it.getAttribute('aria-labelledby')).textContent"
    )

    await card(chat).focus()
    await tab_to(chat, head)
    await chat.page.keyboard.press("End")
    await chat.wait_until("""() => {
      const head = document.querySelector(".approval-head");
      return head.scrollTop > 0 && head.scrollTop + head.clientHeight >= head.scrollHeight - 1;
    }""")


async def test_keys_and_clicks_amid_typing_answer_nothing(chat: Chat, tmp_path: Path) -> None:
    await ask_for_calls(chat, {"command": "ls"})
    allow = card(chat).get_by_role("button", name="Allow once")
    await expect(allow).to_be_enabled()
    await allow.evaluate("() => new Promise((read) => setTimeout(read, 400))")
    await allow.evaluate(TYPED_AND_CLICKED)
    await expect(chat.composer).to_have_value("and then")
    await chat.page.keyboard.press("Control+Shift+E")
    await chat.page.keyboard.type("yes always\n ")

    assert ran(tmp_path) == []
    await expect(questions(chat)).to_have_count(1)


TYPED_AND_CLICKED = """(allow) => {
  const composer = document.getElementById("composer");
  composer.focus();
  document.execCommand("insertText", false, "and then");
  allow.click();
}"""


async def test_a_yes_for_longer_takes_a_second_button(chat: Chat, tmp_path: Path) -> None:
    await ask_for_calls(chat, {"command": "one"})
    await card(chat).get_by_role("button", name="Allow for longer").click()
    await press(card(chat), "Always allow")
    await expect(card(chat)).to_contain_text("with any arguments, always: shell")
    assert ran(tmp_path) == []
    await press(card(chat), "Yes, always")
    await reply_with_calls(await chat.model.next_request(), {"command": "two"}, id="d")
    await (await chat.model.next_request()).answer("Done.")
    await chat.wait_until_idle()

    assert ran(tmp_path) == ["one", "two"]


async def test_calls_of_one_tool_are_allowed_together_once_each_was_seen(
    chat: Chat, tmp_path: Path
) -> None:
    await ask_for_calls(chat, {"command": "one"}, {"command": "two" * 800}, {"command": "three"})
    allow_all = card(chat).get_by_role("button", name="Allow all 3")

    await expect(allow_all).to_have_count(0)
    await card(chat).get_by_role("button", name="Next call").click()
    await expect(card(chat)).to_have_attribute("data-approval", "c1")
    forward = card(chat).get_by_role("button", name="Next call")
    await expect(forward).to_be_disabled()
    await show_everything(chat, card(chat), card(chat).get_by_role("button", name="Allow once"))
    await forward.click()
    await expect(card(chat)).to_have_attribute("data-approval", "c2")
    assert ran(tmp_path) == []
    await press(card(chat), "Allow all 3")
    await (await chat.model.next_request()).answer("Done.")
    await chat.wait_until_idle()

    assert sorted(ran(tmp_path)) == ["one", "three", "two" * 800]


async def test_calls_of_other_tools_are_not_allowed_with_them(
    chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "tools.py").write_text(f"{TOOLS}\n\n{TOOLS.replace('def shell', 'def other')}")
    async with chatting(
        chromium, tmp_path, "--no-servers", "--tools", "tools.py", "--ask", "*"
    ) as chat:
        await chat.say("Do it.")
        reply = await chat.model.next_request()
        await reply.call("shell", {"command": "one"}, id="c1")
        await reply.call("other", {"command": "two"}, id="c2", index=1)
        await reply.end("tool_calls")
        await expect(questions(chat)).to_have_count(2)

        await expect(card(chat).get_by_role("button", name="Allow once")).to_be_enabled()
        await expect(card(chat).get_by_role("button", name="Next call")).to_have_count(0)
        await expect(card(chat).get_by_role("button", name="Allow all")).to_have_count(0)


async def test_a_yes_for_a_server_is_for_all_of_its_tools(
    chromium: Browser, tmp_path: Path
) -> None:
    servers = config(tmp_path, {"far": raw()})
    async with chatting(chromium, tmp_path, *servers, "--ask", "*") as chat:
        await chat.wait_until(
            "async () => (await (await fetch('/api/me')).json()).tools.some((t) => t.server)"
        )
        await ask_for_calls(chat, {"x": 1}, name="far__echo")
        question = questions(chat)
        await expect(question).to_contain_text("echo of the server far")
        await question.get_by_role("button", name="Allow for longer").click()
        await question.get_by_label("tools of far").check()
        await press(question, "Allow for this session")
        await press(question, "Yes, for this session")
        await reply_with_calls(await chat.model.next_request(), {"y": 2}, name="far__touch", id="d")
        reply = await chat.model.next_request()

        assert json.loads(reply.messages[-1]["content"]) == {"y": 2}
        await reply.answer("Done.")
        await chat.wait_until_idle()


async def test_the_question_of_a_hook_says_so_and_has_no_lasting_answer(
    chromium: Browser, tmp_path: Path
) -> None:
    settings = tmp_path / "config/antiphon/antiphon.toml"
    settings.parent.mkdir(parents=True)
    command = """echo '{"decision": "ask", "reason": "<b>it is Friday</b>"}'"""
    settings.write_text(
        f"[[hooks]]\nwhen = 'before'\ncommand = ['/bin/sh', '-c', '''{command}''']\n"
    )
    (tmp_path / "tools.py").write_text(TOOLS)
    flags = ("--no-servers", "--tools", str(tmp_path / "tools.py"))
    async with chatting(chromium, tmp_path, *flags) as chat:
        await ask_for_calls(chat, {"command": "ls"})
        await expect(card(chat)).to_contain_text("A hook wants you to decide: <b>it is Friday</b>")
        await expect(card(chat).get_by_role("button", name="Allow for longer")).to_have_count(0)
        await press(card(chat), "Allow once")
        await (await chat.model.next_request()).answer("Done.")
        await chat.wait_until_idle()

        assert ran(tmp_path) == ["ls"]
