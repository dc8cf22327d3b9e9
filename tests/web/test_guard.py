"""The guard of the web chat: every route is tried with every attempt to pass the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from antiphon.web.app import MAX_REQUEST_BYTES
from tests.support.web.every_route import CHANGE, CLIENT, LOGIN, PAGE, READ, ROWS, routes
from tests.support.web.visiting import Browser, Chat, Headers, open_chat

STRANGERS: Mapping[str, Headers] = {
    "a foreign origin": {"Origin": "https://evil.example"},
    "an origin that is null": {"Origin": "null"},
    "another port of this machine": {"Origin": "http://localhost:9999"},
    "a page of another site": {"Origin": None, "Sec-Fetch-Site": "cross-site"},
    "a page of a sibling": {"Origin": None, "Sec-Fetch-Site": "same-site"},
}
UPLOADS = frozenset({"POST /api/files", "POST /api/transcriptions"})
"""Routes that take a form instead of JSON."""
OTHER_MEDIA_TYPES: Mapping[str, Headers] = {
    name: {"Content-Type": name}
    for name in ("text/plain", "application/x-www-form-urlencoded", "application/json-patch")
}
GUARDED = (401, 403, 415, 421)


@pytest.fixture
async def chat() -> AsyncIterator[Chat]:
    async with open_chat() as chat:
        yield chat


@pytest.fixture
async def locked() -> AsyncIterator[Chat]:
    async with open_chat(login="password", allowed_hosts=("chat.lan",)) as chat:
        yield chat


async def request_routes(
    chat: Chat, browser: Browser, headers: Headers, kinds: tuple[str, ...]
) -> dict[str, int]:
    """Return the status of each route of these kinds for these headers."""
    by_route = {}
    for route, path in routes(chat.app).items():
        if ROWS[route] in kinds:
            method = route.partition(" ")[0]
            body = None if method == "GET" else {}
            answer = await browser.open(method, path, body, headers)
            by_route[route] = answer.status_code
            answer.close()
    return by_route


async def test_every_route_has_its_row(chat: Chat) -> None:
    assert set(routes(chat.app)) <= set(ROWS)


async def test_a_logged_in_browser_at_the_page_of_the_chat_passes_everywhere(chat: Chat) -> None:
    browser = await chat.browser().arrive()

    statuses = await request_routes(chat, browser, {}, (PAGE, READ, CHANGE, CLIENT, LOGIN))
    assert {
        route: status
        for route, status in statuses.items()
        if status in GUARDED and route not in UPLOADS
    } == {}


async def test_a_foreign_host_is_not_answered_anywhere(chat: Chat) -> None:
    browser = await chat.browser().arrive()

    statuses = await request_routes(
        chat, browser, {"Host": "rebound.example"}, (PAGE, READ, CHANGE, CLIENT, LOGIN)
    )
    assert set(statuses.values()) == {421}
    assert (await browser.get("/healthz", {"Host": "10.0.0.7:8000"})).status_code == 200


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_another_page_changes_and_reads_nothing(chat: Chat, stranger: str) -> None:
    browser = await chat.browser().arrive()

    statuses = await request_routes(
        chat, browser, STRANGERS[stranger], (READ, CHANGE, CLIENT, LOGIN)
    )
    assert {route: status for route, status in statuses.items() if status != 403} == {}


@pytest.mark.parametrize("media_type", OTHER_MEDIA_TYPES)
async def test_media_types_that_a_form_could_send_are_refused(chat: Chat, media_type: str) -> None:
    browser = await chat.browser().arrive()

    statuses = await request_routes(
        chat, browser, OTHER_MEDIA_TYPES[media_type], (CHANGE, CLIENT, LOGIN)
    )
    assert {route: status for route, status in statuses.items() if status != 415} == {}


@pytest.mark.parametrize("token", ["", "another", "é"])
async def test_without_the_token_of_the_session_nothing_changes(chat: Chat, token: str) -> None:
    browser = await chat.browser().arrive()

    statuses = await request_routes(chat, browser, {"X-Antiphon-CSRF": token}, (CHANGE,))
    # Uploads are refused earlier, since this body is no form.
    assert {r: status for r, status in statuses.items() if status != 403 and r not in UPLOADS} == {}


@pytest.mark.parametrize("cookie", [None, "garbage", "eyJwZXJzb24iOiJsb2NhbCJ9.aaaaaa.bbbb"])
async def test_without_a_valid_cookie_nobody_is_logged_in(locked: Chat, cookie: str | None) -> None:
    browser = locked.browser()
    if cookie:
        browser.takes(cookie)

    statuses = await request_routes(locked, browser, {}, (READ, CHANGE, CLIENT))
    assert {r: status for r, status in statuses.items() if status != 401 and r not in UPLOADS} == {}


async def test_on_loopback_the_page_makes_the_cookie_and_it_suffices(chat: Chat) -> None:
    browser = chat.browser()

    first_response = await browser.post("/api/messages/process", {"content": "hi"})
    page = await browser.get("/")
    second_response = await browser.post("/api/messages/process", {"content": "hi"})
    assert [first_response.status_code, second_response.status_code] == [401, 200]
    assert [cookie.split("=")[0] for cookie in page.headers.getlist("Set-Cookie")] == [
        "antiphon_session"
    ]
    attributes = page.headers["Set-Cookie"]
    assert "HttpOnly" in attributes
    assert "SameSite=Lax" in attributes
    assert "Secure" not in attributes


async def test_the_token_of_one_browser_does_not_hold_for_another(chat: Chat) -> None:
    first, second = await chat.browser().arrive(), await chat.browser().arrive()

    second.csrf = first.csrf
    logout_refusal = await second.post("/api/logout", {})
    message_refusal = await second.post("/api/messages/process", {"content": "hi"})
    assert [logout_refusal.status_code, message_refusal.status_code] == [403, 403]
    assert first.cookie() != second.cookie()


async def test_a_cookie_of_another_installation_is_refused(
    chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = (await chat.browser().arrive()).cookie()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))

    async with open_chat() as other:
        answer = await other.browser().takes(str(cookie)).get("/api/threads")
    assert answer.status_code == 401


async def test_a_cookie_from_before_there_was_a_login_opens_nothing_after(chat: Chat) -> None:
    cookie = (await chat.browser().arrive()).cookie()

    async with open_chat(login="password") as locked:
        answer = await locked.browser().takes(str(cookie)).get("/api/me")
    assert answer.status_code == 401
    assert (answer.json["code"], answer.json["login"]) == ("unauthorized", "password")


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("192.168.0.9", {}),
        ("", {}),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.7"}),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1, 203.0.113.7"}),
    ],
)
async def test_without_a_login_only_this_machine_is_answered(
    chat: Chat, peer: str, headers: Headers
) -> None:
    answer = await chat.browser(peer=peer).get("/", headers)

    assert answer.status_code == 403
    assert "--login" in answer.json["hint"]


async def test_a_proxy_on_this_machine_for_this_machine_is_let_through(chat: Chat) -> None:
    answer = await chat.browser().get("/", {"X-Forwarded-For": "127.0.0.1, ::1"})

    assert answer.status_code == 200


async def test_a_host_name_of_the_settings_is_answered_and_no_other(locked: Chat) -> None:
    known_host = await locked.browser("http://chat.lan").get("/")
    other_host = await locked.browser("http://chat.lan.evil.example").get("/")

    assert [known_host.status_code, other_host.status_code] == [200, 421]
    assert other_host.json["code"] == "misdirected"


@pytest.mark.parametrize("path", ["/", "/api/me", "/api/nothing", "/nothing", "/login/oidc"])
async def test_every_answer_has_its_headers(chat: Chat, path: str) -> None:
    answer = await (await chat.browser().arrive()).get(path)

    headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"
    assert "camera=()" in headers["Permissions-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert not [name for name, _ in headers if name.lower().startswith("access-control")]
    if path.startswith("/api/"):
        assert headers["Cache-Control"] == "no-store"


async def test_the_page_may_run_its_own_scripts_and_nothing_else(chat: Chat) -> None:
    policy = (await chat.browser().get("/")).headers["Content-Security-Policy"]

    assert "script-src 'self';" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy


HOSTILE = "x\r\nSet-Cookie: a=b, <script>alert(1)</script>, ../../../etc/passwd;q=é"


@pytest.mark.parametrize("name", ["Accept-Language", "Referer", "User-Agent", "X-Forwarded-Proto"])
async def test_hostile_headers_are_not_sent_back(chat: Chat, name: str) -> None:
    browser = await chat.browser().arrive()
    hostile = HOSTILE.replace("\r\n", "")  # no server lets a line break through

    for path in ("/", "/api/me", "/api/nothing"):
        answer = await browser.get(path, {name: hostile})
        assert answer.status_code in (200, 404)
        assert "alert(1)" not in answer.text
        assert "alert(1)" not in str(answer.headers)


@pytest.mark.parametrize(
    "path",
    [
        "/t/x%0d%0aSet-Cookie:%20a=b",
        "/login/oidc?next=//evil.example%0d%0aX: y",
        "/api/runs/%0d%0a/stream?after=%0d%0a",
        "/api/threads/..%2f..%2fetc/messages",
        "/static/../../secret",
    ],
)
async def test_no_address_writes_a_header(chat: Chat, path: str) -> None:
    answer = await (await chat.browser().arrive()).get(path)

    assert answer.status_code < 500
    assert "a=b" not in str(answer.headers.getlist("Set-Cookie"))
    assert "evil" not in answer.headers.get("Location", "")


async def test_a_preflight_of_another_origin_is_refused(chat: Chat) -> None:
    answer = await chat.browser().open(
        "OPTIONS",
        "/api/messages/process",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )

    assert answer.status_code == 403
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_body_that_is_too_deep_or_none_at_all_is_refused_and_the_next_is_read(
    chat: Chat,
) -> None:
    browser = await chat.browser().arrive()
    deep_body = '{"content": ' + "[" * 100_000 + "]" * 100_000 + "}"
    for data in (
        deep_body,
        "{",
        "",
        "\x00",
        '{"content": "\\ud800"}',
        "[]",
        "7",
        '{"content": NaN}',
    ):
        refusal = await browser.open(
            "POST", "/api/messages/process", data=data, content_type="application/json"
        )
        assert refusal.status_code in (400, 413, 422), data[:40]
        refusal.close()

    assert (await browser.post("/api/messages/process", {"content": "hi"})).status_code == 200


async def test_a_body_that_is_too_large_is_refused(chat: Chat) -> None:
    browser = await chat.browser().arrive()
    refusal = await browser.open(
        "POST", "/api/agui", data=b" " * (MAX_REQUEST_BYTES + 1), content_type="application/json"
    )

    assert refusal.status_code == 413
    assert refusal.json["code"] == "too_large"
