"""`antiphon web`, the chat in front of a backend elsewhere."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from subprocess import Popen

import httpx2

from tests.support.cli.place import SECONDS, Place


@contextmanager
def start_server(place: Place, *arguments: str) -> Generator[str]:
    """Start a server of the program and yield its address."""
    with place.start(*arguments, "--port", "0") as program:
        try:
            yield _read_address(program)
        finally:
            program.terminate()
            program.communicate(timeout=SECONDS)


def _read_address(program: Popen[bytes]) -> str:
    assert program.stderr
    output = b""
    while not (match := re.search(rb"listening on (http://\S+)", output)):
        line = program.stderr.readline()
        assert line, output
        output += line
    return match[1].decode()


def test_the_web_chat_alone_answers_with_the_backend_behind_it(place: Place) -> None:
    question = {"content": "When does the next flight from LAX to JFK leave?"}
    with (
        start_server(place, "serve") as backend,
        start_server(place, "web", "--server", backend, "--no-servers") as address,
        httpx2.Client(base_url=address, timeout=SECONDS, trust_env=False) as browser,
    ):
        browser.get("/")
        headers = {"Origin": address}
        answer = browser.post("/api/messages/process", json=question, headers=headers)
        threads = httpx2.get(f"{backend}/v1/threads", trust_env=False).json()["data"]

    assert "16:35" in answer.text
    assert [each["title"] for each in threads] == [question["content"]]


def test_a_backend_that_asks_for_a_key_is_noticed_before_anybody_comes(place: Place) -> None:
    place.run("keys", "create", "laptop")
    with start_server(place, "serve") as backend:
        result = place.run("web", "--server", backend, "--no-servers", "--port", "0")

    assert result.returncode == 5
    assert backend in result.stderr
    assert "--api-key" in result.stderr


def test_where_people_log_in_the_key_has_to_be_an_admins(place: Place) -> None:
    key = place.run("keys", "create", "laptop").stdout.split()[-1]
    with start_server(place, "serve") as backend:
        flags = ("--server", backend, "--api-key", key, "--login", "password", "--port", "0")
        result = place.run("web", "--no-servers", *flags)

    assert result.returncode == 5
    assert "--scope admin" in result.stderr


def test_the_web_chat_starts_before_its_backend(place: Place) -> None:
    with place.start("web", "--server", "http://127.0.0.1:1", "--no-servers", "--port", "0") as web:
        assert web.stderr
        warning = web.stderr.readline()
        address = _read_address(web)
        status = httpx2.get(address, trust_env=False, timeout=SECONDS).status_code
        web.terminate()
        web.communicate(timeout=SECONDS)

    assert b"does not answer" in warning
    assert status == 200
