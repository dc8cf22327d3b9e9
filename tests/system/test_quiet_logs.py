"""A server at its highest log level never logs secrets or messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import httpx2

from tests.support.providers.upstream import Upstream
from tests.support.system.programs_traced import environ, serving

CANARY = "canary-7f3a"
JSON = {"Content-Type": "application/json"}
ODD = f"{CANARY}\n\x1b[2J\r\nforged line"


def _verbose_environ(folder: Path, base_url: str) -> Mapping[str, str]:
    return environ(
        folder,
        ANTIPHON_LOG_LEVEL="debug",
        ANTIPHON_LOG_FORMAT="json",
        ANTIPHON_MODEL="quirk:401",
        ANTIPHON_BASE_URL=base_url,
        ANTIPHON_PROVIDER_KEY=f"sk-{CANARY}",
    )


async def test_a_server_that_logs_all_it_can_tells_no_secret_and_no_content(tmp_path: Path) -> None:
    async with (
        Upstream() as upstream,  # its refusal repeats the key that it was sent
        serving(tmp_path, "serve", environ=_verbose_environ(tmp_path, upstream.url)) as server,
        httpx2.AsyncClient(base_url=server.address, timeout=60) as client,
    ):
        answers = [
            await client.get("/v1/threads", headers={"Authorization": f"Bearer {CANARY}"}),
            await client.get("/v1/runs/run_%0Acanary-7f3a%1b%5b2J"),
            await client.post("/v1/threads", json={"title": ODD}),
            await client.post("/v1/threads", content=f'{{"title": {CANARY}', headers=JSON),
            await client.post("/v1/process", json={"message": {"content": ODD}}),
            await client.post("/v1/process", json={"model": ODD, "message": {"content": ODD}}),
        ]
    statuses = [answer.status_code for answer in answers]
    failed_line = next(line for line in answers[4].text.splitlines() if '"failed"' in line)

    assert statuses == [200, 404, 201, 400, 200, 200]
    assert CANARY not in failed_line
    log_lines = [line for line in server.said if line.startswith("{")]
    assert len(log_lines) >= len(answers)
    assert all(json.loads(line)["message"] for line in log_lines)
    assert not [line for line in server.said if CANARY in line or "forged" in line]
    assert all(line.isprintable() for line in server.said)
