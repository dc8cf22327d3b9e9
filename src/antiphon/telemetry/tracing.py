"""Interface for tracing: spans that join a trace through all processes.

Tracing is off by default; then nothing is imported or recorded. A trace context is written as in
W3C headers, so that it can be passed on: https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Literal, Protocol, cast

from antiphon.settings.extras import install_hint
from antiphon.types.errors import AntiphonError, BadSettings

Kind = Literal["internal", "server", "client"]
AttributeValue = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, AttributeValue]
NOTHING: Attributes = {}

ROOT = ""
"""As a parent: none, whatever span is current."""

MOST_STATE = 512  # characters of `tracestate` that must be passed on; a longer one need not be

_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ID = re.compile(r"(?<=/)[a-z]+_[A-Za-z0-9_-]*[0-9][A-Za-z0-9_-]*")
_LINK_TOKEN = re.compile(r"((?<=/shared/)|(?<=/links/))[^/?]+")
_STATE = re.compile(r"[\x20-\x7e]+")


class TraceSpan(Protocol):
    """A timed operation. `trace_context` is its place in the trace, None when tracing is off.

    No method ever raises or waits.
    """

    @property
    def trace_context(self) -> str | None:
        """`traceparent`, followed by a space and `tracestate` where there is one."""
        ...

    def update_name(self, name: str) -> None:
        """Rename the span."""
        ...

    def set_attributes(self, facts: Attributes) -> None:
        """Add attributes."""
        ...

    def set_error(self, kind: str) -> None:
        """Mark the span as failed; `kind` is a word from a closed list."""
        ...

    def end(self) -> None:
        """End the span."""
        ...


class Tracer(Protocol):
    """Starts spans. `content` allows them to hold what people and models wrote."""

    content: bool

    def start_span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str | None = None,
        facts: Attributes = NOTHING,
    ) -> TraceSpan:
        """Start a span; without `parent` below the current one."""
        ...

    def activate(self, span: TraceSpan) -> AbstractContextManager[None]:
        """Make the span current, for this task and those it starts."""
        ...

    def current_context(self) -> str | None:
        """Return the trace context of the current span."""
        ...

    def close(self) -> None:
        """Send queued spans, for a few seconds at most."""
        ...


class _NoSpan:
    trace_context: str | None = None

    def update_name(self, name: str) -> None:
        """Do nothing."""

    def set_attributes(self, facts: Attributes) -> None:
        """Do nothing."""

    def set_error(self, kind: str) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


class _NoTracer:
    content = False

    def start_span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str | None = None,
        facts: Attributes = NOTHING,
    ) -> TraceSpan:
        """Return the span that records nothing."""
        return _NO_SPAN

    def activate(self, span: TraceSpan) -> AbstractContextManager[None]:
        """Do nothing."""
        return _NOWHERE

    def current_context(self) -> str | None:
        """Return None."""
        return None

    def close(self) -> None:
        """Do nothing."""


_NO_SPAN = _NoSpan()
_UNTRACED = nullcontext(_NO_SPAN)
_NOWHERE = nullcontext()
NO_TRACES: Tracer = _NoTracer()
"""The tracer that records nothing."""


def create_tracer(telemetry: str, service: str, *, content: bool = False) -> Tracer:
    """Return the tracer that the settings name; `service` is the default service name.

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
def open_span(
    tracer: Tracer,
    name: str,
    kind: Kind = "internal",
    *,
    parent: str | None = None,
    facts: Attributes = NOTHING,
) -> Generator[TraceSpan]:
    """Open a span around the block, which fails if the block raises.

    The span does not become current: the block may be in a generator, where that would change the
    caller's context.
    """
    span = tracer.start_span(name, kind, parent=parent, facts=facts)
    try:
        yield span
    except GeneratorExit:  # the consumer has closed the generator
        raise
    except BaseException as error:
        span.set_error(error_type(error))
        raise
    finally:
        span.end()


def current_span(
    tracer: Tracer,
    name: str,
    kind: Kind = "internal",
    *,
    parent: str | None = None,
    facts: Attributes = NOTHING,
) -> AbstractContextManager[TraceSpan]:
    """Like `open_span`, and current in the block: not for the body of a generator."""
    if tracer is NO_TRACES:  # for speed: each turn has three spans
        return _UNTRACED
    return _open_current_span(tracer, name, kind, parent, facts)


@contextmanager
def _open_current_span(
    tracer: Tracer, name: str, kind: Kind, parent: str | None, facts: Attributes
) -> Generator[TraceSpan]:
    with (
        open_span(tracer, name, kind, parent=parent, facts=facts) as span,
        tracer.activate(span),
    ):
        yield span


def error_type(error: BaseException) -> str:
    """Return an error's code, or its type: a word from a closed list."""
    match error:
        case AntiphonError():
            return error.code
        case asyncio.CancelledError():
            return "cancelled"
        case _:
            return type(error).__name__


def route_template(path: str) -> str:
    """Return the template of an API path, with `{id}` for each id."""
    return _ID.sub("{id}", redact_path(path))


def redact_path(path: str) -> str:
    """Return the path without the token of a shared link, which is a right to read."""
    return _LINK_TOKEN.sub("{token}", path)


def trace_headers(place: str | None) -> dict[str, str]:
    """Return the headers that pass the trace context on."""
    parent, _, state = (place or "").partition(" ")
    given = {"traceparent": parent, "tracestate": state}
    return {name: value for name, value in given.items() if value}


def parse_trace_context(traceparent: str | None, tracestate: str | None = None) -> str | None:
    """Return the trace context in two headers of any origin; None where it is invalid."""
    if traceparent is None or not _PARENT.fullmatch(traceparent):
        return None
    if tracestate and len(tracestate) <= MOST_STATE and _STATE.fullmatch(tracestate):
        return f"{traceparent} {tracestate}"
    return traceparent
