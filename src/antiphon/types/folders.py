"""Folders of threads."""

from __future__ import annotations

import msgspec

MAX_FOLDERS = 200
"""Most folders of an owner."""

NO_FOLDER = "none"
"""Filter of lists that selects the threads in no folder."""


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """Threads that belong together. Models read its `instructions` in the runs of each.

    `file_ids` are uploads whose text these runs may search. Times in ms.
    """

    id: str
    name: str
    instructions: str = ""
    file_ids: tuple[str, ...] = ()
    created_at: int
    updated_at: int
