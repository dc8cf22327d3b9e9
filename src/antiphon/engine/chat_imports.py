"""Changes of an import of chats: pure functions from one state to the next."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from antiphon.types.accounts import AuditEntry
from antiphon.types.chat_imports import (
    ENDED,
    WORKING,
    ChatSource,
    FoundChats,
    ImportStatus,
    StoredImport,
)
from antiphon.types.errors import Conflict, InvalidRequest
from antiphon.types.runs import Fault

LEASE_MS = 30_000
"""Time in which a worker reports progress, or loses the import to another one."""
ABANDONED_MS = 86_400_000
"""Time after which an import that waits for its owner is cancelled."""
MAX_ATTEMPTS = 3
"""Claims of one step of an import: a process that died might have died of the file."""


class ImportLost(Exception):
    """The import has ended, or another worker has it."""


class ImportCancelled(Exception):
    """The owner cancelled the import, and its worker is to delete what it wrote."""


def add_piece(stored: StoredImport, offset: int, size: int, now: int) -> StoredImport:
    """Return the import with the next bytes of its file. The last ones make it `checking`.

    Raises `Conflict` for bytes at another place, and `InvalidRequest` for too many.
    """
    record = stored.record
    if record.status != "uploading" or offset != record.received:
        raise Conflict(
            "These are not the next bytes of the file.",
            expected=f"offset {record.received} of an import that is uploading",
            received=f"offset {offset} of one that is {record.status}",
            hint="Read the import, and continue at `received`; begin a new one if it has ended.",
        )
    if offset + size > record.size:
        raise InvalidRequest(
            "The file is larger than it was announced.",
            expected=f"{record.size} bytes",
            received=f"{offset + size} bytes",
            where="$.content",
            hint="Cancel the import, and begin one of the file's size.",
        )
    received = offset + size
    if received < record.size:
        return _replace_record(stored, now, received=received)
    return _replace_record(stored, now, received=received, status="checking", step="reading")


def start_import(stored: StoredImport, now: int) -> StoredImport:
    """Return the import as `importing`; one that was started before stays as it is.

    Raises `Conflict` unless it is ready.
    """
    if stored.record.status in ("importing", "completed"):
        return stored
    if stored.record.status != "ready":
        raise Conflict(
            "The import cannot be started now.",
            expected="an import that is ready",
            received=f"one that is {stored.record.status}",
            hint="Wait until `status` is ready; begin a new import if this one has ended.",
        )
    changed = _replace_record(stored, now, status="importing", step="reading", done=0, of=0)
    return replace(changed, attempts=0)


def cancel_import(stored: StoredImport, now: int) -> StoredImport:
    """Return the import as `cancelled`; one that has ended, or is transferred, stays as it is.

    One that a worker reads is `cancelling` until the worker has deleted what it wrote.
    """
    if stored.record.status in ENDED or stored.transferring:
        return stored
    if stored.record.status in WORKING:
        return replace(_replace_record(stored, now, step="cancelling"), cancel=True)
    return _replace_record(stored, now, status="cancelled", step="")


def claim_import(stored: StoredImport, worker: str, now: int) -> StoredImport:
    """Return the import with this worker. Raises `ImportLost` if it has another one."""
    if stored.record.status not in WORKING or stored.claimed_until > now:
        raise ImportLost
    return replace(
        stored, worker=worker, claimed_until=now + LEASE_MS, attempts=stored.attempts + 1
    )


def is_exhausted(stored: StoredImport) -> bool:
    """Return whether too many workers have ended over this step of the import."""
    return stored.attempts > MAX_ATTEMPTS


def release_import(stored: StoredImport, worker: str, now: int) -> StoredImport:
    """Return the import for the next worker, as if this one had not claimed it.

    Raises `ImportLost`.
    """
    _check_worker(stored, worker)
    return replace(
        _replace_record(stored, now),
        worker="",
        claimed_until=0,
        attempts=max(stored.attempts - 1, 0),
    )


def report_progress(
    stored: StoredImport, worker: str, now: int, step: str, done: int, of: int
) -> StoredImport:
    """Return the import with its progress, and a new lease. Raises `ImportLost`."""
    _check_worker(stored, worker)
    step = "cancelling" if stored.cancel else step
    changed = _replace_record(stored, now, step=step, done=done, of=of)
    return replace(changed, claimed_until=now + LEASE_MS)


def begin_writing(stored: StoredImport, worker: str, now: int, staging: str) -> StoredImport:
    """Return the import with the owner of the records that it writes. Raises `ImportLost`."""
    _check_worker(stored, worker)
    return replace(_replace_record(stored, now), staging=staging)


def begin_transfer(stored: StoredImport, worker: str, now: int, entry: AuditEntry) -> StoredImport:
    """Return the import as one whose records are transferred to its owner, with its audit entry.

    It cannot be cancelled any more. Raises `ImportLost`, and `ImportCancelled` if its owner was
    faster.
    """
    _check_worker(stored, worker)
    if stored.cancel:
        raise ImportCancelled
    return replace(_replace_record(stored, now), transferring=True, entry=entry)


def settle_check(
    stored: StoredImport, worker: str, now: int, found: FoundChats, source: ChatSource | None
) -> StoredImport:
    """Return the import with what was found: `ready`, or `importing` if it was started.

    An import that its owner has cancelled stays as it is. Raises `ImportLost`.
    """
    _check_worker(stored, worker)
    if stored.cancel:
        return stored
    goes_on = stored.start and stored.record.status == "checking"
    status = "importing" if goes_on or stored.record.status == "importing" else "ready"
    changed = _replace_record(
        stored, now, status=status, found=found, source=source, step="", done=0
    )
    return replace(changed, claimed_until=0 if status == "ready" else stored.claimed_until)


def settle_import(
    stored: StoredImport, worker: str, now: int, status: ImportStatus, problem: Fault | None = None
) -> StoredImport:
    """Return the import at its end, with nothing in staging. Raises `ImportLost`."""
    _check_worker(stored, worker)
    changed = _replace_record(stored, now, status=status, problem=problem, step="")
    return replace(changed, claimed_until=0, staging="")


def revoke_import(stored: StoredImport, now: int) -> StoredImport:
    """Return the import as `cancelled`, whatever its worker does, for the erasure of its owner.

    The caller deletes the records in staging. An import that has ended stays as it is.
    """
    if stored.record.status in ENDED:
        return stored
    changed = _replace_record(stored, now, status="cancelled", step="")
    return replace(changed, worker="", claimed_until=0)


def cancel_abandoned(stored: StoredImport, now: int) -> StoredImport:
    """Return an import that has waited for its owner too long as `cancelled`.

    Raises `ImportLost` if its owner has come back to it.
    """
    if stored.record.status in WORKING or now - stored.record.updated_at < ABANDONED_MS:
        raise ImportLost
    return cancel_import(stored, now)


def forget_file(stored: StoredImport) -> StoredImport:
    """Return an import that has ended as one whose pieces are deleted."""
    return replace(stored, has_file=False)


def check_ended(stored: StoredImport) -> None:
    """Raise `Conflict` unless the import has ended."""
    if stored.record.status not in ENDED:
        raise Conflict(
            "The import goes on, and cannot be deleted.",
            expected="an import that has ended",
            received=f"one that is {stored.record.status}",
            hint="Cancel it, and wait until it is cancelled.",
        )


def due_at(stored: StoredImport) -> int | None:
    """Return the time (ms) from which a worker looks at the import, None if there is no reason.

    That is the end of its claim, or of the time in which its owner may come back; and at once for
    the file of one that has ended.
    """
    if stored.record.status in ENDED:
        return 0 if stored.has_file else None
    if stored.record.status in WORKING:
        return stored.claimed_until
    return stored.record.updated_at + ABANDONED_MS


def _check_worker(stored: StoredImport, worker: str) -> None:
    if not stored.is_held_by(worker):
        raise ImportLost


def _replace_record(stored: StoredImport, now: int, **fields: Any) -> StoredImport:
    return replace(stored, record=replace(stored.record, updated_at=now, **fields))
