"""The listening socket, and the system's limit of open files."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from importlib import import_module

from antiphon.types.errors import BadSettings

UNSENT_IN_SYSTEM = 131_072
"""Bytes of a response that the kernel buffers beyond the client's window.

By default it buffers megabytes for each connection, and a client that does not read is unnoticed.
"""
OWN_FILES = 128  # files besides connections: database, providers, tools


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to exactly this address. Raises `BadSettings`.

    `socket.create_server` leaves the protocol at 0, so that asyncio does not disable Nagle's
    algorithm: each response would wait 40 ms for the client's delayed acknowledgement.
    """
    listener: socket.socket | None = None
    try:
        (family, kind, _, _, where), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # connections inherit it
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
    """Return the URL of a listening socket."""
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def raise_file_limit(connections: int) -> int:
    """Raise the limit of open files; return how many of these connections fit into it.

    Beyond the limit, connections would hang, because they could not even be refused.
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
