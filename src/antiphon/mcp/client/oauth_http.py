"""HTTP of a login: a client limited in where its requests may go, and the target of the redirect.

The MCP server, which is not trusted, names the authorization server. It is reached only over https,
and in a private network only if the MCP server is in one too. The redirect's target is one page on
loopback that accepts one result. Any page in the browser can send requests there; requests without
the right `state` change nothing.
"""

from __future__ import annotations

import asyncio
import hmac
from ipaddress import ip_network
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

import httpx2
import msgspec

from antiphon.tools.egress_policy import EgressPolicy, Exemption
from antiphon.tools.guarded_http import GuardedClient
from antiphon.types.addresses import is_loopback, is_public, parse_address
from antiphon.types.errors import InvalidRequest, Unavailable

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
                url = request.url
                if url.scheme != "https" and not (
                    is_loopback(url.host) or url.origin == self._server.origin
                ):
                    raise Unavailable(f"its login would go to {url.host} without encryption")
                answer = await self._send(request)
                onward = answer.next_request
                if onward is None or onward.method != request.method:
                    return answer
                if onward.url.origin != url.origin:
                    return answer
                request = onward
        raise Unavailable(f"{request.url.host} redirects its login more than {MAX_REDIRECTS} times")

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        # Built again for this client's own headers: above all, no compression.
        outgoing = self._client.build_request(
            request.method, request.url, headers=request.headers, content=request.content
        )
        streamed = await self._client.send(outgoing, stream=True, follow_redirects=False)
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
    try:
        address = parse_address(host)
    except ValueError:
        address = None
    if is_loopback(host) or (address is not None and not is_public(address)):
        return EVERYWHERE
    return EgressPolicy((*reach.private, Exemption(host)), reach.ports)


# The target of the redirect.


HOST = "127.0.0.1"
PATH = "/callback"
HEAD_SECONDS = 5.0
"""Time for a request to arrive: a browser sends it at once."""
LARGEST_HEAD = 16_384


class CallbackResult(msgspec.Struct, frozen=True):
    """Query of the redirect; `error` replaces `code` if the login was refused."""

    code: str
    state: str
    issuer: str | None = None
    error: str = ""

    def __repr__(self) -> str:
        """Omit the code."""
        return f"Returned(error={self.error!r})"


class LoginCallback:
    """Async context manager that listens for the redirect; `uri` is valid inside it.

    Only a result with the right `state` is accepted.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.state = ""
        self._result: asyncio.Future[CallbackResult] = asyncio.get_running_loop().create_future()
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()

    @property
    def uri(self) -> str:
        """Redirect URI."""
        return f"http://{HOST}:{self.port}{PATH}"

    async def __aenter__(self) -> Self:
        """Listen. Raises `Unavailable` if the port is taken."""

        def handle_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            visit = asyncio.create_task(self._answer(reader, writer))
            self._visits.add(visit)
            visit.add_done_callback(self._visits.discard)

        try:
            self._server = await asyncio.start_server(
                handle_connection, HOST, self.port, limit=LARGEST_HEAD
            )
        except OSError as error:
            raise Unavailable(f"Port {self.port} of {HOST} cannot be listened on.") from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
            for visit in self._visits:
                visit.cancel()
            await asyncio.gather(*self._visits, return_exceptions=True)
        self._result.cancel()

    async def wait(self) -> CallbackResult:
        """Wait for the result."""
        return await asyncio.shield(self._result)

    def accept(self, address: str) -> CallbackResult:
        """Read the result from the URL that a browser ended at. Raises `InvalidRequest`."""
        try:
            parsed = parse_qs(urlsplit(address).query)
        except ValueError as error:
            raise InvalidRequest("This is no address.") from error
        query = {name: values[0] for name, values in parsed.items()}
        returned = CallbackResult(
            query.get("code", ""), query.get("state", ""), query.get("iss"), query.get("error", "")
        )
        if not self.state or not hmac.compare_digest(
            returned.state.encode(errors="replace"), self.state.encode()
        ):
            raise InvalidRequest("This does not answer the login that was started.")
        if not (returned.code or returned.error):
            raise InvalidRequest("This answer holds neither a code nor an error.")
        if not self._result.done():
            self._result.set_result(returned)
        return returned

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                status, words = self._handle_request(head.decode("latin-1"))
                writer.write(_page(status, words))
                await writer.drain()
        except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError):
            pass  # an incomplete or oversized request gets no response
        finally:
            writer.close()

    def _handle_request(self, head: str) -> tuple[str, str]:
        """Return status line and text for a request; accept the result that it carries."""
        request, *lines = head.split("\r\n")
        headers = [line.partition(":")[::2] for line in lines if ":" in line]
        given = {name.strip().lower(): value.strip() for name, value in headers}
        if given.get("host") not in {f"{HOST}:{self.port}", f"localhost:{self.port}"}:
            return "421 Misdirected Request", "This page is asked for by another name."
        if "origin" in given:  # a browser that follows a redirect from a link sends none
            return "403 Forbidden", "This page is for nobody else."
        method, _, target = request.partition(" ")
        target = target.rpartition(" ")[0]
        if method != "GET" or target.partition("?")[0] != PATH:
            return "404 Not Found", "There is nothing here."
        try:
            returned = self.accept(target)
        except InvalidRequest as error:
            return "400 Bad Request", error.message
        if returned.error:
            return "200 OK", "The login was refused. You can close this page."
        return "200 OK", "You are logged in, and can close this page."


def _page(status: str, words: str) -> bytes:
    """Return a page of fixed text that loads nothing and sends no referrer."""
    body = f"<!doctype html><meta charset=utf-8><title>Antiphon</title><p>{words}</p>"
    return (
        f"HTTP/1.1 {status}\r\n"
        "content-type: text/html; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\n"
        "content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n"
        "referrer-policy: no-referrer\r\n"
        "cache-control: no-store\r\n"
        "x-content-type-options: nosniff\r\n"
        "connection: close\r\n\r\n"
        f"{body}"
    ).encode()
