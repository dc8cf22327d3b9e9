"""Server-sent events, decoded from any pieces of bytes and encoded.

By https://html.spec.whatwg.org/multipage/server-sent-events.html: lines end at LF, CR or CRLF and
nowhere else. `iter_lines()` of common HTTP clients also splits at U+2028, which JSON may contain.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from antiphon.types.errors import TooLarge
from antiphon.types.events import TYPES

MAX_EVENT_BYTES = 16_000_000  # far above real events, far below what exhausts memory


class SseFrame(msgspec.Struct, frozen=True, gc=False):
    """One event. `id` is the last one sent, as the standard defines it.

    An `event` or `id` of "" is None.
    """

    id: str | None
    event: str | None
    data: str


class Decoder:
    """Cuts a stream into frames, however its bytes were split.

    `comments` counts comment lines, which are heartbeats; `retry` is the reconnection time in
    milliseconds that the sender asked for, None if it did not. Invalid UTF-8 becomes U+FFFD, or
    lone surrogates for callers that must tell it from a sent U+FFFD. With `error_field`, a field
    `error`, which the standard does not know, becomes an event of that name with its value as data:
    older llama.cpp servers report failures so (ggml-org/llama.cpp#16109).
    """

    def __init__(
        self,
        max_bytes: int = MAX_EVENT_BYTES,
        invalid: Literal["replace", "surrogateescape"] = "replace",
        *,
        error_field: bool = False,
    ) -> None:
        self.comments = 0
        self.retry: int | None = None
        self._max_bytes = max_bytes
        self._invalid = invalid
        self._error_field = error_field
        self._id: str | None = None
        self._begun = False
        self._after_cr = False
        self._tail = bytearray()

    def feed(self, data: bytes) -> list[SseFrame]:
        """Return the events that the data completes. Raises `TooLarge` above the limit."""
        if not self._begun:
            data = self._without_bom(data)
        if self._after_cr or b"\r" in data:
            data = self._with_lf(data)
        if self._tail:
            seam = len(self._tail) - 1
            self._tail += data
            if self._tail.find(b"\n\n", seam) < 0:
                self._trim(b"\n" in data)
                return []
            data = bytes(self._tail)
        *blocks, rest = data.split(b"\n\n")
        self._tail = bytearray(rest)
        if rest:
            self._trim(b"\n" in rest)
        if len(data) > self._max_bytes and blocks:
            self._check(max(map(len, blocks)))
        return self._frames(blocks)

    @property
    def pending(self) -> int:
        """Bytes of an incomplete event."""
        return len(self._tail)

    @property
    def is_inside_event(self) -> bool:
        """True unless the next byte begins an event."""
        return bool(self._tail) or self._after_cr or not self._begun

    def close(self) -> list[SseFrame]:
        """Return the last event if its blank line never came; its data may be cut off."""
        block = bytes(self._tail)
        self._tail = bytearray()
        return self._frames([block])

    def _frames(self, blocks: list[bytes]) -> list[SseFrame]:
        frames: list[SseFrame] = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:
                text = block[6:].decode("utf-8", self._invalid)
                frames.append(SseFrame(self._id, None, text))
            elif frame := self._frame(block):
                frames.append(frame)
        return frames

    def _frame(self, block: bytes) -> SseFrame | None:
        event: str | None = None
        data: list[bytes] = []
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            match name:
                case b"data":
                    data.append(value)
                case b"event":
                    event = value.decode("utf-8", "replace") or None
                case b"id" if b"\0" not in value:
                    self._id = value.decode("utf-8", "replace") or None
                case b"error" if self._error_field:
                    event = "error"
                    data.append(value)
                case b"retry" if value.isdigit() and len(value) <= _RETRY_DIGITS:
                    self.retry = int(value)
                case b"" if line:
                    self.comments += 1
                case _:
                    pass
        if not data:
            return None
        text = b"\n".join(data).decode("utf-8", self._invalid)
        return SseFrame(self._id, event, text)

    def _without_bom(self, data: bytes) -> bytes:
        """Remove a byte order mark at the start of the stream; it may arrive in pieces."""
        data = bytes(self._tail) + data
        self._tail = bytearray()
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._tail += data
            return b""
        self._begun = True
        return data.removeprefix(_BOM)

    def _with_lf(self, data: bytes) -> bytes:
        """End all lines by LF alone; the LF of a CRLF may arrive in the next piece."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if data.endswith(b"\r"):
            self._after_cr = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _trim(self, has_lines: bool) -> None:
        """Count and drop comments and blank lines between events."""
        tail = self._tail
        while has_lines and tail.startswith((b":", b"\n")):
            end = tail.find(b"\n")
            if end < 0:
                break
            self.comments += end > 0
            del tail[: end + 1]
        self._check(len(tail))

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise TooLarge(
                "An event of the stream is too long.",
                expected=f"at most {self._max_bytes} bytes",
                received=f"{size} bytes",
            )


def frame(number: int, type: bytes, line: bytes) -> bytes:
    """Encode one of our events; `line` is its JSON. It must be one line."""
    if type not in _NAMES or b"\n" in line or b"\r" in line:
        raise ValueError(f"not an event on one line: {type!r}, {line[:80]!r}")
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, type, line)


def comment(text: str) -> bytes:
    """Encode a comment, which every reader skips: a heartbeat."""
    return b": %b\n\n" % text.translate(_BLANKED).encode("utf-8", "replace")


_BOM = b"\xef\xbb\xbf"
_RETRY_DIGITS = 9  # eleven days in milliseconds
_NAMES = frozenset(name.encode() for name in TYPES)
_BLANKED = {0: " ", 10: " ", 13: " "}
