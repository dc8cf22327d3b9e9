"""The ports: what the runtime expects of models, databases, other processes and tools.

    Provider        streams one reply as chunks, translates every foreign error, and never retries
                    after the first chunk
    Store           a database: the eight ports that follow, each method one transaction
      RunStore      threads, messages, runs and their events, actions, assistants, folders, files;
                    every write of a running turn carries the epoch of its lease, and the events of
                    a run are numbered 1, 2, 3 ... and never change
      AdminStore    keys, people, projects, usage, audit; an audit entry is stored with the change
                    that it describes or not at all
      DocumentStore the text of files, page by page
      WebhookStore  webhooks, and the deliveries of events to them, in the order of the run
      ScheduleStore schedules and their history; an occurrence is stored with the run it starts
      PersonalStore personal settings and memories, one record of each owner
      ShareStore    shares of threads, which end with their thread
      ChatImportStore imports of other chats' exports, and their files in pieces
    Bus             wakes readers of a topic; carries no data; may lose or repeat a notification
    Toolbox         tools by name; a call never raises: failure, refusal and timeout are results

Each port has a module of its name. Implementations of a port can be exchanged, and pass the same
conformance file in `tests/`.
"""

from antiphon.ports.admin_store import AdminStore, AmendAccount, AmendKey, AmendProject
from antiphon.ports.bus import (
    ACTIONS,
    CHAT_IMPORTS,
    DOCUMENTS,
    LEASES,
    QUEUE,
    SCHEDULES,
    WEBHOOKS,
    Bus,
    Handle,
    Subscription,
)
from antiphon.ports.chat_import_store import AmendImport, ChatImportStore
from antiphon.ports.document_store import DocumentStore, FoundPage
from antiphon.ports.personal_store import AmendPersonal, PersonalStore
from antiphon.ports.provider import Provider, ResolvedModel, TakeNow, take_none
from antiphon.ports.records import FilterValue, RecordPage, RecordStore
from antiphon.ports.run_store import BeforeCommit, Editable, OnCommit, RunStore, TagUse
from antiphon.ports.schedule_store import AmendSchedule, ScheduleStore
from antiphon.ports.share_store import AmendShare, ShareStore
from antiphon.ports.store import DocumentStores, Store
from antiphon.ports.toolbox import ProgressCallback, Toolbox, quiet
from antiphon.ports.webhook_store import AmendWebhook, Settle, WebhookStore

__all__ = [
    "ACTIONS",
    "CHAT_IMPORTS",
    "DOCUMENTS",
    "LEASES",
    "QUEUE",
    "SCHEDULES",
    "WEBHOOKS",
    "AdminStore",
    "AmendAccount",
    "AmendImport",
    "AmendKey",
    "AmendPersonal",
    "AmendProject",
    "AmendSchedule",
    "AmendShare",
    "AmendWebhook",
    "BeforeCommit",
    "Bus",
    "ChatImportStore",
    "DocumentStore",
    "DocumentStores",
    "Editable",
    "FilterValue",
    "FoundPage",
    "Handle",
    "OnCommit",
    "PersonalStore",
    "ProgressCallback",
    "Provider",
    "RecordPage",
    "RecordStore",
    "ResolvedModel",
    "RunStore",
    "ScheduleStore",
    "Settle",
    "ShareStore",
    "Store",
    "Subscription",
    "TagUse",
    "TakeNow",
    "Toolbox",
    "WebhookStore",
    "quiet",
    "take_none",
]
