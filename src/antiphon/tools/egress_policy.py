"""Policy for requests to addresses that come from a model, a server or a stranger."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import msgspec

from antiphon.types.addresses import Address, is_public, parse_address
from antiphon.types.errors import BadSettings, InvalidRequest

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves a name for a port to addresses. Raises `OSError` if there are none."""


class BlockedAddress(InvalidRequest):
    """The policy allows no request to this address."""


class Exemption(msgspec.Struct, frozen=True):
    """Exemption of a private host, by the name in the request, or of a network.

    Without a port it covers all ports.
    """

    where: str | IPv4Network | IPv6Network
    port: int | None = None

    def covers(self, host: str, address: Address, port: int) -> bool:
        """Return whether this address, requested as `host`, is exempt."""
        if self.port not in (None, port):
            return False
        if isinstance(self.where, str):
            return self.where == plain(host)
        return address in self.where


class EgressPolicy(msgspec.Struct, frozen=True):
    """The public internet, on all ports or on these, and the private addresses that are exempt.

    `setting` is the name of the setting by which an operator exempts addresses.
    """

    private: tuple[Exemption, ...] = ()
    ports: frozenset[int] | None = None
    setting: str = "private_hosts"

    async def resolve_allowed(self, host: str, port: int, resolve: Resolve) -> list[Address]:
        """Return the addresses to connect to.

        Raises `BlockedAddress`, and `OSError` if there are none.

        If one address of a name is blocked, all are: a name with both kinds is suspicious.
        """
        if not 0 < port < 65_536 or (self.ports is not None and port not in self.ports):
            allowed = (
                "1 to 65535" if self.ports is None else ", ".join(map(str, sorted(self.ports)))
            )
            raise BlockedAddress(f"No request may go to port {port}.", expected=allowed)
        addresses = await _addresses(host, port, resolve)
        for address in addresses:
            if not (is_public(address) or self.exempts(host, address, port)):
                raise BlockedAddress(
                    f"No request may go to {plain(host)}:{port}: it is not a public address.",
                    expected="a host on the internet",
                    hint=f"An operator can allow it by the setting {self.setting}.",
                )
        return addresses

    def exempts(self, host: str, address: Address, port: int) -> bool:
        """Return whether this private address is exempt."""
        return any(each.covers(host, address, port) for each in self.private)


INTERNET = EgressPolicy()
"""Allows all that is public, and nothing else."""


def parse_exemptions(texts: Iterable[str], setting: str = "private_hosts") -> tuple[Exemption, ...]:
    """Parse exemptions: `wiki.corp`, `wiki.corp:8080`, `10.0.0.0/8:80`, `fd00::/8`, `[::1]:9000`.

    Raises `BadSettings`, with the name of the setting that holds them.
    """
    return tuple(_parse_exemption(text, setting) for text in texts)


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """Resolve by this machine's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]


def plain(host: str) -> str:
    """Return the host in normalized spelling."""
    return host.lower().removesuffix(".")


_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)
_PORT = re.compile(r"(?P<where>\[[^]]*\]|[^:]*)(:(?P<port>[0-9]{1,5}))?", re.ASCII)


async def _addresses(host: str, port: int, resolve: Resolve) -> list[Address]:
    try:
        address = parse_address(host)
    except ValueError as error:
        raise BlockedAddress(f"There is no such address: {error}.") from error
    if address is not None:
        return [address]
    if plain(host).rpartition(".")[2] == "localhost":  # RFC 6761: no resolver is to be asked
        return [IPv4Address("127.0.0.1"), IPv6Address("::1")]
    if not _NAME.fullmatch(plain(host)):
        raise BlockedAddress(f"{host!r} is no name of a host.")
    found = list(dict.fromkeys(map(ip_address, await resolve(host, port))))
    if not found:
        raise OSError(f"{host} has no address")
    return found


def _parse_exemption(text: str, setting: str) -> Exemption:
    # An IPv6 address or network without brackets has no port behind it.
    parts = _PORT.fullmatch(f"[{text}]" if text.count(":") > 1 and text[0] != "[" else text)
    port = int(parts["port"]) if parts and parts["port"] else None
    where = plain(parts["where"].strip("[]")) if parts else ""
    if port != 0 and (port is None or port < 65_536):
        try:
            return Exemption(ip_network(where), port)
        except ValueError:
            if _NAME.fullmatch(where) and not where.rpartition(".")[2].isdigit():
                return Exemption(where, port)
    raise BadSettings(
        f"`{setting}` names something that is no host.",
        expected="a host or a network, with or without a port: wiki.corp:8080, 10.0.0.0/8",
        received=repr(text),
    )
