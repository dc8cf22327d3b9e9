"""HTTP client for logins, limited in where its requests may go.

The MCP server, which is not trusted, names the authorization server. It is reached only over https,
and in a private network only if the MCP server is in one too.
"""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from types import TracebackType
from typing import Self

import httpx2

from antiphon.tools.egress_policy import EgressPolicy, Exemption
from antiphon.tools.guarded_http import GuardedClient
from antiphon.types.addresses import is_loopback, is_public, parse_address
from antiphon.types.errors import Unavailable

SECONDS = 30.0
LARGEST = 1 << 20
MAX_REDIRECTS = 5
EVERYWHERE = EgressPolicy((Exemption(ip_network("0.0.0.0/0")), Exemption(ip_network("::/0"))))


class OAuthHttpClient:
    """Async context manager for the login at the server of this URL."""

    def __init__(self, url: str, reach: EgressPolicy) -> None:
        self._server = httpx2.URL(url)
        self._client = GuardedClient(_login_policy(self._server.host, reach))

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request; follow redirects within the origin; return the response with its body.

        Raises `Unavailable` and `BlockedAddress` if nothing may be sent, and httpx2's errors.
        """
        async with asyncio.timeout(SECONDS):
            for _ in range(MAX_REDIRECTS):
                self._check(request.url)
                answer = await self._send(request)
                onward = answer.next_request
                if onward is None or onward.method != request.method:
                    return answer
                if onward.url.origin != request.url.origin:
                    return answer
                request = onward
        raise Unavailable(f"{request.url.host} redirects its login more than {MAX_REDIRECTS} times")

    def _check(self, url: httpx2.URL) -> None:
        if url.scheme == "https" or is_loopback(url.host) or url.origin == self._server.origin:
            return
        raise Unavailable(f"its login would go to {url.host} without encryption")

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        # Built again for this client's own headers: above all, no compression.
        asked = self._client.build_request(
            request.method, request.url, headers=request.headers, content=request.content
        )
        streamed = await self._client.send(asked, stream=True, follow_redirects=False)
        try:
            content = bytearray()
            async for piece in streamed.aiter_raw():
                content += piece
                if len(content) > LARGEST:
                    raise Unavailable(f"{request.url.host} answers its login with too much")
        finally:
            await streamed.aclose()
        answer = httpx2.Response(
            streamed.status_code, headers=streamed.headers, content=bytes(content), request=request
        )
        answer.next_request = streamed.next_request
        return answer


def _login_policy(host: str, reach: EgressPolicy) -> EgressPolicy:
    """Return where requests for a server of this host may go: a local server may name any host."""
    if is_loopback(host) or _is_private(host):
        return EVERYWHERE
    return EgressPolicy((*reach.private, Exemption(host)), reach.ports)


def _is_private(host: str) -> bool:
    try:
        address = parse_address(host)
    except ValueError:
        return False
    return address is not None and not is_public(address)
