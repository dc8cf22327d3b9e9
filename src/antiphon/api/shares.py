"""Operations on shares: links under which a snapshot of a thread can be read."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from antiphon.api.fields import Title
from antiphon.api.operation import Deleted, Id, Listed, Operation
from antiphon.types.runs import Thread
from antiphon.types.shares import Share, SharedThread

ShareSeconds = Annotated[int, Meta(ge=60)]
ShareToken = Annotated[str, Meta(min_length=1, max_length=128)]


class NewShare(msgspec.Struct, frozen=True):
    """A new share, and the token of its link, which cannot be read later.

    The link is the address of the web chat, `/shared/` and the token.
    """

    share: Share
    token: str


class CreateShare(Operation[NewShare], frozen=True):
    """Share a snapshot of the thread under a link; the setting sharing says who can read it.

    The snapshot has the texts of users and models, and the names of attached files. Reasoning and
    tool calls with their outputs are in it only if they are included; system messages, contents of
    files, owner and ids never. Later messages do not appear in it. Without `title`, it has the
    title of the thread. It can be read for `expires_in` seconds, 30 days by default, at most the
    setting `max_share_lifetime`; and no longer than the thread exists.
    """

    route: ClassVar[str] = "POST /v1/threads/{thread_id}/shares"
    answer: ClassVar[Any] = NewShare
    http_status: ClassVar[int] = 201

    thread_id: Id
    expires_in: ShareSeconds | None = None
    include_tools: bool = False
    include_reasoning: bool = False
    title: Title | None = None


class ListShares(Operation[Listed[Share]], frozen=True):
    """List the caller's shares that have not expired, newest first; all, or those of a thread."""

    route: ClassVar[str] = "GET /v1/shares"
    answer: ClassVar[Any] = Listed[Share]

    thread_id: Id | None = None


class UpdateShare(Operation[Share], frozen=True):
    """Take a new snapshot of the thread under the same link, with the given changes.

    What is not given stays, `expires_at` too; `expires_in` counts from now.
    """

    route: ClassVar[str] = "PATCH /v1/shares/{share_id}"
    answer: ClassVar[Any] = Share

    share_id: Id
    expires_in: ShareSeconds | msgspec.UnsetType = msgspec.UNSET
    include_tools: bool | msgspec.UnsetType = msgspec.UNSET
    include_reasoning: bool | msgspec.UnsetType = msgspec.UNSET
    title: Title | msgspec.UnsetType = msgspec.UNSET


class DeleteShare(Operation[Deleted], frozen=True):
    """Revoke a share: its link shows nothing from now on."""

    route: ClassVar[str] = "DELETE /v1/shares/{share_id}"
    answer: ClassVar[Any] = Deleted

    share_id: Id


class GetShared(Operation[SharedThread], frozen=True):
    """Read the conversation behind a link, with the token of any owner's share.

    The setting `sharing` says for whom this works: for nobody, for callers with a key, or for
    everybody. A token that is unknown, revoked or expired is always answered in the same way.
    """

    route: ClassVar[str] = "GET /v1/shared/{token}"
    answer: ClassVar[Any] = SharedThread

    token: ShareToken


class CopyShared(Operation[Thread], frozen=True):
    """Copy the conversation behind a link into a new thread of the caller, to continue it there."""

    route: ClassVar[str] = "POST /v1/shared/{token}/copies"
    answer: ClassVar[Any] = Thread
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    token: ShareToken
