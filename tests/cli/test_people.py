"""`antiphon people`: who may log in, made and removed where the database is."""

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


def everybody(place: Place) -> dict[str, dict[str, Any]]:
    listed = json.loads(place.run("people", "list", "--json").stdout)
    return {person["name"]: person for person in listed}


def test_somebody_is_added_listed_given_a_role_and_removed(place: Place) -> None:
    assert add(place, "Ann", "--role", "admin").returncode == 0
    assert add(place, "Ben").returncode == 0
    listed = place.run("people", "list").stdout
    assert [line.split()[1] for line in listed.splitlines()[1:]] == ["Ann", "Ben"]

    assert place.run("people", "role", "ben", "admin").returncode == 0
    assert everybody(place)["Ben"]["role"] == "admin"

    removed = place.run("people", "remove", everybody(place)["Ann"]["id"])
    assert removed.returncode == 0
    assert "Their threads stay" in removed.stderr
    assert list(everybody(place)) == ["Ben"]


def test_nothing_that_is_printed_holds_a_password_or_its_hash(place: Place) -> None:
    told = [add(place, "Ann"), add(place, "ann"), place.run("people", "list", "--json")]

    for each in told:
        assert PASSWORD not in each.stdout + each.stderr
        assert "argon2" not in each.stdout + each.stderr


def test_a_new_password_ends_every_login(place: Place) -> None:
    add(place, "Ann")
    changed = place.run("people", "password", "ANN", "--password-stdin", stdin="another password\n")

    assert changed.returncode == 0
    assert everybody(place)["Ann"]["generation"] == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
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
    place: Place, arguments: tuple[str, ...], why: str
) -> None:
    add(place, "Ann", "--role", "admin")
    refused = place.run("people", *arguments, stdin=f"{PASSWORD}\n")

    assert refused.returncode != 0
    assert why in refused.stderr
    assert "Traceback" not in refused.stderr
    assert list(everybody(place)) == ["Ann"]


@pytest.mark.parametrize("password", ["short", "", "nul\0nul\0nul"])
def test_a_password_that_is_none_is_refused(place: Place, password: str) -> None:
    refused = add(place, "Ann", password=password)

    assert refused.returncode != 0
    assert "password" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert everybody(place) == {}


def test_an_empty_list_says_so_and_what_makes_somebody(place: Place) -> None:
    listed = place.run("people", "list")

    assert (listed.returncode, listed.stdout) == (0, "")
    assert "antiphon people add NAME --role admin" in listed.stderr


def type_password(place: Place, *lines: str) -> int:
    """The exit code where these lines are typed as a password, each when it is asked for."""
    outer, inner = pty.openpty()
    command = ("people", "add", "Ann")
    # Without a terminal of its own, so that it asks at this one and not at the tester's.
    with place.start(
        *command, cold=True, stdin=inner, stderr=inner, start_new_session=True
    ) as process:
        os.close(inner)
        for line in lines:
            shown = b""
            while b": " not in shown:
                shown += os.read(outer, 1024)
            os.write(outer, line.encode() + b"\n")
        code = process.wait(SECONDS)
    os.close(outer)
    return code


@pytest.mark.slow
def test_a_password_is_asked_twice_and_must_be_the_same(place: Place) -> None:
    assert type_password(place, PASSWORD, "another password") != 0
    assert everybody(place) == {}

    assert type_password(place, PASSWORD, PASSWORD) == 0
    assert list(everybody(place)) == ["Ann"]
