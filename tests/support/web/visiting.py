"""A web chat in this process, and browsers that visit it.

    async with open_chat(Settings(...)) as chat:
        ann = await chat.browser().log_in("ann", PASSWORD)
        answer = await ann.post("/api/logout", {})

A browser keeps cookies, sends what browsers send, and goes through the whole application.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from antiphon.client.async_client import AsyncClient
from antiphon.settings.settings import Settings
from antiphon.tools.functions import Function
from antiphon.types.accounts import Person
from antiphon.web import site as sites
from antiphon.web.app import create_app
from antiphon.web.site import Site

PASSWORD = "correct horse battery"
HERE = "127.0.0.1"
FORGETFUL = Settings(database="memory:", model="demo", demo_delay=0, documents=False)
Headers = Mapping[str, str | None]


class Browser:
    """A browser at the web chat: `address` is the origin that it opens, `peer` its own address."""

    def __init__(self, app: Flask, address: str, peer: str, headers: Headers) -> None:
        self.csrf = ""
        self._client: FlaskClient = app.test_client()
        self._address = address
        self._peer = peer
        self._headers = headers

    async def open(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Headers | None = None,
        **options: Any,
    ) -> TestResponse:
        """Send a request and return the response; a header that is None is not sent."""
        defaults = {"Origin": self._address if method not in ("GET", "HEAD") else None}
        all_headers = {**defaults, "X-Antiphon-CSRF": self.csrf, **self._headers, **(headers or {})}

        def ask() -> TestResponse:
            answer = self._client.open(
                path,
                method=method,
                base_url=self._address,
                json=body,
                headers={name: value for name, value in all_headers.items() if value is not None},
                environ_base={"REMOTE_ADDR": self._peer},
                **options,
            )
            if answer.mimetype != "text/event-stream":
                answer.get_data()  # in this thread: the loop may have to produce it
            return answer

        return await asyncio.to_thread(ask)

    async def get(self, path: str, headers: Headers | None = None) -> TestResponse:
        return await self.open("GET", path, headers=headers)

    async def post(self, path: str, body: object, headers: Headers | None = None) -> TestResponse:
        return await self.open("POST", path, body, headers)

    async def arrive(self) -> Browser:
        """Open the page without a login, and store its CSRF token."""
        await self.get("/")
        me = await self.get("/api/me")
        assert me.status_code == 200, me.text
        self.csrf = me.json["csrf"]
        return self

    async def log_in(self, name: str, password: str = PASSWORD) -> Browser:
        answer = await self.post("/api/login", {"name": name, "password": password})
        assert answer.status_code == 200, answer.text
        self.csrf = answer.json["csrf"]
        return self

    def cookie(self) -> str | None:
        """Return the cookie that it would send for its open page."""
        host = self._address.partition("//")[2].partition(":")[0]
        names = ("antiphon_session", "__Host-antiphon_session")
        cookies = (self._client.get_cookie(name, host) for name in names)
        return next((cookie.value for cookie in cookies if cookie), None)

    def takes(self, cookie: str, name: str = "antiphon_session") -> Browser:
        """Set this cookie in the browser."""
        host = self._address.partition("//")[2].partition(":")[0]
        self._client.set_cookie(name, cookie, domain=host)
        return self


class Chat:
    """An open web chat."""

    def __init__(self, site: Site, app: Flask) -> None:
        self.site = site
        self.app = app

    def browser(
        self,
        address: str = "http://localhost:8000",
        peer: str = HERE,
        headers: Headers | None = None,
    ) -> Browser:
        return Browser(self.app, address, peer, headers or {})

    async def person(self, name: str, **more: Any) -> Person:
        """Create a person who may log in."""
        return await self.site.client.create_person(name, **{"password": PASSWORD, **more})


@asynccontextmanager
async def open_chat(
    settings: Settings = FORGETFUL,
    tools: Sequence[Function] = (),
    *,
    servers: bool = False,
    **changes: Any,
) -> AsyncGenerator[Chat]:
    """Open a web chat in memory. Its secret is in the state folder.

    With `servers` it starts its MCP servers.
    """
    settings = msgspec.structs.replace(settings, **changes)
    async with (
        AsyncClient(settings=settings) as client,
        sites.open_site(settings, client, tools, servers=servers) as site,
    ):
        yield Chat(site, create_app(site))
