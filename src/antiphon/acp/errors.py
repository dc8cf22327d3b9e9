"""Our errors as those of JSON-RPC."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from acp.exceptions import RequestError

from antiphon.types.errors import AntiphonError, CallerError, Forbidden, NotFound, Unauthorized

P = ParamSpec("P")
T = TypeVar("T")

AUTH_REQUIRED, RESOURCE_NOT_FOUND = -32000, -32002
INVALID_PARAMS, INTERNAL_ERROR = -32602, -32603
"""Codes of JSON-RPC 2.0, and of the Agent Client Protocol."""


def translate_errors(
    method: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the method with our errors as those of JSON-RPC, which name what was wanted."""

    @wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except AntiphonError as error:
            raise _request_error(error) from error

    return call


def _request_error(error: AntiphonError) -> RequestError:
    data = {"code": error.code, "details": error.told}
    match error:
        case Unauthorized() | Forbidden():
            return RequestError(AUTH_REQUIRED, error.told, data)
        case NotFound():
            return RequestError(RESOURCE_NOT_FOUND, error.told, data)
        case CallerError():
            return RequestError(INVALID_PARAMS, error.told, data)
        case _:
            return RequestError(INTERNAL_ERROR, error.told, data)
