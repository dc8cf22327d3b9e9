"""Artifacts: code blocks of an answer that a second origin shows as documents, in a sandbox.

The stored message is the only source. A signed address names the lines of a block and their digest;
the second origin reads the message again, and serves nothing but such blocks.
"""

from __future__ import annotations

import base64
import hmac
import html
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Literal

import msgspec

from antiphon.types.errors import NotFound

Kind = Literal["html", "svg", "mermaid"]
"""Languages of code blocks that the second origin shows."""

LIFETIME = 60
"""Seconds for which an address is valid: the page opens it at once."""
FRAME_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Origin-Agent-Cluster": "?1",
    "X-DNS-Prefetch-Control": "off",
    "X-Robots-Tag": "noindex",
    "Connection-Allowlist": "()",
}
"""Headers of every response of the second origin.

`Origin-Agent-Cluster` gives a document its own process, so that its endless loop does not stop the
page. `Connection-Allowlist` closes the channels that a content policy does not know: WebRTC, and
connections and look-ups in advance.
"""
NOTHING = "sandbox; default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Policy of responses of the second origin that are no document."""
_FEATURES = (
    "accelerometer",
    "autoplay",
    "bluetooth",
    "camera",
    "clipboard-read",
    "clipboard-write",
    "display-capture",
    "encrypted-media",
    "fullscreen",
    "gamepad",
    "geolocation",
    "gyroscope",
    "hid",
    "idle-detection",
    "identity-credentials-get",
    "local-fonts",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "picture-in-picture",
    "publickey-credentials-create",
    "publickey-credentials-get",
    "screen-wake-lock",
    "serial",
    "storage-access",
    "sync-xhr",
    "usb",
    "web-share",
    "window-management",
    "xr-spatial-tracking",
)
PERMISSIONS = ", ".join(f"{feature}=()" for feature in _FEATURES)
"""`Permissions-Policy` with every feature off that asks for a permission or leaves the page."""


# The block of a message.


class Block(msgspec.Struct, frozen=True):
    """Code block of a message: its lines from `start` to before `end`, without the fences."""

    kind: Kind
    start: int
    end: int
    text: str


_FENCE = re.compile(r"^[\s>*+\-.)\d]*(?P<marks>`{3,}|~{3,})\s*(?P<language>[A-Za-z]+)")
_NEWLINE = re.compile(r"\r\n|\r|\n")
_KINDS: dict[str, Kind] = {"html": "html", "htm": "html", "svg": "svg", "mermaid": "mermaid"}


def find_block(message: str, wanted: str) -> Block | None:
    """Return the code block of the message with this text; None if it has none.

    Indentation and empty lines at the end are ignored in the comparison: blocks in lists are
    indented in the message, and the page's parser counts empty lines in its own way.
    """
    if not wanted.strip():
        return None
    lines = _NEWLINE.split(message)
    stripped = [line.strip() for line in lines]
    sought = [line.strip() for line in _NEWLINE.split(wanted.rstrip())]
    # The line that follows each line and is not empty: "" for none.
    following = [""] * (len(lines) + 1)
    for number in range(len(lines) - 1, -1, -1):
        following[number] = stripped[number] or following[number + 1]
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        number += 1
        kind = _KINDS.get(fence["language"].lower()) if fence else None
        if not (fence and kind):
            continue
        start, marks = number, fence["marks"]
        while number < len(lines) and not _closes(stripped[number], marks):
            number += 1  # each line belongs to one block, so that no line is read twice
        end = start + len(sought)
        closing = following[min(end, len(lines))]
        if (
            end <= number
            and stripped[start:end] == sought
            and (not closing or _closes(closing, marks))
        ):
            return Block(kind, start, end, _cut(lines, start, end))
    return None


def _closes(line: str, marks: str) -> bool:
    return line.startswith(marks) and not line.strip(marks[0])


def read_lines(message: str, start: int, end: int) -> str:
    """Return these lines of the message as the text of a block."""
    return _cut(_NEWLINE.split(message), start, end)


def _cut(lines: Sequence[str], start: int, end: int) -> str:
    return "\n".join(lines[start:end])


def digest(text: str) -> str:
    """Return the digest by which a signed address knows a text."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# Signed addresses.


class Ticket(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Contents of a signed address: the block, whose it is, and the page that may frame it.

    `expires_at` is in seconds since 1970. With `scripts` the scripts of the document run.
    """

    owner: str
    thread_id: str
    message_id: str
    start: int
    end: int
    digest: str
    kind: Kind
    scripts: bool
    page: str
    expires_at: int


def sign(ticket: Ticket, secret: bytes) -> str:
    """Return the ticket as text for an address, with a signature."""
    content = msgspec.msgpack.encode(ticket)
    return f"{_encode(content)}.{_encode(_signature(content, secret))}"


def read_ticket(signed: str, secret: bytes, now: float) -> Ticket:
    """Return the ticket of a signed address. Raises `NotFound` if it is forged or has expired."""
    content, _, signature = signed.partition(".")
    try:
        body, given = _decode(content), _decode(signature)
    except ValueError:
        raise _not_found() from None
    if not hmac.compare_digest(given, _signature(body, secret)):
        raise _not_found()
    try:
        ticket = msgspec.msgpack.decode(body, type=Ticket)
    except msgspec.MsgspecError:
        raise _not_found() from None  # of another version
    if ticket.expires_at <= now:
        raise NotFound(
            "The address of this preview has expired.",
            expected=f"a request within {LIFETIME} seconds",
            hint="Open the preview again.",
        )
    return ticket


def _not_found() -> NotFound:
    return NotFound("There is no preview at this address.", hint="Open the preview again.")


def _signature(content: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, b"antiphon artifact\n" + content, sha256).digest()


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)


# The document.


_RUNNING = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline';"
    " style-src 'unsafe-inline'; img-src data: blob:; font-src data:; media-src data: blob:;"
    " connect-src 'none'; form-action 'none'; base-uri 'none'"
)
_STILL = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:;"
    " form-action 'none'; base-uri 'none'"
)
_PICTURE = """<!doctype html><meta charset="utf-8"><title>SVG</title>
<style>html,body{margin:0;height:100%}svg{max-width:100%;max-height:100%}</style>
"""


_DRAWING = (
    "sandbox allow-scripts; default-src 'none'; script-src 'nonce-{nonce}';"
    " style-src 'unsafe-inline'; img-src data:; font-src data:; form-action 'none';"
    " base-uri 'none'"
)
_DIAGRAM = """<!doctype html><meta charset="utf-8"><title>Mermaid</title>
<style>body{{margin:1rem;font-family:sans-serif}}svg{{max-width:100%;height:auto}}</style>
<pre id="text" hidden>{text}</pre><pre id="fault"></pre><div id="drawn"></div>
<script nonce="{nonce}" src="{script}"></script>
<script nonce="{nonce}">
mermaid.initialize({{ startOnLoad: false, securityLevel: "strict", suppressErrorRendering: true }});
mermaid.render("diagram", document.getElementById("text").textContent).then(
  ({{ svg }}) => {{ document.getElementById("drawn").innerHTML = svg; }},
  (error) => {{ document.getElementById("fault").textContent = String(error.message ?? error); }},
);
</script>
"""
DIAGRAM_SCRIPT = "/artifact/mermaid.js"
"""Path of the library that draws diagrams, at the second origin."""


def document_policy(ticket: Ticket, nonce: str) -> str:
    """Return the content policy of the document: only its page may frame it.

    The scripts of a diagram are ours, and have the nonce; what stands in its text has not.
    """
    if ticket.kind == "mermaid":
        policy = _DRAWING.format(nonce=nonce)
    else:
        policy = _RUNNING if ticket.scripts else _STILL
    return f"{policy}; frame-ancestors {ticket.page}"


def render_document(ticket: Ticket, text: str, nonce: str) -> bytes:
    """Return the text of a block as an HTML document.

    An SVG is part of a document, so that it needs no namespace and may have mistakes. The text of a
    diagram is escaped, and drawn by a library.
    """
    match ticket.kind:
        case "svg":
            content = _PICTURE + text
        case "mermaid":
            escaped = html.escape(text)
            content = _DIAGRAM.format(text=escaped, nonce=nonce, script=DIAGRAM_SCRIPT)
        case "html":
            content = text
    return content.encode("utf-8", "replace")
