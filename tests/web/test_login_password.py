"""Logins by a name and a password: who gets in, for how long, and how often guesses are allowed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antiphon.engine.accounts import MAX_ENDED
from antiphon.web.limits import GUESSES_OF_A_NAME, GUESSES_OF_AN_ADDRESS
from tests.support.web.visiting import PASSWORD, Browser, Chat, open_chat

SECONDS_TO_END = 60.0
NEW_PASSWORD = "another long password"


class People:
    """Ann and Bob, who log in once for all tests, since the hash of a password is slow by design.

    `home` holds the database and the state folder of the web chat that knows them.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.database = home / "antiphon.db"
        self._browsers: dict[str, tuple[str, str]] = {}

    async def log_in_both(self) -> None:
        async with open_chat(database=f"sqlite:///{self.database}", login="password") as chat:
            for name, role in (("Ann", "admin"), ("bob", "user")):
                await chat.person(name, role=role)
                browser = await chat.browser().log_in(name)
                self._browsers[name.lower()] = (str(browser.cookie()), browser.csrf)

    def browser(self, chat: Chat, name: str) -> Browser:
        """Return a browser in which this person has logged in."""
        cookie, csrf = self._browsers[name]
        browser = chat.browser().takes(cookie)
        browser.csrf = csrf
        return browser


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> People:
    people = People(tmp_path_factory.mktemp("people"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(people.home))
        asyncio.run(people.log_in_both())
    return people


@pytest.fixture
async def chat(
    tmp_path: Path, people: People, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Chat]:
    monkeypatch.setenv("XDG_STATE_HOME", str(people.home))
    async with open_chat(
        database=f"sqlite:///{shutil.copy(people.database, tmp_path)}",
        login="password",
        public_url="https://chat.example.org",
        trusted_proxies=("10.0.0.1",),
        web_rate=3,
    ) as chat:
        yield chat


async def is_logged_in(browser: Browser) -> bool:
    """Return True if the browser is logged in."""
    return (await browser.get("/api/nothing")).status_code == 404


async def wait_for_logout(browser: Browser) -> None:
    """Wait until the browser's login has ended."""
    async with asyncio.timeout(SECONDS_TO_END):
        while await is_logged_in(browser):
            await asyncio.sleep(0.1)


async def test_a_person_with_the_password_gets_in_and_nobody_else(chat: Chat) -> None:
    ann, nobody = chat.browser(), chat.browser()

    assert not await is_logged_in(ann)
    await ann.log_in("ann")
    assert await is_logged_in(ann)
    assert not await is_logged_in(nobody)


async def test_every_refused_login_gets_the_same_answer(chat: Chat) -> None:
    persons = await chat.site.client.list_people()
    bob = next(person for person in persons.data if person.name == "bob")
    await chat.site.client.update_person(bob.id, disabled=True)

    for name, password in (
        ("Ann", "wrong horse battery"),
        ("Ann", PASSWORD.upper()),
        ("Ann", PASSWORD + " "),
        ("bob", PASSWORD),
        ("nobody", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
    ):
        refusal = await chat.browser().post("/api/login", {"name": name, "password": password})
        assert refusal.status_code == 401
        assert refusal.json == {
            "type": "/problems/unauthorized",
            "title": "A login is needed",
            "status": 401,
            "code": "unauthorized",
            "detail": "The name or the password is wrong.",
        }
        assert "Set-Cookie" not in refusal.headers


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "ann"},
        {"name": ["ann"], "password": PASSWORD},
        {"name": "ann", "password": {"$ne": ""}},
        {"name": "", "password": ""},
        {"name": "ann", "password": "x" * 100_000},
        {"name": "ann\x00", "password": PASSWORD},
        [],
        "ann",
    ],
)
async def test_a_body_without_a_name_and_a_password_is_refused_by_its_shape(
    chat: Chat, body: object
) -> None:
    assert (await chat.browser().post("/api/login", body)).status_code == 422


async def test_the_cookie_is_new_at_each_login(chat: Chat, people: People) -> None:
    planted_cookie = people.browser(chat, "bob").cookie()
    victim = chat.browser().takes(str(planted_cookie))

    await victim.log_in("ann")
    assert victim.cookie() != planted_cookie
    bob = chat.browser().takes(str(planted_cookie))
    bob.csrf = victim.csrf
    assert (await bob.post("/api/logout", {})).status_code == 403  # its token is not bob's


async def test_over_https_the_cookie_is_bound_to_the_host(chat: Chat) -> None:
    own_origin = {"Origin": "https://chat.example.org"}
    for browser in (
        chat.browser("https://chat.example.org"),
        chat.browser(
            "http://chat.example.org", "10.0.0.1", {**own_origin, "X-Forwarded-Proto": "https"}
        ),
        chat.browser("http://chat.example.org", headers=own_origin),
    ):
        answer = await browser.post("/api/login", {"name": "ann", "password": PASSWORD})

        known_cookie, cookie = answer.headers.getlist("Set-Cookie")
        assert known_cookie.startswith("__Host-antiphon_known=")
        assert "Secure" in known_cookie
        assert cookie.startswith("__Host-antiphon_session=")
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert "Domain" not in cookie


async def test_a_cookie_without_its_prefix_is_none_over_https(chat: Chat, people: People) -> None:
    plain = people.browser(chat, "ann").cookie()

    assert not await is_logged_in(chat.browser("https://chat.example.org").takes(str(plain)))


async def test_a_client_that_claims_https_and_is_no_proxy_is_not_believed(chat: Chat) -> None:
    browser = chat.browser(headers={"X-Forwarded-Proto": "https"})
    answer = await browser.post("/api/login", {"name": "ann", "password": PASSWORD})

    names = [each.partition("=")[0] for each in answer.headers.getlist("Set-Cookie")]
    assert names == ["antiphon_known", "antiphon_session"]


async def test_signing_out_makes_the_browser_forget(chat: Chat, people: People) -> None:
    ann = people.browser(chat, "ann")
    answer = await ann.post("/api/logout", {})

    assert answer.status_code == 200
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert not await is_logged_in(ann)


async def test_signing_out_ends_every_copy_of_this_cookie_and_no_other_login(
    chat: Chat, people: People
) -> None:
    browser = people.browser(chat, "ann")
    thief = chat.browser().takes(str(browser.cookie()))
    other_login = await chat.browser().log_in("ann")
    assert await is_logged_in(thief)

    assert (await browser.post("/api/logout", {})).status_code == 200
    assert not await is_logged_in(thief)
    assert await is_logged_in(other_login)

    acts = (await chat.site.client.list_acts()).data
    assert [act for act in acts if act.what == "person.changed"] == []


async def test_a_person_who_signs_out_very_often_signs_out_everywhere(
    chat: Chat, people: People
) -> None:
    browser = people.browser(chat, "bob")
    persons = (await chat.site.client.list_people()).data
    bob = next(person for person in persons if person.name == "bob")
    for number in range(MAX_ENDED):
        await chat.site.client.update_person(bob.id, end_session=f"session {number}")
    assert await is_logged_in(browser)

    last = await chat.site.client.update_person(bob.id, end_session="one more")
    assert (last.generation, last.ended_sessions) == (bob.generation + 1, {})
    await wait_for_logout(browser)


async def test_strangers_who_guess_do_not_shut_out_a_browser_that_is_known(
    chat: Chat, people: People
) -> None:
    known_browser = await chat.browser().log_in("bob")
    await known_browser.post("/api/logout", {})
    for number in range(GUESSES_OF_A_NAME):
        chat.site.limits.guesses.take("bob", f"198.51.100.{number}")

    right_login = {"name": "bob", "password": PASSWORD}
    assert (await chat.browser().post("/api/login", right_login)).status_code == 429
    assert (
        await known_browser.post("/api/login", {"name": "BOB", "password": PASSWORD})
    ).status_code == 200
    for _ in range(GUESSES_OF_A_NAME):
        await known_browser.post("/api/login", {"name": "bob", "password": "wrong horse"})
    assert (await known_browser.post("/api/login", right_login)).status_code == 429


async def test_a_browser_is_known_for_those_alone_who_logged_in_there(
    chat: Chat, people: People
) -> None:
    anns_browser = await chat.browser().log_in("ann")
    for number in range(GUESSES_OF_A_NAME):
        chat.site.limits.guesses.take("bob", f"198.51.100.{number}")

    refusal = await anns_browser.post("/api/login", {"name": "bob", "password": PASSWORD})
    assert refusal.status_code == 429


async def test_signing_out_everywhere_ends_every_copy_of_every_cookie(
    chat: Chat, people: People
) -> None:
    first, second = people.browser(chat, "ann"), people.browser(chat, "ann")
    bob = people.browser(chat, "bob")
    thief = chat.browser().takes(str(second.cookie()))
    assert await is_logged_in(thief)

    assert (await first.post("/api/logout/everywhere", {})).status_code == 200
    assert not await is_logged_in(first)
    await wait_for_logout(second)
    await wait_for_logout(thief)
    assert await is_logged_in(bob)


async def test_a_disabled_person_is_logged_out_within_seconds(chat: Chat, people: People) -> None:
    bob = people.browser(chat, "bob")
    persons = (await chat.site.client.list_people()).data
    bobs_id = next(person.id for person in persons if person.name == "bob")
    assert await is_logged_in(bob)

    await chat.site.client.update_person(bobs_id, disabled=True)
    await wait_for_logout(bob)


async def test_a_deleted_person_is_logged_out_within_seconds(chat: Chat, people: People) -> None:
    persons = (await chat.site.client.list_people()).data
    bob = people.browser(chat, "bob")
    assert await is_logged_in(bob)

    await chat.site.client.delete_person(
        next(person.id for person in persons if person.name == "bob")
    )
    await wait_for_logout(bob)


async def test_a_new_password_ends_all_other_logins(chat: Chat, people: People) -> None:
    first, second = people.browser(chat, "bob"), people.browser(chat, "bob")
    change_response = await first.post("/api/password", {"old": PASSWORD, "new": NEW_PASSWORD})

    assert change_response.status_code == 200
    assert await is_logged_in(first)
    await wait_for_logout(second)
    old_login = await chat.browser().post("/api/login", {"name": "bob", "password": PASSWORD})
    assert old_login.status_code == 401
    await chat.browser().log_in("bob", NEW_PASSWORD)


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [("wrong horse battery", NEW_PASSWORD, 403), (PASSWORD, "short", 422), (PASSWORD, "", 422)],
)
async def test_a_password_is_not_changed_without_the_old_one_or_to_a_weak_one(
    chat: Chat, people: People, old: str, new: str, status: int
) -> None:
    bob = people.browser(chat, "bob")

    refusal = await bob.post("/api/password", {"old": old, "new": new})
    assert refusal.status_code == status
    await chat.browser().log_in("bob")


@pytest.mark.parametrize("name", ["bob", "nobody"])
async def test_guessing_ends_after_a_few_and_says_when_to_go_on(chat: Chat, name: str) -> None:
    for number in range(GUESSES_OF_A_NAME - 1):
        chat.site.limits.guesses.take(name, f"198.51.100.{number}")
    wrong_login = {"name": name, "password": "wrong horse"}
    answers = [await chat.browser().post("/api/login", wrong_login) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [401, 429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert answers[-1].json["code"] == "too_many_requests"
    right_response = await chat.browser().post("/api/login", {"name": name, "password": PASSWORD})
    assert right_response.status_code == 429  # or it would say that the guess was right
    await chat.browser().log_in("ann")


async def test_behind_a_proxy_it_is_the_browsers_address_that_is_counted(chat: Chat) -> None:
    for number in range(GUESSES_OF_AN_ADDRESS):
        chat.site.limits.guesses.take(f"name {number}", "198.51.100.1")

    def behind_the_proxy(forwarded_for: str) -> Browser:
        return chat.browser(peer="10.0.0.1", headers={"X-Forwarded-For": forwarded_for})

    guesser = behind_the_proxy("198.51.100.2, 198.51.100.1")  # the first is only a claim
    refusal = await guesser.post("/api/login", {"name": "ann", "password": PASSWORD})
    assert refusal.status_code == 429
    await behind_the_proxy("198.51.100.1, 198.51.100.2").log_in("ann")


async def test_another_site_logs_nobody_in(chat: Chat) -> None:
    body = {"name": "ann", "password": PASSWORD}
    foreign = await chat.browser().post("/api/login", body, {"Origin": "https://evil.example"})
    form = await chat.browser().open(
        "POST",
        "/api/login",
        headers={"Origin": "https://evil.example"},
        data='{"name": "ann", "password": "' + PASSWORD + '"}',
        content_type="text/plain",
    )

    for response in (foreign, form):
        assert response.status_code == 403
        assert "Set-Cookie" not in response.headers


async def test_messages_are_counted_for_each_person(chat: Chat, people: People) -> None:
    ann, bob = people.browser(chat, "ann"), people.browser(chat, "bob")
    answers = [await ann.post("/api/messages/process", {"content": "hi"}) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 20
    assert (await bob.post("/api/messages/process", {"content": "hi"})).status_code == 200


async def test_other_kinds_of_login_are_switched_off(chat: Chat) -> None:
    assert (await chat.browser().get("/login/oidc")).status_code == 404
    assert not await is_logged_in(
        chat.browser(peer="10.0.0.1", headers={"X-Forwarded-User": "Ann"})
    )


async def test_no_password_is_logged_or_sent_back(
    chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secret = "hunter2 hunter2"
    refused_login = await chat.browser().post("/api/login", {"name": "ann", "password": secret})
    malformed_login = await chat.browser().post("/api/login", {"name": 7, "password": secret})

    for text in (refused_login.text, malformed_login.text, caplog.text):
        assert secret not in text
