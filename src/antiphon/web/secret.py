"""The secret that signs what browsers keep for us, made once for an installation."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress

from antiphon.errors import BadSettings
from antiphon.settings import state_folder

NAME = "web-secret"
BYTES = 32


def kept_secret(environ: Mapping[str, str]) -> bytes:
    """The same bytes for every process of this user. Raises `BadSettings` where none can be kept.

    Of several processes that start together one makes the file; all read what it holds.
    """
    file = state_folder(environ) / NAME
    made = file.with_name(f".{NAME}-{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.exists():
            made.touch(mode=0o600)
            made.write_bytes(secrets.token_bytes(BYTES))
            with suppress(FileExistsError):  # another process was first
                os.link(made, file)
        secret = file.read_bytes()
    except OSError as error:
        raise BadSettings(
            f"The web chat's secret cannot be kept: {error.strerror or error}.",
            expected=f"a file at {file} that this user can read and write",
        ) from error
    finally:
        made.unlink(missing_ok=True)
    if len(secret) != BYTES:
        raise BadSettings(
            f"What is in {file} is no secret of the web chat.",
            expected=f"{BYTES} bytes",
            received=f"{len(secret)} bytes",
            hint="Remove the file: a new one is made, and everybody logs in again.",
        )
    return secret
