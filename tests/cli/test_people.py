"""`antiphon people`: add and remove the people that may log in, at the database itself."""

from __future__ import annotations

import json
import os
import pty
from typing import Any

import pytest

from tests.support.cli.place import SECONDS, Place

PASSWORD = "correct horse battery"


def add(place: Place, name: str, *more: str, password: str = PASSWORD) -> Any:
    return place.run("people", "add", name, "--password-stdin", *more, stdin=f"{password}\n")


def list_people(place: Place) -> dict[str, dict[str, Any]]:
    rows = json.loads(place.run("people", "list", "--json").stdout)
    return {person["name"]: person for person in rows}


def test_somebody_is_added_listed_given_a_role_and_removed(place: Place) -> None:
    assert add(place, "Ann", "--role", "admin").returncode == 0
    assert add(place, "Ben").returncode == 0
    listing = place.run("people", "list").stdout
    assert [line.split()[1] for line in listing.splitlines()[1:]] == ["Ann", "Ben"]

    assert place.run("people", "role", "ben", "admin").returncode == 0
    assert list_people(place)["Ben"]["role"] == "admin"

    removal = place.run("people", "remove", list_people(place)["Ann"]["id"])
    assert removal.returncode == 0
    assert "Their threads stay" in removal.stderr
    assert list(list_people(place)) == ["Ben"]


def test_nothing_that_is_printed_holds_a_password_or_its_hash(place: Place) -> None:
    results = [add(place, "Ann"), add(place, "ann"), place.run("people", "list", "--json")]

    for each in results:
        assert PASSWORD not in each.stdout + each.stderr
        assert "argon2" not in each.stdout + each.stderr


def test_a_new_password_ends_every_login(place: Place) -> None:
    add(place, "Ann")
    result = place.run("people", "password", "ANN", "--password-stdin", stdin="another password\n")

    assert result.returncode == 0
    assert list_people(place)["Ann"]["generation"] == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("add", "ANN", "--password-stdin"), "called ANN already"),
        (("role", "Ann", "user"), "last admin"),
        (("remove", "Ann"), "last admin"),
        (("remove", "Eve"), "nobody called 'Eve'"),
        (("password", "Eve", "--password-stdin"), "nobody called 'Eve'"),
        (("add", "a\u202eb", "--password-stdin"), "no name"),
        (("add", "Eve"), "--password-stdin"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    place: Place, arguments: tuple[str, ...], reason: str
) -> None:
    add(place, "Ann", "--role", "admin")
    refusal = place.run("people", *arguments, stdin=f"{PASSWORD}\n")

    assert refusal.returncode != 0
    assert reason in refusal.stderr
    assert "Traceback" not in refusal.stderr
    assert list(list_people(place)) == ["Ann"]


@pytest.mark.parametrize("password", ["short", "", "nul\0nul\0nul"])
def test_a_password_that_is_none_is_refused(place: Place, password: str) -> None:
    refusal = add(place, "Ann", password=password)

    assert refusal.returncode != 0
    assert "password" in refusal.stderr
    assert "Traceback" not in refusal.stderr
    assert list_people(place) == {}


def test_an_empty_list_says_so_and_what_makes_somebody(place: Place) -> None:
    listing = place.run("people", "list")

    assert (listing.returncode, listing.stdout) == (0, "")
    assert "antiphon people add NAME --role admin" in listing.stderr


def type_password(place: Place, *lines: str) -> int:
    """Type each of these lines when a password is asked for, and return the exit code."""
    outer, inner = pty.openpty()
    command = ("people", "add", "Ann")
    # Without a terminal of its own, so that it asks at this one and not at the tester's.
    with place.start(
        *command, cold=True, stdin=inner, stderr=inner, start_new_session=True
    ) as process:
        os.close(inner)
        for line in lines:
            prompt = b""
            while b": " not in prompt:
                prompt += os.read(outer, 1024)
            os.write(outer, line.encode() + b"\n")
        code = process.wait(SECONDS)
    os.close(outer)
    return code


@pytest.mark.slow
def test_a_password_is_asked_twice_and_must_be_the_same(place: Place) -> None:
    assert type_password(place, PASSWORD, "another password") != 0
    assert list_people(place) == {}

    assert type_password(place, PASSWORD, PASSWORD) == 0
    assert list(list_people(place)) == ["Ann"]
