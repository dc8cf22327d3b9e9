"""The calls about owners: what each has, the keys they have at providers, and an end to all of it.

A key at a provider is written and never read: no answer holds more of it than how it ends.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from antiphon.administrative_calls import OwnerName
from antiphon.call_forms import Call, Deleted, Id, Limit, Listed
from antiphon.people import Discreet, Holding, ProviderKey

ProviderName = Annotated[str, Meta(max_length=64)]
ProviderSecret = Annotated[str, Meta(min_length=1, max_length=4096)]
BaseUrl = Annotated[str, Meta(max_length=2048)]


class Erasure(msgspec.Struct, frozen=True):
    """How far an owner is erased: so many things now, and `done` when nothing is left."""

    owner: str
    erased: int
    done: bool


class _Secretive(Discreet, frozen=True):
    secrets: ClassVar[tuple[str, ...]] = ("key",)


class SetProviderKey(_Secretive, Call[ProviderKey], frozen=True):
    """From now on the caller's runs ask this provider with this key, in place of any other.

    Nobody else's do. It is kept encrypted and can be replaced or deleted, but not read.
    """

    route: ClassVar[str] = "PUT /v1/provider_keys/{provider}"
    answer: ClassVar[Any] = ProviderKey

    provider: ProviderName
    key: ProviderSecret


class ListProviderKeys(Call[Listed[ProviderKey]], frozen=True):
    """The providers for which the caller has a key of their own, and how each key ends."""

    route: ClassVar[str] = "GET /v1/provider_keys"
    answer: ClassVar[Any] = Listed[ProviderKey]


class DeleteProviderKey(Call[Deleted], frozen=True):
    """The caller has no key of their own there any more; within seconds no run is asked with it."""

    route: ClassVar[str] = "DELETE /v1/provider_keys/{provider}"
    answer: ClassVar[Any] = Deleted

    provider: ProviderName


class SetOwnersProviderKey(_Secretive, Call[ProviderKey], frozen=True):
    """As `SetProviderKey`, for any owner, and with the address of a server of their own.

    At `base_url` the provider's language is spoken; it is only ever asked with this key.
    """

    route: ClassVar[str] = "PUT /v1/owners/{owner}/provider_keys/{provider}"
    answer: ClassVar[Any] = ProviderKey
    scope: ClassVar[str | None] = "admin"

    owner: OwnerName
    provider: ProviderName
    key: ProviderSecret
    base_url: BaseUrl | None = None


class ListAllProviderKeys(Call[Listed[ProviderKey]], frozen=True):
    """The providers for which anybody has a key of their own, by owner."""

    route: ClassVar[str] = "GET /v1/all_provider_keys"
    answer: ClassVar[Any] = Listed[ProviderKey]
    scope: ClassVar[str | None] = "admin"


class ListOwners(Call[Listed[Holding]], frozen=True):
    """Everybody who has something, with how much; with `owner` that one alone."""

    route: ClassVar[str] = "GET /v1/owners"
    answer: ClassVar[Any] = Listed[Holding]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None
    owner: Id | None = None


class ExportOwner(Call[None], frozen=True):
    """Everything of an owner as a zip: JSON lines of each kind, and the files.

    Secrets are not in it. What is written while it is read may be in it or not.
    """

    route: ClassVar[str] = "GET /v1/owners/{owner}/export"
    answer: ClassVar[Any] = None
    file: ClassVar[str | None] = "application/zip"
    scope: ClassVar[str | None] = "admin"

    owner: OwnerName


class EraseOwner(Call[Erasure], frozen=True):
    """Delete everything of an owner, for good: ask again until it is `done`.

    Their runs are cancelled and their keys revoked first. A person or a project goes with it. What
    is in the audit log stays. Raises `Conflict` for the last admin, and for the owner of the key
    that asks.
    """

    route: ClassVar[str] = "DELETE /v1/owners/{owner}"
    answer: ClassVar[Any] = Erasure
    scope: ClassVar[str | None] = "admin"

    owner: OwnerName


OF_OWNERS: tuple[type[Call[Any]], ...] = (
    SetProviderKey,
    ListProviderKeys,
    DeleteProviderKey,
    ListAllProviderKeys,
    ListOwners,
    ExportOwner,
    SetOwnersProviderKey,
    EraseOwner,  # last, for an owner may look like the end of the others' addresses
)
