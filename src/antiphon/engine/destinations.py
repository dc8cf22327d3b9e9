"""Destination of a run: only programs that send its words to where they went at first drive it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from antiphon.engine.snapshot import Change, Records
from antiphon.engine.unit_of_work import Draft
from antiphon.types.errors import NotFound, ProviderMismatch
from antiphon.types.ids import Mint
from antiphon.types.runs import Destination, Drive, Run, Status

UNMARKED = "a program that asks for it"
"""What a run waits for that an earlier version made: it does not say where its words go."""


def serves_all(destination: str) -> bool:
    """Say of any destination that it is served: where all programs have the same settings."""
    return True


class Unmarked(Exception):
    """The run says nothing of where its words go, and must before it can be driven from here."""


def adopt_destination(
    run: Run, drive: Drive, serves: Callable[[str], bool], adopt: str | None
) -> Drive:
    """Return how a run is driven once this program has asked for it.

    A run without a destination gets the one to `adopt`. Raises `ProviderMismatch`, and `Unmarked`
    where a destination is needed and there is none to adopt.
    """
    if serves(drive.destination):
        return drive
    if not drive.destination and adopt is None:
        raise Unmarked
    if not drive.destination:
        return replace(drive, destination=adopt or "")
    name = waiting_for(drive)
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


def is_waiting(run: Run, drive: Drive) -> bool:
    """Return whether the run waits for a worker to take it."""
    return run.status is Status.QUEUED and drive.wanted


def waiting_for(drive: Drive) -> str:
    """Return the name of the provider that a worker must ask to take the run."""
    try:
        destination = Destination.read(drive.destination)
    except msgspec.DecodeError:
        destination = None
    return destination.name if destination else UNMARKED


def note_waiting(records: Records, mint: Mint) -> Change | None:
    """Say which provider a queued run waits for; None where it does not wait, or has said so.

    The run stays as it was: a program that cannot serve it never fails it. Raises `NotFound`.
    """
    if records.run is None or records.drive is None:
        raise NotFound("There is no such run.")
    if records.run.waiting_for is not None or not is_waiting(records.run, records.drive):
        return None
    draft = Draft(records, mint)
    draft.wait_for(waiting_for(records.drive))
    return draft.change(draft.run)
