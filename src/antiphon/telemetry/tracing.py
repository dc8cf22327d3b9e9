"""The door to who follows a call through all processes: spans, which become a trace.

Nobody does by default, and then nothing is loaded and nothing is remembered. Where one span stands
is written as W3C headers write it, so that it can be handed on: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Literal, Protocol, cast

from antiphon.types.errors import AntiphonError, BadSettings, install_hint

Kind = Literal["internal", "server", "client"]
AttributeValue = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, AttributeValue]
NOTHING: Attributes = {}

ROOT = ""
"""As a parent: none, whatever is current."""

MOST_STATE = 512  # characters of `tracestate` that must be passed on; a longer one need not be

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ID = re.compile(r"(?<=/)[a-z]+_[A-Za-z0-9_-]*[0-9][A-Za-z0-9_-]*")
_STATE = re.compile(r"[\x20-\x7e]+")


class Span(Protocol):
    """Something that takes time. `place` is where it stands in its trace, None where nobody looks.

    No method ever raises or waits.
    """

    @property
    def trace_context(self) -> str | None:
        """`traceparent`, and behind a space `tracestate` where there is one."""
        ...

    def update_name(self, name: str) -> None:
        """Call it so, now that more is known."""
        ...

    def set_attributes(self, facts: Attributes) -> None:
        """Add what is known of it."""
        ...

    def set_error(self, kind: str) -> None:
        """Say that it failed, by a word from a closed list."""
        ...

    def end(self) -> None:
        """It is over."""
        ...


class Tracer(Protocol):
    """Makes spans. `content` says whether they may hold what people and models wrote."""

    content: bool

    def start_span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str | None = None,
        facts: Attributes = NOTHING,
    ) -> Span:
        """A span that begins now; without `parent` below the current one."""
        ...

    def activate(self, span: Span) -> AbstractContextManager[None]:
        """Make it the current one, for this task and those it starts."""
        ...

    def current_context(self) -> str | None:
        """Where the current span stands."""
        ...

    def close(self) -> None:
        """Send what was not sent yet, for a few seconds at most."""
        ...


class _NoSpan:
    trace_context: str | None = None

    def update_name(self, name: str) -> None:
        """Nobody looks."""

    def set_attributes(self, facts: Attributes) -> None:
        """Nobody looks."""

    def set_error(self, kind: str) -> None:
        """Nobody looks."""

    def end(self) -> None:
        """Nobody looks."""


class _NoTracer:
    content = False

    def start_span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str | None = None,
        facts: Attributes = NOTHING,
    ) -> Span:
        """The one span there is."""
        return _NO_SPAN

    def activate(self, span: Span) -> AbstractContextManager[None]:
        """Nothing is current."""
        return _NOWHERE

    def current_context(self) -> str | None:
        """Nowhere."""
        return None

    def close(self) -> None:
        """There is nothing to send."""


_NO_SPAN = _NoSpan()
_NOWHERE = nullcontext()
NO_TRACES: Tracer = _NoTracer()
"""Follows nothing."""


def create_tracer(telemetry: str, service: str, *, content: bool = False) -> Tracer:
    """Who follows, as the settings say; `service` is this program's name, if it has no other.

    Raises `BadSettings` where the extra is not installed.
    """
    if telemetry == "off":
        return NO_TRACES
    try:
        tracing = import_module("antiphon.telemetry.otlp")
    except ModuleNotFoundError as missing:
        raise BadSettings(
            f"telemetry needs {missing.name}, which is not installed",
            expected="the extra `telemetry`",
            hint=install_hint("telemetry"),
        ) from missing
    return cast("Tracer", tracing.OtlpTracer(service, content=content))


@contextmanager
def detached_span(
    tracer: Tracer,
    name: str,
    kind: Kind = "internal",
    *,
    parent: str | None = None,
    facts: Attributes = NOTHING,
) -> Generator[Span]:
    """A span around the block; what the block raises is its failure.

    It is not the current one in it: the block may stand in a generator, whose caller's context it
    would change.
    """
    span = tracer.start_span(name, kind, parent=parent, facts=facts)
    try:
        yield span
    except GeneratorExit:  # whoever listened has heard enough
        raise
    except BaseException as error:
        span.set_error(error_type(error))
        raise
    finally:
        span.end()


@contextmanager
def current_span(
    tracer: Tracer,
    name: str,
    kind: Kind = "internal",
    *,
    parent: str | None = None,
    facts: Attributes = NOTHING,
) -> Generator[Span]:
    """As `beside`, and the current one in the block: not for the body of a generator."""
    with (
        detached_span(tracer, name, kind, parent=parent, facts=facts) as span,
        tracer.activate(span),
    ):
        yield span


def error_type(error: BaseException) -> str:
    """An error by a word from a closed list: its code, or its type."""
    match error:
        case AntiphonError():
            return error.code
        case asyncio.CancelledError():
            return "cancelled"
        case _:
            return type(error).__name__


def route_template(path: str) -> str:
    """A path of our API by its template: ids are told apart by none who counts."""
    return _ID.sub("{id}", path)


def trace_headers(place: str | None) -> dict[str, str]:
    """The header fields that hand it on."""
    parent, _, state = (place or "").partition(" ")
    given = {"traceparent": parent, "tracestate": state}
    return {name: value for name, value in given.items() if value}


def parse_trace_context(traceparent: str | None, tracestate: str | None = None) -> str | None:
    """What two header fields say, from wherever they come; None where it cannot be used."""
    if traceparent is None or not _PARENT.fullmatch(traceparent):
        return None
    if tracestate and len(tracestate) <= MOST_STATE and _STATE.fullmatch(tracestate):
        return f"{traceparent} {tracestate}"
    return traceparent
