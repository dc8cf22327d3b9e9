"""JSON on stdout is for programs and cannot act on the terminal that shows it."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from antiphon import Tool
from antiphon.tools.permissions import GrantsFile
from antiphon.tools.questions import tool_identity
from antiphon.types.messages import ToolSpec
from tests.support.cli.place import Place
from tests.support.cli.scripted_upstream import Upstream

HOSTILE = "a\u009b31m\u202e\u2066\x7f\x1b]0;x\x07\ufeff\U000e0041 \U0001f469\u200d\U0001f4bb z"
ACTIVE_CHARACTERS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]"
)


def join_texts(value: object) -> str:
    """Join every text in a JSON value."""
    match value:
        case dict():
            return "".join(f"{name}{join_texts(each)}" for name, each in value.items())
        case list():
            return "".join(map(join_texts, value))
        case _:
            return value if isinstance(value, str) else ""


def check_json(out: str) -> None:
    """Check that the printed JSON is inert and complete."""
    assert not ACTIVE_CHARACTERS.search(out)
    assert HOSTILE in "".join(join_texts(json.loads(line)) for line in out.splitlines())


def test_lists_of_what_others_wrote_act_on_nothing(place: Place) -> None:
    creation = place.run("keys", "create", HOSTILE)
    assert creation.returncode == 0, creation.stderr
    servers = {"mcpServers": {"s": {"command": HOSTILE.replace("\x1b]0;x\x07", "")}}}
    (place.root / "servers.json").write_text(json.dumps(servers))
    tool = Tool(spec=ToolSpec("s__t", HOSTILE), server="s", own_name="t")
    GrantsFile(place.database.parent / "grants.json").add([tool_identity(tool)])

    check_json(place.run("keys", "list", "--json").stdout)
    check_json(place.run("config", "--grants", "--json").stdout)
    listing = place.run("mcp", "list", "--config", "servers.json", "--json").stdout
    assert not ACTIVE_CHARACTERS.search(listing)
    assert json.loads(listing)[0]["name"] == "s"


def test_conversations_act_on_nothing(place: Place) -> None:
    place.run("ask", "-q", "Hello")
    (thread,) = json.loads(place.run("threads", "list", "--json").stdout)
    rename = place.run("threads", "rename", thread["id"], HOSTILE)
    assert rename.returncode == 0, rename.stderr

    check_json(place.run("threads", "list", "--json").stdout)
    export = place.run("threads", "export", thread["id"]).stdout
    assert not ACTIVE_CHARACTERS.search(export)
    assert json.loads(export)["thread"]["title"] == HOSTILE


@pytest.mark.parametrize("flags", [("--json",), ("--output", "json")])
def test_an_answer_as_json_acts_on_nothing(
    place: Place, upstream: Upstream, flags: tuple[str, ...]
) -> None:
    upstream.text(HOSTILE)
    environ = {"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_MODEL": "m"}

    with place.start("ask", *flags, "Hello", environ=environ, stderr=subprocess.DEVNULL) as process:
        out, _ = process.communicate(timeout=60)

    assert not ACTIVE_CHARACTERS.search(out.decode())
    assert "z" in out.decode()
