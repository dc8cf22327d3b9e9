"""Pages that strangers want a browser to be sent to, and which of them it may be sent to."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from antiphon.addresses import loopback


def openable(url: str) -> bool:
    """Whether it is a page over https, or on this machine, in letters that act nowhere."""
    if not _ADDRESS.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and loopback(host)))


# RFC 3986, without what a shell or a script around a browser could take for its own.
_ADDRESS = re.compile(r"[A-Za-z0-9:/?#\[\]@!$&*+,;=%._~-]{1,8192}")
