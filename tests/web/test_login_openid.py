"""In through OpenID Connect: whom the provider vouches for, and nobody whom it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from joserfc.jwk import OctKey, RSAKey

from antiphon.web.limits import LOGINS_AT_ONCE
from tests.support.web.identity_provider import (
    CLIENT,
    SECRET,
    Claims,
    Provider,
    foreign_key,
    running,
)
from tests.support.web.visiting import Browser, Chat, open_chat

ADDRESS = "http://localhost:8000"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running() as provider:
        yield provider


def chat_with(issuer: str, **changes: Any) -> AbstractAsyncContextManager[Chat]:
    usual = {
        "login": "oidc",
        "oidc_issuer": issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "oidc_admins": ("Boss@example.org",),
    }
    return open_chat(**{**usual, **changes})


@pytest.fixture
async def chat(provider: Provider) -> AsyncIterator[Chat]:
    async with chat_with(provider.issuer) as chat:
        yield chat


async def log_in(browser: Browser, provider: Provider, begin: str = "/login/oidc") -> str:
    """Through the provider and back; where the browser is sent in the end."""
    away = await browser.get(begin)
    assert away.status_code == 303, away.text
    return await come_back(browser, provider.agree(away.headers["Location"]))


async def come_back(browser: Browser, callback: str) -> str:
    back = await browser.get(callback, {"Sec-Fetch-Site": "cross-site"})
    assert back.status_code == 303, back.text
    return back.headers["Location"]


async def people(chat: Chat) -> list[tuple[str, str, str | None]]:
    found = (await chat.site.client.list_people()).data
    return [(person.name, person.role, person.subject) for person in found]


async def is_in(browser: Browser) -> bool:
    return (await browser.get("/api/nothing")).status_code == 404


async def test_whom_the_provider_knows_is_made_at_first_sight_and_found_again(
    chat: Chat, provider: Provider
) -> None:
    for _ in range(2):
        browser = chat.browser()
        assert await log_in(browser, provider) == "/"
        assert await is_in(browser)

    assert await people(chat) == [("ann", "user", f"{provider.issuer}|1")]


async def test_the_provider_is_asked_for_a_code_with_a_challenge_a_state_and_a_nonce(
    chat: Chat, provider: Provider
) -> None:
    await log_in(chat.browser(), provider)

    asked = provider.asked[0]
    assert asked["response_type"] == "code"
    assert asked["client_id"] == CLIENT
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{ADDRESS}/login/oidc/callback"
    assert set(asked["scope"].split()) == {"openid", "profile", "email"}
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 20


async def test_behind_a_proxy_the_way_back_is_the_public_address(provider: Provider) -> None:
    public = "https://chat.example.org"
    async with chat_with(provider.issuer, public_url=public) as chat:
        browser = chat.browser(public)
        await log_in(browser, provider)

        assert provider.asked[0]["redirect_uri"] == f"{public}/login/oidc/callback"
        assert await is_in(browser)


async def test_people_are_told_apart_by_their_subject_and_by_nothing_else(
    chat: Chat, provider: Provider
) -> None:
    await chat.site.client.create_person("ann", role="admin")
    await log_in(chat.browser(), provider)
    provider.claims = {"sub": "2", "preferred_username": "ann", "email": "ann@example.org"}
    await log_in(chat.browser(), provider)

    assert [(name, role) for name, role, _ in await people(chat)] == [
        ("ann", "admin"),
        ("ann 2", "user"),
        ("ann 3", "user"),
    ]


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"email": "boss@EXAMPLE.org", "email_verified": True}, "admin"),
        ({"email": "boss@example.org", "email_verified": False}, "user"),
        ({"email": "boss@example.org"}, "user"),
        ({"email": "boss@example.org", "email_verified": "false"}, "user"),
        ({"email": "other@example.org", "email_verified": True}, "user"),
        ({"preferred_username": "boss@example.org"}, "user"),
    ],
)
async def test_admins_are_those_whose_verified_address_is_named(
    chat: Chat, provider: Provider, claims: Claims, role: str
) -> None:
    provider.claims = {"sub": "9", **claims}
    await log_in(chat.browser(), provider)

    assert [found for _, found, _ in await people(chat)] == [role]


async def test_who_becomes_admin_at_the_provider_is_one_at_the_next_login(
    chat: Chat, provider: Provider
) -> None:
    await log_in(chat.browser(), provider)
    provider.claims |= {"email": "boss@example.org", "email_verified": True}
    await log_in(chat.browser(), provider)

    assert [role for _, role, _ in await people(chat)] == ["admin"]


@pytest.mark.parametrize(
    "name",
    ["\u202eeve\x00", "<script>alert(1)</script>", "x" * 5000, "", 7, ["ann"], None, " "],
)
async def test_any_name_that_the_provider_gives_is_made_one(
    chat: Chat, provider: Provider, name: object
) -> None:
    provider.claims = {"sub": "1", "preferred_username": name}

    assert await log_in(chat.browser(), provider) == "/"
    ((kept, _, _),) = await people(chat)
    assert kept.isprintable()
    assert 0 < len(kept) <= 128


async def test_the_browser_goes_on_to_the_page_it_wanted(chat: Chat, provider: Provider) -> None:
    begin = "/login/oidc?next=/t/thread_1"

    assert await log_in(chat.browser(), provider, begin) == "/t/thread_1"


@pytest.mark.parametrize(
    "elsewhere",
    [
        *("https://evil.example", "//evil.example", "/\\evil.example", "/%5cevil.example"),
        *("javascript:alert(1)", "/t/../../evil", "/t/x\r\nX: y", "/api/logout", "/login", "evil"),
    ],
)
async def test_nobody_is_sent_elsewhere_from_here(
    chat: Chat, provider: Provider, elsewhere: str
) -> None:
    away = await chat.browser().open("GET", "/login/oidc", query_string={"next": elsewhere})
    assert away.headers["Location"].startswith(provider.issuer)

    browser = chat.browser()
    away = await browser.open("GET", "/login/oidc", query_string={"next": elsewhere})
    assert await come_back(browser, provider.agree(away.headers["Location"])) == "/"


async def test_a_login_that_another_browser_began_is_not_ended_here(
    chat: Chat, provider: Provider
) -> None:
    theirs, mine = chat.browser(), chat.browser()
    away = await theirs.get("/login/oidc")
    callback = provider.agree(away.headers["Location"])

    assert await come_back(mine, callback) == "/login?problem=oidc_stale"
    assert not await is_in(mine)
    assert await come_back(theirs, callback) == "/"


@pytest.mark.parametrize("callback", ["", "?code=x", "?state=x", "?code=x&state=x", "?error=x"])
async def test_a_way_back_that_nobody_was_sent_on_leads_to_the_login(
    chat: Chat, callback: str
) -> None:
    where = await come_back(chat.browser(), f"/login/oidc/callback{callback}")

    assert where in ("/login?problem=oidc_stale", "/login?problem=oidc_refused")


async def test_a_way_back_is_gone_once(chat: Chat, provider: Provider) -> None:
    browser = chat.browser()
    away = await browser.get("/login/oidc")
    callback = provider.agree(away.headers["Location"])

    assert await come_back(browser, callback) == "/"
    assert await come_back(browser, callback) == "/login?problem=oidc_stale"


async def test_what_the_provider_says_in_its_refusal_is_told_to_nobody(
    chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    hostile = "call 0900-123456 at once"
    callback = f"/login/oidc/callback?error=access_denied&error_description={hostile}"

    assert await come_back(chat.browser(), callback) == "/login?problem=oidc_refused"
    assert hostile not in caplog.text


async def test_the_cookie_is_new_after_the_login(chat: Chat, provider: Provider) -> None:
    browser = chat.browser()
    away = await browser.get("/login/oidc")
    before = browser.cookie()
    await come_back(browser, provider.agree(away.headers["Location"]))

    assert before
    assert browser.cookie() != before
    assert not await is_in(chat.browser().takes(before))


async def test_many_logins_that_were_begun_fit_into_the_cookie(
    chat: Chat, provider: Provider
) -> None:
    browser = chat.browser()
    for _ in range(20):
        away = await browser.get("/login/oidc")

    assert len(str(browser.cookie())) < 3000
    assert await come_back(browser, provider.agree(away.headers["Location"])) == "/"


def without(name: str) -> Callable[[Claims], Claims]:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


def having(**changes: Any) -> Callable[[Claims], Claims]:
    return lambda claims: {**claims, **changes}


FORGED: dict[str, dict[str, Any]] = {
    "for another client": {"change": having(aud="another")},
    "for another client, in our name": {"change": having(aud="another", azp=CLIENT)},
    "for several, by another": {"change": having(aud=[CLIENT, "another"], azp="another")},
    "by another issuer": {"change": having(iss="https://evil.example")},
    "of yesterday": {"change": having(exp=1)},
    "of tomorrow": {"change": having(iat=2**33, nbf=2**33)},
    "with another nonce": {"change": having(nonce="another")},
    "without a nonce": {"change": without("nonce")},
    "without an end": {"change": without("exp")},
    "about nobody": {"change": without("sub")},
    "about nobody in many words": {"change": having(sub="")},
    "about a list": {"change": having(sub=["1"])},
    "about too much": {"change": having(sub="x" * 300)},
    "signed by another": {"shown": foreign_key()},
    "signed by the secret that it shares with us": {
        "key": OctKey.import_key(SECRET.encode() * 4, {"kid": "a"}),
        "shown": foreign_key(),
        "algorithm": "HS256",
    },
    "signed by nobody": {"algorithm": "none"},
    "that is none": {"token": {"id_token": "garbage"}},
    "that is no text": {"token": {"id_token": 7}},
    "that is missing": {"token": {"id_token": None}},
}


@pytest.mark.parametrize("forged", FORGED)
async def test_a_token_that_does_not_hold_lets_nobody_in(
    chat: Chat, provider: Provider, forged: str
) -> None:
    for name, value in FORGED[forged].items():
        setattr(provider, name, value)
    browser = chat.browser()

    where = await log_in(browser, provider)
    assert where in ("/login?problem=oidc_untrusted", "/login?problem=oidc_unreachable")
    assert not await is_in(browser)
    assert await people(chat) == []


async def test_an_answer_of_another_provider_is_not_taken(chat: Chat, provider: Provider) -> None:
    browser = chat.browser()
    away = await browser.get("/login/oidc")
    callback = provider.agree(away.headers["Location"], iss="https://evil.example")

    assert await come_back(browser, callback) == "/login?problem=oidc_untrusted"


async def test_a_provider_that_has_new_keys_is_asked_for_them(
    chat: Chat, provider: Provider
) -> None:
    old = foreign_key().as_dict()
    provider.shown = RSAKey.import_key({**old, "kid": "old"})
    await log_in(chat.browser(), provider)
    provider.shown = None

    assert await log_in(chat.browser(), provider) == "/"


async def test_a_provider_that_takes_secrets_in_the_body_alone_is_told_so(
    chat: Chat, provider: Provider
) -> None:
    provider.about = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}

    assert await log_in(chat.browser(), provider) == "/"


@pytest.mark.parametrize(
    "about",
    [
        {"issuer": "https://evil.example"},
        {"authorization_endpoint": None},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": "http://169.254.169.254/keys"},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
async def test_a_provider_that_says_odd_things_of_itself_is_said_to_be_out_of_order(
    chat: Chat, provider: Provider, about: Claims, caplog: pytest.LogCaptureFixture
) -> None:
    provider.about = about

    away = await chat.browser().get("/login/oidc")
    assert away.headers["Location"] == "/login?problem=oidc_unreachable"
    assert "OpenID Connect" in caplog.text


async def test_a_provider_that_does_not_answer_is_said_to_be_out_of_order_and_asked_again(
    provider: Provider,
) -> None:
    async with chat_with("http://127.0.0.1:9") as chat:
        for _ in range(2):
            away = await chat.browser().get("/login/oidc")
            assert away.headers["Location"] == "/login?problem=oidc_unreachable"


async def test_a_provider_that_is_silent_leaves_room_for_everybody_else(
    chat: Chat, provider: Provider
) -> None:
    provider.silent = True
    begun = [chat.browser().get("/login/oidc") for _ in range(LOGINS_AT_ONCE + 1)]
    tasks = [asyncio.create_task(each) for each in begun]

    ended, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [each.result().headers["Location"] for each in ended] == [
        "/login?problem=oidc_unreachable"
    ]
    assert (await chat.browser().get("/login")).status_code == 200
    provider.awake.set()
    for task in waiting:
        assert (await task).headers["Location"].startswith(provider.issuer)


async def test_who_is_disabled_does_not_come_in_again(chat: Chat, provider: Provider) -> None:
    await log_in(chat.browser(), provider)
    (person,) = (await chat.site.client.list_people()).data
    await chat.site.client.update_person(person.id, disabled=True)

    assert await log_in(chat.browser(), provider) == "/login?problem=person_disabled"


async def test_the_password_of_a_person_opens_nothing_here(chat: Chat, provider: Provider) -> None:
    await chat.person("ann")

    body = {"name": "ann", "password": "correct horse battery"}
    assert (await chat.browser().post("/api/login", body)).status_code == 404
