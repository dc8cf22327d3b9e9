"""A secret that is made once and kept in a file: the same for every process that reads it."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from antiphon.errors import BadSettings

BYTES = 32


def kept_secret(file: Path, name: str, lost: str) -> bytes:
    """The secret in the file, which is made now where there is none; nobody else may read it.

    Errors call it by its `name`, and say in `lost` what is to be done without it. Of several
    processes that start together one makes the file; all read what it holds. Raises `BadSettings`.
    """
    made = file.with_name(f".{file.name}-{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.exists():
            _make(made)
            with suppress(FileExistsError):  # another process was first
                os.link(made, file)
        secret = file.read_bytes()
    except OSError as error:
        raise BadSettings(
            f"The {name} cannot be kept: {error.strerror or error}.",
            expected=f"a file at {file} that this user can read and write",
        ) from error
    finally:
        made.unlink(missing_ok=True)
    if len(secret) != BYTES:
        raise BadSettings(
            f"What is in {file} is no {name}.",
            expected=f"{BYTES} bytes",
            received=f"{len(secret)} bytes",
            hint=lost,
        )
    return secret


def _make(file: Path) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        written.write(secrets.token_bytes(BYTES))
        written.flush()
        os.fsync(descriptor)  # or a crash may leave an empty file under the name
