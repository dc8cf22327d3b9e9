"""Imports over HTTP: streamed in, checked, and answered with what was added."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from antiphon.server import files
from tests.support.server.owner_data import CANARY, fill
from tests.support.server.served import SETTINGS, Served, serve

ZIP = {"content-type": "application/zip"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(replace(SETTINGS, database=f"sqlite:///{tmp_path}/a.db")) as server:
        yield server


@pytest.fixture
async def admin(server: Served) -> httpx2.AsyncClient:
    return await server.client(await server.key("ops", "admin"))


async def export_owner(admin: httpx2.AsyncClient, owner: str = "ann") -> bytes:
    return (await admin.get(f"/v1/owners/{owner}/export")).content


async def post(client: httpx2.AsyncClient, content: Any, **params: str) -> httpx2.Response:
    return await client.post("/v1/imports", params=params, content=content, headers=ZIP)


@pytest.mark.slow
async def test_an_export_comes_in_on_another_server(
    server: Served, admin: httpx2.AsyncClient, tmp_path: Path
) -> None:
    ann = await fill(server, "ann")
    archive = await export_owner(admin)
    settings = replace(SETTINGS, database=f"sqlite:///{tmp_path}/b.db")
    async with serve(settings) as other_server:
        other_admin = await other_server.client(await other_server.key("ops", "admin"))
        other_ann = await other_server.client(await other_server.key("ann"))

        check = await post(other_admin, archive, check="true")
        assert (await other_ann.get("/v1/threads")).json()["data"] == []
        first = await post(other_admin, archive)
        second = await post(other_admin, archive)

        assert check.status_code == first.status_code == 200, first.text
        assert check.json() == {**first.json(), "checked_only": True}
        assert (first.json()["owner"], first.json()["ended_runs"]) == ("ann", 1)
        assert second.json()["added"] == {}
        for kind in ("assistants", "files"):
            path = f"/v1/{kind}"
            assert (await other_ann.get(path)).json() == (await ann.get(path)).json()
        [waiting_run, ended_run] = (await other_ann.get("/v1/runs")).json()["data"]
        assert (waiting_run["status"], ended_run["status"]) == ("cancelled", "completed")
        acts = [entry["what"] for entry in (await other_admin.get("/v1/acts")).json()["data"]]
        assert acts.count("owner.imported") == 1
        [file] = (await other_ann.get("/v1/files")).json()["data"]
        content = await other_ann.get(f"/v1/files/{file['id']}/content")
        assert content.content == CANARY.encode() * 100
        message = {"content": "Go on", "role": "user"}
        answer = await other_ann.post(
            "/v1/process",
            json={"thread_id": ended_run["thread_id"], "message": message, "background": True},
        )
        assert answer.status_code == 202, answer.text


async def test_everything_comes_in_beside_what_is_there(
    server: Served, admin: httpx2.AsyncClient
) -> None:
    await fill(server, "ann")
    archive = await export_owner(admin)

    conflict = await post(admin, archive, owner="ben")
    import_answer = await post(admin, archive, owner="ben", new_ids="true")

    assert (conflict.status_code, conflict.json()["code"]) == (409, "conflict")
    assert len(conflict.json()["conflicts"]) == 10
    assert import_answer.json()["added"]["threads"] == 2
    owners = (await admin.get("/v1/owners")).json()["data"]
    assert {one["owner"]: one["threads"] for one in owners} == {"ann": 2, "ben": 2}


async def test_only_an_admin_imports(server: Served, admin: httpx2.AsyncClient) -> None:
    ann = await fill(server, "ann")
    archive = await export_owner(admin)

    assert (await post(ann, archive)).status_code == 403
    assert (await post(await server.client(), archive)).status_code == 401


WRONG = [
    ({"content": b"", "headers": ZIP}, 400),
    ({"content": b"PK\3\4 nothing", "headers": ZIP}, 400),
    ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415),
    ({"content": b"x", "headers": {**ZIP, "content-encoding": "gzip"}}, 415),
    ({"content": b"x", "headers": ZIP, "params": {"ids": "new"}}, 400),
    ({"content": b"x", "headers": ZIP, "params": {"check": "perhaps"}}, 400),
    ({"content": b"x", "headers": ZIP, "params": {"owner": "a b"}}, 400),
]


@pytest.mark.parametrize(("request_arguments", "status"), WRONG)
async def test_what_is_no_import_is_refused(
    admin: httpx2.AsyncClient, request_arguments: dict[str, Any], status: int
) -> None:
    answer = await admin.post("/v1/imports", **request_arguments)

    assert answer.status_code in (status, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_upload_without_room_is_refused_and_nothing_of_it_stays(
    admin: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(files, "MIN_ROOM", 1 << 62)
    (tmp_path / "spool").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spool"))

    answer = await post(admin, b"x" * 3_000_000)

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert [*(tmp_path / "spool").iterdir()] == []


async def test_a_body_that_breaks_off_imports_nothing(
    server: Served, admin: httpx2.AsyncClient
) -> None:
    await fill(server, "ann")
    archive = await export_owner(admin)

    async def send_half() -> AsyncIterator[bytes]:
        yield archive[:1000]
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await post(admin, send_half(), owner="ben", new_ids="true")

    owners = (await admin.get("/v1/owners")).json()["data"]
    assert [one["owner"] for one in owners] == ["ann"]
