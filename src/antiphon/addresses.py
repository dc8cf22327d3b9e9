"""Which addresses mean this machine."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def loopback(host: str) -> bool:
    """Whether this is a loopback address, or the name that always means one."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def leads_here(url: str) -> bool:
    """Whether what is asked there is asked of this machine."""
    return loopback(urlsplit(url).hostname or "")
