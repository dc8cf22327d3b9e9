"""Destinations of runs, by which a program drives those alone whose words it sends there too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec.structs import replace

from antiphon.ports import Claim, ResolvedModel
from antiphon.types.runs import Destination, McpServer


class ReachableProviders(Protocol):
    """The providers that this program can ask."""

    def serves(self, destination: Destination) -> bool:
        """Return whether words sent from here go to that place, and whether they can be sent."""
        ...


class ReachableServers(Protocol):
    """The MCP servers that runs of this program may name."""

    def origins(self, servers: Sequence[McpServer]) -> Sequence[str]:
        """Return what these servers are, in words that hold no secret."""
        ...

    def has(self, origins: Sequence[str]) -> bool:
        """Return whether all of these servers are here, as they are there."""
        ...


class Destinations:
    """Marks new runs with where their words go, and tells which runs can be driven from here.

    A run of an earlier version has no mark. It is driven only with `unmarked`, which is for
    databases whose programs all have the same settings.
    """

    def __init__(
        self, places: ReachableProviders, servers: ReachableServers, *, unmarked: bool = False
    ) -> None:
        self._places = places
        self._servers = servers
        self._unmarked = unmarked

    def of(self, opened: ResolvedModel, servers: Sequence[McpServer]) -> str:
        """Return the mark of a run that this provider answers, with tools of these servers."""
        there = opened.destination
        if there is None:
            return ""
        return replace(there, servers=tuple(self._servers.origins(servers))).text

    def serves(self, text: str) -> bool:
        """Return whether a run with this mark can be driven from here."""
        try:
            wanted = Destination.read(text)
        except msgspec.DecodeError:  # a later version marks its runs otherwise
            return False
        if wanted is None:
            return self._unmarked
        return self._places.serves(wanted) and self._servers.has(wanted.servers)


class WrongDestination(Exception):
    """From here the words of the run would go elsewhere: it is for another program."""


def check_destination(claim: Claim, opened: ResolvedModel) -> None:
    """Check that this provider is where the run's words go; the last look before they are sent.

    Raises `WrongDestination`.
    """
    wanted = Destination.read(claim.lease.destination)
    if wanted is None:
        return
    if opened.destination is None or opened.destination.digest != wanted.digest:
        raise WrongDestination(f"It is for {wanted.name}, and would be sent elsewhere from here.")
