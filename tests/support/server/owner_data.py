"""An owner with data of every kind, exported and erased through a server."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx2
from msgspec.structs import replace

from antiphon.settings.settings import Settings
from tests.support.server.served import SETTINGS, Served, eventually

CANARY = "canary-4711"


ASK = f"When does the next LAX-JFK flight leave? {CANARY}"


TOOL = {"name": "get_flight_times", "description": CANARY, "parameters": {"type": "object"}}


def settings(folder: Path) -> Settings:
    return replace(SETTINGS, database=f"sqlite:///{folder}/antiphon.db")


async def fill(server: Served, owner: str) -> httpx2.AsyncClient:
    """Create a record of each kind, among them an ended run and a waiting run."""
    client = await server.client(await server.key(owner))
    upload = {"files": {"file": (f"{CANARY}.txt", CANARY.encode() * 100, "text/plain")}}
    file = (await client.post("/v1/files", **upload)).json()
    assistant = {"name": CANARY, "instructions": CANARY, "metadata": {"note": CANARY}}
    await client.post("/v1/assistants", json=assistant)
    folder = {"name": CANARY, "instructions": CANARY}
    assert (await client.post("/v1/folders", json=folder)).status_code == 201
    ended_run = await begin(client, f"Hello, {CANARY}", files=[file["id"]])
    waiting_run = await begin(client, ASK, tools=[TOOL])
    for run_id, status in ((ended_run, "completed"), (waiting_run, "action_required")):
        await wait_for_status(client, run_id, status)
    key = {"key": f"sk-{CANARY}-{CANARY}"}
    assert (await client.put("/v1/provider_keys/openai", json=key)).status_code == 200
    webhook = {"url": "https://hooks.invalid/", "description": CANARY, "events": ["run.failed"]}
    assert (await client.post("/v1/webhooks", json=webhook)).status_code == 201
    thread = (await client.get(f"/v1/runs/{ended_run}")).json()["thread_id"]
    share = await client.post(f"/v1/threads/{thread}/shares", json={"title": CANARY})
    assert share.status_code == 201
    schedule = {"message": CANARY, "name": CANARY, "cron": "@yearly"}
    assert (await client.post("/v1/schedules", json=schedule)).status_code == 201
    assert (await client.post("/v1/memories", json={"text": CANARY})).status_code == 201
    personal = {"instructions": CANARY}
    assert (await client.patch("/v1/personal_settings", json=personal)).status_code == 200
    return client


async def begin(client: httpx2.AsyncClient, text: str, files: Any = (), **more: Any) -> str:
    parts = [{"type": "text", "text": text}, *({"type": "file", "file_id": file} for file in files)]
    body = {"message": {"content": parts}, "background": True, **more}
    headers = {"Idempotency-Key": f"once-{text[:12].replace(' ', '-').replace(',', '')}"}
    answer = await client.post("/v1/process", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def wait_for_status(client: httpx2.AsyncClient, run_id: str, status: str) -> None:
    async def has_status() -> bool:
        return (await client.get(f"/v1/runs/{run_id}")).json()["status"] == status

    await eventually(has_status)


async def erase(admin: httpx2.AsyncClient, owner: str) -> list[dict[str, Any]]:
    """Erase an owner in steps until it is done; return the responses."""
    responses: list[dict[str, Any]] = []
    while not responses or not responses[-1]["done"]:
        answer = await admin.delete(f"/v1/owners/{owner}")
        assert answer.status_code == 200, answer.text
        responses.append(answer.json())
    return responses


async def export_owner(admin: httpx2.AsyncClient, owner: str) -> zipfile.ZipFile:
    answer = await admin.get(f"/v1/owners/{owner}/export")
    assert answer.status_code == 200, answer.text
    return zipfile.ZipFile(io.BytesIO(answer.content))


def lines(archive: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(name).splitlines()]
