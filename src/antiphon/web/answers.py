"""What views return: our structs as JSON, and problems as problem documents."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Response

from antiphon import problems
from antiphon.errors import AntiphonError

NO_STORE = {"cache-control": "no-store"}


def answer(value: Any, status: int = 200) -> Response:
    """The value as JSON, which nobody on the way keeps."""
    body = msgspec.json.encode(value)
    return Response(body, status, NO_STORE, content_type="application/json")


def problem(error: AntiphonError) -> Response:
    """The error as a problem document."""
    status, _ = problems.placed(error)
    headers = {
        name.decode(): value.decode("latin-1")
        for name, value in problems.headers(error)
        if name != b"www-authenticate"  # a browser would ask for a password of its own
    }
    kind = problems.MEDIA_TYPE.decode()
    return Response(problems.document(error), status, NO_STORE | headers, content_type=kind)
