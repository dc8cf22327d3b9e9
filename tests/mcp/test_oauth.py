"""Logins at MCP servers: discovery, login, storage and renewal, with all secrets kept."""

from __future__ import annotations

import asyncio
import logging
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import keyring
import keyring.backends.fail
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringError, PasswordDeleteError

from antiphon.mcp.client.authorization import Login, StoredLogins, system_keyring
from antiphon.mcp.client.oauth import create_auth
from antiphon.mcp.client.oauth_http import LoginCallback, OAuthHttpClient
from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config.server_config import OAuth, ServerConfig
from antiphon.tools.egress_policy import INTERNET, BlockedAddress
from antiphon.types.errors import BadSettings, Unavailable
from tests.support.mcp.locked import Locked, run_locked_server


@pytest.fixture
def server() -> Iterator[Locked]:
    with run_locked_server() as server:
        yield server


@pytest.fixture
def logins(tmp_path: Path) -> StoredLogins:
    return StoredLogins(tmp_path / "logins.json")


class Browser:
    """A person who is logged in already: the page redirects them back at once."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    async def go(self, url: str) -> None:
        self.pages.append(url)
        async with httpx2.AsyncClient(follow_redirects=True) as browser:
            await browser.get(url)

    async def read_pasted_url(self) -> str:
        return await asyncio.Future()


class RemoteBrowser(Browser):
    """A person whose browser cannot reach this machine, and who pastes its last address."""

    async def go(self, url: str) -> None:
        async with httpx2.AsyncClient() as browser:
            self._last_url = (await browser.get(url)).headers["location"]
        self._typed = ["what?", "https://[", self._last_url]

    async def read_pasted_url(self) -> str:
        return self._typed.pop(0)


def config(server: Locked, **more: object) -> ServerConfig:
    return ServerConfig(name="locked", transport="http", url=server.url, **more)  # type: ignore[arg-type]


async def send_request(
    server: Locked, logins: StoredLogins, person: Browser | None = None, **more: object
) -> httpx2.Response:
    """Send one request as a program that was just started."""
    auth = create_auth(config(server, **more), logins, person)
    async with httpx2.AsyncClient(auth=auth) as client:
        return await client.post(server.url, json={"id": 1, "method": "ping"})


async def test_a_login_is_done_once_and_serves_the_next_program(
    server: Locked, logins: StoredLogins
) -> None:
    person = Browser()
    assert (await send_request(server, logins, person)).status_code == 200
    assert (await send_request(server, logins)).status_code == 200

    assert len(person.pages) == 1
    assert server.paths.count("/register") == 1
    assert parse_qs(urlsplit(person.pages[0]).query)["resource"] == [server.url]


async def test_stored_logins_are_readable_by_their_owner_only(
    server: Locked, logins: StoredLogins, tmp_path: Path
) -> None:
    await send_request(server, logins, Browser())

    file = tmp_path / "logins.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "CANARY" in file.read_text()
    assert "CANARY" not in repr(logins.get(server.url))


async def test_nobody_is_asked_in_the_background(server: Locked, logins: StoredLogins) -> None:
    with pytest.raises(Unavailable, match="antiphon mcp login locked"):
        await send_request(server, logins)

    assert set(server.paths) == {"/mcp"}


async def test_a_guarded_server_has_logins_of_its_own(server: Locked, logins: StoredLogins) -> None:
    person = Browser()
    await send_request(server, logins, person)
    with pytest.raises(Unavailable, match="antiphon mcp login locked"):
        await send_request(server, logins, guarded=True)
    await send_request(server, logins, person, guarded=True)

    assert (await send_request(server, logins, guarded=True)).status_code == 200
    assert len(person.pages) == 2
    assert logins.forget(config(server, guarded=True).login_key)
    assert (await send_request(server, logins)).status_code == 200


async def test_a_server_that_wants_a_login_is_failed_and_says_so(
    server: Locked, logins: StoredLogins
) -> None:
    def auth(config: ServerConfig) -> httpx2.Auth | None:
        return create_auth(config, logins)

    async with AsyncMcpServerPool([config(server)], auth=auth) as servers:
        (state,) = await servers.ready(50)
    assert state.status == "failed"
    assert state.why == "it needs a login: antiphon mcp login locked"
    assert state.http_status == 401

    await send_request(server, logins, Browser())
    async with AsyncMcpServerPool([config(server)], auth=auth) as servers:
        assert await servers.ready(50) == ()
        assert [tool.own_name for tool in servers.tools()] == ["secret_word"]


async def test_the_address_of_a_remote_browser_is_pasted(
    server: Locked, logins: StoredLogins
) -> None:
    assert (await send_request(server, logins, RemoteBrowser())).status_code == 200


async def test_an_old_token_is_renewed_before_it_is_sent(
    server: Locked, logins: StoredLogins
) -> None:
    server.expires_in = 1
    await send_request(server, logins, Browser())
    server.expires_in = 3600
    assert (await send_request(server, logins)).status_code == 200

    assert [form["grant_type"] for form in server.forms] == ["authorization_code", "refresh_token"]
    assert server.forms[1]["resource"] == server.url
    assert len(set(server.bearers)) == 3  # none, the first, the second: no old one after that


async def test_a_token_that_is_refused_early_is_renewed_without_a_person(
    server: Locked, logins: StoredLogins
) -> None:
    await send_request(server, logins, Browser())
    server.valid = set()

    assert (await send_request(server, logins)).status_code == 200


async def test_a_login_outlives_an_authorization_server_that_is_down(
    server: Locked, logins: StoredLogins
) -> None:
    await send_request(server, logins, Browser())
    server.valid, server.refused = set(), (503, "later")
    with pytest.raises(Unavailable, match="HTTP 503"):
        await send_request(server, logins)

    server.refused = None
    assert (await send_request(server, logins)).status_code == 200


async def test_a_login_that_was_revoked_is_asked_for_again(
    server: Locked, logins: StoredLogins
) -> None:
    await send_request(server, logins, Browser())
    server.valid, server.refused = set(), (400, '{"error": "invalid_grant"}')
    with pytest.raises(Unavailable, match="antiphon mcp login locked"):
        await send_request(server, logins)

    server.refused = None
    person = Browser()
    assert (await send_request(server, logins, person)).status_code == 200


async def test_a_token_that_another_program_renewed_is_used(
    server: Locked, logins: StoredLogins
) -> None:
    await send_request(server, logins, Browser())
    auth = create_auth(config(server), logins)
    async with httpx2.AsyncClient(auth=auth) as client:
        await client.post(server.url, json={"id": 1, "method": "ping"})
        server.valid = set()
        await send_request(server, logins)  # another program renews it
        form_count = len(server.forms)
        answer = await client.post(server.url, json={"id": 1, "method": "ping"})

    assert answer.status_code == 200
    assert len(server.forms) == form_count


async def test_calls_do_not_wait_for_one_another(server: Locked, logins: StoredLogins) -> None:
    await send_request(server, logins, Browser())
    server.together = threading.Barrier(3)  # answers only to three at once
    auth = create_auth(config(server), logins)
    async with httpx2.AsyncClient(auth=auth) as client:
        answers = await asyncio.gather(
            *(client.post(server.url, json={"id": 1, "method": "ping"}) for _ in range(3))
        )

    assert [answer.status_code for answer in answers] == [200] * 3


async def test_a_token_goes_to_no_other_server(server: Locked, logins: StoredLogins) -> None:
    await send_request(server, logins, Browser())
    with run_locked_server() as other_server:
        auth = create_auth(config(server), logins, Browser())
        async with httpx2.AsyncClient(auth=auth, follow_redirects=True) as client:
            await client.post(other_server.url, json={})
            server.redirects_to = other_server.url
            await client.post(server.url, json={})
        assert other_server.bearers == ["", ""]
        assert set(other_server.paths) == {"/mcp"}

        assert (await send_request(other_server, logins, Browser())).status_code == 200
    assert not set(other_server.bearers) & set(server.bearers) - {""}


async def test_a_person_who_refused_is_not_asked_twice(
    server: Locked, logins: StoredLogins
) -> None:
    server.denies = True
    person = Browser()
    auth = create_auth(config(server), logins, person)
    async with httpx2.AsyncClient(auth=auth) as client:
        for _ in range(2):
            with pytest.raises(Unavailable, match="the login was refused: access_denied"):
                await client.post(server.url, json={})

    assert len(person.pages) == 1


@pytest.mark.parametrize(
    "page",
    [
        "http://evil.test/authorize",
        "http://127.0.0.1.evil.test/authorize",
        "https://good.test/$(touch${IFS}pwned)",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://[",
    ],
)
async def test_a_browser_is_sent_to_no_odd_address(
    server: Locked, logins: StoredLogins, page: str
) -> None:
    server.metadata = {"authorization_endpoint": page}
    person = Browser()
    with suppress(Unavailable):
        await send_request(server, logins, person)

    # An invalid address counts as missing: then the server has a default page.
    assert all(page.startswith(f"{server.base}/") for page in person.pages)


@pytest.mark.parametrize("characters", ["`id`", '"', "'", " --help", "<b>", "\\", "|cat", "^&"])
async def test_an_address_has_no_characters_that_a_shell_would_act_on(
    server: Locked, logins: StoredLogins, characters: str
) -> None:
    class Watcher(Browser):
        async def go(self, url: str) -> None:
            self.pages.append(url)
            raise Unavailable("seen enough")

    server.metadata = {"authorization_endpoint": f"https://good.test/{characters}"}
    person = Watcher()
    with pytest.raises(Unavailable):
        await send_request(server, logins, person)

    assert not set("".join(person.pages)) & set("`\"' <>\\|^$()")


async def test_a_code_and_a_token_go_nowhere_without_encryption(
    server: Locked, logins: StoredLogins
) -> None:
    server.metadata = {"token_endpoint": "http://auth.test/token"}
    with pytest.raises(Unavailable, match="without encryption"):
        await send_request(server, logins, Browser())


async def test_a_public_server_leads_no_login_into_a_private_network() -> None:
    with run_locked_server() as inner:
        async with OAuthHttpClient("https://mcp.example/mcp", INTERNET) as http_client:
            with pytest.raises(BlockedAddress):
                await http_client.send(httpx2.Request("GET", inner.url))
            with pytest.raises(BlockedAddress):
                await http_client.send(httpx2.Request("GET", "https://169.254.169.254/latest"))
        assert inner.paths == []


async def test_no_secret_is_in_an_error_or_a_log(
    server: Locked, logins: StoredLogins, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.refused = (400, '{"error": "invalid_grant", "error_description": "SECRET-CANARY"}')
    oauth = OAuth(client_id="me", client_secret="SECRET-CANARY")

    with pytest.raises(Unavailable) as error_info:
        await send_request(server, logins, Browser(), oauth=oauth)

    text = f"{error_info.value} {error_info.value.details} {error_info.value.__cause__}"
    assert "400 invalid_grant" in text
    assert "CANARY" not in text
    records = [record for record in caplog.records if record.name.startswith("antiphon")]
    assert not [record for record in records if "CANARY" in record.getMessage()]
    assert "CANARY" not in repr(oauth)


async def test_a_configured_header_needs_no_login(server: Locked, logins: StoredLogins) -> None:
    assert create_auth(config(server, headers={"Authorization": "Bearer x"}), logins) is None


async def test_a_program_shows_its_secret_to_the_server_that_was_named(
    server: Locked, logins: StoredLogins
) -> None:
    def oauth(issuer: str) -> OAuth:
        return OAuth(grant="client_credentials", client_id="me", client_secret="s", issuer=issuer)

    assert (await send_request(server, logins, oauth=oauth(server.base))).status_code == 200
    logins.forget(server.url)
    server.forms.clear()
    server.valid = set()
    with pytest.raises(Unavailable, match="login failed"):
        await send_request(server, logins, oauth=oauth("https://auth.example"))
    assert server.forms == []
    with pytest.raises(BadSettings, match="without a person"):
        create_auth(config(server, oauth=oauth("")), logins)


# The callback of a login


async def open_callback(callback: LoginCallback, address: str, **headers: str) -> int:
    async with httpx2.AsyncClient() as browser:
        return (await browser.get(address, headers=headers)).status_code


async def test_only_the_expected_callback_is_accepted() -> None:
    async with LoginCallback() as callback:
        callback.state = "right"
        good = f"{callback.uri}?code=c&state=right"
        assert await open_callback(callback, good, host="evil.test") == 421
        assert await open_callback(callback, good, host=f"127.0.0.1.evil:{callback.port}") == 421
        assert await open_callback(callback, good, origin="https://evil.test") == 403
        assert await open_callback(callback, good, origin="null") == 403
        assert await open_callback(callback, f"{callback.uri}?code=c&state=wrong") == 400
        assert await open_callback(callback, f"{callback.uri}?code=c") == 400
        assert await open_callback(callback, f"{callback.uri}?state=right") == 400
        assert await open_callback(callback, f"{callback.uri}/more?code=c&state=right") == 404
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(callback.wait(), 0.01)

        assert await open_callback(callback, good) == 200
        assert (await callback.wait()).code == "c"
        assert await open_callback(callback, f"{callback.uri}?code=other&state=right") == 200
        assert (await callback.wait()).code == "c"


async def test_unfinished_requests_do_not_block_the_callback() -> None:
    async with LoginCallback() as callback:
        callback.state = "right"
        _, unfinished = await asyncio.open_connection("127.0.0.1", callback.port)
        _, oversized = await asyncio.open_connection("127.0.0.1", callback.port)
        unfinished.write(b"GET /callback")
        oversized.write(b"x" * 100_000)

        assert await open_callback(callback, f"{callback.uri}?code=c&state=right") == 200
        unfinished.close()
        oversized.close()


# Storage of logins


class FakeKeyring:
    """A keyring that may be locked."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str], str] = {}
        self.locked = False

    def get(self, service: str, name: str) -> str | None:
        self._check()
        return self.secrets.get((service, name))

    def set(self, service: str, name: str, secret: str) -> None:
        self._check()
        self.secrets[service, name] = secret

    def delete(self, service: str, name: str) -> None:
        self._check()
        self.secrets.pop((service, name), None)

    def _check(self) -> None:
        if self.locked:
            raise Unavailable("locked")


def test_a_keyring_is_preferred_and_a_file_serves_where_it_does_not_answer(tmp_path: Path) -> None:
    ring, file = FakeKeyring(), tmp_path / "logins.json"
    logins = StoredLogins(file, ring)
    first_login, second_login = Login(url="https://one", tokens={"a": 1}), Login(url="https://two")

    logins.save(first_login)
    assert not file.exists()
    ring.locked = True
    logins.save(second_login)
    assert (logins.get("https://one"), logins.get("https://two")) == (None, second_login)

    ring.locked = False
    assert (logins.get("https://one"), logins.get("https://two")) == (first_login, second_login)
    assert logins.forget("https://one")
    assert logins.forget("https://two")
    assert not logins.forget("https://two")
    assert "https://two" not in file.read_text()


def test_the_login_that_was_saved_last_counts_and_is_in_one_place_only(tmp_path: Path) -> None:
    ring, file = FakeKeyring(), tmp_path / "logins.json"
    logins = StoredLogins(file, ring)
    first, second, third = (Login(url="https://one", tokens={"a": count}) for count in range(3))

    logins.save(first)
    ring.locked = True
    logins.save(second)
    ring.locked = False
    assert logins.get("https://one") == second

    logins.save(third)
    assert logins.get("https://one") == third
    assert "https://one" not in file.read_text()


def test_a_login_is_removed_from_the_file_even_if_the_keyring_does_not_answer(
    tmp_path: Path,
) -> None:
    ring, file = FakeKeyring(), tmp_path / "logins.json"
    logins = StoredLogins(file, ring)
    ring.locked = True
    logins.save(Login(url="https://one"))

    with pytest.raises(Unavailable):
        logins.forget("https://one")
    assert "https://one" not in file.read_text()


def test_the_systems_keyring_is_used_by_its_library() -> None:
    class Memory(KeyringBackend):
        priority = 1  # type: ignore[assignment]
        broken = False

        def __init__(self) -> None:
            super().__init__()
            self.secrets: dict[tuple[str, str], str] = {}

        def get_password(self, service: str, username: str) -> str | None:
            if self.broken:
                raise KeyringError
            return self.secrets.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.secrets[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            if self.secrets.pop((service, username), None) is None:
                raise PasswordDeleteError

    memory, old_keyring = Memory(), keyring.get_keyring()
    try:
        keyring.set_keyring(memory)
        ring = system_keyring()
        assert ring is not None
        ring.set("a", "b", "c")
        assert ring.get("a", "b") == "c"
        ring.delete("a", "b")
        ring.delete("a", "b")
        assert ring.get("a", "b") is None
        memory.broken = True
        with pytest.raises(Unavailable):
            ring.get("a", "b")
        keyring.set_keyring(keyring.backends.fail.Keyring())
        assert system_keyring() is None
    finally:
        keyring.set_keyring(old_keyring)


def test_a_login_is_given_for_its_own_url_only(tmp_path: Path) -> None:
    ring = FakeKeyring()
    logins = StoredLogins(tmp_path / "logins.json", ring)
    logins.save(Login(url="https://one", tokens={"a": 1}))
    (secret,) = ring.secrets.values()
    ring.secrets["antiphon-mcp", "https://two"] = secret

    assert logins.get("https://two") is None
