"""Endpoint of a server with OpenAI's operations on audio, for one model."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing

from antiphon.providers.failures import Redactor, body_error_text
from antiphon.providers.http import DEFAULT_LIMITS, Endpoint, HttpLimits, create_auth
from antiphon.types.addresses import origin
from antiphon.types.errors import BadSettings, ProviderProtocol, ProviderUnavailable

_MODEL = re.compile(r"[!-~]{1,200}")


class AudioEndpoint:
    """Sends requests for one model to one server, which `place` names for people.

    `setting` is the setting that names the model.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None,
        model: str,
        setting: str,
        *,
        provider: str = "",
        key_header: str | None = None,
        key_parameter: str | None = None,
        limits: HttpLimits = DEFAULT_LIMITS,
    ) -> None:
        if not _MODEL.fullmatch(model):
            raise BadSettings(
                f"The model of `{setting}` has no usable name.",
                expected="provider:name, the name of printable ASCII without blanks",
                received=model[:100],
            )
        self.place = f"{provider} ({origin(base_url)})" if provider else origin(base_url)
        self.model = model
        self._redact = Redactor(key)
        auth = create_auth(key, header=key_header, parameter=key_parameter)
        self._endpoint = Endpoint(base_url, auth, self._redact, limits=limits)

    async def post(
        self,
        path: str,
        body: bytes,
        media_type: str,
        accept: str,
        *,
        seconds: float,
        max_bytes: int,
    ) -> bytes:
        """Return the answer to a request, of at most `max_bytes` bytes. Raises `ProviderError`."""
        headers = {"Content-Type": media_type, "Accept": accept}
        answer = bytearray()
        try:
            async with asyncio.timeout(seconds):
                async with aclosing(self._endpoint.post(path, body, headers)) as pieces:
                    async for piece in pieces:
                        answer += piece
                        if len(answer) > max_bytes:
                            raise ProviderProtocol(f"The answer is longer than {max_bytes} bytes.")
        except TimeoutError as error:
            raise ProviderUnavailable(
                f"The answer took longer than {seconds:g} seconds."
            ) from error
        return bytes(answer)

    def describe(self, answer: bytes) -> str:
        """Return the error in an answer that is not the expected one, or its beginning."""
        return self._redact(body_error_text(answer) or "") or self._redact.sample(answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoint.close()
