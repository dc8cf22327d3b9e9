"""`antiphon memory`: what assistants know about a person, from the shell."""

from __future__ import annotations

import json

import pytest

from tests.support.cli.place import Place


def test_memories_are_added_listed_changed_and_deleted(place: Place) -> None:
    empty = place.run("memory", "list")
    tea = place.run("memory", "add", "Likes tea.").stdout.strip()
    place.run("memory", "add", "Speaks Basque.\u200b")
    assert place.run("memory", "edit", tea, "Likes coffee.").returncode == 0
    listed = place.run("memory", "list")
    found = json.loads(place.run("memory", "list", "COFFEE", "--json").stdout)
    kept = place.run("memory", "clear")
    deleted = place.run("memory", "delete", tea)
    cleared = place.run("memory", "clear", "--yes")

    assert "Nothing is remembered about you" in empty.stderr
    assert "Likes coffee." in listed.stdout
    assert "Speaks Basque.<U+200B>" in listed.stdout
    assert [(each["id"], each["source"]) for each in found] == [(tea, "person")]
    assert kept.returncode != 0
    assert "nothing was deleted; there are 2 memories" in kept.stderr
    assert deleted.stderr == f"{tea} is deleted.\n"
    assert cleared.stderr == "1 memory deleted.\n"
    assert json.loads(place.run("memory", "list", "--json").stdout) == []


def test_memory_and_instructions_have_a_switch_each(place: Place) -> None:
    off = place.run("memory", "off")
    listed = place.run("memory", "list")
    place.run("memory", "instructions", "--set", "Be brief.\nUse tables.")
    switched = place.run("memory", "instructions", "--off")
    settings = json.loads(place.run("memory", "instructions", "--json").stdout)
    typed = place.run("memory", "instructions", "--file", "-", stdin="Be kind.\n")

    assert off.stderr == "Memory is off.\n"
    assert "models read none of it" in listed.stderr
    assert switched.stdout == "Be brief.\nUse tables.\n"
    assert "no model reads them" in switched.stderr
    assert (settings["instructions_enabled"], settings["memory_enabled"]) == (False, False)
    assert typed.stdout == "Be kind.\n"


@pytest.mark.parametrize(
    ("words", "said"),
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
    place: Place, words: tuple[str, ...], said: str
) -> None:
    refused = place.run("memory", *words)

    assert refused.returncode != 0
    assert said in refused.stderr
    assert "\x1b" not in refused.stderr
