"""The secret that signs what browsers keep for us, made once for an installation."""

from __future__ import annotations

from collections.abc import Mapping

from antiphon import secret_file
from antiphon.folders import state_folder

NAME = "web-secret"


def kept_secret(environ: Mapping[str, str]) -> bytes:
    """The same bytes for every process of this user. Raises `BadSettings` without a place."""
    return secret_file.kept_secret(
        state_folder(environ) / NAME,
        "secret of the web chat",
        "Remove the file: a new one is made, and everybody logs in again.",
    )
