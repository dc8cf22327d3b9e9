"""`antiphon web`, the chat in front of a backend elsewhere."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from subprocess import Popen

import httpx2
from conftest import SECONDS, Place


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
