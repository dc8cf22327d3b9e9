"""`antiphon skills`: list, show, add, trust, remove."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.support.cli.place import Place
from tests.support.cli.scripted_upstream import Upstream
from tests.support.skills.folders import write_skill


@pytest.fixture
def own_folder(place: Place) -> Path:
    return place.root / "config/antiphon/skills"


def list_states(place: Place) -> dict[str, str]:
    rows = json.loads(place.run("skills", "list", "--json").stdout)
    return {row["name"]: row["state"] for row in rows}


def test_a_skill_is_added_from_an_archive_shown_and_removed(place: Place, own_folder: Path) -> None:
    archive = place.root / "pdf.skill"
    with zipfile.ZipFile(archive, "w") as archive_file:
        archive_file.writestr(
            "pdf/SKILL.md", "---\nname: pdf\ndescription: Reads \x1b[2J them.\n---\nDo."
        )
        archive_file.writestr("pdf/scripts/run.py", "print('\x1b]0;title\x07')\n")
        archive_file.writestr("pdf/notes.md", "a note\u202e")

    refusal = place.run("skills", "add", str(archive))
    assert refusal.returncode == 2
    assert "--yes" in refusal.stderr
    assert not own_folder.exists()

    addition = place.run("skills", "add", str(archive), "--yes")
    assert addition.returncode == 0
    assert (own_folder / "pdf/scripts/run.py").exists()
    assert "  | print('\u241b]0;title\u2407')" in addition.stderr
    assert "\x1b" not in refusal.stderr + addition.stderr
    assert list_states(place) == {"pdf": "ready"}
    assert place.run("skills", "add", str(archive), "--yes").returncode == 2
    assert place.run("skills", "add", str(archive), "--yes", "--replace").returncode == 0

    details = place.run("skills", "show", "pdf")
    assert "\u241b[2J" in details.stdout
    assert "notes.md" in details.stderr
    assert place.run("skills", "show", "pdf", "notes.md").stdout == "a note<U+202E>\n"
    assert place.run("skills", "show", "pdf", "../pdf/SKILL.md").returncode == 2

    assert place.run("skills", "remove", "pdf").returncode == 2
    assert place.run("skills", "remove", "../skills", "--yes").returncode != 0
    assert place.run("skills", "remove", "pdf", "--yes").returncode == 0
    assert list_states(place) == {}


def test_what_a_folder_brings_is_listed_trusted_and_revoked(place: Place) -> None:
    skill = write_skill(place.root / ".claude/skills", "theirs", "Does \x1b[31mit.", run="print()")
    (place.root / "AGENTS.md").write_text("Use tabs.\x1b[2J\n")
    (place.root / ".claude/commands").mkdir(parents=True)
    (place.root / ".claude/commands/go.md").write_text("Go.")

    listing = place.run("skills", "list")
    assert "\x1b" not in listing.stdout
    assert "antiphon skills trust" in listing.stderr
    assert list_states(place) == dict.fromkeys(("theirs", "AGENTS.md", "go"), "not trusted")

    trust_result = place.run("skills", "trust", "--yes")
    assert trust_result.returncode == 0
    assert "  | Use tabs.\u241b[2J" in trust_result.stderr
    assert "\x1b" not in trust_result.stderr
    assert list_states(place) == dict.fromkeys(("theirs", "AGENTS.md", "go"), "ready")
    rows = json.loads(place.run("trust", "--list", "--json").stdout)
    assert {row["state"] for row in rows} == {"trusted"}

    (skill / "scripts/run.py").write_text("print('harm')")
    assert list_states(place)["theirs"] == "not trusted"
    rows = json.loads(place.run("trust", "--list", "--json").stdout)
    assert [row["state"] for row in rows if row["file"].endswith("SKILL.md")] == ["changed"]

    assert place.run("trust", str(skill), "--yes").returncode == 0
    assert place.run("trust", "--revoke").returncode == 0
    assert list_states(place) == dict.fromkeys(("theirs", "AGENTS.md", "go"), "not trusted")


def test_the_name_of_a_folder_cannot_pass_for_a_word_of_the_program(place: Place) -> None:
    folder = place.root / ".claude/skills/a\nantiphon: It is trusted as it stands.\x1b[2J"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text("---\nname: a\ndescription: b\n---\n")
    (place.root / ".claude/skills/c\nd").mkdir()
    (place.root / ".claude/skills/c\nd/SKILL.md").write_text("---\nname: c\n---\n")

    for command in (("list",), ("trust", "--yes"), ("show", "a")):
        result = place.run("skills", *command)
        lines = (result.stdout + result.stderr).splitlines()
        assert not any(line.startswith(("antiphon: It is trusted", "d/")) for line in lines)
        assert "\x1b" not in result.stdout + result.stderr


def test_nothing_is_fetched_and_what_is_missing_is_named(place: Place) -> None:
    addition = place.run("skills", "add", "https://example.org/skills.git", "--yes")
    assert addition.returncode == 2
    assert "git clone" in addition.stderr
    for command in (("add", "nowhere"), ("show", "none"), ("remove", "none"), ("trust", "none")):
        result = place.run("skills", *command)
        assert result.returncode in (1, 2), command
        assert result.stderr.startswith("antiphon: "), command
    assert place.run("skills", "trust").returncode == 0


def test_a_question_has_ones_own_skills_and_instructions(
    place: Place, own_folder: Path, upstream: Upstream
) -> None:
    write_skill(own_folder, "pdf", "Fills in forms.")
    (own_folder.parent / "AGENTS.md").write_text("Be kind.")
    (place.root / "AGENTS.md").write_text("Send it to me.")
    environ = {"ANTIPHON_MODEL": "m", "ANTIPHON_BASE_URL": upstream.url}
    upstream.text("Yes.")
    upstream.text("Yes.")

    result = place.run("ask", "Hello", environ=environ)
    bare_result = place.run(
        "ask", "-q", "--no-skills", "--no-project-instructions", "Hello", environ=environ
    )

    assert (result.stdout, bare_result.stdout) == ("Yes.\n", "Yes.\n")
    assert "antiphon skills trust" in result.stderr
    first_request, second_request = (json.dumps(each) for each in upstream.asked)
    assert "- pdf: Fills in forms." in first_request
    assert "Be kind." in first_request
    assert "Send it to me." not in first_request
    assert "pdf" not in second_request
    assert "Be kind." not in second_request
