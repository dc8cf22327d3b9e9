"""Log lines as text or JSON: one per record, without secrets and without text of users.

Text of users reaches a log in exceptions and in values marked as `UserContent`. Both are left out
unless the operator wants them; types, places and codes are always logged. No record can end its
line early or control a terminal.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec

from antiphon.settings.settings import Settings
from antiphon.types.terminal_safe import one_line

MAX_FRAMES = 20  # of an exception, the innermost

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SECRETS = re.compile(
    r"(?<=://)[^/@\s]+(?=@)"  # a password in an address
    r"|\bsk-[\w*-]{6,}"
    r"|\bak_[A-Za-z0-9_-]{8,}"
    r"|(?i:(?<=bearer )|(?<=basic ))[\w.~+/*-]{6,}=*"
)
_QUERY_VALUE = re.compile(r"(?<=[?&])([\w.~%-]{1,64}=)[^&\s]+")  # it may be a key
_NOTHING: Mapping[str, str] = MappingProxyType({})
_about: ContextVar[Mapping[str, str]] = ContextVar("about", default=_NOTHING)
"""Ids of this task's request, run, thread, key and trace."""


class UserContent(str):
    """Text of people or models in a log line: logged only where content is wanted."""

    __slots__ = ()


class _LogContext:
    """Not a generator, for speed: each request enters two."""

    __slots__ = ("_ids", "_token")

    def __init__(self, ids: Mapping[str, str]) -> None:
        self._ids = ids

    def __enter__(self) -> None:
        self._token = _about.set({**_about.get(), **self._ids})

    def __exit__(self, *_: object) -> None:
        _about.reset(self._token)


def log_context(**ids: str | None) -> AbstractContextManager[None]:
    """Add these ids to each line of this task and of those it starts; None is left out."""
    known = {name: value for name, value in ids.items() if value and _ID.fullmatch(value)}
    return _LogContext(known)


def configure_logging(settings: Settings) -> None:
    """Write log lines to stderr as the settings say; other libraries log from warnings up."""
    as_json = settings.log_format == "json"
    # `sys.stderr` of one of several processes may prefix lines with a name, which breaks JSON.
    handler = logging.StreamHandler(sys.__stderr__ if as_json else sys.stderr)
    formatter = JsonLogFormatter if as_json else TextLogFormatter
    handler.setFormatter(formatter(content=settings.log_content))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("antiphon").setLevel(_LEVELS[settings.log_level])


class LogFormatter(logging.Formatter):
    """Base of both formats: collects a record's content and makes it harmless."""

    def __init__(self, *, content: bool = False) -> None:
        super().__init__()
        self._content = content

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        return self._line(record, _about.get())

    def _line(self, record: logging.LogRecord, ids: Mapping[str, str]) -> str:
        raise NotImplementedError

    def _message(self, record: logging.LogRecord) -> str:
        if not self._content and record.args:
            record = logging.makeLogRecord({**record.__dict__, "args": _redact_args(record.args)})
        try:
            return _safe(record.getMessage())
        except (TypeError, ValueError):  # a library's arguments do not match its format
            return _safe(str(record.msg))

    def _describe_exception(self, record: logging.LogRecord) -> list[str]:
        """Return the steps of the record's exception: causes first, with their places."""
        if not record.exc_info or record.exc_info[1] is None:
            return []
        return [_safe(step) for step in _describe_error(record.exc_info[1], content=self._content)]


class TextLogFormatter(LogFormatter):
    """Formats a record as text, for people."""

    def _line(self, record: logging.LogRecord, ids: Mapping[str, str]) -> str:
        named = "".join(f" {name}={value}" for name, value in ids.items())
        fault = "".join(f" | {step}" for step in self._describe_exception(record))
        level, source = record.levelname.lower(), record.name
        return f"{_time(record)} {level} {source}: {self._message(record)}{named}{fault}"


class JsonLogFormatter(LogFormatter):
    """Formats a record as a JSON object, for programs."""

    def _line(self, record: logging.LogRecord, ids: Mapping[str, str]) -> str:
        fields: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
            "process": os.getpid(),
            **ids,
        }
        if fault := self._describe_exception(record):
            fields["error"] = fault
        return msgspec.json.encode(fields).decode()


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _safe(text: str) -> str:
    """Return the text on one line, without control characters and secrets."""
    line = one_line(text.replace("\r", "\n").replace("\n", " ⏎ "))
    return _QUERY_VALUE.sub(r"\1****", _SECRETS.sub("****", line))


def _redact_args(args: tuple[object, ...] | Mapping[str, object]) -> Any:
    if isinstance(args, Mapping):
        return {name: _redact(value) for name, value in args.items()}
    return tuple(_redact(value) for value in args)


def _redact(value: object) -> object:
    """Return our own values unchanged; of another library's exception only the type."""
    match value:
        case UserContent():
            return f"({len(value)} characters)"
        case BaseException() if not type(value).__module__.startswith("antiphon."):
            return type(value).__qualname__
        case _:
            return value


def _describe_error(error: BaseException, *, content: bool) -> Iterator[str]:
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _describe_error(cause, content=content)
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    yield f"{kind}: {error}" if content else kind
    for frame in traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]:
        yield f"at {frame.filename}:{frame.lineno} in {frame.name}"
