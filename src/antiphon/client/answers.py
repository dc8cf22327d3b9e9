"""What a server answered, as a value or as the error that it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from antiphon import errors
from antiphon.calls import Call
from antiphon.errors import AntiphonError

A = TypeVar("A")


def value(call: Call[A], content: bytes) -> A:
    """The answer to this call. Raises `BadSettings` for one that no Antiphon server gives."""
    answer: A = decoded(content, call.answer)
    return answer


def decoded(content: bytes, kind: Any) -> Any:
    """These bytes as a value of that kind. Raises `BadSettings`."""
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise errors.BadSettings(
            f"The server's answer cannot be read: {error}",
            expected="an Antiphon server, of this version or near it",
            received=repr(content[:80]),
            hint="Is the address right?",
        ) from error


def problem(status: int, headers: Mapping[str, str], content: bytes) -> AntiphonError:
    """The error in a problem document (RFC 9457); one made of the status where there is none."""
    try:
        members = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        members = {}
    code = str(members.pop("code", ""))
    kind = errors.named(code)
    if kind is AntiphonError:
        kind = _by_status(status)
        members |= {"code": code} if code else {}
    detail = members.pop("detail", None) or f"The server answered with HTTP status {status}."
    error = kind(str(detail))
    for name in ("type", "title", "status", "instance"):
        members.pop(name, None)
    retry_after = headers.get("retry-after", "")
    if retry_after.isdecimal():
        members.setdefault("retry_after", int(retry_after))
    error.details.update(members)
    return error


_BY_STATUS: dict[int, type[AntiphonError]] = {
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    413: errors.TooLarge,
    429: errors.Overloaded,
    502: errors.Unavailable,  # these two are proxies', whose server is away
    504: errors.Unavailable,
    503: errors.Unavailable,
}


def _by_status(status: int) -> type[AntiphonError]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return errors.CallerError if 400 <= status < 500 else AntiphonError
