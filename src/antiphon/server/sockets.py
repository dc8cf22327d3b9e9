"""The socket that a server listens on, and how many connections the system lets it hold."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from importlib import import_module

from antiphon.types.errors import BadSettings

UNSENT_IN_SYSTEM = 131_072
"""Bytes of an answer that the system keeps beyond what the reader's window takes. Left to itself it
would keep megabytes for each connection, and a reader who takes nothing would not be noticed."""
OWN_FILES = 128  # for the database, providers, tools and whatever else a server has open


def bind_socket(host: str, port: int) -> socket.socket:
    """A socket on that address, and on no other. Raises `BadSettings`.

    `socket.create_server` leaves the protocol at 0, upon which asyncio does not switch Nagle's
    algorithm off: each answer would wait for the reader's delayed acknowledgement, 40 ms.
    """
    listener: socket.socket | None = None
    try:
        (family, kind, _, _, where), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # connections have it from their listener
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_IN_SYSTEM)
        listener.bind(where)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise BadSettings(
            f"Port {port} of {host} cannot be listened on: {error.strerror or error}.",
            expected="a free port of this machine",
            hint="`antiphon doctor` says what is there; --port 0 takes any that is free.",
        ) from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Where it can be connected to."""
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def raise_file_limit(connections: int) -> int:
    """As many of these connections as there are files for: the system's limit is raised first.

    Beyond it, connections could not even be refused: they would hang.
    """
    if os.name != "posix":
        return connections
    resource = import_module("resource")  # Windows has none
    soft, hard = map(int, resource.getrlimit(resource.RLIMIT_NOFILE))
    wanted = connections + OWN_FILES
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = int(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - OWN_FILES))
