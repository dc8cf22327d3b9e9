"""A request whose address a stranger wrote goes where it may, and nowhere else."""

import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.tools.egress_policy import (
    INTERNET,
    BlockedAddress,
    EgressPolicy,
    Exemption,
    Resolve,
    parse_exemptions,
    resolve_host,
)
from antiphon.tools.guarded_http import FetchedPage, GuardedClient, fetch
from antiphon.types.addresses import is_public
from antiphon.types.errors import BadSettings, Unavailable
from tests.support.tools.far_server import FarServer, serve_far


class Names:
    """A resolver whose answers change: each name has a list, of which the last one stays."""

    def __init__(self, **answers: Sequence[str]) -> None:
        self.answers = {
            name.replace("_", "."): [each.split() for each in texts]
            for name, texts in answers.items()
        }
        self.hosts: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.hosts.append(host)
        host_answers = self.answers.get(host)
        if host_answers is None:
            raise OSError("Name or service not known")
        return host_answers.pop(0) if len(host_answers) > 1 else host_answers[0]


async def refuse_lookup(host: str, port: int) -> Sequence[str]:
    raise AssertionError(f"{host} was looked up")


@pytest.fixture
async def far() -> AsyncIterator[FarServer]:
    async with serve_far() as server:
        server.say("/", "hello")
        yield server


@pytest.fixture
async def other() -> AsyncIterator[FarServer]:
    async with serve_far() as server:
        server.say("/", "inside")
        yield server


async def fetch_page(
    url: str,
    *servers: FarServer,
    resolve: Resolve = refuse_lookup,
    max_bytes: int = 10_000,
    seconds: float = 20,
    **options: Any,
) -> FetchedPage:
    """Fetch a page, where these servers' ports on loopback are all that is exempt."""
    policy = EgressPolicy(parse_exemptions(f"127.0.0.1:{server.port}" for server in servers))
    async with GuardedClient(policy, resolve=resolve, **options) as client:
        return await fetch(client, url, max_bytes=max_bytes, seconds=seconds)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST.",
        "evil.localhost",
        "127.1",
        "127.0.0.2",
        "0",
        "0.0.0.0",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "2130706433",
        "127\u30020\u30020\u30021",
        "169.254.169.254",
        "2852039166",
        "100.100.100.200",
        "168.63.129.16",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fe80::1%25lo]",
        "256.1.1.1",
        "1.2.3.4.5",
        "\uff11\uff12\uff17.0.0.1",
        "%31%32%37.0.0.1",
        "a%20b",
        "",
    ],
)
async def test_private_hosts_are_refused_without_a_look_up(host: str) -> None:
    with pytest.raises(BlockedAddress):
        await fetch_page(f"http://{host}/latest/meta-data")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO",
        "ftp://example.org/",
        "data:text/plain,hello",
        "ws://example.org/",
        "//example.org/",
        "example.org",
        "",
        "http:///etc/passwd",
        "http://user:secret@example.org/",
        "http://127.0.0.1\\@example.org/",
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://[::1/",
        "http://exa\nmple.org/",
    ],
)
async def test_other_addresses_than_plain_http_ones_are_refused(url: str) -> None:
    with pytest.raises(BlockedAddress):
        await fetch_page(url)


def spell_address(number: int, bases: Sequence[str], parts: int) -> str:
    """Return an IPv4 address in a spelling of `inet_aton`: so many parts, each in its base."""
    leading = [number >> 24 - 8 * at & 0xFF for at in range(parts - 1)]
    last = number & (1 << 8 * (5 - parts)) - 1
    forms = {"decimal": "{}", "octal": "0{:o}", "hex": "0x{:x}", "HEX": "0X{:X}"}
    return ".".join(
        forms[base].format(part) for base, part in zip(bases, [*leading, last], strict=False)
    )


@given(
    number=st.ip_addresses(v=4).filter(lambda address: not is_public(address)).map(int),
    bases=st.lists(st.sampled_from(["decimal", "octal", "hex", "HEX"]), min_size=4, max_size=4),
    parts=st.integers(1, 4),
)
async def test_however_a_private_address_is_spelled_it_is_refused(
    number: int, bases: list[str], parts: int
) -> None:
    with pytest.raises(BlockedAddress):
        await INTERNET.resolve_allowed(spell_address(number, bases, parts), 80, resolve_host)


@given(
    number=st.ip_addresses(v=4).filter(is_public).map(int),
    bases=st.lists(st.sampled_from(["decimal", "octal", "hex"]), min_size=4, max_size=4),
    parts=st.integers(1, 4),
)
async def test_however_a_public_address_is_spelled_it_is_that_one(
    number: int, bases: list[str], parts: int
) -> None:
    addresses = await INTERNET.resolve_allowed(
        spell_address(number, bases, parts), 80, refuse_lookup
    )

    assert addresses == [IPv4Address(number)]


async def test_what_is_exempt_is_fetched(far: FarServer) -> None:
    page = await fetch_page(far.url(), far)

    assert (page.status, page.media_type, page.content) == (200, "text/plain", b"hello")


async def test_an_exempt_port_opens_no_other_port(far: FarServer, other: FarServer) -> None:
    with pytest.raises(BlockedAddress):
        await fetch_page(other.url(), far)

    assert other.requests == []


async def test_the_connection_goes_to_the_address_that_was_vetted(other: FarServer) -> None:
    names = Names(rebound_test=["127.0.0.2", "127.0.0.1"])
    async with serve_far("127.0.0.2") as vetted_server:
        vetted_server.say("/", "vetted")
        policy = EgressPolicy(parse_exemptions([f"127.0.0.2:{vetted_server.port}"]))
        async with GuardedClient(policy, resolve=names) as client:
            first = await fetch(client, vetted_server.url(host="rebound.test"), max_bytes=100)
            second = await fetch(client, vetted_server.url(host="rebound.test"), max_bytes=100)
        async with GuardedClient(policy, resolve=names) as client:
            with pytest.raises(BlockedAddress):
                await fetch(client, vetted_server.url(host="rebound.test"), max_bytes=100)

    assert (first.content, second.content) == (b"vetted", b"vetted")
    assert vetted_server.requests[0].headers["host"] == f"rebound.test:{vetted_server.port}"
    assert names.hosts == ["rebound.test"] * 2
    assert other.requests == []


async def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    names = Names(mixed_test=["93.184.215.14 127.0.0.1"])

    with pytest.raises(BlockedAddress):
        await fetch_page("http://mixed.test/", resolve=names)


async def test_a_host_may_be_exempt_by_its_name(far: FarServer) -> None:
    names = Names(wiki_corp=["127.0.0.1"], evil_test=["127.0.0.1"])
    async with GuardedClient(
        EgressPolicy(parse_exemptions(["WIKI.corp."])), resolve=names
    ) as client:
        page = await fetch(client, far.url(host="wiki.corp"), max_bytes=100)
        with pytest.raises(BlockedAddress):
            await fetch(client, far.url(host="evil.test"), max_bytes=100)

    assert page.content == b"hello"


async def test_the_next_address_is_tried_where_one_does_not_answer(far: FarServer) -> None:
    policy = EgressPolicy(parse_exemptions(["127.0.0.0/8"]))
    async with GuardedClient(policy, resolve=Names(two_test=["127.0.0.9 127.0.0.1"])) as client:
        page = await fetch(client, far.url(host="two.test"), max_bytes=100)

    assert page.content == b"hello"


async def test_ports_can_be_limited(far: FarServer) -> None:
    policy = EgressPolicy(parse_exemptions(["127.0.0.1"]), ports=frozenset({80, 443}))
    async with GuardedClient(policy) as client:
        with pytest.raises(BlockedAddress, match="port"):
            await fetch(client, far.url(), max_bytes=100)


async def test_an_unknown_name_is_reported_as_such() -> None:
    with pytest.raises(Unavailable, match=r"nowhere\.test cannot be found"):
        await fetch_page("http://nowhere.test/", resolve=Names())


async def test_redirects_are_followed_and_the_last_address_is_returned(far: FarServer) -> None:
    far.redirect("/old", "/new")
    far.say("/new", "moved")

    page = await fetch_page(far.url("/old"), far)

    assert (page.url, page.content) == (far.url("/new"), b"moved")


@pytest.mark.parametrize("scheme", ["", "http:"])
async def test_a_redirect_to_a_private_address_is_refused(
    far: FarServer, other: FarServer, scheme: str
) -> None:
    far.redirect("/old", other.url().replace("http:", scheme))

    with pytest.raises(BlockedAddress):
        await fetch_page(far.url("/old"), far)

    assert other.requests == []


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://169.254.169.254/",
        "http://user:secret@127.0.0.1/",
        "http://2130706433:1/",
    ],
)
async def test_a_redirect_is_vetted_like_any_address(far: FarServer, target: str) -> None:
    far.redirect("/old", target)

    with pytest.raises((BlockedAddress, Unavailable)):
        await fetch_page(far.url("/old"), far)

    assert far.paths == ["/old"]


async def test_a_redirect_to_no_address_is_not_followed(far: FarServer) -> None:
    far.redirect("/old", "http://[::1/")

    assert (await fetch_page(far.url("/old"), far)).status == 302


async def test_five_redirects_are_followed_and_no_sixth(far: FarServer) -> None:
    for number in range(6):
        far.redirect(f"/{number}", f"/{number + 1}")
    far.say("/6", "the end")

    assert (await fetch_page(far.url("/1"), far)).content == b"the end"
    with pytest.raises(BlockedAddress, match="5 times"):
        await fetch_page(far.url("/0"), far)


async def test_to_another_origin_go_no_credentials(far: FarServer, other: FarServer) -> None:
    far.redirect("/old", other.url())
    secret = {"authorization": "Bearer secret", "x-api-key": "secret", "cookie": "a=secret"}

    await fetch_page(far.url("/old"), far, other, headers=secret)

    assert far.requests[0].headers["x-api-key"] == "secret"
    assert "secret" not in str(other.requests[0].headers)
    assert other.requests[0].headers["host"] == f"127.0.0.1:{other.port}"


async def test_within_an_origin_credentials_go_along(far: FarServer) -> None:
    far.redirect("/old", "/")

    await fetch_page(far.url("/old"), far, headers={"x-api-key": "secret"})

    assert [request.headers["x-api-key"] for request in far.requests] == ["secret", "secret"]


async def test_a_body_is_not_sent_on_to_another_origin(far: FarServer, other: FarServer) -> None:
    far.redirect("/old", other.url(), "307 Temporary Redirect")
    policy = EgressPolicy(parse_exemptions(["127.0.0.1"]))
    async with GuardedClient(policy) as client:
        with pytest.raises(BlockedAddress, match="POST"):
            await client.post(far.url("/old"), json={"client_secret": "secret"})

    assert other.requests == []


async def test_a_caller_may_follow_no_redirect(far: FarServer) -> None:
    far.redirect("/old", "/")
    async with GuardedClient(EgressPolicy(parse_exemptions(["127.0.0.1"]))) as client:
        response = await client.get(far.url("/old"), follow_redirects=False)

    assert response.status_code == 302
    assert far.paths == ["/old"]


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Return the TLS context of a server `far.test` that this process trusts."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=far.test"),
            *("-addext", "subjectAltName=DNS:far.test", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_certificate_is_that_of_the_name(tls: ssl.SSLContext) -> None:
    server_names: list[str | None] = []
    tls.sni_callback = lambda _, name, __: server_names.append(name)
    names = Names(far_test=["127.0.0.1"], false_test=["127.0.0.1"])
    async with serve_far(tls=tls) as far:
        far.say("/", "safe")
        page = await fetch_page(far.url(host="far.test", scheme="https"), far, resolve=names)
        with pytest.raises(Unavailable, match="certificate"):
            await fetch_page(far.url(host="false.test", scheme="https"), far, resolve=names)

    assert page.content == b"safe"
    assert server_names == ["far.test", "false.test"]


async def test_https_does_not_redirect_to_http(tls: ssl.SSLContext, other: FarServer) -> None:
    async with serve_far(tls=tls) as far:
        far.redirect("/", other.url())
        with pytest.raises(BlockedAddress, match="https to http"):
            await fetch_page(
                far.url(host="far.test", scheme="https"),
                far,
                other,
                resolve=Names(far_test=["127.0.0.1"]),
            )

    assert other.requests == []


async def test_more_than_is_wanted_is_not_read(far: FarServer) -> None:
    far.say("/", b"x" * 5_000_000)

    page = await fetch_page(far.url(), far, max_bytes=1000)

    assert (len(page.content), page.cut) == (1000, True)


async def test_a_server_that_says_nothing_is_left_in_time(far: FarServer) -> None:
    with pytest.raises(Unavailable, match=r"within 0\.2 s"):
        await fetch_page(far.url("/silent"), far, seconds=0.2)

    await far.gone.wait()


async def test_an_answer_is_asked_for_uncompressed_and_else_refused(far: FarServer) -> None:
    far.answers["/bomb"] = "200 OK", {"content-encoding": "gzip"}, b"\x1f\x8b"

    with pytest.raises(Unavailable, match="compressed"):
        await fetch_page(far.url("/bomb"), far)

    assert far.requests[0].headers["accept-encoding"] == "identity"


async def test_no_proxy_of_the_environment_is_used(
    far: FarServer, other: FarServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, other.url())

    assert (await fetch_page(far.url(), far)).content == b"hello"
    assert other.requests == []


async def test_broken_connections_raise_httpx2_s_own_errors(far: FarServer) -> None:
    far.answers["/"] = "200 OK", {"content-length": "10", "connection": "close"}, b"short"
    far.answers["/rubbish"] = "no status", {}, b""
    async with GuardedClient(EgressPolicy(parse_exemptions(["127.0.0.1"]))) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(far.url("/rubbish"))
        async with client.stream("GET", far.url()) as response:
            far.stop()
            with pytest.raises(httpx2.RemoteProtocolError):
                await response.aread()
        with pytest.raises(httpx2.ConnectError):
            await client.get(far.url())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wiki.corp", Exemption("wiki.corp")),
        ("wiki.corp:8080", Exemption("wiki.corp", 8080)),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("[fd00::/8]:80", "fd00::/8"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1/128"),
    ],
)
def test_hosts_and_networks_are_exempt(text: str, expected: Any) -> None:
    (exemption,) = parse_exemptions([text])

    assert exemption == expected or str(exemption.where) == expected


@pytest.mark.parametrize(
    "text", ["", ":80", "a b", "10.0.0.1/8", "10.0.0", "http://x/", "x:0", "x:99999", "[::1", "*"]
)
def test_what_is_no_host_cannot_be_exempt(text: str) -> None:
    with pytest.raises(BadSettings, match="private_hosts"):
        parse_exemptions([text])
