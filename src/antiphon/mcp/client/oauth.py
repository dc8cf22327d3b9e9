"""OAuth 2.1 logins at servers over HTTP, as MCP specifies: discovery, login, storage, renewal.

The SDK implements the protocol. This module decides where tokens are sent and stored, when a person
is asked, and how failures are described. A token goes only to the server it was issued for, and no
error contains a code, token or secret.

Imported by name, with the SDK.
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

from antiphon.mcp.client.authorization import PERSON_SECONDS, Login, LoginPrompt, Logins
from antiphon.mcp.client.client_features import is_openable
from antiphon.mcp.client.oauth_http import CallbackResult, LoginCallback, OAuthHttpClient
from antiphon.mcp.config.server_config import ServerConfig
from antiphon.mcp.metadata import clean_line
from antiphon.tools.egress_policy import INTERNET, EgressPolicy
from antiphon.types.errors import AntiphonError, BadSettings, InvalidRequest, Unavailable

EARLY_SECONDS = 30.0
"""A token is renewed so long before it expires, so that none expires in transit."""


def create_auth(
    config: ServerConfig,
    logins: Logins,
    person: LoginPrompt | None = None,
    reach: EgressPolicy = INTERNET,
) -> httpx2.Auth | None:
    """Return the `httpx2.Auth` of a server, or None if it needs none or has a header for it.

    Without `person`, a server that needs an interactive login is `Unavailable`. Raises
    `BadSettings`.
    """
    named = {header.lower() for header in config.headers}
    if config.transport == "stdio" or "authorization" in named:
        return None
    oauth = config.oauth
    own: dict[str, Any] = {"config": config, "logins": logins, "reach": reach}
    if oauth.grant == "authorization_code":
        return _InteractiveAuth(person, **own)
    if not (oauth.client_id and oauth.issuer and (oauth.client_secret or oauth.private_key)):
        raise BadSettings(
            f"The server {config.name} is to be logged in at without a person.",
            expected="client_id, issuer, and client_secret or private_key in its `oauth`",
        )
    own |= {"client_id": oauth.client_id, "scope": oauth.scope or None, "issuer": oauth.issuer}
    if oauth.client_secret:
        return _ClientSecretAuth(client_secret=oauth.client_secret, **own)
    signed = SignedJWTParameters(
        issuer=oauth.client_id,
        subject=oauth.client_id,
        signing_key=oauth.private_key,
        signing_algorithm=oauth.algorithm,
    )
    return _PrivateKeyAuth(assertion_provider=signed.create_assertion_provider(), **own)


class _StoredTokenAuth(OAuthClientProvider):
    """The SDK's provider, with stored tokens, and without serializing requests."""

    def __init__(
        self, *, config: ServerConfig, logins: Logins, reach: EgressPolicy, **options: Any
    ) -> None:
        super().__init__(server_url=config.url, storage=_NullStorage(), **options)
        self._config = config
        self._logins = logins
        self._reach = reach
        self._server = httpx2.URL(config.url)
        self._token_lock = asyncio.Lock()
        self._failure: Unavailable | None = None  # of this session: the user is asked once

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send the request with a token; if it is refused, renew the token and retry once."""
        if not self._is_for_server(request.url):
            yield request
            return
        self.context.protocol_version = request.headers.get("mcp-protocol-version")
        with_token = await self._authorize(request)
        response = yield request
        ours = self._is_for_server(response.url)  # a redirect may lead elsewhere
        if (
            ours
            and _needs_token(response)
            and await self._reauthorize(request, response, with_token)
        ):
            yield request

    def _is_for_server(self, url: httpx2.URL) -> bool:
        """Return whether the token may be sent to this URL."""
        here = self._server
        upgraded = (here.scheme, here.port, url.scheme, url.port) == ("http", None, "https", None)
        return url.host == here.host and (url.origin == here.origin or upgraded)

    async def _authorize(self, request: httpx2.Request) -> str | None:
        """Set the token on the request, if there is one; return it."""
        async with self._token_lock:
            if not self._initialized:
                await self._initialize()
            ends = self.context.token_expiry_time
            if ends is not None and time.time() > ends - EARLY_SECONDS:
                await self._refresh()
        return self._set_header(request)

    async def _reauthorize(
        self, request: httpx2.Request, response: httpx2.Response, refused: str | None
    ) -> bool:
        """Set a new token on the request; return whether there is one. Raises `Unavailable`.

        Another request or another program may have renewed it meanwhile.
        """
        async with self._token_lock:
            if self._token() == refused:
                await self._initialize()
            if self._token() not in {None, refused}:
                self._set_header(request)
                return True
            if response.status_code == 401 and await self._refresh():
                self._set_header(request)
                return True
            return await self._obtain_token(request, response)

    async def _obtain_token(self, request: httpx2.Request, response: httpx2.Response) -> bool:
        """Log in, without a person."""
        await self._log_in(request, response)
        return True

    async def _log_in(self, request: httpx2.Request, response: httpx2.Response) -> None:
        """Log in once per session. Raises `Unavailable`."""
        if self._failure is not None:
            raise self._failure
        try:
            await self._run_sdk_flow(request, response)
        except _FAILURES as error:
            self._failure = Unavailable(f"the login failed: {_describe_failure(error)}")
            raise self._failure from None
        await self._save()

    async def _run_sdk_flow(self, request: httpx2.Request, response: httpx2.Response) -> None:
        """Drive the SDK's login flow, which yields the original request first and last."""
        flow = self._auth_flow(request)
        try:
            async with OAuthHttpClient(self._config.url, self._reach) as http:
                outgoing = await anext(flow)
                while outgoing is not request:
                    outgoing = await flow.asend(await http.send(outgoing))
                outgoing = await flow.asend(response)
                while outgoing is not request:
                    outgoing = await flow.asend(await http.send(outgoing))
        finally:
            await flow.aclose()

    async def _refresh(self) -> bool:
        """Renew the token; return whether it succeeded. Only a refusal discards the old one."""
        if not self.context.can_refresh_token() or self.context.oauth_metadata is None:
            return False
        refresh_request = await self._refresh_token()
        try:
            async with OAuthHttpClient(self._config.url, self._reach) as http:
                answer = await http.send(refresh_request)
        except _FAILURES as error:
            raise Unavailable(f"its login cannot be renewed: {_describe_failure(error)}") from None
        if answer.status_code not in {200, 400, 401}:
            raise Unavailable(f"its login cannot be renewed: HTTP {answer.status_code}")
        if await self._handle_refresh_response(answer):
            await self._save()
            return True
        return False

    async def _initialize(self) -> None:
        """Load the stored login."""
        await super()._initialize()
        login = await asyncio.to_thread(self._logins.get, self._config.login_key)
        if login is not None:
            self._restore(login)

    def _restore(self, login: Login) -> None:
        context = self.context
        own = self._config.oauth.client_id
        try:
            client = _read(OAuthClientInformationFull, login.client)
            tokens = _read(OAuthToken, login.tokens)
            metadata = _read(OAuthMetadata, login.metadata)
            resource = _read(ProtectedResourceMetadata, login.resource)
        except ValidationError:
            return  # saved by another version: a new login replaces it
        if own and (client is None or client.client_id != own):
            return  # another client's
        context.client_info = context.client_info or client
        context.current_tokens, context.token_expiry_time = tokens, login.expires_at
        context.oauth_metadata, context.protected_resource_metadata = metadata, resource
        context.auth_server_url = str(resource.authorization_servers[0]) if resource else None

    async def _save(self) -> None:
        context = self.context
        login = Login(
            url=self._config.login_key,
            tokens=_dump(context.current_tokens),
            expires_at=context.token_expiry_time,
            client=_dump(context.client_info),
            metadata=_dump(context.oauth_metadata),
            resource=_dump(context.protected_resource_metadata),
        )
        await asyncio.to_thread(self._logins.save, login)

    def _token(self) -> str | None:
        tokens = self.context.current_tokens
        return tokens.access_token if tokens else None

    def _set_header(self, request: httpx2.Request) -> str | None:
        token = self._token()
        if token is not None:
            request.headers["authorization"] = f"Bearer {token}"
        return token


class _InteractiveAuth(_StoredTokenAuth):
    """Login of a person at a page of the authorization server, with a browser."""

    def __init__(self, person: LoginPrompt | None, *, config: ServerConfig, **own: Any) -> None:
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

    async def _obtain_token(self, request: httpx2.Request, response: httpx2.Response) -> bool:
        if self._person is None:
            if response.status_code == 403:
                return False  # this one request needs more rights; the session goes on
            raise Unavailable(f"it needs a login: antiphon mcp login {self._config.name}")
        async with await self._choose_callback() as callback:
            visit = _Visit(callback, self._person)
            self.context.redirect_handler = visit.go
            self.context.callback_handler = visit.come_back
            self._use_redirect_uri(callback.uri)
            try:
                async with asyncio.timeout(PERSON_SECONDS):
                    await self._log_in(request, response)
            except TimeoutError:
                raise Unavailable(f"nobody logged in within {PERSON_SECONDS:g} s") from None
        return True

    async def _choose_callback(self) -> LoginCallback:
        """Listen on the port that this client is registered with, if it is free."""
        fixed = self._config.oauth.redirect_port
        known = self.context.client_info and self.context.client_info.redirect_uris
        for port in (fixed or (known[0].port if known else 0) or 0, fixed):
            try:
                async with LoginCallback(port) as free:
                    return LoginCallback(free.port)
            except Unavailable:
                if fixed:
                    raise
        return LoginCallback()

    def _use_redirect_uri(self, uri: str) -> None:
        """Use this redirect URI; discard a registration made for another."""
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
    """Visit of a person to the login page."""

    def __init__(self, callback: LoginCallback, person: LoginPrompt) -> None:
        self._callback = callback
        self._person = person

    async def go(self, url: str) -> None:
        """Send the person to the page. Raises `Unavailable`."""
        state = re.search(r"[?&]state=([^&]+)", url)
        self._callback.state = state[1] if state else ""
        if not is_openable(url):
            raise Unavailable("its login page is at no address that a browser should be sent to")
        await self._person.go(url)

    async def come_back(self) -> AuthorizationCodeResult:
        """Wait for the result, from the browser or pasted by hand."""
        pasting = asyncio.create_task(self._wait_for_paste())
        try:
            returned = await self._callback.wait()
        finally:
            pasting.cancel()
        if returned.error:
            raise Unavailable(f"the login was refused: {clean_line(returned.error, 60)}")
        return AuthorizationCodeResult(
            code=returned.code, state=returned.state, iss=returned.issuer
        )

    async def _wait_for_paste(self) -> CallbackResult:
        while True:
            try:
                return self._callback.accept(await self._person.read_pasted_url())
            except InvalidRequest:
                continue


class _ClientSecretAuth(_StoredTokenAuth, ClientCredentialsOAuthProvider):
    """Login of a program by its secret."""


class _PrivateKeyAuth(_StoredTokenAuth, PrivateKeyJWTOAuthProvider):
    """Login of a program by a signed assertion."""


class _NullStorage:
    """Empty storage for the SDK: `Logins` stores more than its protocol has room for."""

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


def _dump(model: BaseModel | None) -> dict[str, Any] | None:
    return model.model_dump(mode="json", exclude_none=True) if model else None


def _needs_token(response: httpx2.Response) -> bool:
    """Return whether a new token may help."""
    if response.status_code != 403:
        return response.status_code == 401
    return extract_field_from_www_auth(response, "error") == "insufficient_scope"


def _describe_failure(error: BaseException) -> str:
    """Describe a failure without the server's own words, which may echo a secret."""
    match error:
        case OAuthTokenError() | OAuthRegistrationError():
            text = str(error)
            status, code = _STATUS.search(text), _CODE.search(text)
            what = "token" if isinstance(error, OAuthTokenError) else "client of its own"
            answer = " ".join(found[1] for found in (status, code) if found)
            return f"the authorization server gave no {what} ({answer or 'no usable answer'})"
        case AntiphonError():
            return clean_line(error.message)
        case OAuthFlowError() if "State parameter" not in str(error):
            return clean_line(str(error))
        case TimeoutError():
            return "the authorization server did not answer in time"
        case ValidationError():
            return "the authorization server's answer cannot be read"
        case _:
            return type(error).__name__
