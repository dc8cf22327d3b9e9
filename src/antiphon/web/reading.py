"""A request's body as a struct of ours, within its limits."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from flask import request

from antiphon.calls import invalid
from antiphon.engine import kept
from antiphon.errors import InvalidRequest

T = TypeVar("T")

DEEPEST = 64


def read(kind: type[T]) -> T:
    """The JSON body; the guard has seen that it is one by its type. Other keys are passed over.

    Raises `InvalidRequest`.
    """
    return read_bytes(request.get_data(cache=False), kind)


def query(kind: type[T]) -> T:
    """The query as this struct; other keys are passed over. Raises `InvalidRequest`."""
    try:
        asked = request.args.to_dict()
        kept.refuse_unfit(asked, "query")
        return msgspec.convert(asked, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error) from error


def read_bytes(body: bytes, kind: type[T]) -> T:
    """A JSON text as this struct. Raises `InvalidRequest`."""
    try:
        value: Any = msgspec.json.decode(body)
        kept.refuse_deep(value, DEEPEST)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest("The body is no JSON that can be read.") from error
    return convert(value, kind)


def convert(value: object, kind: type[T]) -> T:
    """What was read as this struct. Raises `InvalidRequest`."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise invalid(error) from error
