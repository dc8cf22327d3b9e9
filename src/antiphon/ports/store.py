"""Store: a database that implements the ports of all records."""

from __future__ import annotations

from typing import Protocol

from antiphon.ports.admin_store import AdminStore
from antiphon.ports.chat_import_store import ChatImportStore
from antiphon.ports.document_store import DocumentStore
from antiphon.ports.personal_store import PersonalStore
from antiphon.ports.run_store import RunStore
from antiphon.ports.schedule_store import ScheduleStore
from antiphon.ports.share_store import ShareStore
from antiphon.ports.webhook_store import WebhookStore


class DocumentStores(RunStore, DocumentStore, Protocol):
    """The ports that hold files and their text."""


class Store(
    RunStore,
    AdminStore,
    DocumentStore,
    WebhookStore,
    ScheduleStore,
    PersonalStore,
    ShareStore,
    ChatImportStore,
    Protocol,
):
    """A database that implements all eight ports; only the wiring needs all of it."""

    async def check(self) -> None:
        """Return if writes are durable and can be read back. Raises `Unavailable`."""
        ...

    async def close(self) -> None:
        """Close the database; what was stored stays stored."""
        ...
