"""Records of an export as an import adds them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from antiphon.types.folders import Folder
from antiphon.types.messages import Message, Upload
from antiphon.types.runs import Action, Assistant, Run, Thread


class ImportedRun(msgspec.Struct, frozen=True):
    """A run that has ended elsewhere, and the numbers of its last event and of the last one gone.

    `kept_after` is that of `RunLease`.
    """

    run: Run
    last_event: int
    kept_after: int


class ImportedEvents(msgspec.Struct, frozen=True):
    """Consecutive encoded events of a run, the first of them numbered `first`."""

    run_id: str
    first: int
    lines: Sequence[bytes]

    @property
    def last(self) -> int:
        """The number of the last one."""
        return self.first + len(self.lines) - 1


class ImportBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Records of an import that are added in one transaction, oldest first.

    A thread comes with the id of its family where that is not its own. What a record belongs to is
    in this batch or in one before it.
    """

    assistants: Sequence[Assistant] = ()
    folders: Sequence[Folder] = ()
    uploads: Sequence[tuple[Upload, bytes]] = ()
    threads: Sequence[tuple[Thread, str | None]] = ()
    messages: Sequence[Message] = ()
    runs: Sequence[ImportedRun] = ()
    actions: Sequence[Action] = ()
    events: Sequence[ImportedEvents] = ()
