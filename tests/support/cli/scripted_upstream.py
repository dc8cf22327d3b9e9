"""A model server over HTTP that sends scripted lines."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Upstream:
    """Answers every request with its lines; then it ends the response, or holds the connection.

    `keys` and `paths` have the key and the path of each request for its models.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.paths: list[str] = []
        self.status = 200
        self.says: Sequence[str] = ()
        self.holds = False
        self.gone = threading.Event()

    def text(self, *pieces: str, finish: str | None = "stop") -> None:
        """Answer with this text and the finish reason; None ends the stream without one."""
        chunks = [{"delta": {"content": piece}} for piece in pieces]
        if finish is not None:
            chunks.append({"delta": {}, "finish_reason": finish})
        self.says = [json.dumps({"choices": [{"index": 0, **chunk}]}) for chunk in chunks]
        if finish is not None:
            self.says.append("[DONE]")


@contextmanager
def serve_upstream() -> Iterator[Upstream]:
    """Run an upstream on loopback."""
    upstream = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            upstream.keys.append(self.headers["authorization"])
            upstream.paths.append(self.path)
            models = {"data": [{"id": "big-model"}]}
            error = {"error": {"message": f"Not for {self.path}"}}
            body = json.dumps(models if upstream.status == 200 else error).encode()
            self.send_response(upstream.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            upstream.asked.append(json.loads(self.rfile.read(length)))
            self.send_response(upstream.status)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for line in upstream.says:
                self.wfile.write(f"data: {line}\n\n".encode())
                self.wfile.flush()
            if upstream.holds:
                self.connection.recv(1)  # until the client disconnects
                upstream.gone.set()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        upstream.url = f"http://127.0.0.1:{server.server_port}/v1"
        try:
            yield upstream
        finally:
            server.shutdown()
            thread.join()
