"""Operations on threads and their messages, and the search in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from antiphon.api.fields import Content, ListOrder, Long, Metadata, Tag, Tags, Time, Title, ToolName
from antiphon.api.operation import Deleted, Id, Limit, Listed, Name, Operation
from antiphon.types.messages import IndexProgress, Message, Rating, Refusal, Role, Text
from antiphon.types.runs import Thread, ThreadOptions


class NewMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new message for `/process`."""

    content: Content
    role: Literal["user", "system"] = "user"


class PastCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call of a reply that was given elsewhere; `arguments` is a JSON object as text."""

    id: Annotated[str, Meta(min_length=1, max_length=128)]
    name: ToolName
    arguments: Long = "{}"


class PastMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message of a conversation that took place elsewhere.

    A reply may have `reasoning` and `tool_calls`. The messages after it must be the outputs of
    these calls, one for each: of the role `tool`, with `tool_call_id`. Ids of calls are unique in
    their message.
    """

    content: Content = ()
    role: Literal["user", "assistant", "system", "tool"] = "user"
    metadata: Metadata = {}
    tool_calls: Annotated[tuple[PastCall, ...], Meta(max_length=512)] = ()
    tool_call_id: Id | None = None
    is_error: bool = False
    reasoning: Long | None = None


def to_past_message(message: Message) -> PastMessage:
    """Return a stored message as one to add to a thread. A refusal becomes text."""
    return PastMessage(
        content=tuple(
            Text(part.refusal) if isinstance(part, Refusal) else part for part in message.content
        ),
        role=message.role,
        metadata=message.metadata,
        tool_calls=tuple(
            PastCall(call.id, call.name, call.arguments) for call in message.tool_calls
        ),
        tool_call_id=message.tool_call_id,
        is_error=message.is_error,
        reasoning=message.reasoning,
    )


PastMessages = Annotated[tuple[PastMessage, ...], Meta(max_length=10_000)]


class CreateThread(Operation[Thread], frozen=True):
    """Create a thread, empty or with the messages of a conversation that took place elsewhere.

    Without a title, a thread with messages is named after the first one of the user. A `temporary`
    thread is in no list or search, and is deleted when nothing has changed in it for the setting
    `temporary_retention`.
    """

    route: ClassVar[str] = "POST /v1/threads"
    answer: ClassVar[Any] = Thread
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    title: Title = ""
    metadata: Metadata = {}
    messages: PastMessages = ()
    temporary: bool = False
    tags: Tags = ()
    options: ThreadOptions = ThreadOptions()
    folder_id: Id | None = None


class ListThreads(Operation[Listed[Thread]], frozen=True):
    """List threads, newest first; `q` searches titles and messages.

    `q` finds the threads whose title, or one of whose messages, contains all of its words and its
    quoted phrases. `parent_id` selects the threads that were forked from that thread. The default
    `order` is `created`; `activity` lists the last changed thread first. Pass `next` of a page as
    `after`, with the same `order`.

    Threads that replaced each other, as editing a message does, are a family: the metadata field
    `replaces` of a thread is the id of the thread whose place it takes. The default `branches` is
    `all`; `latest` lists only the last changed thread of each family and omits threads without
    messages. `family` is the id of a thread and selects its whole family.

    `metadata` selects the threads that have these pairs, and perhaps others. `created_after` and
    `created_before` are times in milliseconds since 1970. `tag` selects the threads that have this
    tag, `folder_id` those in this folder, or with `none` those in no folder. Temporary threads are
    listed only with `temporary`, and then alone.

    Archived threads are left out, unless `q`, `family`, `parent_id` or `metadata` looks for threads
    anywhere. With `archived`, true lists only archived threads, false only others.
    """

    route: ClassVar[str] = "GET /v1/threads"
    answer: ClassVar[Any] = Listed[Thread]

    limit: Limit = 20
    after: Annotated[str, Meta(max_length=160)] | None = None
    q: Name | None = None
    parent_id: Id | None = None
    order: Literal["created", "activity", "newest", "oldest"] | None = None
    branches: Literal["all", "latest"] | None = None
    family: Id | None = None
    metadata: Metadata | None = None
    created_after: Time | None = None
    created_before: Time | None = None
    pinned: bool | None = None
    temporary: bool | None = None
    archived: bool | None = None
    tag: Tag | None = None
    folder_id: Id | None = None


class GetThread(Operation[Thread], frozen=True):
    """Get one thread."""

    route: ClassVar[str] = "GET /v1/threads/{thread_id}"
    answer: ClassVar[Any] = Thread

    thread_id: Id


class UpdateThread(Operation[Thread], frozen=True):
    """Change the given fields of a thread; the others stay.

    `metadata` and `tags` replace the whole of them. A `folder_id` of null takes the thread out of
    its folder. A change of `pinned`, `archived`, `tags` or `folder_id` alone does not count as
    activity. A message of the user, or a run, takes a thread out of the archive. `temporary` can
    only become false: then the thread is kept, and in lists as any other. `options` are replaced
    whole.

    A thread has at most 20 tags of up to 32 characters, without commas, line breaks or control
    characters. Blanks around a tag are removed. Tags that differ only in case are one, spelled as
    the first.
    """

    route: ClassVar[str] = "PATCH /v1/threads/{thread_id}"
    answer: ClassVar[Any] = Thread

    thread_id: Id
    title: Title | msgspec.UnsetType = msgspec.UNSET
    metadata: Metadata | msgspec.UnsetType = msgspec.UNSET
    pinned: bool | msgspec.UnsetType = msgspec.UNSET
    archived: bool | msgspec.UnsetType = msgspec.UNSET
    tags: Tags | msgspec.UnsetType = msgspec.UNSET
    temporary: bool | msgspec.UnsetType = msgspec.UNSET
    options: ThreadOptions | msgspec.UnsetType = msgspec.UNSET
    folder_id: Id | msgspec.UnsetType | None = msgspec.UNSET


class TagCount(msgspec.Struct, frozen=True):
    """A tag, and the number of threads that have it: `threads` in lists, and `archived` ones.

    Threads that replaced each other count once.
    """

    tag: str
    threads: int
    archived: int


class ListTags(Operation[Listed[TagCount]], frozen=True):
    """List the tags of your threads, in the order of their characters, with counts."""

    route: ClassVar[str] = "GET /v1/tags"
    answer: ClassVar[Any] = Listed[TagCount]

    limit: Limit = 100
    after: Tag | None = None


class DeleteThread(Operation[Deleted], frozen=True):
    """Delete a thread with its messages, runs, actions and events."""

    route: ClassVar[str] = "DELETE /v1/threads/{thread_id}"
    answer: ClassVar[Any] = Deleted

    thread_id: Id


class ThreadOutcome(msgspec.Struct, frozen=True):
    """The result for one thread: `done`, or the code and the message of the problem."""

    thread_id: str
    done: bool
    code: str | None = None
    message: str | None = None


class ThreadOutcomes(msgspec.Struct, frozen=True):
    """The results for all threads, in the order of the request."""

    data: Sequence[ThreadOutcome]


ThreadIds = Annotated[tuple[Id, ...], Meta(min_length=1, max_length=100)]
ThreadAction = Literal["archive", "unarchive", "tag", "untag", "move", "delete"]


class ChangeThreads(Operation[ThreadOutcomes], frozen=True):
    """Archive, tag, move or delete up to 100 threads, and get a result for each.

    Each thread is changed in a transaction of its own, in the order of `thread_ids`: one that is
    not found, or cannot be changed, does not stop the others. `tag` adds the `tags`, `untag`
    removes them, without regard to case. `move` puts the threads into the folder `folder_id`, or
    out of their folders where it is null. With `family`, the threads that a thread
    replaced, or that replaced it, are changed too, before the thread itself.
    """

    route: ClassVar[str] = "POST /v1/threads/batch"
    answer: ClassVar[Any] = ThreadOutcomes

    thread_ids: ThreadIds
    action: ThreadAction
    tags: Tags = ()
    family: bool = False
    folder_id: Id | None = None


class ForkThread(Operation[Thread], frozen=True):
    """Create a thread from a copy of this one's messages up to `message_id`, or of all of them.

    With `before`, that message is left out. A tool call whose output is not copied is not copied
    either. A copy of a temporary thread is temporary too, unless `temporary` is given.
    """

    route: ClassVar[str] = "POST /v1/threads/{thread_id}/fork"
    answer: ClassVar[Any] = Thread
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    thread_id: Id
    message_id: Id | None = None
    title: Title | None = None
    before: bool = False
    temporary: bool | None = None


class CreateMessage(Operation[Message], frozen=True):
    """Append a user or system message; with role `tool`, save a tool output.

    A tool output needs `tool_call_id`, and `run_id` unless it is for the thread's active run. A
    system message with `compacts` is a summary: models get it in place of the messages up to that
    number, which stay in the thread. 0 cancels all earlier summaries.
    """

    route: ClassVar[str] = "POST /v1/messages"
    answer: ClassVar[Any] = Message
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    thread_id: Id
    content: Content
    role: Literal["user", "system", "tool"] = "user"
    tool_call_id: Id | None = None
    run_id: Id | None = None
    is_error: bool = False
    metadata: Metadata = {}
    compacts: Annotated[int, Meta(ge=0)] | None = None


class AppendMessages(Operation[Listed[Message]], frozen=True):
    """Append messages of a conversation that took place elsewhere; returns them as they are stored.

    With `replace_from`, the message with this id and all after it are deleted first, in the same
    step; it must not be a tool output. Without `messages`, this only deletes. The thread must have
    no active run. The events of runs whose messages are deleted stay until they are past retention.

    With `if_version`, the request is refused (409 `conflict`) if the thread has another `version`,
    because it has changed meanwhile.
    """

    route: ClassVar[str] = "POST /v1/threads/{thread_id}/messages"
    answer: ClassVar[Any] = Listed[Message]
    http_status: ClassVar[int] = 201
    creates: ClassVar[bool] = True

    thread_id: Id
    messages: PastMessages = ()
    replace_from: Id | None = None
    if_version: Annotated[int, Meta(ge=0)] | None = None


class ListMessages(Operation[Listed[Message]], frozen=True):
    """List a thread's messages, in order; without `thread_id`, those of all threads as they came.

    The default `order` is `oldest`; `newest` lists the last message first. `metadata` selects the
    messages that have these pairs, and perhaps others. `rating` selects the replies that were rated
    so, `any` all that were rated. `created_after` and `created_before` are times in milliseconds
    since 1970.
    """

    route: ClassVar[str] = "GET /v1/messages"
    answer: ClassVar[Any] = Listed[Message]

    thread_id: Id | None = None
    limit: Limit = 20
    after: Id | None = None
    order: ListOrder | None = None
    role: Role | None = None
    run_id: Id | None = None
    rating: Rating | Literal["any"] | None = None
    metadata: Metadata | None = None
    created_after: Time | None = None
    created_before: Time | None = None


class GetMessage(Operation[Message], frozen=True):
    """Get one message."""

    route: ClassVar[str] = "GET /v1/messages/{message_id}"
    answer: ClassVar[Any] = Message

    message_id: Id


class SetFeedback(Operation[Message], frozen=True):
    """Rate a reply, `up` or `down`, with an optional comment; replaces an earlier rating.

    Returns the message with its `feedback`. Only messages of role `assistant` can be rated.
    """

    route: ClassVar[str] = "PUT /v1/messages/{message_id}/feedback"
    answer: ClassVar[Any] = Message

    message_id: Id
    rating: Rating
    comment: Annotated[str, Meta(max_length=4000)] = ""


class DeleteFeedback(Operation[Message], frozen=True):
    """Remove the rating of a reply; returns the message without it."""

    route: ClassVar[str] = "DELETE /v1/messages/{message_id}/feedback"
    answer: ClassVar[Any] = Message

    message_id: Id


class SearchHit(msgspec.Struct, frozen=True, kw_only=True):
    """A place where a search found its words: a message, or a thread's title without `message_id`.

    `number` is the message's place in its thread, from 1. `snippet` is a part of the text on one
    line, `highlights` are the places of words in it as `[start, end)`, counted in code points.
    `score` is higher for a better match. `created_at` is the time of the message, or of the thread,
    in milliseconds since 1970. `archived` says that the thread is archived.
    """

    thread_id: str
    title: str
    archived: bool = False
    message_id: str | None = None
    number: int | None = None
    role: Role | None = None
    snippet: str
    highlights: Sequence[tuple[int, int]]
    score: float
    created_at: int


class SearchResults(Listed[SearchHit], frozen=True):
    """Results of a search; while older messages are still being indexed, `indexing` says so."""

    indexing: IndexProgress | None = None


class Search(Operation[SearchResults], frozen=True):
    """Search titles and messages; the best matches come first.

    `q` is words, all of which a message must contain; `deploy` also finds "deployment". Text in
    quotation marks is found as it stands. Case and diacritics do not count. In a script without
    spaces, such as Chinese, characters that follow each other are found so. Nothing is found
    without a letter, a digit or an emoji.

    Threads whose title matches are first, at most `limit`; then messages. Of these, the hundred
    newest that match are ranked together, then the hundred before them, and so on. A page may have
    fewer items than `limit` although there are more: pass its `next` as `after`. Of a message and
    its copies in forked threads the newest is listed.
    """

    route: ClassVar[str] = "GET /v1/search"
    answer: ClassVar[Any] = SearchResults

    q: Name
    limit: Limit = 20
    after: Annotated[str, Meta(max_length=160)] | None = None
