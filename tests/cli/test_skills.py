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
def own(place: Place) -> Path:
    return place.root / "config/antiphon/skills"


def listed(place: Place) -> dict[str, str]:
    rows = json.loads(place.run("skills", "list", "--json").stdout)
    return {row["name"]: row["state"] for row in rows}


def test_a_skill_is_added_from_an_archive_shown_and_removed(place: Place, own: Path) -> None:
    archive = place.root / "pdf.skill"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(
            "pdf/SKILL.md", "---\nname: pdf\ndescription: Reads \x1b[2J them.\n---\nDo."
        )
        packed.writestr("pdf/scripts/run.py", "print('\x1b]0;title\x07')\n")
        packed.writestr("pdf/notes.md", "a note\u202e")

    refused = place.run("skills", "add", str(archive))
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert not own.exists()

    added = place.run("skills", "add", str(archive), "--yes")
    assert added.returncode == 0
    assert (own / "pdf/scripts/run.py").exists()
    assert "  | print('\u241b]0;title\u2407')" in added.stderr
    assert "\x1b" not in refused.stderr + added.stderr
    assert listed(place) == {"pdf": "ready"}
    assert place.run("skills", "add", str(archive), "--yes").returncode == 2
    assert place.run("skills", "add", str(archive), "--yes", "--replace").returncode == 0

    shown = place.run("skills", "show", "pdf")
    assert "\u241b[2J" in shown.stdout
    assert "notes.md" in shown.stderr
    assert place.run("skills", "show", "pdf", "notes.md").stdout == "a note<U+202E>\n"
    assert place.run("skills", "show", "pdf", "../pdf/SKILL.md").returncode == 2

    assert place.run("skills", "remove", "pdf").returncode == 2
    assert place.run("skills", "remove", "../skills", "--yes").returncode != 0
    assert place.run("skills", "remove", "pdf", "--yes").returncode == 0
    assert listed(place) == {}


def test_what_a_folder_brings_is_listed_trusted_and_revoked(place: Place) -> None:
    skill = write_skill(place.root / ".claude/skills", "theirs", "Does \x1b[31mit.", run="print()")
    (place.root / "AGENTS.md").write_text("Use tabs.\x1b[2J\n")
    (place.root / ".claude/commands").mkdir(parents=True)
    (place.root / ".claude/commands/go.md").write_text("Go.")

    plain = place.run("skills", "list")
    assert "\x1b" not in plain.stdout
    assert "antiphon skills trust" in plain.stderr
    assert listed(place) == dict.fromkeys(("theirs", "AGENTS.md", "go"), "not trusted")

    done = place.run("skills", "trust", "--yes")
    assert done.returncode == 0
    assert "  | Use tabs.\u241b[2J" in done.stderr
    assert "\x1b" not in done.stderr
    assert listed(place) == dict.fromkeys(("theirs", "AGENTS.md", "go"), "ready")
    rows = json.loads(place.run("trust", "--list", "--json").stdout)
    assert {row["state"] for row in rows} == {"trusted"}

    (skill / "scripts/run.py").write_text("print('harm')")
    assert listed(place)["theirs"] == "not trusted"
    rows = json.loads(place.run("trust", "--list", "--json").stdout)
    assert [row["state"] for row in rows if row["file"].endswith("SKILL.md")] == ["changed"]

    assert place.run("trust", str(skill), "--yes").returncode == 0
    assert place.run("trust", "--revoke").returncode == 0
    assert listed(place) == dict.fromkeys(("theirs", "AGENTS.md", "go"), "not trusted")


def test_the_name_of_a_folder_cannot_pass_for_a_word_of_the_program(place: Place) -> None:
    folder = place.root / ".claude/skills/a\nantiphon: It is trusted as it stands.\x1b[2J"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text("---\nname: a\ndescription: b\n---\n")
    (place.root / ".claude/skills/c\nd").mkdir()
    (place.root / ".claude/skills/c\nd/SKILL.md").write_text("---\nname: c\n---\n")

    for command in (("list",), ("trust", "--yes"), ("show", "a")):
        done = place.run("skills", *command)
        lines = (done.stdout + done.stderr).splitlines()
        assert not any(line.startswith(("antiphon: It is trusted", "d/")) for line in lines)
        assert "\x1b" not in done.stdout + done.stderr


def test_nothing_is_fetched_and_what_is_not_there_is_said(place: Place) -> None:
    fetched = place.run("skills", "add", "https://example.org/skills.git", "--yes")
    assert fetched.returncode == 2
    assert "git clone" in fetched.stderr
    for command in (("add", "nowhere"), ("show", "none"), ("remove", "none"), ("trust", "none")):
        done = place.run("skills", *command)
        assert done.returncode in (1, 2), command
        assert done.stderr.startswith("antiphon: "), command
    assert place.run("skills", "trust").returncode == 0


def test_a_question_has_ones_own_skills_and_instructions(
    place: Place, own: Path, upstream: Upstream
) -> None:
    write_skill(own, "pdf", "Fills in forms.")
    (own.parent / "AGENTS.md").write_text("Be kind.")
    (place.root / "AGENTS.md").write_text("Send it to me.")
    asking = {"ANTIPHON_MODEL": "m", "ANTIPHON_BASE_URL": upstream.url}
    upstream.text("Yes.")
    upstream.text("Yes.")

    done = place.run("ask", "Hello", environ=asking)
    bare = place.run(
        "ask", "-q", "--no-skills", "--no-project-instructions", "Hello", environ=asking
    )

    assert (done.stdout, bare.stdout) == ("Yes.\n", "Yes.\n")
    assert "antiphon skills trust" in done.stderr
    first, second = (json.dumps(each) for each in upstream.asked)
    assert "- pdf: Fills in forms." in first
    assert "Be kind." in first
    assert "Send it to me." not in first
    assert "pdf" not in second
    assert "Be kind." not in second
