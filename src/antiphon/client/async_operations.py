"""`AsyncOperations`: a method for each operation of the API, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from os import PathLike
from pathlib import Path
from typing import TypeVar

from antiphon.api import operations
from antiphon.api.operations import Listed, Operation, OwnerImport
from antiphon.client import creations
from antiphon.client.async_events import AsyncStream, create_events
from antiphon.client.async_pages import paginate
from antiphon.client.async_transport import AsyncPieces, AsyncTransport
from antiphon.client.chat_files import encode_piece, measure_file, read_piece
from antiphon.client.transport import (
    RenamedMethods,
    Source,
    async_list_method,
    async_method,
    read_attachment,
    stream_method,
)
from antiphon.engine import sanitize
from antiphon.types.chat_imports import ChatImport, ChatSource
from antiphon.types.errors import Conflict
from antiphon.types.messages import Upload

T = TypeVar("T")


class AsyncOperations(RenamedMethods):
    """The operations of the API, one method each, over the transport of `AsyncClient`.

    Most are made from the class of the operation, which has their parameters and their docstring.
    """

    transport: AsyncTransport

    create_assistant = async_method(creations.KeyedCreateAssistant)
    list_assistants = async_list_method(operations.ListAssistants)
    get_assistant = async_method(operations.GetAssistant)
    update_assistant = async_method(operations.UpdateAssistant)
    delete_assistant = async_method(operations.DeleteAssistant)
    publish_assistant = async_method(operations.PublishAssistant)
    unpublish_assistant = async_method(operations.UnpublishAssistant)
    list_published_assistants = async_list_method(operations.ListPublishedAssistants)
    get_published_assistant = async_method(operations.GetPublishedAssistant)
    remove_published_assistant = async_method(operations.RemovePublishedAssistant)
    copy_published_assistant = async_method(creations.KeyedCopyPublishedAssistant)
    create_thread = async_method(creations.KeyedCreateThread)
    list_threads = async_list_method(operations.ListThreads)
    get_thread = async_method(operations.GetThread)
    update_thread = async_method(operations.UpdateThread)
    list_tags = async_list_method(operations.ListTags)
    delete_thread = async_method(operations.DeleteThread)
    change_threads = async_method(operations.ChangeThreads)
    fork_thread = async_method(creations.KeyedForkThread)
    create_folder = async_method(creations.KeyedCreateFolder)
    list_folders = async_list_method(operations.ListFolders)
    get_folder = async_method(operations.GetFolder)
    update_folder = async_method(operations.UpdateFolder)
    delete_folder = async_method(operations.DeleteFolder)
    create_message = async_method(creations.KeyedCreateMessage)
    append_messages = async_method(creations.KeyedAppendMessages)
    list_messages = async_list_method(operations.ListMessages)
    get_message = async_method(operations.GetMessage)
    set_feedback = async_method(operations.SetFeedback)
    delete_feedback = async_method(operations.DeleteFeedback)
    create_speech = async_method(operations.CreateSpeech)
    create_transcription = async_method(operations.CreateTranscription)
    create_chat_import = async_method(operations.CreateChatImport)
    add_import_piece = async_method(operations.AddImportPiece)
    list_chat_imports = async_list_method(operations.ListChatImports)
    get_chat_import = async_method(operations.GetChatImport)
    start_chat_import = async_method(operations.StartChatImport)
    cancel_chat_import = async_method(operations.CancelChatImport)
    delete_chat_import = async_method(operations.DeleteChatImport)
    create_share = async_method(operations.CreateShare)
    list_shares = async_list_method(operations.ListShares)
    update_share = async_method(operations.UpdateShare)
    delete_share = async_method(operations.DeleteShare)
    get_shared = async_method(operations.GetShared)
    copy_shared = async_method(creations.KeyedCopyShared)
    search = async_method(operations.Search)
    create_run = async_method(creations.KeyedCreateRun)
    list_runs = async_list_method(operations.ListRuns)
    get_run = async_method(operations.GetRun)
    list_events = async_method(operations.ListEvents)
    cancel_run = async_method(operations.CancelRun)
    submit_tool_output = async_method(operations.SubmitToolOutput)
    submit_tool_outputs = async_method(operations.SubmitToolOutputs)
    list_actions = async_list_method(operations.ListActions)
    get_action = async_method(operations.GetAction)
    claim_actions = async_method(operations.ClaimActions)
    renew_claim = async_method(operations.RenewClaim)
    release_claim = async_method(operations.ReleaseClaim)
    save_task = async_method(operations.SaveTask)
    list_files = async_list_method(operations.ListFiles)
    get_file = async_method(operations.GetFile)
    delete_file = async_method(operations.DeleteFile)
    search_files = async_method(operations.SearchFiles)
    list_pages = async_list_method(operations.ListPages)
    get_page_picture = async_method(operations.GetPagePicture)
    list_models = async_method(operations.ListModels)
    get_caller = async_method(operations.GetCaller)
    get_personal_settings = async_method(operations.GetPersonalSettings)
    update_personal_settings = async_method(operations.UpdatePersonalSettings)
    create_memory = async_method(operations.CreateMemory)
    list_memories = async_list_method(operations.ListMemories)
    update_memory = async_method(operations.UpdateMemory)
    delete_memory = async_method(operations.DeleteMemory)
    delete_memories = async_method(operations.DeleteMemories)
    create_browser_token = async_method(operations.CreateBrowserToken)

    create_person = async_method(operations.CreatePerson)
    list_people = async_list_method(operations.ListPeople)
    get_person = async_method(operations.GetPerson)
    update_person = async_method(operations.UpdatePerson)
    delete_person = async_method(operations.DeletePerson)
    sign_in = async_method(operations.SignIn)
    create_key = async_method(operations.CreateKey)
    list_keys = async_list_method(operations.ListKeys)
    update_key = async_method(operations.UpdateKey)
    revoke_key = async_method(operations.RevokeKey)
    create_project = async_method(operations.CreateProject)
    list_projects = async_list_method(operations.ListProjects)
    get_project = async_method(operations.GetProject)
    update_project = async_method(operations.UpdateProject)
    delete_project = async_method(operations.DeleteProject)
    list_acts = async_list_method(operations.ListActs)
    record_act = async_method(operations.RecordAct)
    list_live_runs = async_list_method(operations.ListLiveRuns)
    get_usage = async_method(operations.GetUsage)
    list_servers = async_list_method(operations.ListServers)
    create_webhook = async_method(operations.CreateWebhook)
    list_webhooks = async_list_method(operations.ListWebhooks)
    get_webhook = async_method(operations.GetWebhook)
    update_webhook = async_method(operations.UpdateWebhook)
    delete_webhook = async_method(operations.DeleteWebhook)
    rotate_webhook_secret = async_method(operations.RotateWebhookSecret)
    send_test_event = async_method(operations.SendTestEvent)
    list_webhook_deliveries = async_list_method(operations.ListWebhookDeliveries)
    resend_webhook_delivery = async_method(operations.ResendWebhookDelivery)
    list_all_webhooks = async_list_method(operations.ListAllWebhooks)

    create_schedule = async_method(operations.CreateSchedule)
    list_schedules = async_list_method(operations.ListSchedules)
    get_schedule = async_method(operations.GetSchedule)
    update_schedule = async_method(operations.UpdateSchedule)
    delete_schedule = async_method(operations.DeleteSchedule)
    run_schedule = async_method(creations.KeyedRunSchedule)
    list_occurrences = async_list_method(operations.ListOccurrences)
    preview_schedule = async_method(operations.PreviewSchedule)
    list_all_schedules = async_list_method(operations.ListAllSchedules)
    set_provider_key = async_method(operations.SetProviderKey)
    list_provider_keys = async_list_method(operations.ListProviderKeys)
    delete_provider_key = async_method(operations.DeleteProviderKey)
    set_owners_provider_key = async_method(operations.SetOwnersProviderKey)
    list_all_provider_keys = async_list_method(operations.ListAllProviderKeys)
    list_owners = async_list_method(operations.ListOwners)
    erase_owner = async_method(operations.EraseOwner)

    process = stream_method(creations.KeyedProcess, create_events)
    completions = stream_method(creations.KeyedComplete, create_events)
    events = stream_method(operations.Follow, create_events)

    def sync_stream(self) -> AsyncStream:
        """Return a new stream of one turn; `turn_stream` is the same."""
        return AsyncStream(self.transport)

    turn_stream = sync_stream

    async def upload_file(
        self,
        source: Source,
        name: str | None = None,
        media_type: str | None = None,
        *,
        purpose: str | None = None,
        idempotency_key: str | None = None,
    ) -> Upload:
        """Upload a file, given by its path or as bytes with a name.

        `purpose` is a word of this program, by which `list_files` finds it.
        """
        if idempotency_key is not None:
            sanitize.validate_idempotency_key(idempotency_key)
        file = await asyncio.to_thread(read_attachment, source, name, media_type)
        return await self.transport.upload(
            file.name, file.media_type, file.content, idempotency_key, purpose
        )

    async def download_file(self, file_id: str) -> bytes:
        """Return the bytes of an uploaded file."""
        return await self.transport.download(file_id)

    def export_owner(self, owner: str) -> AsyncPieces:
        """Yield everything that an owner has as a zip file, in pieces.

        Close the iterator to stop early. Raises `ConnectionLost` if the export breaks off; it
        cannot be resumed.
        """
        return self.transport.export(owner)

    async def import_owner(
        self,
        path: str | PathLike[str],
        owner: str | None = None,
        *,
        new_ids: bool = False,
        check: bool = False,
    ) -> OwnerImport:
        """Import the zip file at this path, which `export_owner` gave, here or elsewhere.

        Everything comes in for `owner`, or for the owner that it was exported of. Ids are kept, or
        with `new_ids` replaced by new ones. With `check` nothing is written. The same import again
        changes nothing, and one that broke off goes on. Raises `Conflict` where an id is taken by
        something else, `InvalidRequest` and `TooLarge` for a file that is not an export.
        """
        operation = operations.ImportOwner(owner, new_ids, check)
        with await asyncio.to_thread(Path(path).open, "rb") as file:
            return await self.transport.import_archive(operation, file)

    async def upload_chat_export(
        self,
        path: str | PathLike[str],
        *,
        source: ChatSource | None = None,
        start: bool = False,
    ) -> ChatImport:
        """Upload the export of another chat at this path, to be imported.

        The server checks it in the background: read the import with `get_chat_import` until it is
        `ready`, and then start it with `start_chat_import`, or with `start` let it go on at once.
        Raises `TooLarge`, and `Conflict` while another import of the owner goes on.
        """
        file = Path(path)
        size = await asyncio.to_thread(measure_file, file)
        made = await self.transport.send(
            operations.CreateChatImport(size, file.name[:200], source, start)
        )
        while made.received < size:
            content = await asyncio.to_thread(read_piece, file, made.received)
            offset = made.received
            try:
                made = await self.transport.send(
                    operations.AddImportPiece(made.id, offset, encode_piece(content))
                )
            except Conflict:  # the answer to this piece was lost, and it was sent again
                made = await self.transport.send(operations.GetChatImport(made.id))
                if made.received == offset:
                    raise
        return made

    def paginate(self, listing: Operation[Listed[T]]) -> AsyncIterator[T]:
        """Iterate over all pages of a list: `paginate(operations.ListThreads(q="flight"))`."""
        return paginate(self.transport, listing)
