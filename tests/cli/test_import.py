"""`antiphon import`: conversations of other chats, once each."""

from __future__ import annotations

import json

from tests.support.cli.place import Place
from tests.support.runtime.chat_exports import CLAUDE, OPEN_WEBUI, PNG, as_json, as_zip, chatgpt


def test_exports_are_imported_once_and_their_branches_are_versions(place: Place) -> None:
    export = as_zip(conversations_dot_json=as_json(chatgpt()), file__abc_dot_png=PNG)
    (place.root / "chatgpt.zip").write_bytes(export)
    (place.root / "claude.json").write_bytes(as_json(CLAUDE))
    (place.root / "webui.json").write_bytes(as_json(OPEN_WEBUI))

    check = place.run("import", "chatgpt.zip", "--check")
    assert check.stdout.startswith("1 conversation to import\n"), check.stderr
    assert json.loads(place.run("threads", "list", "--json", "--all").stdout) == []
    first = place.run("import", "chatgpt.zip")
    second = place.run("import", "chatgpt.zip")
    others = [place.run("import", name, "--json") for name in ("claude.json", "webui.json")]

    assert first.stdout.startswith("1 conversation imported\n"), first.stderr
    assert second.stdout.startswith("0 conversations imported\n")
    assert "1 conversation had been imported before." in second.stderr
    assert [json.loads(each.stdout)["source"] for each in others] == ["claude", "open-webui"]
    threads = json.loads(place.run("threads", "list", "--json").stdout)
    assert {each["title"] for each in threads} == {"<script>alert(1)</script> [31m", "Trip"}
    archived_threads = json.loads(place.run("threads", "list", "--json", "--archived").stdout)
    assert [each["title"] for each in archived_threads] == ["Cat"]
    details = place.run("threads", "show", next(e["id"] for e in threads if e["title"] != "Trip"))
    assert "A dog." in details.stdout
    assert "A cat." not in details.stdout


def test_a_conversation_that_went_on_here_stays_as_it_is_when_it_is_imported_again(
    place: Place,
) -> None:
    (place.root / "webui.json").write_bytes(as_json({**OPEN_WEBUI, "archived": False}))
    place.run("import", "webui.json")
    thread = json.loads(place.run("threads", "list", "--json").stdout)[0]
    place.run("ask", "--thread", thread["id"], "And a dog?")

    result = place.run("import", "webui.json")

    assert "had been imported before" in result.stderr, result.stderr
    assert "And a dog?" in place.run("threads", "show", thread["id"]).stdout


def test_a_file_that_is_no_export_is_refused_with_a_hint(place: Place) -> None:
    (place.root / "notes.json").write_text('[{"a": 1}]')

    refusal = place.run("import", "notes.json")
    missing_file = place.run("import", "nothing.zip")

    assert refusal.returncode != 0
    assert "ChatGPT, Claude or Open WebUI" in refusal.stderr
    assert missing_file.returncode != 0
    assert "nothing.zip" in missing_file.stderr
