"""Operations on owners: their data, its export and deletion, and their own keys for providers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from antiphon.api.fields import OwnerName
from antiphon.api.operation import Deleted, Id, Limit, Listed, Operation
from antiphon.types.accounts import Caller, OwnerTotals, ProviderKey, RedactedRepr

ProviderName = Annotated[str, Meta(max_length=64)]
ProviderSecret = Annotated[str, Meta(min_length=1, max_length=4096)]
BaseUrl = Annotated[str, Meta(max_length=2048)]


class Erasure(msgspec.Struct, frozen=True):
    """Progress of deleting an owner: objects deleted by this request; `done` if none is left."""

    owner: str
    erased: int
    done: bool


class _HidesKey(RedactedRepr, frozen=True):
    secrets: ClassVar[tuple[str, ...]] = ("key",)


class GetCaller(Operation[Caller], frozen=True):
    """Get the caller: whose data it reads and writes, and with which key."""

    route: ClassVar[str] = "GET /v1/caller"
    answer: ClassVar[Any] = Caller


class SetProviderKey(_HidesKey, Operation[ProviderKey], frozen=True):
    """Set the caller's own key for a provider, which only the caller's runs use.

    The key is stored encrypted. It can be replaced or deleted, but not read.
    """

    route: ClassVar[str] = "PUT /v1/provider_keys/{provider}"
    answer: ClassVar[Any] = ProviderKey

    provider: ProviderName
    key: ProviderSecret


class ListProviderKeys(Operation[Listed[ProviderKey]], frozen=True):
    """List the caller's own provider keys, each with its last characters only."""

    route: ClassVar[str] = "GET /v1/provider_keys"
    answer: ClassVar[Any] = Listed[ProviderKey]


class DeleteProviderKey(Operation[Deleted], frozen=True):
    """Delete the caller's own key for a provider. Runs stop using it within seconds."""

    route: ClassVar[str] = "DELETE /v1/provider_keys/{provider}"
    answer: ClassVar[Any] = Deleted

    provider: ProviderName


class SetOwnersProviderKey(_HidesKey, Operation[ProviderKey], frozen=True):
    """Set the provider key of any owner, optionally with the address of the owner's own server.

    The server at `base_url` speaks the provider's API, and is only ever asked with this key.
    """

    route: ClassVar[str] = "PUT /v1/owners/{owner}/provider_keys/{provider}"
    answer: ClassVar[Any] = ProviderKey
    scope: ClassVar[str | None] = "admin"

    owner: OwnerName
    provider: ProviderName
    key: ProviderSecret
    base_url: BaseUrl | None = None


class ListAllProviderKeys(Operation[Listed[ProviderKey]], frozen=True):
    """List the provider keys of all owners, by owner."""

    route: ClassVar[str] = "GET /v1/all_provider_keys"
    answer: ClassVar[Any] = Listed[ProviderKey]
    scope: ClassVar[str | None] = "admin"


class ListOwners(Operation[Listed[OwnerTotals]], frozen=True):
    """List the owners of data with the number of their objects; with `owner`, that one only."""

    route: ClassVar[str] = "GET /v1/owners"
    answer: ClassVar[Any] = Listed[OwnerTotals]
    scope: ClassVar[str | None] = "admin"

    limit: Limit = 100
    after: Id | None = None
    owner: Id | None = None


class ExportOwner(Operation[None], frozen=True):
    """Export all data of an owner as a zip: JSON lines of each kind, and the files.

    It contains no secrets. Data written during the export may be missing from it.
    """

    route: ClassVar[str] = "GET /v1/owners/{owner}/export"
    answer: ClassVar[Any] = None
    file: ClassVar[str | None] = "application/zip"
    scope: ClassVar[str | None] = "admin"

    owner: OwnerName


class OwnerImport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of an import: numbers of records by kind, without those that are 0.

    `added` are new records, or those that would be added if it was only checked; `unchanged`
    existed before. `skipped` are keys and webhooks, which are never imported, the history of
    schedules, and records whose thread or run was deleted or created during the export.
    `ended_runs` counts runs that had not ended, which are imported as `cancelled`.
    """

    owner: str
    checked_only: bool = False
    added: dict[str, int] = {}
    unchanged: dict[str, int] = {}
    skipped: dict[str, int] = {}
    ended_runs: int = 0


class ImportOwner(Operation[OwnerImport], frozen=True):
    """Import an export of `ExportOwner`, here or in another installation; the body is the zip.

    The data becomes that of `owner`, or of the export's own owner, and is visible once all of it
    is there. Ids are kept, or created with `new_ids`. With `check`, nothing is written. Existing
    records are not changed, so that repeating an import changes nothing, and an interrupted
    import continues. Keys and webhooks are not imported, and no run is started: a schedule is
    imported as paused, and a run that had not ended as cancelled. Raises `Conflict` if an id
    belongs to another object, and `InvalidRequest` or `TooLarge` for a file that is no valid
    export, or with more schedules than an owner may have; nothing is written then.
    """

    route: ClassVar[str] = "POST /v1/imports"
    answer: ClassVar[Any] = OwnerImport
    upload: ClassVar[str | None] = "application/zip"
    scope: ClassVar[str | None] = "admin"

    owner: OwnerName | None = None
    new_ids: bool = False
    check: bool = False


class EraseOwner(Operation[Erasure], frozen=True):
    """Delete all data of an owner, for good. Repeat the request until it is `done`.

    The owner's runs are cancelled and keys revoked first. The person or project itself is deleted
    too; the audit log stays. Raises `Conflict` for the last admin, and for the owner of the key
    that makes the request.
    """

    route: ClassVar[str] = "DELETE /v1/owners/{owner}"
    answer: ClassVar[Any] = Erasure
    scope: ClassVar[str | None] = "admin"

    owner: OwnerName


OWNER_OPERATIONS: tuple[type[Operation[Any]], ...] = (
    GetCaller,
    SetProviderKey,
    ListProviderKeys,
    DeleteProviderKey,
    ListAllProviderKeys,
    ListOwners,
    ExportOwner,
    SetOwnersProviderKey,
    EraseOwner,  # last: an owner's name may look like the end of the other paths
    ImportOwner,
)
