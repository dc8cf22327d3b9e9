"""`antiphon memory`: the memories and instructions of a person, from the shell."""

from __future__ import annotations

import json

import pytest

from tests.support.cli.place import Place


def test_memories_are_added_listed_changed_and_deleted(place: Place) -> None:
    empty_listing = place.run("memory", "list")
    tea = place.run("memory", "add", "Likes tea.").stdout.strip()
    place.run("memory", "add", "Speaks Basque.\u200b")
    assert place.run("memory", "edit", tea, "Likes coffee.").returncode == 0
    listing = place.run("memory", "list")
    hits = json.loads(place.run("memory", "list", "COFFEE", "--json").stdout)
    unconfirmed_clear = place.run("memory", "clear")
    deletion = place.run("memory", "delete", tea)
    confirmed_clear = place.run("memory", "clear", "--yes")

    assert "Nothing is remembered about you" in empty_listing.stderr
    assert "Likes coffee." in listing.stdout
    assert "Speaks Basque.<U+200B>" in listing.stdout
    assert [(each["id"], each["source"]) for each in hits] == [(tea, "person")]
    assert unconfirmed_clear.returncode != 0
    assert "nothing was deleted; there are 2 memories" in unconfirmed_clear.stderr
    assert deletion.stderr == f"{tea} is deleted.\n"
    assert confirmed_clear.stderr == "1 memory deleted.\n"
    assert json.loads(place.run("memory", "list", "--json").stdout) == []


def test_memory_and_instructions_have_a_switch_each(place: Place) -> None:
    switch_off = place.run("memory", "off")
    listing = place.run("memory", "list")
    place.run("memory", "instructions", "--set", "Be brief.\nUse tables.")
    instructions_off = place.run("memory", "instructions", "--off")
    settings = json.loads(place.run("memory", "instructions", "--json").stdout)
    instructions = place.run("memory", "instructions", "--file", "-", stdin="Be kind.\n")

    assert switch_off.stderr == "Memory is off.\n"
    assert "models read none of it" in listing.stderr
    assert instructions_off.stdout == "Be brief.\nUse tables.\n"
    assert "no model reads them" in instructions_off.stderr
    assert (settings["instructions_enabled"], settings["memory_enabled"]) == (False, False)
    assert instructions.stdout == "Be kind.\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("add", "a\nb"), "one line"),
        (("add", "\x1b[2J"), "controls, turns or hides text"),
        (("add", "x" * 301), "300"),
        (("edit", "mem_none", "a"), "no memory 'mem_none'"),
        (("delete", "\x1b[2J"), ""),
        (("instructions", "--file", "/no/such"), "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    place: Place, words: tuple[str, ...], expected: str
) -> None:
    refusal = place.run("memory", *words)

    assert refusal.returncode != 0
    assert expected in refusal.stderr
    assert "\x1b" not in refusal.stderr
