"""An address is judged by where it leads, however it is written."""

import socket
import string
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.types.addresses import is_public, parse_address

PRIVATE_ADDRESSES = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
]
PUBLIC_ADDRESSES = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "172.15.0.1",
    "172.32.0.1",
    "100.128.0.1",
]
CARRIERS = {
    "compatible": "::{}",
    "mapped": "::ffff:{}",
    "translated": "::ffff:0:{}",
    "nat64": "64:ff9b::{}",
}


def six_to_four(inner: IPv4Address) -> IPv6Address:
    return IPv6Address((0x2002 << 112) | (int(inner) << 80) | 1)


def teredo(server: IPv4Address, client: IPv4Address) -> IPv6Address:
    lower = int(client) ^ 0xFFFF_FFFF
    return IPv6Address((0x2001_0000 << 96) | (int(server) << 64) | lower)


def isatap(inner: IPv4Address) -> IPv6Address:
    return IPv6Address((0x2A00_1450 << 96) | (0x5EFE << 32) | int(inner))


@pytest.mark.parametrize("text", PRIVATE_ADDRESSES)
def test_a_private_or_reserved_address_is_not_public(text: str) -> None:
    assert not is_public(IPv4Address(text))


@pytest.mark.parametrize("text", PUBLIC_ADDRESSES)
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(IPv4Address(text))


@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)
@pytest.mark.parametrize("inner", ["127.0.0.1", "169.254.169.254", "10.1.2.3", "8.8.8.8"])
def test_an_address_that_carries_another_leads_where_that_one_leads(
    carrier: str, inner: str
) -> None:
    assert is_public(IPv6Address(carrier.format(inner))) is is_public(IPv4Address(inner))


@given(st.ip_addresses(v=4))
def test_tunnels_lead_where_their_inner_address_leads(inner: IPv4Address) -> None:
    public_address = IPv4Address("8.8.8.8")

    verdicts = [
        is_public(six_to_four(inner)),
        is_public(teredo(inner, public_address)),
        is_public(teredo(public_address, inner)),
        is_public(isatap(inner)),
    ]

    assert verdicts == [is_public(inner)] * 4


@pytest.mark.parametrize(
    "text",
    [
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "2606:4700::1111%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "64:ff9b:1::808:808",
        "100::1",
        "2001:db8::1",
        "2001:10::1",
        "3fff::1",
        "5f00::1",
        "4000::1",
        "::ffff:a9fe:a9fe",
    ],
)
def test_of_ipv6_only_what_was_given_out_is_public(text: str) -> None:
    assert not is_public(IPv6Address(text))


@pytest.mark.parametrize("text", ["2606:4700:4700::1111", "2a00:1450:4001:82a::200e"])
def test_an_ipv6_address_that_was_given_out_is_public(text: str) -> None:
    assert is_public(IPv6Address(text))


@given(st.ip_addresses())
def test_nothing_is_public_that_python_calls_private(address: IPv4Address | IPv6Address) -> None:
    tunnel = isinstance(address, IPv6Address) and (address.sixtofour or address.teredo)

    assert address.is_global or tunnel or not is_public(address)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0X7F000001", "127.0.0.1"),
        ("0177.0.0.01", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("127.0x000000000000001", "127.0.0.1"),
        ("0xa9.0xfe.43518", "169.254.169.254"),
        ("[::1]", "::1"),
        ("::FFFF:127.0.0.1", "::ffff:127.0.0.1"),
        ("fe80::1%25eth0", "fe80::1%25eth0"),
    ],
)
def test_every_spelling_of_an_address_is_read(host: str, expected: str) -> None:
    assert parse_address(host) == ip_address(expected)


@pytest.mark.parametrize("host", ["localhost", "a.b.c", "1.com", "0x.com", "", "xn--1-7sb"])
def test_a_name_is_no_address(host: str) -> None:
    assert parse_address(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "256.1.1.1",
        "1.2.3.4.5",
        "1..2",
        "127.0.0.08",
        "a.1",
        "0x1g.1",
        "4294967296",
        "1.2.3.256",
        "1.2.65536",
        "\u0661.1",
        "1.\u0661",
        "[::1",
        "::1]x",
        "1:2",
        "9" * 5000,
        "0x" + "f" * 5000,
    ],
)
def test_what_ends_like_an_address_and_is_none_is_refused(host: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are Python's own, for IPv6
        parse_address(host)


@given(st.text(alphabet=string.hexdigits + "xX.", max_size=24))
def test_what_the_system_reads_as_an_address_is_read_alike(text: str) -> None:
    try:
        system = IPv4Address(socket.inet_aton(text))
    except OSError:
        return

    assert parse_address(text) == system
