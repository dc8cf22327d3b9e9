"""Export of a thread as one web page, without scripts and without external files.

All text of users, models and tools is escaped. In addition, the page has a content security policy
that forbids scripts, pictures, frames, forms and all styles but its own.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable
from html import escape

from antiphon.client.formatting import format_arguments, moment
from antiphon.types.messages import Message, ToolCall
from antiphon.types.runs import Thread
from antiphon.types.terminal_safe import clean, one_line
from antiphon.types.thread_view import (
    AttachmentsView,
    CallView,
    ChangedCallView,
    MessageView,
    NoteView,
    PartView,
    ReasoningView,
    RefusalView,
    TextView,
    ThreadReader,
)

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
    """HTML export; `render` turns a model's Markdown into safe HTML."""

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
        pieces = "\n".join(self._render_part(part) for part in view.parts)
        return (
            f'<article class="{view.speaker}" dir="auto">\n'
            f"<h2>{_heading(view)}</h2>\n{pieces}\n</article>\n"
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
                return _details("Reasoning", f'<pre class="wrapped">{_text(text)}</pre>')
            case ToolCall(name=name, arguments=arguments) | ChangedCallView(name, arguments):
                code = f"<pre><code>{_text(format_arguments(arguments))}</code></pre>"
                return f"<p>Calls <code>{_line(name)}</code></p>\n{code}"
            case CallView():
                name = _code(part.call.name)
                output = f'<pre class="wrapped"><code>{_text(part.text)}</code></pre>'
                fault = f'<b class="fault">gave no result ({_line(part.reason)})</b>'
                failed = f"<p>{name} {fault}</p>\n{output}"
                return failed if part.is_error else _details(f"{name} gave", output)
            case AttachmentsView(attachments):
                names = ", ".join(_code(each.name) for each in attachments)
                return f'<p class="note">Attached: {names}</p>'
            case NoteView(text):
                return f'<p class="note">({_line(text)})</p>'


def _heading(view: MessageView) -> str:
    model = f" ({_line(view.model)})" if view.model else ""
    return f"<b>{view.speaker.capitalize()}</b>{model}, {_time(view.at)}"


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
