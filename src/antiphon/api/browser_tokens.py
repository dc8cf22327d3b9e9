"""The operation that makes tokens for pages in browsers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from antiphon.api.operation import Id, Name, Operation
from antiphon.types.accounts import RedactedRepr
from antiphon.types.addresses import ORIGIN
from antiphon.types.runs import Glob

PageOrigin = Annotated[
    str,
    Meta(
        max_length=256,
        pattern=ORIGIN,
        title="an origin such as https://shop.example.org, without a slash at its end",
    ),
]
PageOrigins = Annotated[tuple[PageOrigin, ...], Meta(min_length=1, max_length=16)]
Session = Annotated[str, Meta(min_length=1, max_length=128)]
TokenSeconds = Annotated[int, Meta(ge=1, le=86_400)]


class BrowserToken(RedactedRepr, frozen=True, kw_only=True):
    """A token for a page in a browser, and what it allows. `expires_at` in ms.

    The token itself is returned this once only, and is stored nowhere.
    """

    token: str
    owner: str
    origins: tuple[str, ...]
    expires_at: int
    thread_id: str | None = None
    session: str | None = None
    assistant_id: str | None = None
    model: str | None = None
    ask: tuple[str, ...] = ()


class CreateBrowserToken(Operation[BrowserToken], frozen=True, kw_only=True):
    """Create a short-lived token with which a page in a browser talks to the wires for pages.

    These are below `/ai-sdk` and `/ag-ui`; the token opens nothing else. It works from pages of
    these `origins` only, for the data of the caller's owner: in the one thread `thread_id`, or else
    in threads that pages of the same `session` start, whose default is a new random name. Runs use
    `assistant_id` or `model`, or else the default model; a page cannot choose another. A person
    must approve each call of the page's own tools whose name a glob of `ask` matches.

    It lasts `expires_in` seconds, 15 minutes by default, and the setting `max_token_age` at most.
    It ends with the key that created it, whose limits apply to it.
    """

    route: ClassVar[str] = "POST /v1/browser_tokens"
    answer: ClassVar[Any] = BrowserToken
    http_status: ClassVar[int] = 201

    origins: PageOrigins
    thread_id: Id | None = None
    session: Session | None = None
    assistant_id: Id | None = None
    model: Name | None = None
    ask: Annotated[tuple[Glob, ...], Meta(max_length=64)] = ()
    expires_in: TokenSeconds | None = None
