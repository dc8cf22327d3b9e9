"""Traces sent by OpenTelemetry as OTLP over HTTP, as the `OTEL_*` variables say.

A program that has configured OpenTelemetry keeps its configuration: our spans join its traces. An
unavailable collector costs spans and nothing else: they wait in a bounded queue, and a thread of
its own sends them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from antiphon.telemetry.logs import log_context
from antiphon.telemetry.tracing import (
    NOTHING,
    Attributes,
    AttributeValue,
    Kind,
    TraceSpan,
    trace_headers,
)

FLUSH_SECONDS = 2.0  # to send queued spans when a program ends
MAX_CHARACTERS = 32_000  # in one attribute: content may be long

_KINDS = {
    "internal": trace.SpanKind.INTERNAL,
    "server": trace.SpanKind.SERVER,
    "client": trace.SpanKind.CLIENT,
}
_FORM = TraceContextTextMapPropagator()


class OtlpTracer:
    """Tracer that creates OpenTelemetry spans."""

    def __init__(self, service: str, *, content: bool = False) -> None:
        self.content = content
        self._own: TracerProvider | None = None
        provider = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):  # the program has configured none
            provider = self._own = _provider(service)
        self._tracer = provider.get_tracer("antiphon")

    def start_span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str | None = None,
        facts: Attributes = NOTHING,
    ) -> TraceSpan:
        """Start an OpenTelemetry span."""
        above = None if parent is None else _FORM.extract(trace_headers(parent), context.Context())
        attributes = {key: _fit(fact) for key, fact in facts.items()}
        span = self._tracer.start_span(name, above, _KINDS[kind], attributes)
        return _Span(span)

    @contextmanager
    def activate(self, span: TraceSpan) -> Generator[None]:
        """Make the span current for OpenTelemetry, and name its trace in log lines."""
        if not isinstance(span, _Span):
            yield
            return
        token = context.attach(trace.set_span_in_context(span.span))
        try:
            with log_context(trace_id=span.trace_id):
                yield
        finally:
            context.detach(token)

    def current_context(self) -> str | None:
        """Return the context of OpenTelemetry's current span, whichever library started it."""
        return _place(trace.get_current_span())

    def close(self) -> None:
        """Send queued spans; a tracer provider of the program's own is left open."""
        if self._own is not None:
            ending = threading.Thread(target=self._own.shutdown, daemon=True)
            ending.start()
            ending.join(FLUSH_SECONDS)


class _Span:
    def __init__(self, span: trace.Span) -> None:
        self.span = span

    @property
    def trace_id(self) -> str:
        return trace.format_trace_id(self.span.get_span_context().trace_id)

    @property
    def trace_context(self) -> str | None:
        return _place(self.span)

    def update_name(self, name: str) -> None:
        self.span.update_name(name)

    def set_attributes(self, facts: Attributes) -> None:
        self.span.set_attributes({key: _fit(fact) for key, fact in facts.items()})

    def set_error(self, kind: str) -> None:
        self.span.set_attribute("error.type", kind)
        self.span.set_status(trace.StatusCode.ERROR)

    def end(self) -> None:
        self.span.end()


def _provider(service: str) -> TracerProvider:
    named = "OTEL_SERVICE_NAME" in os.environ or SERVICE_NAME in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    resource = Resource.create({} if named else {SERVICE_NAME: service})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _place(span: trace.Span) -> str | None:
    if not span.get_span_context().is_valid:
        return None
    carrier: dict[str, str] = {}
    _FORM.inject(carrier, trace.set_span_in_context(span, context.Context()))
    return " ".join(carrier[name] for name in ("traceparent", "tracestate") if name in carrier)


def _fit(fact: AttributeValue) -> AttributeValue:
    return fact[:MAX_CHARACTERS] if isinstance(fact, str) else fact
