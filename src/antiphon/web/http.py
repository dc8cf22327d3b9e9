"""JSON responses, problem documents, and request bodies as structs."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec
from flask import Response, request
from werkzeug.datastructures import FileStorage

from antiphon.api import problems
from antiphon.api.operation import convert
from antiphon.engine import sanitize
from antiphon.types.errors import AntiphonError, InvalidRequest, TooLarge

NO_STORE = {"cache-control": "no-store"}


def json_response(value: Any, status: int = 200) -> Response:
    """Return the value as JSON, not to be cached."""
    body = msgspec.json.encode(value)
    return Response(body, status, NO_STORE, content_type="application/json")


def problem_headers(error: AntiphonError) -> list[tuple[bytes, bytes]]:
    """Return the headers of a problem, without `WWW-Authenticate`: browsers would open a dialog."""
    return [each for each in problems.problem_headers(error) if each[0] != b"www-authenticate"]


def problem_response(error: AntiphonError) -> Response:
    """Return the error as a problem document."""
    status, _ = problems.status_and_title(error)
    headers = {name.decode(): value.decode("latin-1") for name, value in problem_headers(error)}
    kind = problems.MEDIA_TYPE.decode()
    return Response(problems.problem_document(error), status, NO_STORE | headers, content_type=kind)


# Requests.


T = TypeVar("T")

DEEPEST = 64


def read_json(kind: type[T]) -> T:
    """Decode the JSON body of the request as `kind`; unknown keys are ignored.

    The guard has checked the media type. Raises `InvalidRequest`.
    """
    return decode_json(request.get_data(cache=False), kind)


def read_query(kind: type[T]) -> T:
    """Decode the query string as `kind`; unknown keys are ignored. Raises `InvalidRequest`."""
    given = request.args.to_dict()
    sanitize.validate_text(given, "query")
    return convert(given, kind, strict=False)


def decode_json(body: bytes, kind: type[T]) -> T:
    """Decode JSON text as `kind`. Raises `InvalidRequest`."""
    try:
        value: Any = msgspec.json.decode(body)
        sanitize.validate_depth(value, DEEPEST)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest("The body is no JSON that can be read.") from error
    return convert(value, kind)


# Files.


BYTES = "application/octet-stream"
SANDBOX = "default-src 'none'; sandbox"
DEFAULT_NAME = "file"
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


def image_type(content: bytes) -> str | None:
    """Return the media type of an image that browsers show safely; else None.

    It is detected by the first bytes: names and declared types are not reliable.
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


def file_media_type(content: bytes, declared: str) -> str:
    """Return the type of a file: an image only if its bytes are one, else what is declared."""
    if (known := image_type(content)) is not None:
        return known
    return BYTES if declared in IMAGE_TYPES else sanitize.parse_media_type(declared)


def plain_name(given: str) -> str:
    """Return the last segment of a path, without invisible and direction-changing characters."""
    last = re.split(r"[/\\]", sanitize.sanitize_text(given))[-1]
    name = "".join(letter for letter in last if letter.isprintable()).strip(". ")
    return _shorten(name) or DEFAULT_NAME


def _shorten(name: str) -> str:
    """Cut the name to its longest length, and keep its extension."""
    if len(name) <= sanitize.MAX_NAME:
        return name
    stem, _, ending = name.rpartition(".")
    if not stem or len(ending) > 16:
        return name[: sanitize.MAX_NAME]
    return f"{stem[: sanitize.MAX_NAME - len(ending) - 1]}.{ending}"


FORM_FIELD = "file"


def read_form_file(most: int) -> tuple[FileStorage, bytes]:
    """Return the one file of the form, and its bytes. Raises `InvalidRequest`, `TooLarge`."""
    files = request.files.getlist(FORM_FIELD)
    if len(files) != 1:
        raise InvalidRequest(
            "The form does not hold one file.",
            expected=f"one field `{FORM_FIELD}` with a filename",
            received=f"{len(files)} of them",
        )
    with files[0].stream as stream:  # a file on the disk, if it is large
        content = stream.read(most + 1)
    if len(content) > most:
        raise TooLarge("The file is too large.", expected=f"at most {most} bytes")
    return files[0], content
