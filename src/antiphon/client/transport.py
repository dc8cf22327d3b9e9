"""Choose a client's transport, and make its methods of the operations that the API declares.

A transport goes over HTTP, or is embedded in this process. Transports are imported by name when
they are needed: each is expensive to import. Both clients read a file to upload here, too.

Each operation is declared once, in `antiphon.api.operations`, and bound once in each client:

    class Client:
        create_run = sync_method(operations.CreateRun)  # (thread_id: str, ...) -> Run

    class AsyncClient:
        create_run = async_method(operations.CreateRun)  # the same, as a coroutine
"""

from __future__ import annotations

import importlib
import inspect
import mimetypes
import os
import re
import warnings
from collections.abc import Callable, Coroutine
from os import PathLike
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    get_type_hints,
)

import msgspec

from antiphon.api.operations import Listed, Operation
from antiphon.client import async_pages, sync_pages
from antiphon.client.async_pages import AsyncPage
from antiphon.client.async_transport import AsyncTransport
from antiphon.client.creations import operation_type, split_key
from antiphon.client.options import ClientOptions, check_embedded
from antiphon.client.sync_pages import Page
from antiphon.client.sync_transport import Transport
from antiphon.settings.loading import load
from antiphon.settings.settings import TABLE, Settings
from antiphon.telemetry.tracing import NO_TRACES, Tracer, create_tracer
from antiphon.types.errors import BadSettings, InvalidRequest

TELEMETRY_VARIABLE = TABLE["telemetry"].variable


def create_client_tracer(settings: Settings) -> Tracer:
    """Return the tracer for a program's operations. Raises `BadSettings`."""
    return create_tracer(settings.telemetry, "antiphon-client", content=settings.log_content)


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The server or the runtime that a program names for its client; None is that of the settings.

    `http_client` is an httpx2 client of the program's own.
    """

    server: str | None = None
    api_key: str | None = None
    database: str | None = None
    settings: Settings | None = None
    options: ClientOptions = ClientOptions()
    http_client: Any = None


def create_transport(target: Target) -> Transport:
    """Return the transport to that server, else to the one in the settings, else embedded.

    Raises `BadSettings`.
    """
    transport: Transport = _create("sync_http_transport", "", target)
    return transport


def create_async_transport(target: Target) -> AsyncTransport:
    """Return the same for asyncio."""
    transport: AsyncTransport = _create("async_http_transport", "Async", target)
    return transport


def _create(module: str, prefix: str, target: Target) -> Any:
    settings, server, api_key = target.settings, target.server, target.api_key
    own = {"model": target.options.model, "database": target.database}
    if settings is not None:
        given = {name: value for name, value in own.items() if value is not None}
        settings = msgspec.structs.replace(settings, **given)
    elif server is None or api_key is None or TELEMETRY_VARIABLE in os.environ:
        settings = load(own, os.environ, Path.cwd())
    if settings is not None:
        if target.database is None:
            server = server or settings.server
        api_key = api_key or settings.api_key
    if server is None:
        check_embedded(target.options, target.http_client)
        embedded = importlib.import_module("antiphon.runtime.embedded_transport")
        return getattr(embedded, f"{prefix}EmbeddedTransport")(settings)
    if target.database is not None:
        raise BadSettings(
            "A server has its own database.",
            expected="server or database",
            received="both",
        )
    tracer = NO_TRACES if settings is None else create_client_tracer(settings)
    http = importlib.import_module(f"antiphon.client.{module}")
    return getattr(http, f"{prefix}HttpTransport")(
        server, api_key, tracer=tracer, options=target.options, http_client=target.http_client
    )


P = ParamSpec("P")
A = TypeVar("A")
E = TypeVar("E")
L = TypeVar("L")
L_co = TypeVar("L_co", covariant=True)


_NEW_NAMES = {
    "acting_as": "as_actor",
    "acting_for": "on_behalf_of",
    "every": "paginate",
    "line": "transport",
}


class RenamedMethods:
    """Base of both clients: old names work for one more version, with a warning."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in _NEW_NAMES:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            new = _NEW_NAMES[name]
            warnings.warn(f"`{name}` is now `{new}`.", DeprecationWarning, stacklevel=2)
            return getattr(self, new)


class HasTransport(Protocol[L_co]):
    """A client: an object with a transport."""

    @property
    def transport(self) -> L_co:
        """The transport to the runtime."""
        ...


def sync_method(
    operation: Callable[P, Operation[A]],
) -> Callable[Concatenate[HasTransport[Transport], P], A]:
    """Return a method that sends this operation and returns its response."""

    def method(client: HasTransport[Transport], /, *args: P.args, **kwargs: P.kwargs) -> A:
        return client.transport.send(*split_key(operation(*args, **kwargs)))

    return _with_signature(method, operation)


def async_method(
    operation: Callable[P, Operation[A]],
) -> Callable[Concatenate[HasTransport[AsyncTransport], P], Coroutine[Any, Any, A]]:
    """Return a coroutine method that sends this operation and returns its response."""

    async def method(
        client: HasTransport[AsyncTransport], /, *args: P.args, **kwargs: P.kwargs
    ) -> A:
        return await client.transport.send(*split_key(operation(*args, **kwargs)))

    return _with_signature(method, operation)


def sync_list_method(
    operation: Callable[P, Operation[Listed[A]]],
) -> Callable[Concatenate[HasTransport[Transport], P], Page[A]]:
    """Return a method that sends this operation and returns the page that answers it."""

    def method(client: HasTransport[Transport], /, *args: P.args, **kwargs: P.kwargs) -> Page[A]:
        return sync_pages.send_listing(client.transport, operation(*args, **kwargs))

    return _with_signature(method, operation, Page)


def async_list_method(
    operation: Callable[P, Operation[Listed[A]]],
) -> Callable[Concatenate[HasTransport[AsyncTransport], P], Coroutine[Any, Any, AsyncPage[A]]]:
    """Return a coroutine method that sends this operation and returns the page that answers it."""

    async def method(
        client: HasTransport[AsyncTransport], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncPage[A]:
        return await async_pages.send_listing(client.transport, operation(*args, **kwargs))

    return _with_signature(method, operation, AsyncPage)


def stream_method(
    operation: Callable[P, Operation[Any]], events: Callable[[L, Operation[Any], str | None], E]
) -> Callable[Concatenate[HasTransport[L], P], E]:
    """Return a method that returns the operation's events; reading the first one sends it."""

    def method(client: HasTransport[L], /, *args: P.args, **kwargs: P.kwargs) -> E:
        return events(client.transport, *split_key(operation(*args, **kwargs)))

    return _with_signature(method, operation, get_type_hints(events)["return"])


M = TypeVar("M", bound=Callable[..., Any])


def _with_signature(method: M, operation: Any, answer: Any = None) -> M:
    """Return the method with the operation's name, docstring and parameters."""
    return cast("M", _OperationMethod(method, operation, answer))


class _OperationMethod:
    """Descriptor that puts the finished method in its own place when it is first used.

    To find out the parameters of more than a hundred operations takes longer than to import them,
    and a program uses a few.
    """

    def __init__(self, method: Any, operation: Any, answer: Any) -> None:
        self._method = method
        self._operation = operation
        self._answer = answer

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner
        self._name = name

    def __get__(self, client: object, kind: type | None = None) -> Any:
        method = self._finish()
        setattr(self._owner, self._name, method)
        return method.__get__(client, kind)

    def _finish(self) -> Any:
        """Describe the method for `help()` and editors."""
        method, operation = self._method, self._operation
        plain = get_type_hints(operation)  # without the bounds, which only the server needs
        client = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        parameters = [
            parameter.replace(annotation=plain[parameter.name])
            for parameter in inspect.signature(operation).parameters.values()
        ]
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation_type(operation).__name__).lower()
        method.__name__ = method.__qualname__ = name
        method.__code__ = method.__code__.replace(co_name=name, co_qualname=name)  # for tracebacks
        method.__doc__ = operation.__doc__
        method.__signature__ = inspect.Signature(
            [client, *parameters], return_annotation=self._answer or operation.answer
        )
        return method


# Files to upload.


Source = str | PathLike[str] | bytes
"""A path, or the bytes themselves."""


class Attachment(msgspec.Struct, frozen=True):
    """A file to upload."""

    name: str
    media_type: str
    content: bytes


def read_attachment(source: Source, name: str | None, media_type: str | None) -> Attachment:
    """Return the file. By default its name comes from the path, its media type from the name.

    Raises `InvalidRequest` for bytes without a name.
    """
    if isinstance(source, bytes):
        content = source
    else:
        content = Path(source).read_bytes()
        name = name or Path(source).name
    if not name:
        raise InvalidRequest("Bytes alone have no name.", expected="name", received="none")
    guessed, _ = mimetypes.guess_type(name)
    return Attachment(name, media_type or guessed or "application/octet-stream", content)
