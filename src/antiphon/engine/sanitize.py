"""Text that stores can keep: validated when a caller sent it, replaced when foreign code did.

No store takes U+0000 or a lone surrogate, and JSON readers need not take integers beyond 64 bits.
Both transports and every store give the same answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from typing import Any, cast

import msgspec

from antiphon.api import operations
from antiphon.api.operations import Operation
from antiphon.types.errors import InvalidRequest, TooLarge

MAX_PLACE = 200  # characters of a JSON path in an error
MAX_NAME = 255
UNKNOWN_TYPE = "application/octet-stream"

_CONTAINERS = (dict, list, tuple)
_INT64 = range(-(2**63), 2**63)
_INVALID_CHARACTERS = re.compile("[\0\ud800-\udfff]")
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{},"))
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}", re.ASCII)
_PURPOSE = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)
_OWNER = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_UNSAFE_NAME = re.compile(
    r"[\x00-\x1f\x7f-\x9f/\\\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def sanitize_text(text: str) -> str:
    """Replace NUL and lone surrogates by U+FFFD; two halves of one pair are joined."""
    if (text.isascii() and "\0" not in text) or not _INVALID_CHARACTERS.search(text):
        return text
    joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined.replace("\0", "\ufffd")


def sanitize_value(value: Any) -> Any:
    """Sanitize all texts and keys of a JSON value."""
    match value:
        case str():
            return sanitize_text(value)
        case dict():
            items = cast("dict[str, Any]", value)
            return {sanitize_text(name): sanitize_value(inner) for name, inner in items.items()}
        case list():
            return [sanitize_value(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value


def request_fields(operation: Operation[Any]) -> dict[str, Any]:
    """Return the operation's fields as they are sent. Raises `InvalidRequest` and `TooLarge`."""
    method, _ = operation.route.split(" ")
    in_address = (
        operation.__struct_fields__ if method == "GET" else operations.path_fields(type(operation))
    )
    try:
        sent: dict[str, Any] = msgspec.to_builtins(operation, str_keys=True)
        for name, value in sent.items():
            validate_text(value, name if name in in_address else f"$.{name}")
    except RecursionError as error:
        raise TooLarge("The call is nested too deep.") from error
    return sent


def validate_text(value: Any, where: str = "$") -> None:
    """Raise `InvalidRequest` with the place of any text or number that stores cannot keep."""
    match value:
        case str():
            if odd := _INVALID_CHARACTERS.search(value):
                raise _invalid_text_error(odd[0], where)
        case int():
            if value not in _INT64:
                raise InvalidRequest(
                    f"The integer at {where} is too large.",
                    expected="an integer of 64 bits",
                    where=where,
                )
        case float():
            if not math.isfinite(value):
                raise InvalidRequest(
                    f"The number at {where} is none.",
                    expected="a finite number",
                    received=str(value),
                    where=where,
                )
        case dict():
            for name, item in cast("dict[str, Any]", value).items():
                validate_text(name, _extend_path(where, ".<name>"))
                validate_text(item, _extend_path(where, f".{name[:MAX_PLACE]}"))
        case list() | tuple():
            for place, item in enumerate(cast("Sequence[Any]", value)):
                validate_text(item, _extend_path(where, f"[{place}]"))
        case _:
            pass


def validate_depth(value: Any, max_depth: int) -> None:
    """Raise `TooLarge` for JSON of more levels."""
    level: list[Any] = [value] if isinstance(value, _CONTAINERS) else []
    for _ in range(max_depth):
        level = [
            item for parent in level for item in _children(parent) if isinstance(item, _CONTAINERS)
        ]
        if not level:
            return
    raise TooLarge("The JSON is nested too deep.", expected=f"at most {max_depth} levels")


def validate_shape(sent: bytes, max_depth: int, max_items: int) -> None:
    """Raise `TooLarge` for JSON nested too deep or with too many items, before it is decoded.

    Without escapes, every second piece between quotes is a string. Each pass removes the innermost
    pairs of brackets from the rest, so there are as many passes as levels. Unclosed brackets count
    as levels too, because the decoder would descend into them.
    """
    if len(sent) <= max_items and sent.count(b"[") + sent.count(b"{") <= max_depth:
        return
    unescaped = sent.replace(b"\\\\", b"").replace(b'\\"', b"")
    shape = b"".join(unescaped.split(b'"')[::2]).translate(_BRACKETS, _NO_BRACKETS)
    brackets = shape.replace(b",", b"")
    if len(shape) - len(brackets) > max_items or brackets.count(b"[") > max_items:
        raise TooLarge("The JSON has too many items.", expected=f"at most {max_items}")
    for _ in range(max_depth):
        brackets = brackets.replace(b"[]", b"")
    if b"[]" in brackets or brackets.count(b"[") > max_depth:
        raise TooLarge("The JSON is nested too deep.", expected=f"at most {max_depth} levels")


def validate_file_name(name: str) -> str:
    """Return a valid file name: no path, no invisible or direction-changing characters."""
    if not name.strip(". ") or len(name) > MAX_NAME or _UNSAFE_NAME.search(name):
        raise InvalidRequest(
            "This is no name for a file.",
            expected=f"1 to {MAX_NAME} characters without slashes and control characters",
            received=ascii(name[:64]),
            where="name",
        )
    return name


def validate_purpose(purpose: str) -> str:
    """Return a valid purpose of a file: a word of the program that uploads it."""
    if not _PURPOSE.fullmatch(purpose):
        raise InvalidRequest(
            "This is no purpose of a file.",
            expected="1 to 64 lower-case ASCII letters, digits, - and _",
            received=ascii(purpose[:64]),
            where="purpose",
        )
    return purpose


def validate_owner(owner: str) -> str:
    """Return a valid owner: characters that a header can carry and a list can show."""
    if not _OWNER.fullmatch(owner):
        raise InvalidRequest(
            "This is no owner.",
            expected="1 to 128 ASCII letters, digits and signs without spaces",
            received=ascii(owner[:64]),
            where="owner",
        )
    return owner


def validate_idempotency_key(key: str) -> str:
    """Return a key that a request may bear, as the header requires it. Raises `InvalidRequest`."""
    given = cast("object", key)
    if not isinstance(given, str) or not _IDEMPOTENCY_KEY.fullmatch(given):
        raise InvalidRequest(
            "The idempotency key cannot be used.",
            expected="1 to 255 printable ASCII characters without spaces",
            received=ascii(given)[:100],
            where="idempotency_key",
        )
    return key


def parse_media_type(text: str) -> str:
    """Return the media type without parameters; `UNKNOWN_TYPE` if it is not valid."""
    essence = text.partition(";")[0].strip().lower()
    return essence if _MEDIA_TYPE.fullmatch(essence) else UNKNOWN_TYPE


def _invalid_text_error(odd: str, where: str) -> InvalidRequest:
    if odd == "\0":
        return InvalidRequest(
            f"There is a NUL character at {where}.",
            expected="text without U+0000",
            received="U+0000",
            where=where,
        )
    return InvalidRequest(
        f"There is half a character at {where}.",
        expected="text without lone surrogates",
        received=f"U+{ord(odd):04X}",
        where=where,
    )


def _extend_path(where: str, step: str) -> str:
    """Return the path one step deeper; long ones are cut, since keys may be as long as bodies."""
    deeper = where + step
    return deeper if len(deeper) <= MAX_PLACE else deeper[: MAX_PLACE - 3] + "..."


def _children(value: dict[str, Any] | Sequence[Any]) -> Collection[Any]:
    return value.values() if isinstance(value, dict) else value
