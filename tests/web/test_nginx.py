"""Behind nginx an answer arrives word by word: with default settings too, and behind two nginx."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.ports import find_port
from tests.support.web.served import SECONDS, Served, chatting

NGINX = shutil.which("nginx")
pytestmark = pytest.mark.skipif(
    NGINX is None, reason="there is no nginx (apt-get install nginx-light)"
)
USUAL_SETTINGS = "gzip on; gzip_types *; gzip_min_length 1;"
SETTINGS_OF_THE_GUIDE = (
    "proxy_http_version 1.1; proxy_buffering off; gzip off; proxy_read_timeout 1h;"
)
BUFFERING_SETTINGS = "proxy_pass_header X-Accel-Buffering; gzip on; gzip_types *;"
CONFIG = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {url};
      proxy_set_header Host $http_host;
      {settings}
    }}
  }}
}}
"""


@asynccontextmanager
async def _run_nginx(folder: Path, url: str, settings: str) -> AsyncGenerator[str]:
    """Run nginx in front of this address; yield its own address."""
    folder.mkdir()
    port = find_port()
    file = folder / "nginx.conf"
    file.write_text(CONFIG.format(folder=folder, port=port, url=url, settings=settings))
    errors = ("-e", str(folder / "error"))
    program = await asyncio.create_subprocess_exec(str(NGINX), *errors, "-c", str(file))
    try:
        async with asyncio.timeout(SECONDS):
            while not await _is_listening(port):
                assert program.returncode is None, (folder / "error").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        program.terminate()
        await program.wait()


async def _is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        await asyncio.sleep(0.02)
        return False
    writer.close()
    return True


@pytest.mark.parametrize(
    "chain",
    [
        [USUAL_SETTINGS],
        [SETTINGS_OF_THE_GUIDE],
        [SETTINGS_OF_THE_GUIDE, SETTINGS_OF_THE_GUIDE],
        [BUFFERING_SETTINGS, USUAL_SETTINGS],
    ],
    ids=["usual settings", "settings of the guide", "two in a row", "two, the inner one buffering"],
)
async def test_words_come_one_by_one_through_nginx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chain: list[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    async with chatting() as (web_chat, model), AsyncExitStack() as stack:
        url = web_chat.url
        for place, settings in enumerate(chain):
            url = await stack.enter_async_context(_run_nginx(tmp_path / str(place), url, settings))
        browser = await stack.enter_async_context(_browser(web_chat, url))
        async with browser.post({"content": "Count."}) as stream:
            reply = await model.next_request()
            for word in ("one", "two", "three"):
                await reply.say(word)
                await stream.until("text-delta")
                assert stream.text.endswith(word)
            await reply.end()
            await stream.end()

    assert stream.text == "onetwothree"


@asynccontextmanager
async def _browser(web_chat: Served, url: str) -> AsyncGenerator[Served]:
    """Open a browser that knows the chat by the address of the proxy."""
    headers = {"Accept-Encoding": "gzip"}
    async with httpx2.AsyncClient(base_url=url, timeout=SECONDS, headers=headers) as http:
        await http.get("/")
        assert urlsplit(url).port != urlsplit(web_chat.url).port
        yield Served(url, web_chat.site, http)
