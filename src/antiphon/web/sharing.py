"""Links to assistants: whoever of this installation has one gets a copy of their own.

A link's token names the owner, the assistant and what the assistant's metadata has to say; it is
signed, so that nobody makes one up, and ends when the metadata says something else.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets

import msgspec

from antiphon.calls import ListAssistants
from antiphon.client.aio import AsyncClient
from antiphon.errors import NotFound
from antiphon.runs import Assistant
from antiphon.web.cards import COPIED_FROM, SHARED, making, same

PAGE = 100
PURPOSE = b"antiphon assistant link\0"
DIGEST = "sha256"
DIGEST_BYTES = 32
LONGEST = 1024
MARK_BYTES = 12


class Named(msgspec.Struct, frozen=True, array_like=True):
    """What a token says; `mark` is new whenever the assistant is shared anew."""

    owner: str
    assistant_id: str
    mark: str


def token(secret: bytes, owner: str, assistant: Assistant) -> str | None:
    """The token of the assistant's link; None where it is not shared."""
    mark = assistant.metadata.get(SHARED)
    if not mark:
        return None
    said = msgspec.json.encode(Named(owner, assistant.id, mark))
    return base64.urlsafe_b64encode(_signature(secret, said) + said).rstrip(b"=").decode()


async def share(client: AsyncClient, assistant_id: str) -> Assistant:
    """The assistant, which has a link from now on."""
    assistant = await client.get_assistant(assistant_id)
    if assistant.metadata.get(SHARED):
        return assistant
    mark = secrets.token_urlsafe(MARK_BYTES)
    return await client.update_assistant(assistant_id, metadata=assistant.metadata | {SHARED: mark})


async def unshare(client: AsyncClient, assistant_id: str) -> Assistant:
    """The assistant, whose link leads nowhere from now on. Copies stay."""
    assistant = await client.get_assistant(assistant_id)
    metadata = {key: text for key, text in assistant.metadata.items() if key != SHARED}
    return await client.update_assistant(assistant_id, metadata=metadata)


async def behind(client: AsyncClient, secret: bytes, given: str) -> tuple[str, Assistant]:
    """The owner and the assistant that the link leads to. Raises `NotFound`.

    `client` is the installation's own.
    """
    named = _named(secret, given)
    if named is None:
        raise _no_such_link()
    try:
        assistant = await client.acting_for(named.owner).get_assistant(named.assistant_id)
    except NotFound:
        raise _no_such_link() from None
    if not hmac.compare_digest(assistant.metadata.get(SHARED, "").encode(), named.mark.encode()):
        raise _no_such_link()
    return named.owner, assistant


async def copied(client: AsyncClient, shared: Assistant) -> Assistant:
    """The person's own copy, made at the first time; the oldest, should there be several."""
    own = [
        assistant
        async for assistant in client.every(ListAssistants(limit=PAGE))
        if assistant.metadata.get(COPIED_FROM) == shared.id
    ]
    if own:
        return min(own, key=lambda assistant: (assistant.created_at, assistant.id))
    return await client.line.send(making(same(shared), {COPIED_FROM: shared.id}))


def _named(secret: bytes, given: str) -> Named | None:
    if len(given) > LONGEST or not given.isascii():
        return None
    try:
        whole = base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
        signature, said = whole[:DIGEST_BYTES], whole[DIGEST_BYTES:]
        if not hmac.compare_digest(signature, _signature(secret, said)):
            return None
        return msgspec.json.decode(said, type=Named)
    except (binascii.Error, msgspec.DecodeError):
        return None


def _signature(secret: bytes, said: bytes) -> bytes:
    return hmac.digest(secret, PURPOSE + said, DIGEST)


def _no_such_link() -> NotFound:
    return NotFound(
        "This link leads nowhere.", hint="Whoever shared the assistant may have taken it back."
    )
