"""Logging in with a password, and logging out."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.support.web.accessible import axe as axe
from tests.support.web.accessible import findings
from tests.support.web.chats import Chat, as_shown, chatting, wait_until
from tests.support.web.people import ADMIN, PASSWORD, add_person, enter, give
from tests.support.web.people import locked as locked

SIGN_IN = """async ([name, password]) => {
    const headers = {"content-type": "application/json"};
    const body = JSON.stringify({name, password});
    return (await fetch("/api/login", {method: "POST", headers, body})).status;
}"""


async def test_a_login_with_the_password_leads_to_the_requested_view(locked: Chat) -> None:
    await locked.open("/assistants")
    await wait_until(locked.page, "() => document.querySelector('.login-mark')?.naturalWidth > 0")
    await give(locked, ADMIN, "something else")
    await expect(locked.page.get_by_role("alert")).to_contain_text("do not belong together")
    await give(locked, ADMIN, PASSWORD)

    await expect(locked.page.get_by_role("heading", level=1)).to_have_text("Assistants")
    assert locked.page.url.endswith("/assistants")


async def test_a_person_who_tried_too_often_is_told_when_to_try_again(locked: Chat) -> None:
    guess = """async (name) => {
        const body = JSON.stringify({name, password: "wrong horse"});
        const headers = {"content-type": "application/json"};
        return (await fetch("/api/login", {method: "POST", headers, body})).status;
    }"""
    while await locked.page.evaluate(guess, ADMIN) == 401:
        pass
    await give(locked, ADMIN, PASSWORD)

    await expect(locked.page.get_by_role("alert")).to_contain_text("Try again in 2 minutes")


@pytest.mark.slow
async def test_everybody_and_a_password_manager_can_use_the_login(locked: Chat, axe: str) -> None:
    fields = locked.page.locator(".login input")
    await expect(fields).to_have_count(2)
    autocompletes = await fields.evaluate_all("inputs => inputs.map(each => each.autocomplete)")

    assert autocompletes == ["username", "current-password"]
    assert await findings(locked.page, axe) == []


async def test_signing_out_leaves_nothing_in_the_browser(locked: Chat) -> None:
    await enter(locked, ADMIN)
    await locked.say("A secret")
    await (await locked.model.next_request()).answer("Kept.")
    await locked.wait_until_idle()
    await locked.composer.fill("Another secret")
    await locked.page.get_by_role("button", name="Settings").click()
    await locked.page.get_by_role("button", name="Sign out", exact=True).click()
    await expect(locked.page.locator(".login")).to_be_visible()

    assert "secret" not in await locked.page.content()
    assert "secret" not in await locked.page.evaluate("JSON.stringify(localStorage)")


@pytest.mark.slow
async def test_a_password_is_changed_by_a_person_who_knows_it(locked: Chat) -> None:
    await enter(locked, ADMIN)
    await locked.page.get_by_role("button", name="Settings").click()
    await locked.page.get_by_text("Change password").first.click()
    await locked.page.get_by_label("Present password").fill(PASSWORD)
    await locked.page.get_by_label("New password").fill("another battery staple")
    await locked.page.get_by_role("button", name="Change password").click()
    await expect(locked.page.locator(".toast")).to_contain_text("has been changed")
    await locked.page.get_by_role("button", name="Sign out", exact=True).click()

    await enter(locked, ADMIN, "another battery staple")


@pytest.mark.slow
async def test_the_reason_of_a_login_that_an_organisation_refused_is_shown(locked: Chat) -> None:
    await locked.open("/login?problem=oidc_stale")
    await expect(locked.page.get_by_role("alert")).to_contain_text("took too long")
    await locked.open("/login?problem=<img>")
    await expect(locked.page.get_by_role("alert")).to_have_text(
        "Signing in did not work. Try again."
    )


async def test_with_a_login_of_an_organisation_the_page_leads_to_it(
    chromium: Browser, tmp_path: Path
) -> None:
    flags = ("--oidc-issuer", "http://127.0.0.1:9", "--oidc-client-id", "antiphon")
    async with chatting(chromium, tmp_path, "--no-servers", "--login", "oidc", *flags) as chat:
        await chat.open("/assistants")
        link = chat.page.get_by_role("link", name="Sign in with your organisation")

        await expect(link).to_have_attribute("href", "/login/oidc?next=%2Fassistants")
        await chat.page.goto(f"{chat.up.url}//evil.example/")
        await expect(link).to_have_attribute("href", "/login/oidc?next=%2F")


async def test_a_message_of_a_temporary_chat_outlives_the_end_of_the_session(locked: Chat) -> None:
    await enter(locked, ADMIN)
    await locked.page.get_by_role("checkbox", name="Temporary chat").check()
    await locked.say("One")
    await (await locked.model.next_request()).answer("First")
    await locked.wait_until_idle()
    problem = {"code": "unauthorized", "title": "Not logged in."}
    address = "**/api/messages/process*"
    await locked.page.route(address, lambda route: route.fulfill(status=401, json=problem))
    await locked.say("Two")
    await expect(locked.page.locator(".login")).to_be_visible()
    await locked.page.unroute(address)
    await enter(locked, ADMIN)
    await (await locked.model.next_request()).answer("Second")
    await locked.sees("Second")

    assert await locked.read_messages() == as_shown(await locked.fetch_messages())


async def test_another_person_who_signs_in_after_a_session_has_ended_sees_none_of_it(
    locked: Chat, tmp_path: Path
) -> None:
    add_person(tmp_path, "bo", "user")
    await enter(locked, ADMIN)
    await locked.say("A secret")
    await (await locked.model.next_request()).answer("Kept.")
    await locked.wait_until_idle()
    await locked.context.clear_cookies()
    await locked.page.evaluate("dispatchEvent(new Event('focus')), 0")
    await give(locked, "bo", PASSWORD)
    await expect(locked.page.locator(".lost")).to_be_visible()

    assert "secret" not in await locked.page.content()
    assert "Kept" not in await locked.page.content()


async def test_a_message_is_not_sent_for_another_person_who_has_signed_in_in_another_tab(
    locked: Chat, tmp_path: Path
) -> None:
    add_person(tmp_path, "bo", "user")
    await enter(locked, ADMIN)
    await expect(locked.page.locator(".composer")).to_have_attribute("aria-busy", "false")
    assert await locked.page.evaluate(SIGN_IN, ["bo", PASSWORD]) == 200
    await locked.say("A secret")
    await expect(locked.page.get_by_role("button", name="Settings bo")).to_be_visible()
    await expect(locked.page.locator(".composer")).to_have_attribute("aria-busy", "false")
    assert "secret" not in await locked.page.content()
    thread_list = await locked.context.request.get(f"{locked.up.url}/api/threads")
    assert (await thread_list.json())["data"] == []

    assert await locked.page.evaluate(SIGN_IN, [ADMIN, PASSWORD]) == 200
    await locked.page.reload()
    await (await locked.model.next_request()).answer("Kept.")
    await locked.sees("Kept.")
