"""A tracer that records the spans it starts."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from antiphon.telemetry.tracing import NO_TRACES, NOTHING, Attributes, Kind, TraceSpan


class RecordingTracer:
    """Records the name, parent and attributes of each span at its start."""

    def __init__(self, *, content: bool = False) -> None:
        self.content = content
        self.spans: list[tuple[str, str | None, Attributes]] = []

    def start_span(
        self,
        name: str,
        kind: Kind = "internal",
        *,
        parent: str | None = None,
        facts: Attributes = NOTHING,
    ) -> TraceSpan:
        self.spans.append((name, parent, facts))
        return NO_TRACES.start_span(name)

    def activate(self, span: TraceSpan) -> AbstractContextManager[None]:
        return nullcontext()

    def current_context(self) -> str | None:
        return None

    def close(self) -> None:
        pass
