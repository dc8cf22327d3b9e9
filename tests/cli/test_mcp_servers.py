"""`antiphon mcp` as a shell sees it, and the servers of `antiphon ask`."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.tools.permissions import GrantsFile
from antiphon.tools.questions import tool_identity
from antiphon.types.messages import Tool, ToolSpec
from tests.support.cli.place import SECONDS, Place
from tests.support.mcp.locked import Locked, run_locked_server
from tests.support.mcp.serving import start_whole

SERVERS = Path(__file__).parents[1] / "support/mcp/servers"
RAW = [sys.executable, "-I", "-S", str(SERVERS / "raw.py")]
DIES = [sys.executable, "-c", "import sys; sys.exit('\\x1b]0;pwned\\x07 no key was given')"]


@pytest.fixture
def locked_server() -> Iterator[Locked]:
    with run_locked_server() as server:
        yield server


def write_config(place: Place, **servers: list[str]) -> str:
    tables = {
        name: {"command": command[0], "args": command[1:]} for name, command in servers.items()
    }
    file = place.root / "server_config.json"
    file.write_text(json.dumps({"mcpServers": tables}))
    return str(file)


def list_servers(place: Place, *flags: str) -> list[dict[str, Any]]:
    return list(json.loads(place.run("mcp", "list", "--json", *flags).stdout))


def test_an_empty_list_of_servers_says_so_and_where_help_is(place: Place) -> None:
    result = place.run("mcp", "list")

    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr.startswith("No MCP server is configured; ")


def test_the_help_of_mcp_holds_what_every_action_takes_and_no_more(place: Place) -> None:
    assert "--turn-timeout" not in place.run("mcp", "--help").stdout
    assert "--turn-timeout" in place.run("mcp", "serve", "--help").stdout


def test_a_server_is_added_listed_tried_and_removed(place: Place) -> None:
    addition = place.run("mcp", "add", "raw", "--env", "A=1", "--env", "HOME", "--", *RAW)
    assert (addition.returncode, addition.stdout) == (0, "")
    file = place.root / "config/antiphon/mcp.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["mcpServers"]["raw"] == {
        "command": RAW[0],
        "args": RAW[1:],
        "env": {"A": "1", "HOME": "${HOME}"},
    }

    (server,) = list_servers(place)
    assert (server["name"], server["transport"], server["origin"]) == ("raw", "stdio", str(file))
    test_result = place.run("mcp", "test", "raw")
    assert (test_result.returncode, test_result.stderr) == (0, "")
    assert test_result.stdout.startswith("raw: ready\n")
    assert "protocol 20" in test_result.stdout
    assert "raw" in place.run("doctor").stdout

    assert place.run("mcp", "remove", "raw").returncode == 0
    assert list_servers(place) == []


@pytest.mark.parametrize(
    ("argument", "is_relative"),
    [("./notes", True), (".\\notes", True), ("server.py", True), ("/notes", False), ("-y", False)],
)
def test_a_server_that_is_added_with_a_relative_path_is_told_of_its_empty_folder(
    place: Place, argument: str, is_relative: bool
) -> None:
    for name in ("server.py", "npx"):  # a program without a folder is looked for on the PATH
        (place.root / name).touch()
    addition = place.run("mcp", "add", "files", "--", "npx", "server", argument)

    assert addition.returncode == 0
    assert (f"{argument} leads nowhere" in addition.stderr) is is_relative


def test_what_was_allowed_for_a_removed_or_replaced_server_is_forgotten(place: Place) -> None:
    grants = GrantsFile(place.root / "data/antiphon/grants.json")

    def allow(*servers: str) -> None:
        for server in servers:
            tool = Tool(spec=ToolSpec("echo"), server=server, own_name="echo", origin="here")
            grants.add([tool_identity(tool)])

    place.run("mcp", "add", "raw", "--", *RAW)
    allow("raw", "other")
    assert place.run("mcp", "add", "raw", "--replace", "--env", "A=1", "--", *RAW).returncode == 0
    assert [each.server for each in grants.all()] == ["other"]
    allow("raw")
    assert place.run("mcp", "remove", "raw").returncode == 0
    assert [each.server for each in grants.all()] == ["other"]
    own_file = place.root / "config/antiphon/mcp.json"
    own_file.write_text(json.dumps({"mcpServers": {"my notes": {"command": RAW[0]}}}))
    allow("my_notes")  # as it is named everywhere else
    assert place.run("mcp", "remove", "my notes").returncode == 0
    assert [each.server for each in grants.all()] == ["other"]


def test_a_server_with_more_tools_for_a_chat_is_tried_as_one(place: Place) -> None:
    file = write_config(place, raw=[*RAW, "choosy"])

    (server,) = json.loads(place.run("mcp", "test", "--json", "--config", file).stdout)

    assert server["tools"] == ["echo", "for_elicitation", "for_sampling"]


def test_the_doctor_says_whether_a_server_can_do_a_hosted_tool(place: Place) -> None:
    place.run("mcp", "add", "mine", "--", *RAW)
    environ = {"ANTIPHON_HOSTED_TOOLS": "web_search=mine/echo, file_search=elsewhere"}

    without_servers = place.run("doctor", environ=environ)
    with_servers = place.run("doctor", environ={"ANTIPHON_BACKEND_MCP": "configured", **environ})
    bad_setting = place.run("doctor", environ={"ANTIPHON_HOSTED_TOOLS": "teapot=mine"})

    assert "web_search is done by mine, echo; runs may use no MCP servers" in without_servers.stdout
    assert "file_search is done by elsewhere, which no run may use" in with_servers.stdout
    assert (without_servers.returncode, with_servers.returncode) == (1, 1)
    assert "web_search=SERVER/TOOL" in bad_setting.stdout


def test_a_server_over_http_is_added_with_its_headers(place: Place) -> None:
    url = "https://user:hunter2@mcp.example/mcp"
    addition = place.run(
        "mcp", "add", "far", "--url", url, "--header", "Authorization: Bearer ${TOKEN}", "--sse"
    )
    assert addition.returncode == 0

    (server,) = list_servers(place)
    assert (server["transport"], server["target"]) == ("sse", "https://****@mcp.example/mcp")
    for command in (("mcp", "list"), ("mcp", "test"), ("doctor",)):
        result = place.run(*command)
        assert "hunter2" not in result.stdout + result.stderr
    assert "the variable TOKEN is not set" in place.run("mcp", "test").stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("add", "a"), "wanted -- COMMAND ARGS..., or --url URL"),
        (("add", "a", "--url", "https://x", "--", "y"), "a program or an address"),
        (("add", "a b", "--", "y"), "for instance a_b"),
        (("add", "a", "--url", "x.example"), "wanted http:// or https://, and a host"),
        (("add", "a", "--url", "https://x", "--header", "nothing"), "NAME:VALUE"),
        (("login", "program"), "at which nobody logs in"),
    ],
)
def test_wrong_usage_is_refused_with_what_would_do(
    place: Place, arguments: tuple[str, ...], expected: str
) -> None:
    place.run("mcp", "add", "program", "--", "x")
    result = place.run("mcp", *arguments)

    assert result.returncode == 2
    assert expected in result.stderr
    assert result.stderr.startswith("antiphon: ")


@pytest.mark.parametrize("arguments", [("trust", ".mcp.json"), ("list", "--config", "none.json")])
def test_a_file_that_is_not_there_has_an_exit_code(
    place: Place, arguments: tuple[str, ...]
) -> None:
    result = place.run("mcp", *arguments)

    assert result.returncode == 5
    assert f"{arguments[-1]} cannot be read" in result.stderr


def test_no_name_that_a_server_gives_looks_like_a_line_of_ours(place: Place) -> None:
    result = place.run("mcp", "test", "--config", write_config(place, evil=[*RAW, "evil"]))

    assert "  prompts: forged other: ready" in result.stdout
    assert "\nother: ready" not in result.stdout
    assert "\x1b" not in result.stdout


def test_what_a_server_prints_while_it_dies_is_shown_and_does_not_act(place: Place) -> None:
    file = write_config(place, dies=DIES, raw=RAW)

    result = place.run("mcp", "test", "--config", file)
    assert result.returncode == 1
    assert "dies: failed" in result.stdout
    assert "no key was given" in result.stdout
    assert "raw: ready" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr
    (dies, raw) = json.loads(place.run("mcp", "test", "--config", file, "--json").stdout)
    assert (dies["status"], raw["status"]) == ("failed", "ready")
    assert place.run("mcp", "list", "--test", "--config", file).returncode == 1


def test_a_server_sees_what_it_was_given_of_the_environment_and_no_more(place: Place) -> None:
    code = "import os, sys; sys.exit(' '.join(sorted(os.environ)))"
    place.run("mcp", "add", "spy", "--env", "GIVEN=1", "--", sys.executable, "-c", code)
    secrets = {"OPENAI_API_KEY": "CANARY", "ANTIPHON_PROVIDER_KEY": "CANARY"}
    (spy,) = json.loads(place.run("mcp", "test", "--json", environ=secrets).stdout)

    variables = " ".join(spy["stderr"]).split()
    assert "GIVEN" in variables
    assert not {"OPENAI_API_KEY", "ANTIPHON_PROVIDER_KEY"} & set(variables)


def test_a_folders_own_servers_start_once_they_were_trusted(place: Place) -> None:
    marker = place.root / "started"
    touch = [sys.executable, "-c", f"open({str(marker)!r}, 'w')"]
    write_config(place, evil=touch)
    (place.root / "server_config.json").rename(place.root / ".mcp.json")

    for command in (("mcp", "list"), ("mcp", "test"), ("ask", "hello"), ("doctor",)):
        result = place.run(*command)
        assert "antiphon trust .mcp.json" in result.stdout + result.stderr
    assert not marker.exists()

    assert place.run("mcp", "trust", ".mcp.json").returncode == 2
    trust_result = place.run("mcp", "trust", ".mcp.json", "--yes")
    assert "open(" in trust_result.stderr
    place.run("mcp", "test")
    assert marker.exists()


def test_a_user_logs_in_and_out(place: Place, locked_server: Locked) -> None:
    place.run("mcp", "add", "door", "--url", locked_server.url)
    refusal = place.run("mcp", "test", "door")
    assert refusal.returncode == 1
    assert "antiphon mcp login door" in refusal.stdout

    with place.start("mcp", "login", "door", "--no-browser") as process:
        assert process.stderr
        output = b""
        while not (page := re.search(rb"(http://\S+)\n", output)):
            piece = os.read(process.stderr.fileno(), 4096)
            assert piece, output
            output += piece
        with urllib.request.urlopen(page[1].decode(), timeout=SECONDS) as callback:
            assert b"logged in" in callback.read()
        _, rest_of_output = process.communicate(timeout=SECONDS)
    assert (process.returncode, b"you are logged in" in rest_of_output) == (0, True)

    logins = place.root / "data/antiphon/mcp-logins.json"
    assert stat.S_IMODE(logins.stat().st_mode) == 0o600
    test_result = place.run("mcp", "test", "door")
    assert (test_result.returncode, "secret_word" in test_result.stdout) == (0, True)
    assert "CANARY" not in test_result.stdout + test_result.stderr

    assert "is forgotten" in place.run("mcp", "logout", "door").stderr
    assert "CANARY" not in logins.read_text()
    assert place.run("mcp", "test", "door").returncode == 1


def test_where_no_server_is_configured_the_user_is_told_how_to_add_one(place: Place) -> None:
    all_servers, one_server = place.run("mcp", "test"), place.run("mcp", "test", "time")

    assert (all_servers.returncode, all_servers.stdout, one_server.returncode) == (0, "", 1)
    for result in (all_servers, one_server):
        assert "antiphon mcp add --help" in result.stderr


# Servers of `ask`


def test_ask_offers_the_tools_of_a_file_and_refuses_to_run_them_unasked(place: Place) -> None:
    file = write_config(place, whole=start_whole("stdio"))

    result = place.run("ask", "--config", file, "Please use the echo tool")
    assert "`whole__echo` was given" in result.stdout
    assert "there is nobody to be asked" in result.stdout
    assert "nobody could be asked; --allow whole__echo allows it\n" in result.stderr


def test_ask_says_which_server_did_not_come_and_why_and_answers(place: Place) -> None:
    result = place.run("ask", "--config", write_config(place, dies=DIES), "hello")

    assert result.returncode == 0
    assert "the MCP server dies is not there" in result.stderr
    assert "no key was given" in result.stderr
    assert "hello" in result.stdout
    assert "\x1b" not in result.stderr


@pytest.mark.slow
def test_ask_without_servers_loads_nothing_of_mcp(place: Place) -> None:
    code = (
        "import sys; from antiphon.cli.main import main; main(['ask', 'hello']);"
        "sys.exit('mcp' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=place.root, env=place.environ, stderr=-1, check=False
    )
    assert result.returncode == 0, result.stderr
