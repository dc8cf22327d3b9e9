"""OGX in front of an upstream, run by the Python of its own environment.

    python benchmarks/ogx_server.py http://127.0.0.1:PORT FOLDER

The models are `up/NAME`. It stores responses in SQLite in the folder, as it does by default.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import tiktoken
import uvicorn

# OGX loads an encoding from the internet at its start, to split uploads. There are no uploads here.
_BYTES = tiktoken.Encoding(
    "bytes",
    pat_str=r"(?s).",
    mergeable_ranks={bytes([number]): number for number in range(256)},
    special_tokens={},
)
tiktoken.get_encoding = lambda _: _BYTES


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Print the address once the server listens."""
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        print(f"listening on http://{host}:{port}", file=sys.stderr, flush=True)


def main(upstream: str, folder: Path) -> None:
    """Serve any model of the upstream."""
    configuration = folder / "ogx.yaml"
    configuration.write_text(json.dumps(_configuration(upstream, folder)))  # JSON is YAML too
    os.environ |= {
        "OGX_CONFIG": str(configuration),
        "OGX_LOGGING": "all=error",
        "HOME": str(folder),
    }
    app = "ogx.core.server.server:create_app"
    options = {"factory": True, "log_level": "error", "access_log": False}
    _Server(uvicorn.Config(app, port=0, **options)).run()


def _configuration(upstream: str, folder: Path) -> dict[str, object]:
    def table(name: str) -> dict[str, str]:
        return {"table_name": name, "backend": "sql"}

    persistence = {"namespace": "vector_io", "backend": "kv"}
    vllm = {"base_url": f"{upstream}/v1", "api_token": "none"}
    files = {"storage_dir": str(folder / "files"), "metadata_store": table("files")}
    return {
        "version": 2,
        "distro_name": "bench",
        "apis": ["files", "inference", "responses", "tool_runtime", "vector_io"],
        "providers": {
            "inference": [_provider("up", "remote::vllm", vllm)],
            "responses": [
                _provider("builtin", "inline::builtin", {"persistence": {"responses": table("r")}})
            ],
            "vector_io": [_provider("faiss", "inline::faiss", {"persistence": persistence})],
            "tool_runtime": [_provider("file-search", "inline::file-search", {})],
            "files": [_provider("files", "inline::localfs", files)],
        },
        "storage": {
            "backends": {
                "kv": {"type": "kv_sqlite", "db_path": str(folder / "kv.db")},
                "sql": {"type": "sql_sqlite", "db_path": str(folder / "sql.db")},
            },
            "stores": {
                "metadata": {"namespace": "registry", "backend": "kv"},
                **{
                    name: table(name)
                    for name in ("inference", "conversations", "prompts", "connectors")
                },
            },
        },
    }


def _provider(id: str, kind: str, config: object) -> dict[str, object]:
    return {"provider_id": id, "provider_type": kind, "config": config}


main(sys.argv[1], Path(sys.argv[2]))
