"""`antiphon owners` and `antiphon provider-keys`, run at the database itself."""

from __future__ import annotations

import json
import os
import pty
import re
import zipfile

from tests.support.cli.place import SECONDS, Place

QUESTION = b"Type the owner to go on: "
KEY = "sk-canary-0123456789-abcdefgh"


def fill(place: Place) -> None:
    """Ask a question, so that the local owner has a conversation."""
    assert place.run("ask", "Hello, canary-4711").returncode == 0


def list_owners(place: Place) -> list[dict[str, object]]:
    owners: list[dict[str, object]] = json.loads(place.run("owners", "list", "--json").stdout)
    return owners


def test_a_key_is_read_from_stdin_kept_sealed_and_never_shown(place: Place) -> None:
    set_result = place.run("provider-keys", "set", "openai", "--owner", "ann", stdin=f"{KEY}\n")
    results = [
        set_result,
        place.run("provider-keys", "list"),
        place.run("provider-keys", "list", "--json"),
    ]

    assert set_result.returncode == 0, set_result.stderr
    assert "...efgh" in results[1].stdout
    [key] = json.loads(results[2].stdout)
    assert (key["owner"], key["provider"], key["hint"]) == ("ann", "openai", "...efgh")
    for each in results:
        assert KEY not in each.stdout + each.stderr
    key_file = place.database.with_name("antiphon.db.key")
    assert key_file.stat().st_mode & 0o777 == 0o600
    for file in place.root.rglob("*"):
        assert not file.is_file() or KEY.encode() not in file.read_bytes()

    assert place.run("provider-keys", "remove", "openai", "--owner", "ann").returncode == 0
    assert place.run("provider-keys", "remove", "openai", "--owner", "ann").returncode != 0


def test_a_key_for_nobody_is_refused(place: Place) -> None:
    refusal = place.run("provider-keys", "set", "nope", stdin=f"{KEY}\n")

    assert refusal.returncode != 0
    assert "openai" in refusal.stderr
    assert KEY not in refusal.stderr


def test_keys_are_encrypted_again_when_the_secret_changes(place: Place) -> None:
    old, new = (place.run("provider-keys", "secret").stdout.strip() for _ in range(2))
    old_environ = {"ANTIPHON_SECRET_KEY": old}
    both_environ = {"ANTIPHON_SECRET_KEY": new, "ANTIPHON_OLD_SECRET_KEYS": old}
    place.run("provider-keys", "set", "openai", stdin=f"{KEY}\n", environ=old_environ)

    reencryption = place.run("provider-keys", "reencrypt", environ=both_environ)
    seal_anew = place.run("provider-keys", "seal-anew", environ={"ANTIPHON_SECRET_KEY": new})
    failure = place.run("provider-keys", "reencrypt", environ=old_environ)

    assert reencryption.stderr.startswith("Encrypted again: 1 key.")
    assert "seal-anew is called reencrypt now" in seal_anew.stderr
    assert "Encrypted again: 0 keys." in seal_anew.stderr
    assert "own key for openai cannot be opened" in failure.stderr
    assert old not in reencryption.stderr + failure.stderr


def test_a_secret_that_cannot_be_used_is_reported_at_start_and_by_the_doctor(place: Place) -> None:
    broken_environ = {"ANTIPHON_SECRET_KEY": "nonsense"}
    right_key, wrong_key = (place.run("provider-keys", "secret").stdout.strip() for _ in range(2))
    place.run(
        "provider-keys",
        "set",
        "openai",
        stdin=f"{KEY}\n",
        environ={"ANTIPHON_SECRET_KEY": right_key},
    )
    serve_result = place.run("serve", "--port", "0", environ=broken_environ)
    results = [
        place.run("doctor", environ={"ANTIPHON_SECRET_KEY": key})
        for key in (right_key, wrong_key, "nonsense")
    ]

    assert (serve_result.returncode, "32 bytes" in serve_result.stderr) == (5, True)
    assert [each.returncode for each in results] == [0, 1, 1]
    assert "1 of 1 keys" in results[1].stdout
    assert all(
        key not in each.stdout + each.stderr
        for each in results
        for key in (right_key, wrong_key, KEY)
    )


def test_all_of_an_owner_is_written_into_a_file_that_takes_no_others_place(place: Place) -> None:
    fill(place)
    [owner] = list_owners(place)
    first = place.run("owners", "export", "local", "--output", "all.zip")
    second = place.run("owners", "export", "local", "--output", "all.zip")

    assert (owner["owner"], owner["threads"], owner["runs"]) == ("local", 1, 1)
    assert first.returncode == 0, first.stderr
    assert second.returncode != 0
    file = place.root / "all.zip"
    assert file.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(file) as archive:
        assert "canary-4711" in archive.read("messages.jsonl").decode()
    assert place.run("owners", "export", "nobody").returncode != 0


def test_an_export_that_cannot_be_written_is_not_in_the_audit_log(place: Place) -> None:
    fill(place)

    refusal = place.run("owners", "export", "local", "--output", "missing/all.zip")
    unknown = place.run("owners", "export", "nobody", "--output", "none.zip")
    place.run("owners", "export", "local", "--output", "all.zip")
    second_export = place.run("owners", "export", "local", "--output", "all.zip")

    assert (refusal.returncode, unknown.returncode, second_export.returncode) == (2, 1, 2)
    assert "missing/all.zip cannot be written: No such file or directory" in refusal.stderr
    assert not (place.root / "none.zip").exists()
    entries = map(json.loads, place.run("audit", "--json").stdout.splitlines())
    assert [entry["what"] for entry in entries].count("owner.exported") == 1


def test_an_owner_is_erased_when_somebody_types_who_it_is(place: Place) -> None:
    fill(place)
    refusal = place.run("owners", "erase", "local")
    assert refusal.returncode != 0
    assert "--yes" in refusal.stderr
    assert confirm(place, "lokal") != 0
    assert len(list_owners(place)) == 1

    assert confirm(place, "local") == 0
    assert list_owners(place) == []
    assert b"canary-4711" not in place.database.read_bytes()


def test_what_was_typed_before_the_question_erases_nothing(place: Place) -> None:
    fill(place)

    assert confirm(place, "no", typed_before="local\n") != 0

    assert len(list_owners(place)) == 1


def confirm(place: Place, answer: str, typed_before: str = "") -> int:
    """Return the exit code after the user has typed this answer to the question at a terminal."""
    outer, inner = pty.openpty()
    os.write(outer, typed_before.encode())
    with place.start("owners", "erase", "local", stdin=inner) as process:
        os.close(inner)
        output = b""
        while QUESTION not in output and (piece := os.read(process.stdout.fileno(), 4096)):
            output += piece
        os.write(outer, f"{answer}\n".encode())
        code = process.wait(SECONDS)
    os.close(outer)
    return code


def test_erasing_without_a_question_says_how_much_is_gone(place: Place) -> None:
    fill(place)

    first = place.run("owners", "erase", "local", "--yes")
    second = place.run("owners", "erase", "local", "--yes")

    assert "All of local is gone" in first.stderr
    assert "0 things" in second.stderr
    acts = [json.loads(line) for line in place.run("audit", "--json").stdout.splitlines()]
    assert [act["what"] for act in acts] == ["owner.erased", "owner.erased"]


def test_what_was_exported_is_imported_into_another_database(place: Place) -> None:
    fill(place)
    place.run("owners", "export", "local", "--output", "all.zip")
    environ = {"ANTIPHON_DATABASE": f"sqlite:///{place.root}/other.db"}

    check = place.run("owners", "import", "all.zip", "--check", environ=environ)
    first = place.run("owners", "import", "all.zip", "--json", environ=environ)
    second = place.run("owners", "import", "all.zip", environ=environ)
    owners = json.loads(place.run("owners", "list", "--json", environ=environ).stdout)

    assert check.returncode == 0, check.stderr
    assert "nothing was written" in check.stderr
    assert json.loads(first.stdout)["added"]["threads"] == 1
    assert (second.returncode, "nothing was changed" in second.stderr) == (0, True)
    assert "messages" in second.stdout
    assert [(one["owner"], one["threads"], one["runs"]) for one in owners] == [("local", 1, 1)]
    details = place.run("threads", "show", "last", environ=environ)
    assert "canary-4711" in details.stdout


def test_an_import_comes_in_for_another_owner_beside_what_is_there(place: Place) -> None:
    fill(place)
    place.run("owners", "export", "local", "--output", "all.zip")

    refusal = place.run("owners", "import", "all.zip", "--owner", "ann")
    with_new_ids = place.run("owners", "import", "all.zip", "--owner", "ann", "--new-ids")

    assert refusal.returncode != 0
    assert "records cannot be imported, because their ids are used already" in refusal.stderr
    assert (
        ", which belongs to another owner. With --new-ids everything is imported" in refusal.stderr
    )
    assert re.search(r"^checking 100%  (\d+) of \1 records$", refusal.stderr, re.MULTILINE)
    assert with_new_ids.returncode == 0, with_new_ids.stderr
    assert [one["owner"] for one in list_owners(place)] == ["ann", "local"]


def test_a_file_that_is_no_export_is_refused_with_its_place(place: Place) -> None:
    fill(place)
    place.run("owners", "export", "local", "--output", "all.zip")
    archive = (place.root / "all.zip").read_bytes()
    (place.root / "half.zip").write_bytes(archive[: len(archive) // 2])

    half_import = place.run("owners", "import", "half.zip")
    missing_import = place.run("owners", "import", "none.zip")

    assert (half_import.returncode, missing_import.returncode) == (2, 1)
    assert "not all of one" in half_import.stderr
    assert "it ends with" not in half_import.stderr
    assert "It may be cut off: export it again" in half_import.stderr
    assert "There is no file none.zip" in missing_import.stderr
