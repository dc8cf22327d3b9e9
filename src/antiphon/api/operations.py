"""Every operation of the API as a type: its fields, its route, its response.

The server's routes, the OpenAPI document, and the methods of both clients with their signatures are
made from these classes. Each module of this folder has those of one record; all are named here.
"""

from __future__ import annotations

from typing import Any

from antiphon.api.actions import ClaimActions as ClaimActions
from antiphon.api.actions import GetAction as GetAction
from antiphon.api.actions import ListActions as ListActions
from antiphon.api.actions import NewProgress as NewProgress
from antiphon.api.actions import NewToolOutput as NewToolOutput
from antiphon.api.actions import ReleaseClaim as ReleaseClaim
from antiphon.api.actions import RenewClaim as RenewClaim
from antiphon.api.actions import SaveTask as SaveTask
from antiphon.api.actions import SubmitToolOutput as SubmitToolOutput
from antiphon.api.actions import SubmitToolOutputs as SubmitToolOutputs
from antiphon.api.admin import ADMIN_OPERATIONS
from antiphon.api.admin import MAX_KEY_LENGTH as MAX_KEY_LENGTH
from antiphon.api.admin import BackendServer as BackendServer
from antiphon.api.admin import CreateKey as CreateKey
from antiphon.api.admin import CreatePerson as CreatePerson
from antiphon.api.admin import CreateProject as CreateProject
from antiphon.api.admin import DeletePerson as DeletePerson
from antiphon.api.admin import DeleteProject as DeleteProject
from antiphon.api.admin import GetPerson as GetPerson
from antiphon.api.admin import GetProject as GetProject
from antiphon.api.admin import GetUsage as GetUsage
from antiphon.api.admin import KeyScope as KeyScope
from antiphon.api.admin import KeySeconds as KeySeconds
from antiphon.api.admin import ListActs as ListActs
from antiphon.api.admin import ListKeys as ListKeys
from antiphon.api.admin import ListLiveRuns as ListLiveRuns
from antiphon.api.admin import ListPeople as ListPeople
from antiphon.api.admin import ListProjects as ListProjects
from antiphon.api.admin import ListServers as ListServers
from antiphon.api.admin import LiveRun as LiveRun
from antiphon.api.admin import NewKey as NewKey
from antiphon.api.admin import NewLimits as NewLimits
from antiphon.api.admin import Password as Password
from antiphon.api.admin import PersonName as PersonName
from antiphon.api.admin import RecordAct as RecordAct
from antiphon.api.admin import RevokeKey as RevokeKey
from antiphon.api.admin import SignIn as SignIn
from antiphon.api.admin import UpdateKey as UpdateKey
from antiphon.api.admin import UpdatePerson as UpdatePerson
from antiphon.api.admin import UpdateProject as UpdateProject
from antiphon.api.admin import UsageReport as UsageReport
from antiphon.api.assistants import CopyPublishedAssistant as CopyPublishedAssistant
from antiphon.api.assistants import CreateAssistant as CreateAssistant
from antiphon.api.assistants import DeleteAssistant as DeleteAssistant
from antiphon.api.assistants import GetAssistant as GetAssistant
from antiphon.api.assistants import GetPublishedAssistant as GetPublishedAssistant
from antiphon.api.assistants import ListAssistants as ListAssistants
from antiphon.api.assistants import ListModels as ListModels
from antiphon.api.assistants import ListPublishedAssistants as ListPublishedAssistants
from antiphon.api.assistants import Model as Model
from antiphon.api.assistants import ModelList as ModelList
from antiphon.api.assistants import ProviderProblem as ProviderProblem
from antiphon.api.assistants import PublishAssistant as PublishAssistant
from antiphon.api.assistants import PublishedAssistant as PublishedAssistant
from antiphon.api.assistants import RemovePublishedAssistant as RemovePublishedAssistant
from antiphon.api.assistants import UnpublishAssistant as UnpublishAssistant
from antiphon.api.assistants import UpdateAssistant as UpdateAssistant
from antiphon.api.browser_tokens import BrowserToken as BrowserToken
from antiphon.api.browser_tokens import CreateBrowserToken as CreateBrowserToken
from antiphon.api.chat_imports import AddImportPiece as AddImportPiece
from antiphon.api.chat_imports import CancelChatImport as CancelChatImport
from antiphon.api.chat_imports import CreateChatImport as CreateChatImport
from antiphon.api.chat_imports import DeleteChatImport as DeleteChatImport
from antiphon.api.chat_imports import GetChatImport as GetChatImport
from antiphon.api.chat_imports import ListChatImports as ListChatImports
from antiphon.api.chat_imports import StartChatImport as StartChatImport
from antiphon.api.documents import FileSearchResults as FileSearchResults
from antiphon.api.documents import GetPagePicture as GetPagePicture
from antiphon.api.documents import ListPages as ListPages
from antiphon.api.documents import PageHit as PageHit
from antiphon.api.documents import SearchFiles as SearchFiles
from antiphon.api.fields import Attempt as Attempt
from antiphon.api.fields import Content as Content
from antiphon.api.fields import FileIds as FileIds
from antiphon.api.fields import IfBusy as IfBusy
from antiphon.api.fields import LeaseSeconds as LeaseSeconds
from antiphon.api.fields import ListOrder as ListOrder
from antiphon.api.fields import Long as Long
from antiphon.api.fields import MaxCost as MaxCost
from antiphon.api.fields import MaxTokens as MaxTokens
from antiphon.api.fields import MaxToolCalls as MaxToolCalls
from antiphon.api.fields import Metadata as Metadata
from antiphon.api.fields import Seconds as Seconds
from antiphon.api.fields import Servers as Servers
from antiphon.api.fields import Tag as Tag
from antiphon.api.fields import Tags as Tags
from antiphon.api.fields import Time as Time
from antiphon.api.fields import Title as Title
from antiphon.api.fields import ToolName as ToolName
from antiphon.api.fields import Tools as Tools
from antiphon.api.files import DeleteFile as DeleteFile
from antiphon.api.files import GetFile as GetFile
from antiphon.api.files import ListFiles as ListFiles
from antiphon.api.folders import CreateFolder as CreateFolder
from antiphon.api.folders import DeleteFolder as DeleteFolder
from antiphon.api.folders import FolderInstructions as FolderInstructions
from antiphon.api.folders import FolderName as FolderName
from antiphon.api.folders import GetFolder as GetFolder
from antiphon.api.folders import ListFolders as ListFolders
from antiphon.api.folders import UpdateFolder as UpdateFolder
from antiphon.api.operation import Deleted as Deleted
from antiphon.api.operation import Id as Id
from antiphon.api.operation import Limit as Limit
from antiphon.api.operation import Listed as Listed
from antiphon.api.operation import Name as Name
from antiphon.api.operation import Operation as Operation
from antiphon.api.operation import field_values as field_values
from antiphon.api.operation import path_fields as path_fields
from antiphon.api.operation import select_given_fields as select_given_fields
from antiphon.api.operation import to_http as to_http
from antiphon.api.owners import OWNER_OPERATIONS
from antiphon.api.owners import BaseUrl as BaseUrl
from antiphon.api.owners import DeleteProviderKey as DeleteProviderKey
from antiphon.api.owners import EraseOwner as EraseOwner
from antiphon.api.owners import Erasure as Erasure
from antiphon.api.owners import ExportOwner as ExportOwner
from antiphon.api.owners import GetCaller as GetCaller
from antiphon.api.owners import ImportOwner as ImportOwner
from antiphon.api.owners import ListAllProviderKeys as ListAllProviderKeys
from antiphon.api.owners import ListOwners as ListOwners
from antiphon.api.owners import ListProviderKeys as ListProviderKeys
from antiphon.api.owners import OwnerImport as OwnerImport
from antiphon.api.owners import ProviderName as ProviderName
from antiphon.api.owners import ProviderSecret as ProviderSecret
from antiphon.api.owners import SetOwnersProviderKey as SetOwnersProviderKey
from antiphon.api.owners import SetProviderKey as SetProviderKey
from antiphon.api.personal import CreateMemory as CreateMemory
from antiphon.api.personal import DeleteMemories as DeleteMemories
from antiphon.api.personal import DeleteMemory as DeleteMemory
from antiphon.api.personal import GetPersonalSettings as GetPersonalSettings
from antiphon.api.personal import ListMemories as ListMemories
from antiphon.api.personal import MemoriesDeleted as MemoriesDeleted
from antiphon.api.personal import MemoryText as MemoryText
from antiphon.api.personal import PersonalInstructions as PersonalInstructions
from antiphon.api.personal import UpdateMemory as UpdateMemory
from antiphon.api.personal import UpdatePersonalSettings as UpdatePersonalSettings
from antiphon.api.runs import CancelRun as CancelRun
from antiphon.api.runs import Complete as Complete
from antiphon.api.runs import CreateRun as CreateRun
from antiphon.api.runs import EventList as EventList
from antiphon.api.runs import Follow as Follow
from antiphon.api.runs import GetRun as GetRun
from antiphon.api.runs import ListEvents as ListEvents
from antiphon.api.runs import ListRuns as ListRuns
from antiphon.api.runs import LoggedEvent as LoggedEvent
from antiphon.api.runs import Options as Options
from antiphon.api.runs import Process as Process
from antiphon.api.runs import RunCall as RunCall
from antiphon.api.schedules import CreateSchedule as CreateSchedule
from antiphon.api.schedules import CronText as CronText
from antiphon.api.schedules import DeleteSchedule as DeleteSchedule
from antiphon.api.schedules import GetSchedule as GetSchedule
from antiphon.api.schedules import ListAllSchedules as ListAllSchedules
from antiphon.api.schedules import ListOccurrences as ListOccurrences
from antiphon.api.schedules import ListSchedules as ListSchedules
from antiphon.api.schedules import MaxMissed as MaxMissed
from antiphon.api.schedules import OwnedSchedule as OwnedSchedule
from antiphon.api.schedules import PreviewSchedule as PreviewSchedule
from antiphon.api.schedules import Prompt as Prompt
from antiphon.api.schedules import RunSchedule as RunSchedule
from antiphon.api.schedules import RunSeconds as RunSeconds
from antiphon.api.schedules import ScheduledTime as ScheduledTime
from antiphon.api.schedules import ScheduledTimes as ScheduledTimes
from antiphon.api.schedules import UpdateSchedule as UpdateSchedule
from antiphon.api.schedules import ZoneName as ZoneName
from antiphon.api.shares import CopyShared as CopyShared
from antiphon.api.shares import CreateShare as CreateShare
from antiphon.api.shares import DeleteShare as DeleteShare
from antiphon.api.shares import GetShared as GetShared
from antiphon.api.shares import ListShares as ListShares
from antiphon.api.shares import NewShare as NewShare
from antiphon.api.shares import ShareSeconds as ShareSeconds
from antiphon.api.shares import UpdateShare as UpdateShare
from antiphon.api.threads import AppendMessages as AppendMessages
from antiphon.api.threads import ChangeThreads as ChangeThreads
from antiphon.api.threads import CreateMessage as CreateMessage
from antiphon.api.threads import CreateThread as CreateThread
from antiphon.api.threads import DeleteFeedback as DeleteFeedback
from antiphon.api.threads import DeleteThread as DeleteThread
from antiphon.api.threads import ForkThread as ForkThread
from antiphon.api.threads import GetMessage as GetMessage
from antiphon.api.threads import GetThread as GetThread
from antiphon.api.threads import ListMessages as ListMessages
from antiphon.api.threads import ListTags as ListTags
from antiphon.api.threads import ListThreads as ListThreads
from antiphon.api.threads import NewMessage as NewMessage
from antiphon.api.threads import PastCall as PastCall
from antiphon.api.threads import PastMessage as PastMessage
from antiphon.api.threads import Search as Search
from antiphon.api.threads import SearchHit as SearchHit
from antiphon.api.threads import SearchResults as SearchResults
from antiphon.api.threads import SetFeedback as SetFeedback
from antiphon.api.threads import TagCount as TagCount
from antiphon.api.threads import ThreadAction as ThreadAction
from antiphon.api.threads import ThreadIds as ThreadIds
from antiphon.api.threads import ThreadOutcome as ThreadOutcome
from antiphon.api.threads import ThreadOutcomes as ThreadOutcomes
from antiphon.api.threads import UpdateThread as UpdateThread
from antiphon.api.voice import MAX_AUDIO_BYTES as MAX_AUDIO_BYTES
from antiphon.api.voice import MAX_SPEECH_CHARACTERS as MAX_SPEECH_CHARACTERS
from antiphon.api.voice import CreateSpeech as CreateSpeech
from antiphon.api.voice import CreateTranscription as CreateTranscription
from antiphon.api.voice import Speech as Speech
from antiphon.api.voice import SpokenText as SpokenText
from antiphon.api.voice import Transcription as Transcription
from antiphon.api.voice import VoiceName as VoiceName
from antiphon.api.webhooks import CreateWebhook as CreateWebhook
from antiphon.api.webhooks import DeleteWebhook as DeleteWebhook
from antiphon.api.webhooks import Description as Description
from antiphon.api.webhooks import GetWebhook as GetWebhook
from antiphon.api.webhooks import ListAllWebhooks as ListAllWebhooks
from antiphon.api.webhooks import ListWebhookDeliveries as ListWebhookDeliveries
from antiphon.api.webhooks import ListWebhooks as ListWebhooks
from antiphon.api.webhooks import NewWebhook as NewWebhook
from antiphon.api.webhooks import OwnedWebhook as OwnedWebhook
from antiphon.api.webhooks import ResendWebhookDelivery as ResendWebhookDelivery
from antiphon.api.webhooks import RotateWebhookSecret as RotateWebhookSecret
from antiphon.api.webhooks import SendTestEvent as SendTestEvent
from antiphon.api.webhooks import UpdateWebhook as UpdateWebhook
from antiphon.api.webhooks import WebhookEvents as WebhookEvents
from antiphon.api.webhooks import WebhookUrl as WebhookUrl

OPERATIONS: tuple[type[Operation[Any]], ...] = (
    CreateAssistant,
    ListAssistants,
    GetAssistant,
    UpdateAssistant,
    DeleteAssistant,
    PublishAssistant,
    UnpublishAssistant,
    ListPublishedAssistants,
    GetPublishedAssistant,
    CopyPublishedAssistant,
    RemovePublishedAssistant,
    CreateThread,
    ListThreads,
    GetThread,
    UpdateThread,
    ListTags,
    DeleteThread,
    ChangeThreads,
    ForkThread,
    CreateFolder,
    ListFolders,
    GetFolder,
    UpdateFolder,
    DeleteFolder,
    AppendMessages,
    CreateMessage,
    ListMessages,
    GetMessage,
    SetFeedback,
    DeleteFeedback,
    CreateChatImport,
    AddImportPiece,
    ListChatImports,
    GetChatImport,
    StartChatImport,
    CancelChatImport,
    DeleteChatImport,
    CreateShare,
    ListShares,
    UpdateShare,
    DeleteShare,
    GetShared,
    CopyShared,
    Search,
    CreateRun,
    ListRuns,
    GetRun,
    CancelRun,
    SubmitToolOutput,
    SubmitToolOutputs,
    ListActions,
    GetAction,
    ClaimActions,
    RenewClaim,
    ReleaseClaim,
    SaveTask,
    Complete,
    Process,
    Follow,
    ListEvents,
    ListFiles,
    SearchFiles,
    ListPages,
    GetPagePicture,
    GetFile,
    DeleteFile,
    ListModels,
    CreateTranscription,
    CreateSpeech,
    GetPersonalSettings,
    UpdatePersonalSettings,
    CreateMemory,
    ListMemories,
    UpdateMemory,
    DeleteMemory,
    DeleteMemories,
    CreateBrowserToken,
    CreateWebhook,
    ListWebhooks,
    GetWebhook,
    UpdateWebhook,
    DeleteWebhook,
    RotateWebhookSecret,
    SendTestEvent,
    ListWebhookDeliveries,
    ResendWebhookDelivery,
    ListAllWebhooks,
    CreateSchedule,
    ListSchedules,
    GetSchedule,
    UpdateSchedule,
    DeleteSchedule,
    RunSchedule,
    ListOccurrences,
    PreviewSchedule,
    ListAllSchedules,
    *ADMIN_OPERATIONS,
    *OWNER_OPERATIONS,
)
