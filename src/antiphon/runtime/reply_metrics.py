"""Measures replies of models: duration, usage, and a span in the trace."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from time import monotonic

from antiphon.engine.turn import TurnResult
from antiphon.telemetry import genai
from antiphon.telemetry.metrics import FAULTS, FIRST_TOKEN, REPLIES, SPEED, TOKENS, Metrics
from antiphon.telemetry.tracing import Tracer, TraceSpan, current_span
from antiphon.types.chunks import ModelRequest

MIN_TOKENS = 10  # output tokens of a reply whose speed is recorded


class ReplyMetrics:
    """Metrics and spans of the replies that one process receives."""

    def __init__(self, metrics: Metrics, tracer: Tracer) -> None:
        self._metrics = metrics
        self._tracer = tracer

    @contextmanager
    def measure(
        self, request: ModelRequest, provider: str, thread_id: str, *, stream: bool
    ) -> Generator[ReplySpan]:
        """Measure the reply to this request for the duration of the block."""
        facts = genai.request_attributes(request, provider, thread_id, stream=stream)
        name = genai.span_name("chat", request.model)
        with current_span(self._tracer, name, "client", facts=facts) as span:
            if self._tracer.content:
                span.set_attributes(genai.request_content(request))
            watched = ReplySpan(self._metrics, span, provider, content=self._tracer.content)
            try:
                yield watched
            finally:
                watched.finish()


class ReplySpan:
    """The measurement of one reply."""

    def __init__(self, metrics: Metrics, span: TraceSpan, provider: str, *, content: bool) -> None:
        self.trace_context = span.trace_context
        self._metrics = metrics
        self._span = span
        self._provider = provider
        self._content = content
        self._began = monotonic()
        self._first_chunk: float | None = None

    def record_first_chunk(self) -> None:
        """Record the time of the first chunk."""
        self._first_chunk = self._since()

    def record_first_event(self) -> None:
        """Record that the first event is stored, so that readers can see it."""
        self._metrics.observe(FIRST_TOKEN, self._since(), self._provider)

    def record_reply(self, reply: TurnResult) -> None:
        """Record the reply: whole, cut or an error."""
        self._span.set_attributes(genai.reply_attributes(reply, self._first_chunk))
        if self._content:
            self._span.set_attributes(genai.reply_content(reply))
        if code := reply.fault.code if reply.fault else reply.reason:
            self._span.set_error(code)
            self._metrics.add(FAULTS, self._provider, code)
        self._count(reply)

    def finish(self) -> None:
        """Record the duration, whatever the outcome."""
        self._metrics.observe(REPLIES, self._since(), self._provider)

    def _count(self, reply: TurnResult) -> None:
        if (used := reply.usage) is None:
            return
        kinds = {
            "input": used.input_tokens,
            "output": used.output_tokens,
            "cached": used.cached_tokens,
            "reasoning": used.reasoning_tokens,
        }
        for kind, count in kinds.items():
            self._metrics.add(TOKENS, self._provider, kind, by=count)
        writing = self._since() - (self._first_chunk or 0.0)
        if used.output_tokens >= MIN_TOKENS and writing > 0:
            self._metrics.observe(SPEED, used.output_tokens / writing, self._provider)

    def _since(self) -> float:
        return monotonic() - self._began
