"""Logins at servers over HTTP, by OAuth 2.1 as MCP has it: found out, done, kept, renewed.

The SDK knows the protocol. Here is what is to be done with it: where a token goes and where it is
kept, who is asked when, and what is said when it fails. A token goes to the server that it is for,
and no code, token or secret is in an error.

Loaded by name, with the SDK.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

import httpx2
from mcp.client.auth import OAuthClientProvider, OAuthFlowError, OAuthTokenError
from mcp.client.auth.exceptions import OAuthRegistrationError
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.auth.utils import extract_field_from_www_auth
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)
from pydantic import AnyUrl, BaseModel, ValidationError

from antiphon.mcp.client.authorization import PERSON_SECONDS, Login, Logins, Person
from antiphon.mcp.client.client_features import openable
from antiphon.mcp.client.oauth_callback import Callback, Returned
from antiphon.mcp.client.oauth_http import Errands
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.metadata import told_line
from antiphon.tools.egress_policy import INTERNET, Reach
from antiphon.types.errors import AntiphonError, BadSettings, InvalidRequest, Unavailable

EARLY_SECONDS = 30.0
"""A token is renewed so long before its end, so that none ends on its way."""


def authorization(
    config: ServerConfig, logins: Logins, person: Person | None = None, reach: Reach = INTERNET
) -> httpx2.Auth | None:
    """What authorizes requests to a server; None for one that has a header for that, or needs none.

    Without a person a server that wants a login is `Unavailable`. Raises `BadSettings`.
    """
    named = {header.lower() for header in config.headers}
    if config.transport == "stdio" or "authorization" in named:
        return None
    oauth = config.oauth
    own: dict[str, Any] = {"config": config, "logins": logins, "reach": reach}
    if oauth.grant == "authorization_code":
        return _InPerson(person, **own)
    if not (oauth.client_id and oauth.issuer and (oauth.client_secret or oauth.private_key)):
        raise BadSettings(
            f"The server {config.name} is to be logged in at without a person.",
            expected="client_id, issuer, and client_secret or private_key in its `oauth`",
        )
    own |= {"client_id": oauth.client_id, "scope": oauth.scope or None, "issuer": oauth.issuer}
    if oauth.client_secret:
        return _BySecret(client_secret=oauth.client_secret, **own)
    signed = SignedJWTParameters(
        issuer=oauth.client_id,
        subject=oauth.client_id,
        signing_key=oauth.private_key,
        signing_algorithm=oauth.algorithm,
    )
    return _ByKey(assertion_provider=signed.create_assertion_provider(), **own)


class _Kept(OAuthClientProvider):
    """The SDK's provider, whose requests do not wait for one another, and whose tokens last."""

    def __init__(
        self, *, config: ServerConfig, logins: Logins, reach: Reach, **options: Any
    ) -> None:
        super().__init__(server_url=config.url, storage=_Unkept(), **options)
        self._config = config
        self._logins = logins
        self._reach = reach
        self._server = httpx2.URL(config.url)
        self._turn = asyncio.Lock()
        self._failure: Unavailable | None = None  # of this session: nobody is asked twice

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send the request with a token; where that is refused, once more with a better one."""
        if not self._to_the_server(request.url):
            yield request
            return
        self.context.protocol_version = request.headers.get("mcp-protocol-version")
        with_token = await self._prepared(request)
        response = yield request
        ours = self._to_the_server(response.url)  # and not where a redirect led
        if ours and _refused(response) and await self._renewed(request, response, with_token):
            yield request

    def _to_the_server(self, url: httpx2.URL) -> bool:
        """Whether the token is for what is there."""
        here = self._server
        upgraded = (here.scheme, here.port, url.scheme, url.port) == ("http", None, "https", None)
        return url.host == here.host and (url.origin == here.origin or upgraded)

    async def _prepared(self, request: httpx2.Request) -> str | None:
        """Give the request its token, if there is one; returns it."""
        async with self._turn:
            if not self._initialized:
                await self._initialize()
            ends = self.context.token_expiry_time
            if ends is not None and time.time() > ends - EARLY_SECONDS:
                await self._refreshed()
        return self._stamp(request)

    async def _renewed(
        self, request: httpx2.Request, response: httpx2.Response, refused: str | None
    ) -> bool:
        """Whether the request has a better token now. Raises `Unavailable` where none is to be had.

        Somebody else may have got one meanwhile: another request, or another program.
        """
        async with self._turn:
            if self._token() == refused:
                await self._initialize()
            if self._token() not in {None, refused}:
                self._stamp(request)
                return True
            if response.status_code == 401 and await self._refreshed():
                self._stamp(request)
                return True
            return await self._authorized(request, response)

    async def _authorized(self, request: httpx2.Request, response: httpx2.Response) -> bool:
        """Log in, without a person."""
        await self._log_in(request, response)
        return True

    async def _log_in(self, request: httpx2.Request, response: httpx2.Response) -> None:
        """Log in once. Raises `Unavailable`."""
        if self._failure is not None:
            raise self._failure
        try:
            await self._flow(request, response)
        except _FAILURES as error:
            self._failure = Unavailable(f"the login failed: {_said(error)}")
            raise self._failure from None
        await self._keep()

    async def _flow(self, request: httpx2.Request, response: httpx2.Response) -> None:
        """Lead the SDK through its flow, which wants to send the request itself, first and last."""
        flow = self._auth_flow(request)
        try:
            async with Errands(self._config.url, self._reach) as errands:
                outgoing = await anext(flow)
                while outgoing is not request:
                    outgoing = await flow.asend(await errands.send(outgoing))
                outgoing = await flow.asend(response)
                while outgoing is not request:
                    outgoing = await flow.asend(await errands.send(outgoing))
        finally:
            await flow.aclose()

    async def _refreshed(self) -> bool:
        """Whether there is a new token for the old one. Only a refusal makes the old one void."""
        if not self.context.can_refresh_token() or self.context.oauth_metadata is None:
            return False
        asked = await self._refresh_token()
        try:
            async with Errands(self._config.url, self._reach) as errands:
                answer = await errands.send(asked)
        except _FAILURES as error:
            raise Unavailable(f"its login cannot be renewed: {_said(error)}") from None
        if answer.status_code not in {200, 400, 401}:
            raise Unavailable(f"its login cannot be renewed: HTTP {answer.status_code}")
        if await self._handle_refresh_response(answer):
            await self._keep()
            return True
        return False

    async def _initialize(self) -> None:
        """Take up what is kept."""
        await super()._initialize()
        login = await asyncio.to_thread(self._logins.get, self._config.url)
        if login is not None:
            self._take_up(login)

    def _take_up(self, login: Login) -> None:
        context = self.context
        own = self._config.oauth.client_id
        try:
            client = _read(OAuthClientInformationFull, login.client)
            tokens = _read(OAuthToken, login.tokens)
            metadata = _read(OAuthMetadata, login.metadata)
            resource = _read(ProtectedResourceMetadata, login.resource)
        except ValidationError:
            return  # of another version: a new login mends it
        if own and (client is None or client.client_id != own):
            return  # another client's
        context.client_info = context.client_info or client
        context.current_tokens, context.token_expiry_time = tokens, login.expires_at
        context.oauth_metadata, context.protected_resource_metadata = metadata, resource
        context.auth_server_url = str(resource.authorization_servers[0]) if resource else None

    async def _keep(self) -> None:
        context = self.context
        login = Login(
            url=self._config.url,
            tokens=_dumped(context.current_tokens),
            expires_at=context.token_expiry_time,
            client=_dumped(context.client_info),
            metadata=_dumped(context.oauth_metadata),
            resource=_dumped(context.protected_resource_metadata),
        )
        await asyncio.to_thread(self._logins.keep, login)

    def _token(self) -> str | None:
        tokens = self.context.current_tokens
        return tokens.access_token if tokens else None

    def _stamp(self, request: httpx2.Request) -> str | None:
        token = self._token()
        if token is not None:
            request.headers["authorization"] = f"Bearer {token}"
        return token


class _InPerson(_Kept):
    """Somebody logs in at a page of the authorization server, and a browser brings the code."""

    def __init__(self, person: Person | None, *, config: ServerConfig, **own: Any) -> None:
        oauth = config.oauth
        super().__init__(
            config=config,
            client_metadata=OAuthClientMetadata(
                client_name="Antiphon",
                redirect_uris=[AnyUrl(_ANY_PORT)],
                scope=oauth.scope or None,
            ),
            client_metadata_url=oauth.client_metadata_url or None,
            **own,
        )
        self._person = person

    async def _authorized(self, request: httpx2.Request, response: httpx2.Response) -> bool:
        if self._person is None:
            if response.status_code == 403:
                return False  # this one request needs more rights; the session goes on
            raise Unavailable(f"it needs a login: antiphon mcp login {self._config.name}")
        async with await self._listening() as callback:
            visit = _Visit(callback, self._person)
            self.context.redirect_handler = visit.go
            self.context.callback_handler = visit.come_back
            self._use(callback.uri)
            try:
                async with asyncio.timeout(PERSON_SECONDS):
                    await self._log_in(request, response)
            except TimeoutError:
                raise Unavailable(f"nobody logged in within {PERSON_SECONDS:g} s") from None
        return True

    async def _listening(self) -> Callback:
        """On the port that this client is registered with, if that can be had."""
        fixed = self._config.oauth.redirect_port
        known = self.context.client_info and self.context.client_info.redirect_uris
        for port in (fixed or (known[0].port if known else 0) or 0, fixed):
            try:
                async with Callback(port) as free:
                    return Callback(free.port)
            except Unavailable:
                if fixed:
                    raise
        return Callback()

    def _use(self, uri: str) -> None:
        """Have a browser come back to this address; a registration for another is of no use."""
        self.context.client_metadata.redirect_uris = [AnyUrl(uri)]
        oauth, known = self._config.oauth, self.context.client_info
        if oauth.client_id:
            self.context.client_info = OAuthClientInformationFull(
                redirect_uris=[AnyUrl(uri)],
                client_id=oauth.client_id,
                client_secret=oauth.client_secret or None,
                token_endpoint_auth_method="client_secret_basic" if oauth.client_secret else "none",
                issuer=oauth.issuer or None,
            )
        elif known and AnyUrl(uri) not in (known.redirect_uris or ()):
            self.context.client_info = None


class _Visit:
    """A person at a login page, and the way back from there."""

    def __init__(self, callback: Callback, person: Person) -> None:
        self._callback = callback
        self._person = person

    async def go(self, url: str) -> None:
        """Send the person to the page. Raises `Unavailable`."""
        state = re.search(r"[?&]state=([^&]+)", url)
        self._callback.state = state[1] if state else ""
        if not openable(url):
            raise Unavailable("its login page is at no address that a browser should be sent to")
        await self._person.go(url)

    async def come_back(self) -> AuthorizationCodeResult:
        """Wait for what the page gave, by a browser or by hand."""
        pasting = asyncio.create_task(self._pasted())
        try:
            returned = await self._callback.returned()
        finally:
            pasting.cancel()
        if returned.error:
            raise Unavailable(f"the login was refused: {told_line(returned.error, 60)}")
        return AuthorizationCodeResult(
            code=returned.code, state=returned.state, iss=returned.issuer
        )

    async def _pasted(self) -> Returned:
        while True:
            try:
                return self._callback.take(await self._person.pasted())
            except InvalidRequest:
                continue


class _BySecret(_Kept, ClientCredentialsOAuthProvider):
    """A program logs in with its secret."""


class _ByKey(_Kept, PrivateKeyJWTOAuthProvider):
    """A program logs in with what it signed."""


class _Unkept:
    """The SDK's storage, empty: what is to be kept is more than that has room for."""

    async def get_tokens(self) -> OAuthToken | None:
        return None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        pass

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        pass


Model = TypeVar("Model", bound=BaseModel)
_ANY_PORT = "http://127.0.0.1/callback"
_FAILURES = (AntiphonError, OAuthFlowError, httpx2.HTTPError, ValidationError, TimeoutError)
_STATUS = re.compile(r"\(?\b([1-5][0-9]{2})\b\)?")
_CODE = re.compile(r'"error"\s*:\s*"([a-z_]{1,40})"')


def _read(kind: type[Model], kept: dict[str, Any] | None) -> Model | None:
    return kind.model_validate(kept) if kept else None


def _dumped(model: BaseModel | None) -> dict[str, Any] | None:
    return model.model_dump(mode="json", exclude_none=True) if model else None


def _refused(response: httpx2.Response) -> bool:
    """Whether a better token would help."""
    if response.status_code != 403:
        return response.status_code == 401
    return extract_field_from_www_auth(response, "error") == "insufficient_scope"


def _said(error: BaseException) -> str:
    """What went wrong, without what a server said in its own words: it may echo a secret."""
    match error:
        case OAuthTokenError() | OAuthRegistrationError():
            text = str(error)
            status, code = _STATUS.search(text), _CODE.search(text)
            what = "a token" if isinstance(error, OAuthTokenError) else "a client of its own"
            answer = " ".join(found[1] for found in (status, code) if found)
            return f"the authorization server gave no {what[2:]} ({answer or 'no usable answer'})"
        case AntiphonError():
            return told_line(error.message)
        case OAuthFlowError() if "State parameter" not in str(error):
            return told_line(str(error))
        case TimeoutError():
            return "the authorization server did not answer in time"
        case ValidationError():
            return "the authorization server's answer cannot be read"
        case _:
            return type(error).__name__
