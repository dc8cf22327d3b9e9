"""A model server over HTTP that says the lines it is given."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Upstream:
    """Answers every request with the lines it is given; then it ends, or holds the line.

    `keys` has the key of each question for its models, `paths` its path, which a refusal repeats.
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
        """Say this text, and then why it ends; None ends without a word."""
        chunks = [{"delta": {"content": piece}} for piece in pieces]
        if finish is not None:
            chunks.append({"delta": {}, "finish_reason": finish})
        self.says = [json.dumps({"choices": [{"index": 0, **chunk}]}) for chunk in chunks]
        if finish is not None:
            self.says.append("[DONE]")


@contextmanager
def serve_upstream() -> Iterator[Upstream]:
    """Run an upstream on loopback."""
    said = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.keys.append(self.headers["authorization"])
            said.paths.append(self.path)
            listed = {"data": [{"id": "big-model"}]}
            refused = {"error": {"message": f"Not for {self.path}"}}
            body = json.dumps(listed if said.status == 200 else refused).encode()
            self.send_response(said.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            said.asked.append(json.loads(self.rfile.read(length)))
            self.send_response(said.status)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for line in said.says:
                self.wfile.write(f"data: {line}\n\n".encode())
                self.wfile.flush()
            if said.holds:
                self.connection.recv(1)  # until the other side lets go
                said.gone.set()

        def log_message(self, *_: object) -> None:
            """Not on the screen."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        said.url = f"http://127.0.0.1:{server.server_port}/v1"
        try:
            yield said
        finally:
            server.shutdown()
            thread.join()
