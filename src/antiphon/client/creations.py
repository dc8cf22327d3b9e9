"""The operations that create, with the caller's idempotency key among their parameters.

The key travels in a header, so it is no field of an operation of the API. These types exist for the
methods of both clients: type checkers and editors read the parameters of a method from its type.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from antiphon.api import operations
from antiphon.api.operations import Operation, field_values
from antiphon.engine import sanitize

A = TypeVar("A")


class CreateAssistant(operations.CreateAssistant, frozen=True, kw_only=True):
    __doc__ = operations.CreateAssistant.__doc__
    idempotency_key: str | None = None


class CreateThread(operations.CreateThread, frozen=True, kw_only=True):
    __doc__ = operations.CreateThread.__doc__
    idempotency_key: str | None = None


class ForkThread(operations.ForkThread, frozen=True, kw_only=True):
    __doc__ = operations.ForkThread.__doc__
    idempotency_key: str | None = None


class CreateMessage(operations.CreateMessage, frozen=True, kw_only=True):
    __doc__ = operations.CreateMessage.__doc__
    idempotency_key: str | None = None


class AppendMessages(operations.AppendMessages, frozen=True, kw_only=True):
    __doc__ = operations.AppendMessages.__doc__
    idempotency_key: str | None = None


class CreateRun(operations.CreateRun, frozen=True, kw_only=True):
    __doc__ = operations.CreateRun.__doc__
    idempotency_key: str | None = None


class Complete(operations.Complete, frozen=True, kw_only=True):
    __doc__ = operations.Complete.__doc__
    idempotency_key: str | None = None


class Process(operations.Process, frozen=True, kw_only=True):
    __doc__ = operations.Process.__doc__
    idempotency_key: str | None = None


_OPERATIONS: dict[type[Operation[Any]], type[Operation[Any]]] = {
    CreateAssistant: operations.CreateAssistant,
    CreateThread: operations.CreateThread,
    ForkThread: operations.ForkThread,
    CreateMessage: operations.CreateMessage,
    AppendMessages: operations.AppendMessages,
    CreateRun: operations.CreateRun,
    Complete: operations.Complete,
    Process: operations.Process,
}


def split_key(call: Operation[A]) -> tuple[Operation[A], str | None]:
    """Return the operation to send, and the idempotency key to send it under, if there is one.

    Raises `InvalidRequest` for a key that cannot travel in a header.
    """
    if (operation := _OPERATIONS.get(type(call))) is None:
        return call, None
    fields = field_values(call)
    key: str | None = fields.pop("idempotency_key")
    if key is not None:
        sanitize.validate_idempotency_key(key)
    return cast("Operation[A]", operation(**fields)), key
