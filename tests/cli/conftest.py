"""A place of its own for every run of the program, and an upstream that says what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.cli.place import Place, Upstream


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    said = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.keys.append(self.headers["authorization"])
            body = b'{"data": [{"id": "big-model"}]}'
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
