"""Where a request may go whose address came from a model, a server or a stranger."""

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
"""The addresses of a name, for a port. Raises `OSError` where it has none."""


class OutOfReach(InvalidRequest):
    """An address that no request from here may go to."""


class Exempt(msgspec.Struct, frozen=True):
    """What may be reached although it is private: a host by the name it is asked for, or a network.

    Without a port, on all of them.
    """

    where: str | IPv4Network | IPv6Network
    port: int | None = None

    def covers(self, host: str, address: Address, port: int) -> bool:
        """Whether this address, which was asked for as `host`, is exempt."""
        if self.port not in (None, port):
            return False
        if isinstance(self.where, str):
            return self.where == plain(host)
        return address in self.where


class Reach(msgspec.Struct, frozen=True):
    """The whole internet, on all ports or on these, and what is private only where it is exempt."""

    private: tuple[Exempt, ...] = ()
    ports: frozenset[int] | None = None

    async def vetted(self, host: str, port: int, resolve: Resolve) -> list[Address]:
        """The addresses to connect to. Raises `OutOfReach`, and `OSError` for an unknown name.

        One bad address among good ones refuses them all: who answers with both means no good.
        """
        if not 0 < port < 65_536 or (self.ports is not None and port not in self.ports):
            raise OutOfReach(f"No request may go to port {port}.", expected=self._expected_port())
        addresses = await _addresses(host, port, resolve)
        for address in addresses:
            if not (is_public(address) or self.exempts(host, address, port)):
                raise OutOfReach(
                    f"No request may go to {plain(host)}:{port}: it is not a public address.",
                    expected="a host on the internet",
                    hint="An operator can allow it by the setting private_hosts.",
                )
        return addresses

    def exempts(self, host: str, address: Address, port: int) -> bool:
        """Whether somebody has said that this may be reached although it is private."""
        return any(each.covers(host, address, port) for each in self.private)

    def _expected_port(self) -> str:
        return "1 to 65535" if self.ports is None else ", ".join(map(str, sorted(self.ports)))


INTERNET = Reach()
"""What is public, and nothing else."""


def exempt(texts: Iterable[str]) -> tuple[Exempt, ...]:
    """What is listed as `wiki.corp`, `wiki.corp:8080`, `10.0.0.0/8:80`, `fd00::/8`, `[::1]:9000`.

    Raises `BadSettings`.
    """
    return tuple(map(_exempt, texts))


async def resolved(host: str, port: int) -> Sequence[str]:
    """The addresses that this machine's own resolver gives."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(info[4][0]) for info in found]


def plain(host: str) -> str:
    """The host in the one spelling that hosts are compared in."""
    return host.lower().removesuffix(".")


_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)
_PORT = re.compile(r"(?P<where>\[[^]]*\]|[^:]*)(:(?P<port>[0-9]{1,5}))?", re.ASCII)


async def _addresses(host: str, port: int, resolve: Resolve) -> list[Address]:
    try:
        address = parse_address(host)
    except ValueError as error:
        raise OutOfReach(f"There is no such address: {error}.") from error
    if address is not None:
        return [address]
    if plain(host).rpartition(".")[2] == "localhost":  # RFC 6761: no resolver is to be asked
        return [IPv4Address("127.0.0.1"), IPv6Address("::1")]
    if not _NAME.fullmatch(plain(host)):
        raise OutOfReach(f"{host!r} is no name of a host.")
    found = list(dict.fromkeys(map(ip_address, await resolve(host, port))))
    if not found:
        raise OSError(f"{host} has no address")
    return found


def _exempt(text: str) -> Exempt:
    # An IPv6 address or network without brackets has no port behind it.
    parts = _PORT.fullmatch(f"[{text}]" if text.count(":") > 1 and text[0] != "[" else text)
    port = int(parts["port"]) if parts and parts["port"] else None
    where = plain(parts["where"].strip("[]")) if parts else ""
    if port != 0 and (port is None or port < 65_536):
        try:
            return Exempt(ip_network(where), port)
        except ValueError:
            if _NAME.fullmatch(where) and not where.rpartition(".")[2].isdigit():
                return Exempt(where, port)
    raise BadSettings(
        "`private_hosts` names something that is no host.",
        expected="a host or a network, with or without a port: wiki.corp:8080, 10.0.0.0/8",
        received=repr(text),
    )
