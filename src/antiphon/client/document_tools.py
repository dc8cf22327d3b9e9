"""Tools by which a model searches and reads the documents of its conversation.

The conversation decides which documents these are, not the model: those that are attached in the
thread, and files of the assistant and of the folder. The server looks them up at each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from antiphon.api import operations
from antiphon.api.operations import Operation
from antiphon.tools.functions import Functions, tool
from antiphon.types.documents import DocumentPage
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import ToolSpec, Upload

MAX_NAMED = 30
"""Documents that are named where the model asks for one that is not there."""


class SendsOperations(Protocol):
    """A transport of a client for asyncio."""

    async def send(self, operation: Operation[Any], key: str | None = None) -> Any:
        """Execute the operation."""
        ...


class DocumentTools:
    """The tools of one conversation, for its thread and its assistant."""

    def __init__(
        self, transport: SendsOperations, thread_id: str | None, assistant_id: str | None
    ) -> None:
        self._transport = transport
        self._thread_id = thread_id
        self._assistant_id = assistant_id
        self.toolbox = Functions([self.search_documents, self.read_document])

    async def find_documents(self) -> Sequence[Upload]:
        """Return the documents of the conversation whose text is read, or will be."""
        documents: list[Upload] = []
        after: str | None = None
        while True:
            page = await self._send(operations.ListFiles(100, after))
            documents += (
                each
                for each in page.data
                if each.document is not None and each.document.status != "failed"
            )
            after = page.next
            if not page.has_more:
                return documents

    async def specs(self) -> tuple[ToolSpec, ...]:
        """Return what the model may call: nothing for a conversation without documents."""
        if not await self.find_documents():
            return ()
        return tuple(each.spec for each in self.toolbox.tools())

    @tool(read_only=True)
    async def search_documents(self, query: str) -> dict[str, Any]:
        """Search the text of the documents of this conversation.

        Returns the pages that match best, each with a snippet. Read a page with read_document
        before you rely on it. In an answer, name the file and the page of what you take from it.

        Args:
            query: Words that the page contains, in the language of the documents.
        """
        found = await self._send(operations.SearchFiles(query[:256]))
        answer: dict[str, Any] = {
            "results": [
                {
                    "source": f"{hit.file_id}#{hit.page}",
                    "file": hit.file,
                    "page": hit.page,
                    **({"title": hit.title} if hit.title else {}),
                    "snippet": hit.snippet,
                }
                for hit in found.data
            ]
        }
        if found.pending:
            answer["note"] = f"{found.pending} documents are still being read. Try again later."
        elif not found.data:
            names = [each.name for each in await self.find_documents()]
            answer["note"] = f"No page has these words. The documents are: {_name_some(names)}."
        return answer

    @tool(read_only=True)
    async def read_document(self, file: str, page: int = 1) -> dict[str, Any]:
        """Read one page of a document of this conversation.

        Args:
            file: The name of the file, or the source of a result of search_documents.
            page: The number of the page, from 1.
        """
        documents = await self.find_documents()
        wanted = file.partition("#")[0]
        chosen = next((each for each in documents if wanted in (each.id, each.name)), None)
        if chosen is None:
            names = _name_some([each.name for each in documents])
            raise InvalidRequest(
                "There is no such document in this conversation.",
                expected=f"one of {names}",
                received=file[:200],
            )
        found = await self._transport.send(operations.ListPages(chosen.id, max(1, page), 1))
        pages: Sequence[DocumentPage] = found.data
        count = chosen.document.pages if chosen.document else 0
        if not pages:
            raise InvalidRequest(
                f"{chosen.name} has no page {page}.",
                expected=f"1 to {count}" if count else "a document that was read",
                received=str(page),
            )
        return {
            "source": f"{chosen.id}#{pages[0].number}",
            "file": chosen.name,
            "page": pages[0].number,
            "pages": count,
            **({"title": pages[0].title} if pages[0].title else {}),
            "text": pages[0].text,
        }

    async def _send(self, operation: operations.ListFiles | operations.SearchFiles) -> Any:
        """Execute the operation for the thread and the assistant, or without one that is gone.

        A run goes on after its assistant was deleted, or was taken back by its author.
        """
        named = replace(operation, thread_id=self._thread_id, assistant_id=self._assistant_id)
        try:
            return await self._transport.send(named)
        except NotFound:
            if self._assistant_id is None or self._thread_id is None:
                raise
            self._assistant_id = None
            return await self._transport.send(replace(named, assistant_id=None))


def _name_some(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    shown = ", ".join(names[:MAX_NAMED]) or "none"
    return f"{shown} and {more} more" if more > 0 else shown
