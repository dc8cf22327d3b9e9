"""The names of servers' tools towards a model: legal for every provider, told apart, stable.

`server__tool` as it stands where that can be read one way only; otherwise what is left of it when
it is made legal, and a hash of both names. A name is made of its server and tool alone, so that it
is the same after a restart and whatever else is there.
"""

from __future__ import annotations

import hashlib
import re

LONGEST = 64  # OpenAI's and Anthropic's limit


def named(server: str, tool: str) -> str:
    """The model's name for a server's tool.

    Two tools have different names, but for a clash of 40 bits of hash, which the table that maps
    names back must refuse.
    """
    plain = f"{server}__{tool}"
    if _SERVER.fullmatch(server) and _TOOL.fullmatch(tool) and len(plain) <= LONGEST:
        return plain
    digest = hashlib.sha256(f"{len(server)}:{server}{tool}".encode(errors="surrogatepass"))
    room = LONGEST - len("__") - len("_") - _DIGITS
    front = _legal(server, "server")[: room // 2]
    back = _legal(tool, "tool")[: room - len(front)]
    return f"{front}__{back}_{digest.hexdigest()[:_DIGITS]}"


def server_part(server: str) -> str:
    """Return what the model's names of a server's tools begin with; others' may begin so too."""
    if _SERVER.fullmatch(server):
        room = LONGEST - len("__") - len("_") - _DIGITS
        return server if len(server) > room // 2 else f"{server}__"
    return ""


_DIGITS = 10
# The first `__` of a plain name ends the server's part, so no server may hold or touch one; and no
# plain name may end as a hashed one does.
_SERVER = re.compile(r"(?!.*__)[A-Za-z0-9][A-Za-z0-9_-]*(?<!_)")
_TOOL = re.compile(rf"(?!.*_[0-9a-f]{{{_DIGITS}}}\Z)[A-Za-z0-9_-]+")


def _legal(name: str, otherwise: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_-") or otherwise
