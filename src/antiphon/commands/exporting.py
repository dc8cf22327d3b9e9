"""A thread read to be written down: its messages page by page, and what else is told of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

from antiphon.calls import ListMessages, ListRuns
from antiphon.client.exports import Form, exported
from antiphon.client.sections import Answered, Reader, answered, file_ids
from antiphon.client.sync import Client
from antiphon.errors import NotFound
from antiphon.messages import Message
from antiphon.runs import Thread

PAGE = 100
SETS_MARKDOWN = "markdown_it"


class Noted:
    """Messages of a thread as they come; who answered and what files are called is noted."""

    def __init__(self, client: Client, thread_id: str) -> None:
        self._client = client
        self._thread_id = thread_id
        self.names: dict[str, str] = {}
        self.runs: dict[str, Answered] = {}
        self.reader = Reader(self.names, self.runs)

    def messages(self) -> Iterator[Message]:
        """All of them, in order; what is to be known of each is there when it comes."""
        for run in self._client.every(ListRuns(self._thread_id, limit=PAGE)):
            self.runs[run.id] = answered(run)
        for message in self._client.every(ListMessages(self._thread_id, limit=PAGE)):
            for file_id in file_ids(message):
                self._note_name(file_id)
            yield message

    def _note_name(self, file_id: str) -> None:
        if file_id in self.names:
            return
        try:
            self.names[file_id] = self._client.get_file(file_id).name
        except NotFound:  # it was deleted since
            self.names[file_id] = file_id


def exported_thread(client: Client, thread: Thread, form: Form) -> Iterator[str]:
    """The thread in this form, piece by piece."""
    if form == "json":  # as the messages are: there is nothing to be known beside
        return exported(thread, client.every(ListMessages(thread.id, limit=PAGE)), form)
    noted = Noted(client, thread.id)
    render = _render() if form == "html" else None
    return exported(
        thread, noted.messages(), form, names=noted.names, runs=noted.runs, render=render
    )


def _render() -> Callable[[str], str] | None:
    """What makes HTML of Markdown; None without the extra `terminal`, which brings it."""
    try:
        hypertext = import_module("antiphon.terminal.hypertext")
    except ModuleNotFoundError as missing:
        if missing.name != SETS_MARKDOWN:
            raise
        return None
    render: Callable[[str], str] = hypertext.rendered
    return render
