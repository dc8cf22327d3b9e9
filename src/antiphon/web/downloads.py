"""Foreign bytes to a browser: as a file to be saved, or as a picture if they are one."""

from __future__ import annotations

from io import BytesIO

from flask import Response, send_file

BYTES = "application/octet-stream"
SANDBOX = "default-src 'none'; sandbox"


def download(name: str, content: bytes, media_type: str = BYTES) -> Response:
    """A file by that name, which no browser shows or runs (RFC 6266 for its name)."""
    return _sent(name, content, media_type, inline=False)


def shown(name: str, content: bytes) -> Response:
    """The picture that these bytes are; what is none is a download."""
    kind = picture(content)
    return _sent(name, content, kind or BYTES, inline=kind is not None)


def picture(content: bytes) -> str | None:
    """The media type of a picture that browsers show and nothing in it can act; else None.

    By its first bytes: what a file is called, and said to be, is anybody's word.
    """
    match content[:12]:
        case head if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return "image/png"
        case head if head.startswith(b"\xff\xd8\xff"):
            return "image/jpeg"
        case head if head.startswith((b"GIF87a", b"GIF89a")):
            return "image/gif"
        case head if head.startswith(b"RIFF") and head.endswith(b"WEBP"):
            return "image/webp"
        case _:
            return None


def _sent(name: str, content: bytes, media_type: str, *, inline: bool) -> Response:
    response = send_file(
        BytesIO(content),
        media_type,
        as_attachment=not inline,
        download_name=name,
        conditional=False,
        etag=False,
    )
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["Cache-Control"] = "private, no-store"
    return response
