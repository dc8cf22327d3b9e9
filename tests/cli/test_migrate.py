"""`antiphon migrate --from --to`: what it says, to whom, and when it refuses."""

from __future__ import annotations

from tests.support.cli.place import Place


def test_a_database_is_moved_and_the_way_is_told_in_lines(place: Place) -> None:
    place.run("keys", "create", "laptop")
    here, there = f"sqlite:///{place.database}", f"sqlite:///{place.root}/there.db"

    looked = place.run("migrate", "--from", here, "--to", there, "--check")
    assert (looked.returncode, (place.root / "there.db").exists()) == (0, False)
    assert "keys           1" in looked.stdout
    told = place.run("migrate", "--from", here, "--to", there)

    assert told.returncode == 0, told.stderr
    assert "\r" not in told.stderr
    assert "comparing 100%" in told.stderr
    assert "equal to those they came from" in told.stderr
    assert "laptop" in place.run("keys", "list", "--database", there).stdout
    again = place.run("migrate", "--from", here, "--to", there)
    assert again.returncode != 0
    assert "data of its own" in again.stderr


def test_what_cannot_be_moved_is_refused(place: Place) -> None:
    there = f"sqlite:///{place.root}/there.db"

    for source, said in (
        ("memory:", "memory:"),
        (f"sqlite:///{place.root}/nowhere.db", "nothing to move"),
    ):
        told = place.run("migrate", "--from", source, "--to", there)
        assert told.returncode != 0
        assert said in told.stderr
    for lonely in (("--from", there), ("--to", there), ("--check",)):
        assert place.run("migrate", *lonely).returncode == 2
    assert not (place.root / "there.db").exists()
