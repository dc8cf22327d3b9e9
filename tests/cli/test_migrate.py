"""`antiphon migrate --from --to`: its progress, its result, and what it refuses to move."""

from __future__ import annotations

from tests.support.cli.place import Place


def test_a_database_is_moved_and_its_progress_is_printed_in_lines(place: Place) -> None:
    place.run("keys", "create", "laptop")
    source, target = f"sqlite:///{place.database}", f"sqlite:///{place.root}/there.db"

    check = place.run("migrate", "--from", source, "--to", target, "--check")
    assert (check.returncode, (place.root / "there.db").exists()) == (0, False)
    assert "keys           1" in check.stdout
    result = place.run("migrate", "--from", source, "--to", target)

    assert result.returncode == 0, result.stderr
    assert "\r" not in result.stderr
    assert "comparing 100%" in result.stderr
    assert "equal to those they came from" in result.stderr
    assert "laptop" in place.run("keys", "list", "--database", target).stdout
    second = place.run("migrate", "--from", source, "--to", target)
    assert second.returncode != 0
    assert "data of its own" in second.stderr


def test_what_cannot_be_moved_is_refused(place: Place) -> None:
    target = f"sqlite:///{place.root}/there.db"

    for source, expected in (
        ("memory:", "memory:"),
        (f"sqlite:///{place.root}/nowhere.db", "nothing to move"),
    ):
        result = place.run("migrate", "--from", source, "--to", target)
        assert result.returncode != 0
        assert expected in result.stderr
    for flags in (("--from", target), ("--to", target), ("--check",)):
        assert place.run("migrate", *flags).returncode == 2
    assert not (place.root / "there.db").exists()
