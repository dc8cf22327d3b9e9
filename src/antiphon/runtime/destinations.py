"""Destinations of runs: a process runs only those whose text it would send to the same place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec.structs import replace

from antiphon.engine.snapshot import Claim
from antiphon.ports import ResolvedModel
from antiphon.types.runs import Destination, McpServer


class ReachableProviders(Protocol):
    """The providers that this process can ask."""

    def serves(self, destination: Destination) -> bool:
        """Return whether text sent from here goes to that destination, and can be sent."""
        ...


class ReachableServers(Protocol):
    """The MCP servers that runs of this process may name."""

    def origins(self, servers: Sequence[McpServer]) -> Sequence[str]:
        """Return where these servers are, without any secret."""
        ...

    def has(self, origins: Sequence[str]) -> bool:
        """Return whether all of these servers are configured here identically."""
        ...


class Destinations:
    """Determines the destination of new runs, and which runs can be run from here.

    A run of an earlier version has no destination. It is run only with `unmarked`: then all
    processes on the database have the same settings.
    """

    def __init__(
        self, places: ReachableProviders, servers: ReachableServers, *, unmarked: bool = False
    ) -> None:
        self._places = places
        self._servers = servers
        self._unmarked = unmarked
        self._served: set[str] = set()  # the settings of a process do not change

    def of(self, opened: ResolvedModel, servers: Sequence[McpServer]) -> str:
        """Return the destination of a run of this provider, with tools of these servers."""
        there = opened.destination
        if there is None:
            return ""
        return replace(there, servers=tuple(self._servers.origins(servers))).text

    def serves(self, text: str) -> bool:
        """Return whether a run with this destination can be run from here; see `Serves`."""
        if text in self._served:
            return True
        served = self._is_served(text)
        if served:
            self._served.add(text)
        return served

    def _is_served(self, text: str) -> bool:
        try:
            wanted = Destination.parse(text)
        except msgspec.DecodeError:  # a later version marks its runs otherwise
            return False
        if wanted is None:
            return self._unmarked
        return self._places.serves(wanted) and self._servers.has(wanted.servers)


class WrongDestination(Exception):
    """This process would send the run's text elsewhere: the run is for another process."""


def check_destination(claim: Claim, opened: ResolvedModel) -> None:
    """Check that this provider is the run's destination, just before text is sent.

    Raises `WrongDestination`.
    """
    wanted = Destination.parse(claim.lease.destination)
    if wanted is None:
        return
    if opened.destination is None or opened.destination.digest != wanted.digest:
        raise WrongDestination(f"It is for {wanted.name}, and would be sent elsewhere from here.")
