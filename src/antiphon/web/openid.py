"""Login through OpenID Connect: authorization-code flow with PKCE, state and nonce, by Authlib.

The state of a login is kept in the browser's own signed cookie, so that one browser cannot finish a
login that another started.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
import requests
from authlib.integrations.flask_client import (  # type: ignore[import-untyped]
    FlaskIntegration,
    FlaskOAuth2App,
    OAuthError,
)
from flask import request, session
from joserfc.errors import JoseError

from antiphon.settings.settings import Settings
from antiphon.types.addresses import is_local_url

Why = Literal["oidc_unreachable", "oidc_refused", "oidc_stale", "oidc_untrusted"]

TIMEOUT = 10.0  # seconds for one response of the provider
STATE_SECONDS = 600  # seconds that a login at the provider may take
BELIEVED_SECONDS = 3600  # seconds for which the provider's metadata and keys are cached
LEEWAY = 60  # seconds by which its clock may differ
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
"""Asymmetric signatures: only the provider can make them."""

_log = logging.getLogger("antiphon.web")


class LoginFailed(Exception):
    """The provider did not confirm an identity. `why` is our code for the login page."""

    def __init__(self, why: Why, told: str) -> None:
        super().__init__(told)
        self.why: Why = why


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Identity at the provider. `email` is set only if the provider has verified it."""

    subject: str
    name: str
    email: str | None = None


class OpenIdProvider:
    """OpenID Connect provider, discovered by its issuer."""

    def __init__(self, issuer: str, client_id: str, client_secret: str | None) -> None:
        self._issuer = issuer.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._known: Any = None

    def start_login(self, callback: str) -> str:
        """Return the provider's login page; the state of the login is stored in the cookie.

        Raises `LoginFailed`.
        """
        with _translate_failures():
            app = self._app()
            request = app.create_authorization_url(callback)
            url = str(request.pop("url"))
            # A browser logs in once at a time, and a cookie has little room for older states.
            for key in [key for key in session if key.startswith(_STATE)]:
                session.pop(key)
            app.save_authorize_data(redirect_uri=callback, **request)
            return url

    def finish_login(self) -> Identity:
        """Return the identity of the browser that came back. Raises `LoginFailed`."""
        with _translate_failures():
            app = self._app()
            issuer = app.server_metadata["issuer"]
            if request.args.get("iss", issuer) != issuer:  # RFC 9207
                raise LoginFailed("oidc_untrusted", "another provider answered")
            token = app.authorize_access_token(
                claims_options={
                    "iss": {"essential": True, "value": issuer},
                    "aud": {"essential": True, "value": self._client_id},
                },
                leeway=LEEWAY,
            )
            return _identity(self._issuer, token.get("userinfo"))

    def _app(self) -> Any:
        """Return Authlib's client, with metadata of the provider that is at most an hour old."""
        known = self._known
        if known is None or time.time() - known.server_metadata["_loaded_at"] > BELIEVED_SECONDS:
            known = self._known = self._read()
        return known

    def _read(self) -> Any:
        app: Any = FlaskOAuth2App(
            _CookieStates(_NAME),
            _NAME,
            client_id=self._client_id,
            client_secret=self._client_secret,
            server_metadata_url=f"{self._issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid profile email",
                "code_challenge_method": "S256",
                "default_timeout": TIMEOUT,
            },
        )
        about = app.load_server_metadata()
        self._check(about)
        signed = about.get("id_token_signing_alg_values_supported") or ["RS256"]
        about["id_token_signing_alg_values_supported"] = [a for a in signed if a in ALGORITHMS]
        methods = about.get("token_endpoint_auth_methods_supported") or [_BASIC]
        if self._client_secret and _BASIC not in methods:
            app.client_kwargs["token_endpoint_auth_method"] = _POST
        return app

    def _check(self, about: dict[str, Any]) -> None:
        if str(about.get("issuer")).rstrip("/") != self._issuer:
            raise LoginFailed("oidc_unreachable", "it says that it is another issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            address = str(about.get(name))
            if not (address.startswith("https://") or is_local_url(address)):
                raise LoginFailed("oidc_unreachable", f"its {name} is not at an https address")


def create_provider(settings: Settings) -> OpenIdProvider | None:
    """Return the provider of the settings; None unless people log in by OpenID Connect."""
    if settings.login != "oidc" or not (settings.oidc_issuer and settings.oidc_client_id):
        return None
    return OpenIdProvider(
        settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret
    )


_NAME = "oidc"
_BASIC, _POST = "client_secret_basic", "client_secret_post"
_STATE = f"_state_{_NAME}_"
_LONGEST = 255  # characters of a subject: OpenID Connect Core, 2
_NAME_LENGTH = 100


class _CookieStates(FlaskIntegration):  # type: ignore[misc]
    """Store of Authlib for the state of a login: the session cookie, for a short time."""

    expires_in = STATE_SECONDS

    def get_state_data(self, session: Any, state: str) -> Any:
        kept: dict[str, Any] = session.get(f"{_STATE}{state}") or {}
        return kept.get("data") if kept.get("exp", 0) > time.time() else None


@contextmanager
def _translate_failures() -> Generator[None]:
    """Raise every failure of the provider as `LoginFailed`, and log its cause."""
    try:
        yield
    except LoginFailed as failed:
        _log.warning("The OpenID Connect provider cannot be used: %s.", failed)
        raise
    except OAuthError as error:
        stale = error.error == "mismatching_state"
        raise _log_failure("oidc_stale" if stale else "oidc_refused", error) from error
    except requests.RequestException as error:
        raise _log_failure("oidc_unreachable", error) from error
    except JoseError as error:
        raise _log_failure("oidc_untrusted", error) from error
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise _log_failure("oidc_unreachable", error) from error  # a malformed response


def _log_failure(why: Why, error: Exception) -> LoginFailed:
    """Log the type of the error only: messages quote what the provider or a forged link says."""
    _log.warning("A login by OpenID Connect failed (%s): %s.", why, type(error).__name__)
    return LoginFailed(why, type(error).__name__)


def _identity(issuer: str, claims: Any) -> Identity:
    subject = claims.get("sub") if claims else None
    if not (isinstance(subject, str) and 0 < len(subject) <= _LONGEST):
        raise LoginFailed("oidc_untrusted", "it sent no token that identifies the person")
    email = _text(claims.get("email"))
    verified = claims.get("email_verified") in (True, "true")
    names = (_text(claims.get(name)) for name in ("preferred_username", "name", "email"))
    return Identity(
        subject=f"{issuer}|{subject}",
        name=next((name for name in names if name), subject)[:_NAME_LENGTH],
        email=email if verified else None,
    )


def _text(value: object) -> str | None:
    """Return a claim as printable text; None if it is not a text."""
    if not isinstance(value, str):
        return None
    return "".join(character for character in value if character.isprintable()).strip() or None
