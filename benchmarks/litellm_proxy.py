"""LiteLLM's proxy in front of an upstream, run by the Python of its own environment.

python benchmarks/litellm_proxy.py http://127.0.0.1:PORT
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile

import uvicorn


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Print the address once the server listens."""
        await super().startup(sockets)
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        print(f"listening on http://{host}:{port}", file=sys.stderr, flush=True)


def main(upstream: str) -> None:
    """Serve any model of the upstream."""
    everything = {"model": "openai/*", "api_base": f"{upstream}/v1", "api_key": "none"}
    config = {"model_list": [{"model_name": "*", "litellm_params": everything}]}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(config, file)  # JSON is YAML too
        file.flush()
        os.environ |= {
            "CONFIG_FILE_PATH": file.name,
            "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # do not fetch prices
            "LITELLM_LOG": "ERROR",
        }
        app = "litellm.proxy.proxy_server:app"
        _Server(uvicorn.Config(app, port=0, log_level="error", access_log=False)).run()


main(sys.argv[1])
