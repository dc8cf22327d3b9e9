"""Export a thread as Markdown, as a web page, or as complete JSON.

Only one message at a time is held in memory, so threads may be of any length:

    with open("talk.md", "w") as file:
        for piece in render_export(thread, client.paginate(ListMessages(thread.id)), "md"):
            file.write(piece)
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import PurePath
from typing import Any, Literal, Protocol, get_args

import msgspec

from antiphon.api.operations import ListMessages, ListRuns
from antiphon.client.async_client import AsyncClient
from antiphon.client.export_markdown import MarkdownExport
from antiphon.client.formatting import format_arguments, moment, name_reasoning
from antiphon.settings import deprecated
from antiphon.types.errors import NotFound
from antiphon.types.messages import Message, ToolCall
from antiphon.types.runs import Thread
from antiphon.types.terminal_safe import clean, json_text, one_line
from antiphon.types.thread_view import (
    AttachmentsView,
    CallView,
    ChangedCallView,
    NoteView,
    PartView,
    ReasoningView,
    RefusalView,
    ReplyJoiner,
    RunSummary,
    SourcesView,
    TextView,
    ThreadReader,
    file_ids,
    join_replies,
    summarize_run,
)

Form = Literal["md", "json", "html"]
FORMS: tuple[Form, ...] = get_args(Form)
SUFFIXES: Mapping[str, Form] = {
    ".md": "md",
    ".markdown": "md",
    ".json": "json",
    ".html": "html",
    ".htm": "html",
}
NAME_LETTERS = 60
"""Most letters of a file's name, without its suffix: a title may be much longer."""


class Export(Protocol):
    """An export in progress: call `begin`, `message` for each message in order, then `end`."""

    def begin(self) -> str:
        """Return the text before the first message."""
        ...

    def message(self, message: Message) -> str:
        """Return the text of the next message; "" for a message that is left out."""
        ...

    def end(self) -> str:
        """Return the text after the last message."""
        ...


def export(
    thread: Thread,
    form: Form,
    *,
    names: Mapping[str, str] | None = None,
    runs: Mapping[str, RunSummary] | None = None,
    render: Callable[[str], str] | None = None,
) -> Export:
    """Return an export to feed message by message.

    `names` are file names by id, `runs` results of `summarize_run` by id; both may be filled
    meanwhile. `render` turns a model's Markdown into safe HTML; without it a page shows Markdown
    as it was written.
    """
    reader = ThreadReader(names, runs)
    match form:
        case "md":
            return MarkdownExport(thread, reader)
        case "html":
            return HtmlExport(thread, reader, render)
        case "json":
            return JsonExport(thread)


def render_export(
    thread: Thread,
    messages: Iterable[Message],
    form: Form,
    *,
    names: Mapping[str, str] | None = None,
    runs: Mapping[str, RunSummary] | None = None,
    render: Callable[[str], str] | None = None,
) -> Iterator[str]:
    """Yield the export in pieces; see `export`."""
    file = export(thread, form, names=names, runs=runs, render=render)
    yield file.begin()
    for message in messages if form == "json" else join_replies(messages):
        if piece := file.message(message):
            yield piece
    yield file.end()


def guess_form(file_name: str) -> Form | None:
    """Return the form for the suffix of a file name; None for an unknown suffix."""
    return SUFFIXES.get(PurePath(file_name).suffix.lower())


def file_name(thread: Thread, form: Form) -> str:
    """Return a name for the thread's file: the letters and digits of its title, with hyphens.

    It begins with a letter or digit, so that it is not a hidden file, a path or a flag.
    """
    words = re.findall(r"[^\W_]+", thread.title)
    name = ""
    for word in words:
        longer = f"{name}-{word}" if name else word[:NAME_LETTERS]
        if len(longer) > NAME_LETTERS:
            break
        name = longer
    return f"{name or thread.id}.{form}"


class JsonExport:
    """JSON export: `{"thread": ..., "messages": [...]}`, both as the API returns them.

    Control characters and those that change the direction of text are escaped, which does not
    change the meaning of JSON.
    """

    def __init__(self, thread: Thread) -> None:
        self._thread = thread
        self._between = ""

    def begin(self) -> str:
        """Return the thread and the beginning of the list."""
        return f'{{"thread":{_json(self._thread)},"messages":['

    def message(self, message: Message) -> str:
        """Return the next message."""
        piece = f"{self._between}{_json(message)}"
        self._between = ",\n"
        return piece

    def end(self) -> str:
        """Return the end of the list."""
        return "]}\n"


def _json(value: Thread | Message) -> str:
    return json_text(msgspec.json.encode(value))


# Export on an event loop, with the runs and files of the thread.

PAGE = 100
_RENDERING_THREAD = ThreadPoolExecutor(1, "antiphon export")
"""One thread, because rendering computes: more would keep the loop waiting for the GIL."""


async def export_thread(
    client: AsyncClient,
    thread: Thread,
    form: Form,
    *,
    render: Callable[[str], str] | None = None,
) -> AsyncIterator[str]:
    """Yield the export of a thread in pieces; see `export` for `render`."""
    names: dict[str, str] = {}
    runs: dict[str, RunSummary] = {}
    file = export(thread, form, names=names, runs=runs, render=render)
    # JSON holds the messages alone.
    messages = (
        client.paginate(ListMessages(thread.id, limit=PAGE))
        if form == "json"
        else load_messages(client, thread.id, names, runs)
    )
    yield file.begin()
    async for message in messages:
        # Rendering a long answer takes a while and must not block the loop.
        yield await asyncio.get_running_loop().run_in_executor(
            _RENDERING_THREAD, file.message, message
        )
    yield file.end()


async def load_messages(
    client: AsyncClient, thread_id: str, names: dict[str, str], runs: dict[str, RunSummary]
) -> AsyncIterator[Message]:
    """Yield all messages of a thread in order, a reply that was cut and its rest as one.

    `runs` gets the facts of its runs first, `names` the file names of each message before it.
    """
    async for run in client.paginate(ListRuns(thread_id, limit=PAGE)):
        runs[run.id] = summarize_run(run)
    async for message in load_joined_messages(client, thread_id):
        for file_id in file_ids(message):
            if file_id not in names:
                try:
                    names[file_id] = (await client.get_file(file_id)).name
                except NotFound:  # deleted meanwhile
                    names[file_id] = file_id
        yield message


async def load_joined_messages(client: AsyncClient, thread_id: str) -> AsyncIterator[Message]:
    """Yield all messages of a thread in order, a reply that was cut and its rest as one."""
    joiner = ReplyJoiner()
    async for message in client.paginate(ListMessages(thread_id, limit=PAGE)):
        for complete in joiner.add(message):
            yield complete
    for complete in joiner.close():
        yield complete


STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --page: #fff; --faint: #656d76; --line: #d8dee4;
  --code: #f6f8fa; --user: #eef4fb; --link: #0550ae; --fault: #b42318; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --page: #16191d; --faint: #969ea8; --line: #343b44;
    --code: #20252b; --user: #1d2836; --link: #79b8ff; --fault: #ff8a80; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 46rem; color: var(--ink);
  background: var(--page); font: 1rem/1.6 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0; }
header p, h2, .note, summary { color: var(--faint); font-size: .875rem; }
header { border-bottom: 1px solid var(--line); margin-bottom: 1.5rem; }
article { margin: 1.75rem 0; }
article > h2 { margin: 0 0 .4rem; font-weight: 400; }
h2 b { color: var(--ink); }
.user { background: var(--user); border-radius: .5rem; padding: .75rem 1rem; }
.said { white-space: pre-wrap; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: .375rem;
  padding: .75rem; overflow-x: auto; font-size: .875rem; line-height: 1.45; }
pre.wrapped { white-space: pre-wrap; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .9em; }
pre code { font-size: inherit; }
details { border-left: 3px solid var(--line); padding-left: .75rem; margin: .5rem 0; }
summary { cursor: pointer; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: left; }
.right { text-align: right; } .center { text-align: center; }
blockquote { margin: 1rem 0; padding-left: 1rem; border-left: 3px solid var(--line);
  color: var(--faint); }
a { color: var(--link); }
.fault { color: var(--fault); }
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  h2 { break-after: avoid; }
  pre { white-space: pre-wrap; }
  .user { border: 1px solid var(--line); }
  main a::after { content: " (" attr(href) ")"; font-size: .85em; color: var(--faint); }
}
"""
POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src 'sha256-{b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)


class HtmlExport:
    """Export as one web page, without scripts and without external files.

    All text of users, models and tools is escaped; `render` turns a model's Markdown into safe
    HTML. In addition, the page has a content security policy that forbids scripts, pictures,
    frames, forms and all styles but its own.
    """

    def __init__(
        self, thread: Thread, reader: ThreadReader, render: Callable[[str], str] | None = None
    ) -> None:
        self._thread = thread
        self._reader = reader
        self._render = render

    def begin(self) -> str:
        """Return the head of the page, with title and id of the thread."""
        title = _line(self._thread.title) or "A conversation"
        return f"""<!DOCTYPE html>
<html lang="und">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1 dir="auto">{title}</h1>
<p><code>{_line(self._thread.id)}</code>, begun {_time(self._thread.created_at)}</p>
</header>
<main>
"""

    def message(self, message: Message) -> str:
        """Return the next message as an article."""
        view = self._reader.read(message)
        if view is None:
            return ""
        model = f" ({_line(view.model)})" if view.model else ""
        pieces = "\n".join(self._render_part(part) for part in view.parts)
        return (
            f'<article class="{view.speaker}" dir="auto">\n'
            f"<h2><b>{view.speaker.capitalize()}</b>{model}, {_time(view.at)}</h2>\n"
            f"{pieces}\n</article>\n"
        )

    def end(self) -> str:
        """Return the closing tags."""
        return "</main>\n</body>\n</html>\n"

    def _render_part(self, part: PartView) -> str:
        match part:
            case TextView(text) | RefusalView(text):
                markdown = not isinstance(part, TextView) or part.markdown
                plain = f'<div class="said">{_text(text)}</div>'
                return self._render(text) if markdown and self._render else plain
            case ReasoningView(text):
                return _details(name_reasoning(part), f'<pre class="wrapped">{_text(text)}</pre>')
            case ToolCall(name=name, arguments=arguments) | ChangedCallView(name, arguments):
                code = f"<pre><code>{_text(format_arguments(arguments))}</code></pre>"
                return f"<p>Calls <code>{_line(name)}</code></p>\n{code}"
            case CallView():
                name = _code(part.call.name)
                output = f'<pre class="wrapped"><code>{_text(part.text)}</code></pre>'
                fault = f'<b class="fault">gave no result ({_line(part.reason)})</b>'
                failed = f"<p>{name} {fault}</p>\n{output}"
                return failed if part.is_error else _details(f"{name} gave", output)
            case AttachmentsView() | SourcesView() | NoteView():
                return _render_note(part)


def _render_note(part: AttachmentsView | SourcesView | NoteView) -> str:
    match part:
        case AttachmentsView(attachments):
            names = ", ".join(_code(each.name) for each in attachments)
            return f'<p class="note">Attached: {names}</p>'
        case SourcesView(pages):
            items = "\n".join(
                f'<li><a href="{escape(page.url)}" rel="noopener noreferrer nofollow">'
                f"{_line(page.title or page.url)}</a></li>"
                for page in pages
            )
            return f'<p class="note">Sources</p>\n<ol class="note">\n{items}\n</ol>'
        case NoteView(text):
            return f'<p class="note">({_line(text)})</p>'


def _time(milliseconds: int) -> str:
    at = moment(milliseconds)
    return f'<time datetime="{at}">{at[:10]} {at[11:16]} UTC</time>'


def _details(summary: str, within: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n{within}\n</details>"


def _code(text: str) -> str:
    return f"<code>{_line(text)}</code>"


def _line(text: str) -> str:
    """Return the text escaped, on one line."""
    return escape(one_line(text))


def _text(text: str) -> str:
    """Return the text escaped, with its line breaks."""
    return escape(clean(text, "code"))


def __getattr__(name: str) -> Any:
    if name != "exported":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    deprecated.warn(deprecated.explain_renamed("exported", "render_export", both=False))
    return render_export
