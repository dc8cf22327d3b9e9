"""Addresses of this machine, its network and the internet; reasons of failed connections."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

ORIGIN = r"^[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?$(?!\n)"
"""Pattern of the origin of a page, as browsers send it: no path, lower case."""


def normal_origin(origin: str) -> str:
    """Return an origin as browsers send it: in lower case, without the port of its scheme."""
    scheme, _, place = origin.lower().partition("://")
    return f"{scheme}://{place.removesuffix(_PORTS.get(scheme, chr(0)))}"


_PORTS = {"http": ":80", "https": ":443"}


def is_loopback(host: str) -> bool:
    """Return whether this is a loopback address or `localhost`."""
    if host == "127.0.0.1" or host.lower() == "localhost":  # the first for speed
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_local_url(url: str) -> bool:
    """Return whether the URL's host is this machine."""
    return is_loopback(urlsplit(url).hostname or "")


def origin(url: str) -> str:
    """Return the scheme, host and port of an address, without a user or a password in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def connection_reason(error: OSError) -> str:
    """Return in plain words why there is no connection to an address."""
    match error:
        case socket.gaierror():
            return "no address is found for this name"
        case ConnectionRefusedError():
            return "the connection was refused, so nothing may be listening there"
        case ConnectionResetError():
            return "it broke off the connection"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not valid: {error.verify_message or error}"
        case ssl.SSLError():
            return f"no encrypted connection could be made ({error.reason or error})"
        case _:
            return error.strerror or str(error) or type(error).__name__


def is_public(address: Address) -> bool:
    """Return whether this address is reachable over the internet from anywhere.

    All others belong to a machine or network nearby, or to none. An IPv6 address with embedded IPv4
    addresses leads where those lead.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NEAR_V4)
    carried = tuple(_find_embedded_addresses(address))
    if not all(map(is_public, carried)) or address.scope_id is not None:
        return False
    if any(address in network for network in _TRANSLATED):
        return True
    return address in _UNICAST and not any(address in network for network in _NEAR_V6)


def parse_address(host: str) -> Address | None:
    """Return the address that this host is; None for a name.

    Accepts what resolvers accept: `127.1`, `0x7f.1`, `0177.0.0.1` and `2130706433` are 127.0.0.1.
    Raises `ValueError` for a host that ends like an address and is not one: no name may end so.
    """
    text = host.removesuffix(".")
    if ":" in text:
        return IPv6Address(text[1:-1] if text[0] + text[-1] == "[]" else text)
    *_, last = parts = text.split(".")
    if not (last.isdigit() or _HEX.fullmatch(last)):
        return None
    *leading, final = map(_parse_part, parts)
    room = 256 ** (4 - len(leading)) if len(parts) <= 4 else 0
    if any(number > 255 for number in leading) or final >= room:
        raise ValueError(f"{host!r} is no IPv4 address")
    return IPv4Address(final + sum(number << 24 - 8 * at for at, number in enumerate(leading)))


_HEX = re.compile(r"0[xX][0-9a-fA-F]*")
_OCTAL = re.compile(r"0[0-7]*")
_DECIMAL = re.compile(r"[1-9][0-9]*")


def _parse_part(part: str) -> int:
    if len(part) > 40:  # far above 2**32, and no number that takes time to read
        raise ValueError("a part of an IPv4 address is too long")
    if _HEX.fullmatch(part):
        return int(part[2:] or "0", 16)
    if _OCTAL.fullmatch(part):
        return int(part, 8)
    if _DECIMAL.fullmatch(part):
        return int(part)
    raise ValueError(f"{part!r} is no part of an IPv4 address")


# https://www.iana.org/assignments/iana-ipv4-special-registry, what is not globally reachable
_NEAR_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host; many systems take 0.0.0.0 for loopback
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carriers' own, and a cloud's metadata at 100.100.100.200
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # public by its number, but Azure answers its machines there
            "169.254.0.0/16",  # link-local, and most clouds' metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments, and a cloud's metadata at 192.0.0.192
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays to 6to4, given up
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved; broadcast
        ),
    )
)

# https://www.iana.org/assignments/iana-ipv6-special-registry
_UNICAST = IPv6Network("2000::/3")  # all that was ever given out; ULA, link-local, :: are outside
_TEREDO = IPv6Network("2001::/32")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_NEAR_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
_LAST_FOUR_BYTES = tuple(
    map(
        IPv6Network,
        (
            "::/96",  # IPv4-compatible, given up; :: and ::1 carry 0.0.0.0 and 0.0.0.1
            "::ffff:0:0/96",  # IPv4-mapped: sockets take it for the IPv4 address itself
            "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
            "64:ff9b::/96",  # NAT64 (RFC 6052)
        ),
    )
)
_TRANSLATED = (*_LAST_FOUR_BYTES, _TEREDO, _SIX_TO_FOUR)
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)  # RFC 5214: begins the lower half, whatever the upper one is


def _find_embedded_addresses(address: IPv6Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses that packets to this address may reach."""
    number = int(address)
    if any(address in network for network in _LAST_FOUR_BYTES):
        yield _to_ipv4(number)
    elif address in _SIX_TO_FOUR:
        yield _to_ipv4(number >> 80)
    elif address in _TEREDO:
        yield _to_ipv4(number >> 64)
        yield _to_ipv4(~number)
    if number >> 32 & 0xFFFF_FFFF in _ISATAP:
        yield _to_ipv4(number)


def _to_ipv4(number: int) -> IPv4Address:
    return IPv4Address(number & 0xFFFF_FFFF)
