"""Settings of logins and hosts: those that would admit everybody or nobody are refused."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.settings.settings import Settings
from antiphon.types.errors import BadSettings
from antiphon.web.policy import host_name, read_policy

OIDC = {"login": "oidc", "oidc_issuer": "https://id.example.org", "oidc_client_id": "antiphon"}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_without_a_login_the_server_listens_on_loopback(host: str) -> None:
    assert read_policy(Settings(host=host)).login == "none"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "0.0.0.0"}, "Without a login"),
        ({"host": "192.168.0.7", "allowed_hosts": ("chat.lan",)}, "Without a login"),
        ({"host": "0.0.0.0", "login": "password"}, "must know the name"),
        ({"login": "oidc"}, "needs a provider"),
        ({**OIDC, "oidc_issuer": "http://id.example.org"}, "over https only"),
        ({"login": "proxy"}, "needs the proxy's address"),
        ({"login": "proxy", "trusted_proxies": ("nginx.lan",)}, "`trusted_proxies`"),
        ({"allowed_hosts": ("https://chat.lan",)}, "`allowed_hosts`"),
        ({"allowed_hosts": ("*",)}, "`allowed_hosts`"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_with_what_is_expected(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadSettings, match=message) as error_info:
        read_policy(Settings(**settings))

    assert error_info.value.details["expected"]


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0", "login": "password", "allowed_hosts": ("chat.lan",)},
        {"host": "::", "login": "password", "public_url": "https://chat.lan"},
        {**OIDC, "host": "10.0.0.1", "public_url": "https://chat.lan"},
        {**OIDC, "oidc_issuer": "http://127.0.0.1:9000"},
        {"login": "proxy", "trusted_proxies": ("unix",)},
    ],
)
def test_with_a_login_and_a_name_the_server_may_listen_anywhere(settings: dict[str, Any]) -> None:
    assert read_policy(Settings(**settings)).login == settings["login"]


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8000"),
        *("chat.lan", "Chat.LAN", "chat.lan:443", "other.lan:8443", "open.example.org"),
    ],
)
def test_loopback_names_and_those_of_the_settings_are_answered(host: str) -> None:
    settings = Settings(
        allowed_hosts=("Chat.lan", "other.lan:8443"), public_url="https://open.example.org:444"
    )

    assert read_policy(settings).answers_to(host)


@pytest.mark.parametrize(
    "host",
    [
        *("", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "chat.lan.evil"),
        *("other.lan", "other.lan:8444", "localhost,evil.example", "localhost:", "localhost:x"),
        *(
            "user@localhost",
            "[::1",
            "localhost/",
            "local\thost",
            "127.0.0.1\n",
            "0x7f.1",
            "xchat.lan",
        ),
        *("localhost:99999999", "[::1]evil", "évil", "169.254.169.254", "localhost."),
    ],
)
def test_any_other_host_is_not_answered(host: str) -> None:
    assert not read_policy(Settings(allowed_hosts=("chat.lan", "other.lan:8443"))).answers_to(host)


def test_a_host_is_its_name_without_port_and_brackets() -> None:
    assert [host_name(text) for text in ("A.b:1", "[::1]:2", "a b", "[::1]x")] == [
        "a.b",
        "::1",
        "",
        "",
    ]


PROXIES = read_policy(Settings(trusted_proxies=("10.0.0.0/8", "fd00::/8", "127.0.0.1", "unix")))


@pytest.mark.parametrize("peer", ["10.1.2.3", "fd00::7", "127.0.0.1", "::ffff:10.1.2.3", ""])
def test_proxies_that_were_named_are_trusted(peer: str) -> None:
    assert PROXIES.trusts(peer)


@pytest.mark.parametrize("peer", ["11.0.0.1", "::1", "localhost", "::ffff:11.0.0.1", "10.0.0"])
def test_no_other_address_is_trusted(peer: str) -> None:
    assert not PROXIES.trusts(peer)
    assert not read_policy(Settings()).trusts("")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # no trusted proxy: not believed
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"),  # the first is a claim
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "garbage\x00", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(
    peer: str, forwarded: str, client: str
) -> None:
    assert PROXIES.client_address(peer, forwarded) == client
