"""`antiphon web`, the chat in front of a backend elsewhere."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from subprocess import Popen

import httpx2

from tests.support.cli.place import SECONDS, Place


@contextmanager
def listening(place: Place, *arguments: str) -> Generator[str]:
    """The address of a server of the program."""
    with place.start(*arguments, "--port", "0") as program:
        try:
            yield _address(program)
        finally:
            program.terminate()
            program.communicate(timeout=SECONDS)


def _address(program: Popen[bytes]) -> str:
    assert program.stderr
    said = b""
    while not (found := re.search(rb"listening on (http://\S+)", said)):
        line = program.stderr.readline()
        assert line, said
        said += line
    return found[1].decode()


def test_the_web_chat_alone_answers_with_the_backend_behind_it(place: Place) -> None:
    question = {"content": "When does the next flight from LAX to JFK leave?"}
    with (
        listening(place, "serve") as backend,
        listening(place, "web", "--server", backend, "--no-servers") as address,
        httpx2.Client(base_url=address, timeout=SECONDS, trust_env=False) as person,
    ):
        person.get("/")
        headers = {"Origin": address}
        answered = person.post("/api/messages/process", json=question, headers=headers)
        threads = httpx2.get(f"{backend}/v1/threads", trust_env=False).json()["data"]

    assert "16:35" in answered.text
    assert [each["title"] for each in threads] == [question["content"]]


def test_a_backend_that_asks_for_a_key_is_noticed_before_anybody_comes(place: Place) -> None:
    place.run("keys", "create", "laptop")
    with listening(place, "serve") as backend:
        ended = place.run("web", "--server", backend, "--no-servers", "--port", "0")

    assert ended.returncode == 5
    assert backend in ended.stderr
    assert "--api-key" in ended.stderr


def test_where_people_log_in_the_key_has_to_be_an_admins(place: Place) -> None:
    key = place.run("keys", "create", "laptop").stdout.split()[-1]
    with listening(place, "serve") as backend:
        flags = ("--server", backend, "--api-key", key, "--login", "password", "--port", "0")
        ended = place.run("web", "--no-servers", *flags)

    assert ended.returncode == 5
    assert "--scope admin" in ended.stderr


def test_the_web_chat_starts_before_its_backend(place: Place) -> None:
    with place.start("web", "--server", "http://127.0.0.1:1", "--no-servers", "--port", "0") as web:
        assert web.stderr
        said = web.stderr.readline()
        address = _address(web)
        there = httpx2.get(address, trust_env=False, timeout=SECONDS).status_code
        web.terminate()
        web.communicate(timeout=SECONDS)

    assert b"does not answer" in said
    assert there == 200
