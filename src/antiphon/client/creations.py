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

KEY = "idempotency_key"


class KeyedCreateAssistant(operations.CreateAssistant, frozen=True, kw_only=True):
    __doc__ = operations.CreateAssistant.__doc__
    idempotency_key: str | None = None


class KeyedCopyPublishedAssistant(operations.CopyPublishedAssistant, frozen=True, kw_only=True):
    __doc__ = operations.CopyPublishedAssistant.__doc__
    idempotency_key: str | None = None


class KeyedCreateThread(operations.CreateThread, frozen=True, kw_only=True):
    __doc__ = operations.CreateThread.__doc__
    idempotency_key: str | None = None


class KeyedForkThread(operations.ForkThread, frozen=True, kw_only=True):
    __doc__ = operations.ForkThread.__doc__
    idempotency_key: str | None = None


class KeyedCreateFolder(operations.CreateFolder, frozen=True, kw_only=True):
    __doc__ = operations.CreateFolder.__doc__
    idempotency_key: str | None = None


class KeyedCopyShared(operations.CopyShared, frozen=True, kw_only=True):
    __doc__ = operations.CopyShared.__doc__
    idempotency_key: str | None = None


class KeyedCreateMessage(operations.CreateMessage, frozen=True, kw_only=True):
    __doc__ = operations.CreateMessage.__doc__
    idempotency_key: str | None = None


class KeyedAppendMessages(operations.AppendMessages, frozen=True, kw_only=True):
    __doc__ = operations.AppendMessages.__doc__
    idempotency_key: str | None = None


class KeyedCreateRun(operations.CreateRun, frozen=True, kw_only=True):
    __doc__ = operations.CreateRun.__doc__
    idempotency_key: str | None = None


class KeyedComplete(operations.Complete, frozen=True, kw_only=True):
    __doc__ = operations.Complete.__doc__
    idempotency_key: str | None = None


class KeyedProcess(operations.Process, frozen=True, kw_only=True):
    __doc__ = operations.Process.__doc__
    idempotency_key: str | None = None


class KeyedRunSchedule(operations.RunSchedule, frozen=True, kw_only=True):
    __doc__ = operations.RunSchedule.__doc__
    idempotency_key: str | None = None


def operation_type(kind: type[Operation[A]]) -> type[Operation[A]]:
    """Return the operation of the API of which this is a form with a key, else `kind` itself."""
    if KEY in kind.__struct_fields__:
        return cast("type[Operation[A]]", kind.__base__)
    return kind


def split_key(operation: Operation[A]) -> tuple[Operation[A], str | None]:
    """Return the operation to send, and the idempotency key to send it under, if there is one.

    Raises `InvalidRequest` for a key that cannot travel in a header.
    """
    if (kind := operation_type(type(operation))) is type(operation):
        return operation, None
    fields: dict[str, Any] = field_values(operation)
    key: str | None = fields.pop(KEY)
    if key is not None:
        sanitize.validate_idempotency_key(key)
    return kind(**fields), key
