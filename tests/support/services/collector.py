"""A collector of OpenTelemetry's traces in a thread, by OTLP over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SECONDS = 60.0


class ReceivedSpan(NamedTuple):
    """A received span."""

    service: str
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    facts: dict[str, Any]
    failed: bool


class Collector:
    """Listens within its `with` block; `answer` is its HTTP status, 0 for no answer."""

    def __init__(self, answer: int = 200) -> None:
        self._spans: list[ReceivedSpan] = []
        self._changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if not answer:
                    time.sleep(SECONDS)  # in a thread that nobody waits for
                    return
                if answer == 200:
                    collector._add_spans(body)
                self.send_response(answer)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def environ(self) -> dict[str, str]:
        """Return the variables that send a program's spans here."""
        return {
            "ANTIPHON_TELEMETRY": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def __enter__(self) -> Collector:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def spans(self) -> Sequence[ReceivedSpan]:
        """All spans so far."""
        with self._changed:
            return [*self._spans]

    def wait_for(self, enough: Callable[[Sequence[ReceivedSpan]], bool]) -> Sequence[ReceivedSpan]:
        """Wait until there are enough spans; return them."""
        with self._changed:
            succeeded = self._changed.wait_for(lambda: enough(self._spans), SECONDS)
            assert succeeded, "\n".join(f"{span.service}: {span.name}" for span in self._spans)
            return [*self._spans]

    def _add_spans(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._changed:
            for each in request.resource_spans:
                service = _facts(each.resource.attributes)["service.name"]
                self._spans += [
                    _convert_span(service, span)
                    for scope in each.scope_spans
                    for span in scope.spans
                ]
            self._changed.notify_all()


def _convert_span(service: str, span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        service=service,
        name=span.name,
        kind=span.kind,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        facts=_facts(span.attributes),
        failed=span.status.code == 2,
    )


def _facts(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    content = getattr(value, kind)
    return [_value(each) for each in content.values] if kind == "array_value" else content
