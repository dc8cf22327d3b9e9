"""Destination of a run: only programs that send its messages to the same place may drive it."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from antiphon.engine.snapshot import ChangeSet, Snapshot
from antiphon.engine.unit_of_work import UnitOfWork
from antiphon.types.errors import ProviderMismatch
from antiphon.types.ids import Mint
from antiphon.types.runs import Destination, Run, RunLease, Serves, Status

ANY_ASKING_PROGRAM = "a program that asks for it"
"""Stands for the provider of a run from an earlier version, which has no destination."""


class DestinationUnknown(Exception):
    """The run has no destination and needs one before this program can drive it."""


def adopt_destination(run: Run, lease: RunLease, serves: Serves, adopt: str | None) -> RunLease:
    """Return the lease of a run after this program requested a turn.

    A run without a destination gets `adopt`. Raises `ProviderMismatch`, and `DestinationUnknown` if
    a destination is needed and `adopt` is None.
    """
    if serves(lease.destination):
        return lease
    if not lease.destination and adopt is None:
        raise DestinationUnknown
    if not lease.destination:
        return replace(lease, destination=adopt or "")
    name = provider_name(lease)
    raise ProviderMismatch(
        f"Run {run.id} was begun where {name} is asked for {run.model}; with the settings of this "
        "program the conversation would go elsewhere, or could not be sent.",
        expected=f"settings that lead to {name}, and the key for it",
        received="others",
        hint="Ask from a program with those settings, or cancel the run and begin a new one in "
        "its thread.",
        run_id=run.id,
        provider=name,
    )


def is_waiting(run: Run, lease: RunLease) -> bool:
    """Return whether the run waits for a worker to claim it."""
    return run.status is Status.QUEUED and lease.wanted


def provider_name(lease: RunLease) -> str:
    """Return the name of the provider that a worker must be able to ask."""
    try:
        destination = Destination.parse(lease.destination)
    except msgspec.DecodeError:
        destination = None
    return destination.name if destination else ANY_ASKING_PROGRAM


def report_waiting(snapshot: Snapshot, mint: Mint) -> ChangeSet | None:
    """Set `waiting_for` of a queued run; None if the run does not wait, or has it already.

    The status stays: a program that cannot serve a run never fails it. Raises `NotFound`.
    """
    run, lease = snapshot.require_run()
    if run.waiting_for is not None or not is_waiting(run, lease):
        return None
    unit = UnitOfWork(snapshot, mint)
    unit.wait_for_provider(provider_name(lease))
    return unit.build(unit.run)
