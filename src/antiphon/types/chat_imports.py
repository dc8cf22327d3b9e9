"""Imports of other chats' exports: an uploaded file, and the job that reads it."""

from __future__ import annotations

from typing import Literal

import msgspec

from antiphon.types.accounts import AuditEntry
from antiphon.types.runs import Fault

ChatSource = Literal["chatgpt", "claude", "open-webui"]
ImportStatus = Literal[
    "uploading", "checking", "ready", "importing", "completed", "failed", "cancelled"
]
WORKING: tuple[ImportStatus, ...] = ("checking", "importing")
"""Statuses in which a server reads the file."""
ENDED: tuple[ImportStatus, ...] = ("completed", "failed", "cancelled")
MAX_PIECE = 4 << 20
"""Most bytes of one piece of a file."""


class FoundChats(msgspec.Struct, frozen=True):
    """Numbers of what an export has that was not imported yet.

    `versions` are further branches of the conversations, `present` conversations that were imported
    before. `skipped` counts what cannot be imported, by the reason.
    """

    conversations: int
    versions: int
    messages: int
    files: int
    present: int
    skipped: dict[str, int] = {}


class ChatImport(msgspec.Struct, frozen=True, kw_only=True):
    """An import of an export of ChatGPT, Claude or Open WebUI. Times in ms.

    Of the file of `size` bytes, `received` have arrived. After the last one, `uploading` becomes
    `checking`. The check sets `found`; then the import is `ready` to be started, or `importing`.
    `done` of `of` bytes or records is the progress of `step`. A `failed` import has a `problem`. No
    conversation is visible before the import is `completed`.
    """

    id: str
    name: str = ""
    source: ChatSource | None = None
    size: int
    received: int = 0
    status: ImportStatus = "uploading"
    step: str = ""
    done: int = 0
    of: int = 0
    found: FoundChats | None = None
    problem: Fault | None = None
    created_at: int
    updated_at: int


class StoredImport(msgspec.Struct, frozen=True, kw_only=True):
    """An import with its owner, and the worker that reads its file until `claimed_until` (ms).

    `key_id` and `actor` began it. `start` is true if it goes on without a question, `cancel` if its
    worker is to stop. `attempts` counts the claims of its step. `staging` is the owner of the
    records that are written; `transferring` is true as soon as they are transferred to the owner of
    the import, and `entry` is then its entry of the audit log. `has_file` is false when the pieces
    of an import that has ended are deleted.
    """

    owner: str
    record: ChatImport
    start: bool = False
    cancel: bool = False
    key_id: str | None = None
    actor: str = ""
    worker: str = ""
    claimed_until: int = 0
    attempts: int = 0
    staging: str = ""
    transferring: bool = False
    entry: AuditEntry | None = None
    has_file: bool = True

    def is_held_by(self, worker: str) -> bool:
        """Return whether this worker holds the claim on the import."""
        return self.worker == worker and self.record.status in WORKING


class ImportClaim(msgspec.Struct, frozen=True):
    """Claim of a worker on an import; it is lost when the import ends or has another worker."""

    owner: str
    import_id: str
    worker: str
