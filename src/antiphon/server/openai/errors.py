"""The form of errors in OpenAI's API."""

from __future__ import annotations

from starlette.types import Send

from antiphon.api import problems
from antiphon.server.requests import send_response
from antiphon.types.errors import AntiphonError
from antiphon.wires.framing import json_line
from antiphon.wires.openai.errors import INSUFFICIENT_QUOTA, status_and_envelope


async def send_error(send: Send, error: AntiphonError) -> None:
    """Send an error in the form of OpenAI's API."""
    status, envelope = status_and_envelope(error)
    body, headers = json_line(envelope), problems.problem_headers(error)
    if envelope.error.code == INSUFFICIENT_QUOTA:
        headers.append((b"x-should-retry", b"false"))
    await send_response(send, status, body, b"application/json", headers)
