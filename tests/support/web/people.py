"""An installation with a login and an admin, and a page at the login.

async def test_somebody_comes_in(locked):
    await enter(locked, ADMIN)
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.support import fork_server
from tests.support.web.chats import FOLDERS, SECONDS, Chat, chatting

ADMIN = "ada"
PASSWORD = "correct horse battery"


@pytest_asyncio.fixture(loop_scope="session")
async def locked(chromium: Browser, tmp_path: Path) -> AsyncIterator[Chat]:
    """A page of an installation with a login, not logged in."""
    add_person(tmp_path, ADMIN, "admin")
    async with chatting(chromium, tmp_path, "--no-servers", "--login", "password") as chat:
        yield chat


def add_person(home: Path, name: str, role: str) -> None:
    """Add a person with `PASSWORD` to the installation of this home."""
    folders = {f"XDG_{each}_HOME": str(home / each.lower()) for each in FOLDERS}
    command = [*fork_server.command(), "people", "add", name, "--role", role]
    subprocess.run(
        [*command, "--password-stdin"],
        env={"HOME": str(home), **folders},
        cwd=home,
        input=PASSWORD.encode(),
        check=True,
        capture_output=True,
        timeout=SECONDS,
    )


async def enter(chat: Chat, name: str, password: str = PASSWORD) -> None:
    """Log in, and wait for the chat."""
    await give(chat, name, password)
    await expect(chat.composer).to_be_visible()


async def give(chat: Chat, name: str, password: str) -> None:
    """Fill in the login and send it."""
    login = chat.page.locator(".login")
    await login.get_by_label("Name").fill(name)
    await login.get_by_label("Password").fill(password)
    await login.get_by_role("button", name="Sign in").click()
