"""Logins by OpenID Connect: persons whom the provider vouches for get in, and nobody else."""

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
    usual_settings = {
        "login": "oidc",
        "oidc_issuer": issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "oidc_admins": ("Boss@example.org",),
    }
    return open_chat(**{**usual_settings, **changes})


@pytest.fixture
async def chat(provider: Provider) -> AsyncIterator[Chat]:
    async with chat_with(provider.issuer) as chat:
        yield chat


async def log_in(browser: Browser, provider: Provider, start: str = "/login/oidc") -> str:
    """Log in at the provider; return the address to which the browser is sent in the end."""
    redirect = await browser.get(start)
    assert redirect.status_code == 303, redirect.text
    return await follow_callback(browser, provider.agree(redirect.headers["Location"]))


async def follow_callback(browser: Browser, callback: str) -> str:
    answer = await browser.get(callback, {"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


async def list_people(chat: Chat) -> list[tuple[str, str, str | None]]:
    persons = (await chat.site.client.list_people()).data
    return [(person.name, person.role, person.subject) for person in persons]


async def is_logged_in(browser: Browser) -> bool:
    return (await browser.get("/api/nothing")).status_code == 404


async def test_a_person_whom_the_provider_knows_is_created_at_the_first_login_and_found_again(
    chat: Chat, provider: Provider
) -> None:
    for _ in range(2):
        browser = chat.browser()
        assert await log_in(browser, provider) == "/"
        assert await is_logged_in(browser)

    assert await list_people(chat) == [("ann", "user", f"{provider.issuer}|1")]


async def test_the_provider_is_asked_for_a_code_with_a_challenge_a_state_and_a_nonce(
    chat: Chat, provider: Provider
) -> None:
    await log_in(chat.browser(), provider)

    query = provider.asked[0]
    assert query["response_type"] == "code"
    assert query["client_id"] == CLIENT
    assert query["code_challenge_method"] == "S256"
    assert query["redirect_uri"] == f"{ADDRESS}/login/oidc/callback"
    assert set(query["scope"].split()) == {"openid", "profile", "email"}
    assert min(len(query[name]) for name in ("state", "nonce", "code_challenge")) >= 20


async def test_behind_a_proxy_the_way_back_is_the_public_address(provider: Provider) -> None:
    public_url = "https://chat.example.org"
    async with chat_with(provider.issuer, public_url=public_url) as chat:
        browser = chat.browser(public_url)
        await log_in(browser, provider)

        assert provider.asked[0]["redirect_uri"] == f"{public_url}/login/oidc/callback"
        assert await is_logged_in(browser)


async def test_people_are_told_apart_by_their_subject_and_by_nothing_else(
    chat: Chat, provider: Provider
) -> None:
    await chat.site.client.create_person("ann", role="admin")
    await log_in(chat.browser(), provider)
    provider.claims = {"sub": "2", "preferred_username": "ann", "email": "ann@example.org"}
    await log_in(chat.browser(), provider)

    assert [(name, role) for name, role, _ in await list_people(chat)] == [
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

    assert [stored_role for _, stored_role, _ in await list_people(chat)] == [role]


async def test_a_person_who_becomes_admin_at_the_provider_is_one_at_the_next_login(
    chat: Chat, provider: Provider
) -> None:
    await log_in(chat.browser(), provider)
    provider.claims |= {"email": "boss@example.org", "email_verified": True}
    await log_in(chat.browser(), provider)

    assert [role for _, role, _ in await list_people(chat)] == ["admin"]


@pytest.mark.parametrize(
    "name",
    ["\u202eeve\x00", "<script>alert(1)</script>", "x" * 5000, "", 7, ["ann"], None, " "],
)
async def test_any_name_that_the_provider_gives_becomes_a_valid_name(
    chat: Chat, provider: Provider, name: object
) -> None:
    provider.claims = {"sub": "1", "preferred_username": name}

    assert await log_in(chat.browser(), provider) == "/"
    ((stored_name, _, _),) = await list_people(chat)
    assert stored_name.isprintable()
    assert 0 < len(stored_name) <= 128


async def test_the_browser_goes_on_to_the_page_it_wanted(chat: Chat, provider: Provider) -> None:
    start = "/login/oidc?next=/t/thread_1"

    assert await log_in(chat.browser(), provider, start) == "/t/thread_1"


@pytest.mark.parametrize(
    "address",
    [
        *("https://evil.example", "//evil.example", "/\\evil.example", "/%5cevil.example"),
        *("javascript:alert(1)", "/t/../../evil", "/t/x\r\nX: y", "/api/logout", "/login", "evil"),
    ],
)
async def test_a_login_does_not_redirect_to_another_site(
    chat: Chat, provider: Provider, address: str
) -> None:
    redirect = await chat.browser().open("GET", "/login/oidc", query_string={"next": address})
    assert redirect.headers["Location"].startswith(provider.issuer)

    browser = chat.browser()
    redirect = await browser.open("GET", "/login/oidc", query_string={"next": address})
    assert await follow_callback(browser, provider.agree(redirect.headers["Location"])) == "/"


async def test_a_login_that_another_browser_began_is_not_ended_here(
    chat: Chat, provider: Provider
) -> None:
    other, browser = chat.browser(), chat.browser()
    redirect = await other.get("/login/oidc")
    callback = provider.agree(redirect.headers["Location"])

    assert await follow_callback(browser, callback) == "/login?problem=oidc_stale"
    assert not await is_logged_in(browser)
    assert await follow_callback(other, callback) == "/"


@pytest.mark.parametrize("callback", ["", "?code=x", "?state=x", "?code=x&state=x", "?error=x"])
async def test_a_callback_of_a_login_that_nobody_began_leads_to_the_login(
    chat: Chat, callback: str
) -> None:
    location = await follow_callback(chat.browser(), f"/login/oidc/callback{callback}")

    assert location in ("/login?problem=oidc_stale", "/login?problem=oidc_refused")


async def test_a_callback_works_once(chat: Chat, provider: Provider) -> None:
    browser = chat.browser()
    redirect = await browser.get("/login/oidc")
    callback = provider.agree(redirect.headers["Location"])

    assert await follow_callback(browser, callback) == "/"
    assert await follow_callback(browser, callback) == "/login?problem=oidc_stale"


async def test_the_text_of_a_refusal_by_the_provider_is_neither_shown_nor_logged(
    chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    hostile = "call 0900-123456 at once"
    callback = f"/login/oidc/callback?error=access_denied&error_description={hostile}"

    assert await follow_callback(chat.browser(), callback) == "/login?problem=oidc_refused"
    assert hostile not in caplog.text


async def test_the_cookie_is_new_after_the_login(chat: Chat, provider: Provider) -> None:
    browser = chat.browser()
    redirect = await browser.get("/login/oidc")
    first_cookie = browser.cookie()
    await follow_callback(browser, provider.agree(redirect.headers["Location"]))

    assert first_cookie
    assert browser.cookie() != first_cookie
    assert not await is_logged_in(chat.browser().takes(first_cookie))


async def test_many_logins_that_were_begun_fit_into_the_cookie(
    chat: Chat, provider: Provider
) -> None:
    browser = chat.browser()
    for _ in range(20):
        redirect = await browser.get("/login/oidc")

    assert len(str(browser.cookie())) < 3000
    assert await follow_callback(browser, provider.agree(redirect.headers["Location"])) == "/"


def remove_claim(name: str) -> Callable[[Claims], Claims]:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


def set_claims(**changes: Any) -> Callable[[Claims], Claims]:
    return lambda claims: {**claims, **changes}


FORGERIES: dict[str, dict[str, Any]] = {
    "for another client": {"change": set_claims(aud="another")},
    "for another client, in our name": {"change": set_claims(aud="another", azp=CLIENT)},
    "for several, by another": {"change": set_claims(aud=[CLIENT, "another"], azp="another")},
    "by another issuer": {"change": set_claims(iss="https://evil.example")},
    "of yesterday": {"change": set_claims(exp=1)},
    "of tomorrow": {"change": set_claims(iat=2**33, nbf=2**33)},
    "with another nonce": {"change": set_claims(nonce="another")},
    "without a nonce": {"change": remove_claim("nonce")},
    "without an end": {"change": remove_claim("exp")},
    "about nobody": {"change": remove_claim("sub")},
    "about nobody in many words": {"change": set_claims(sub="")},
    "about a list": {"change": set_claims(sub=["1"])},
    "about too much": {"change": set_claims(sub="x" * 300)},
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


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_an_invalid_token_logs_nobody_in(
    chat: Chat, provider: Provider, forgery: str
) -> None:
    for name, value in FORGERIES[forgery].items():
        setattr(provider, name, value)
    browser = chat.browser()

    location = await log_in(browser, provider)
    assert location in ("/login?problem=oidc_untrusted", "/login?problem=oidc_unreachable")
    assert not await is_logged_in(browser)
    assert await list_people(chat) == []


async def test_an_answer_of_another_provider_is_not_taken(chat: Chat, provider: Provider) -> None:
    browser = chat.browser()
    redirect = await browser.get("/login/oidc")
    callback = provider.agree(redirect.headers["Location"], iss="https://evil.example")

    assert await follow_callback(browser, callback) == "/login?problem=oidc_untrusted"


async def test_a_provider_that_has_new_keys_is_asked_for_them(
    chat: Chat, provider: Provider
) -> None:
    old_key = foreign_key().as_dict()
    provider.shown = RSAKey.import_key({**old_key, "kid": "old"})
    await log_in(chat.browser(), provider)
    provider.shown = None

    assert await log_in(chat.browser(), provider) == "/"


async def test_a_provider_that_takes_secrets_in_the_body_alone_gets_them_there(
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
async def test_a_provider_with_invalid_metadata_is_reported_as_unreachable(
    chat: Chat, provider: Provider, about: Claims, caplog: pytest.LogCaptureFixture
) -> None:
    provider.about = about

    redirect = await chat.browser().get("/login/oidc")
    assert redirect.headers["Location"] == "/login?problem=oidc_unreachable"
    assert "OpenID Connect" in caplog.text


async def test_a_provider_that_does_not_answer_is_reported_as_unreachable_and_asked_again(
    provider: Provider,
) -> None:
    async with chat_with("http://127.0.0.1:9") as chat:
        for _ in range(2):
            redirect = await chat.browser().get("/login/oidc")
            assert redirect.headers["Location"] == "/login?problem=oidc_unreachable"


async def test_a_silent_provider_does_not_block_other_requests(
    chat: Chat, provider: Provider
) -> None:
    provider.silent = True
    requests = [chat.browser().get("/login/oidc") for _ in range(LOGINS_AT_ONCE + 1)]
    tasks = [asyncio.create_task(each) for each in requests]

    done_tasks, waiting_tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert [each.result().headers["Location"] for each in done_tasks] == [
        "/login?problem=oidc_unreachable"
    ]
    assert (await chat.browser().get("/login")).status_code == 200
    provider.awake.set()
    for task in waiting_tasks:
        assert (await task).headers["Location"].startswith(provider.issuer)


async def test_a_disabled_person_does_not_get_in_again(chat: Chat, provider: Provider) -> None:
    await log_in(chat.browser(), provider)
    (person,) = (await chat.site.client.list_people()).data
    await chat.site.client.update_person(person.id, disabled=True)

    assert await log_in(chat.browser(), provider) == "/login?problem=person_disabled"


async def test_with_this_login_the_password_of_a_person_opens_nothing(
    chat: Chat, provider: Provider
) -> None:
    await chat.person("ann")

    body = {"name": "ann", "password": "correct horse battery"}
    assert (await chat.browser().post("/api/login", body)).status_code == 404
