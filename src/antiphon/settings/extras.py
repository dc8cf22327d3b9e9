"""Instructions to install a missing extra; they depend on how Antiphon was installed."""

from __future__ import annotations

import json
import shlex
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

NAME = "antiphon"


def install_hint(extra: str) -> str:
    """Return the instruction for installing a missing extra."""
    return f"Install the extra `{extra}`: pip install {requirement(_direct_url(), extra)}"


def requirement(direct_url: dict[str, Any] | None, extra: str) -> str:
    """Return what pip takes to install an extra, quoted for a shell.

    `direct_url` says where the package came from (PEP 610); None if from an index.
    """
    if direct_url is None:
        return shlex.quote(f"{NAME}[{extra}]")
    url = str(direct_url.get("url", ""))
    if vcs := direct_url.get("vcs_info"):
        return shlex.quote(f"{NAME}[{extra}] @ {vcs.get('vcs', 'git')}+{url}")
    if not url.startswith("file:"):
        return shlex.quote(f"{NAME}[{extra}] @ {url}")
    path = shlex.quote(f"{unquote(urlsplit(url).path)}[{extra}]")
    return f"--editable {path}" if direct_url.get("dir_info", {}).get("editable") else path


@cache
def _direct_url() -> dict[str, Any] | None:
    # Needed for a hint alone; it brings parsers of e-mail, zip files and CSV with it.
    import importlib.metadata  # noqa: PLC0415

    try:
        text = importlib.metadata.distribution(NAME).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:  # run from its source, not installed
        return {"url": "file:."}
    return json.loads(text) if text else None
