"""Files of MCP servers: forms of different programs, references, and files that start nothing."""

from __future__ import annotations

import json
import stat
import string
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.mcp.client.toolbox import AsyncMcpServerPool
from antiphon.mcp.config import discovery
from antiphon.mcp.config.discovery import UserConfigFile
from antiphon.mcp.config.server_config import (
    MissingReference,
    OAuth,
    Reference,
    ServerConfig,
    find_references,
    interpolate,
    legal_names,
    parse_json,
    parse_servers,
)
from antiphon.mcp.startup import resolve_servers
from antiphon.settings.loading import load_with_origins
from antiphon.settings.settings import Settings
from antiphon.types.errors import BadSettings, InvalidRequest, NotFound
from tests.support.trust import trust_file

# Forms of different programs


def parse(text: str) -> dict[str, Any]:
    return {
        each.config.name: each for each in parse_servers(parse_json(text.encode(), "x.json"), "x")
    }


def test_claudes_file_is_read_as_it_is() -> None:
    servers = parse("""{
      "mcpServers": {
        "files": {"command": "npx", "args": ["-y", "server-filesystem", "/srv"],
                  "env": {"DEBUG": "1", "PORT": 8080, "DRY": true}},
        "far": {"type": "http", "url": "https://mcp.example/mcp",
                "headers": {"Authorization": "Bearer ${TOKEN}"}},
        "old": {"type": "sse", "url": "https://old.example/sse"}
      },
      "globalShortcut": "Ctrl+Space"
    }""")

    assert servers["files"].config == ServerConfig(
        name="files",
        command="npx",
        args=("-y", "server-filesystem", "/srv"),
        env={"DEBUG": "1", "PORT": "8080", "DRY": "true"},
    )
    assert servers["far"].config.transport == "http"
    assert servers["far"].config.headers == {"Authorization": "Bearer ${TOKEN}"}
    assert servers["old"].config.transport == "sse"


def test_cursors_file_needs_no_type() -> None:
    servers = parse("""{"mcpServers": {
      "far": {"url": "https://mcp.example", "auth": {
        "CLIENT_ID": "me", "CLIENT_SECRET": "${env:SECRET}", "scopes": ["read", "write"]}},
      "off": {"command": "x", "disabled": true}
    }}""")

    assert servers["far"].config.transport == "http"
    assert servers["far"].config.oauth == OAuth(
        client_id="me", client_secret="${env:SECRET}", scope="read write"
    )
    assert not servers["off"].config.enabled


def test_vs_codes_file_has_comments() -> None:
    servers = parse("""{
      // "servers": {"no": {}},
      "inputs": [{"id": "key", "type": "promptString"}],
      "servers": { /* two
        lines */
        "files": {"type": "stdio", "command": "//not/a/comment", "args": ["/* nor this */", ",]"],
                  "envFile": ".env"}, // one more
      },
    }""")

    assert servers["files"].config.command == "//not/a/comment"
    assert servers["files"].config.args == ("/* nor this */", ",]")
    assert servers["files"].ignored == ("envFile",)
    assert parse('{"mcp": {"servers": {"a": {"command": "x"}}}}')["a"].config.command == "x"


@pytest.mark.parametrize(
    "written_as", ["http", "streamable-http", "streamable_http", "streamableHttp", "HTTP"]
)
@pytest.mark.parametrize("key", ["type", "transport"])
def test_streamable_http_goes_by_many_names(key: str, written_as: str) -> None:
    (each,) = parse_servers({"a": {key: written_as, "url": "https://x"}}, "x")
    assert (each.config.transport, each.problem) == ("http", "")


def test_names_of_the_same_settings_in_other_programs_are_known() -> None:
    servers = parse("""{"mcpServers": {
      "gemini": {"httpUrl": "https://x", "timeout": 30000, "includeTools": ["a*"],
                 "excludeTools": ["b"], "trust": true},
      "windsurf": {"serverUrl": "https://x", "disabledTools": ["c"], "timeout": 60},
      "claude": {"type": "http", "url": "https://x",
                 "oauth": {"clientId": "me", "callbackPort": 8080}}
    }}""")

    gemini, windsurf, claude = (servers[name].config for name in ("gemini", "windsurf", "claude"))
    assert (gemini.url, gemini.timeout, gemini.tools, gemini.exclude) == (
        "https://x",
        30.0,
        ("a*",),
        ("b",),
    )
    assert not gemini.trusted
    assert servers["gemini"].ignored == ("trust",)
    assert (windsurf.url, windsurf.exclude, windsurf.timeout) == ("https://x", ("c",), 60)
    assert (claude.oauth.client_id, claude.oauth.redirect_port) == ("me", 8080)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "it has no `command`"),
        ({"type": "http"}, "it has no `url`"),
        ({"url": "https://x", "type": "carrier-pigeon"}, "its `type` cannot be used"),
        ({"command": "x", "args": "-v"}, "a list of texts was wanted"),
        ({"command": "x", "env": ["A=1"]}, "texts by name were wanted"),
        ({"command": "x", "url": "https://x", "type": "stdio"}, "only one can be meant"),
        ({"command": "x", "timeout": -1}, "its `timeout` cannot be used"),
        ({"command": ["x"]}, "its `command` cannot be used"),
        ({"command": "x", "oauth": {"color": "red"}}, "`color`"),
    ],
)
def test_a_server_that_cannot_be_used_says_why_and_affects_no_other(
    table: dict[str, Any], problem: str
) -> None:
    bad, good = parse_servers({"bad": table, "good": {"command": "x"}}, "x")

    assert problem in bad.problem
    assert not good.problem


@pytest.mark.parametrize("text", ["", "[]", "{", '{"mcpServers": 1}', '{"a": 1}', "\0", "null"])
def test_a_file_that_is_no_file_of_servers_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(BadSettings, match=r"x\.json"):
        parse_json(text.encode(), "x.json")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers()
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    ["command", "args", "env", "url", "type", "headers", "timeout", "disabled", "oauth", "tools"]
)


@pytest.mark.slow
@given(st.dictionaries(st.text(), st.dictionaries(keys | st.text(), json_values)))
def test_every_server_of_any_file_is_usable_or_says_why(
    tables: dict[str, dict[str, Any]],
) -> None:
    servers = parse_servers(tables, "x")

    assert len({each.config.name for each in servers}) == len(tables)
    for each in servers:
        usable = bool(each.config.command) != bool(each.config.url)
        assert usable or each.problem


@given(json_values, st.sampled_from(["", " ", "// a, }\n", "/* ] */", "\n"]))
def test_json_means_the_same_with_comments_and_trailing_commas(value: Any, insertion: str) -> None:
    plain_text = json.dumps({"mcpServers": {"a": {"x": value, "y": []}}}, indent=1)
    lines = plain_text.split("\n")
    # Before each line that closes something, a comma and a comment; the first line has none before.
    commented_text = "\n".join(
        f"{insertion},{insertion}\n{line}"
        if line.strip(" ,") in {"}", "]"} and not previous_line.endswith(("{", "[", ","))
        else f"{insertion}\n{line}"
        for previous_line, line in zip(["{", *lines], lines, strict=False)
    )
    assert parse_json(commented_text.encode(), "x") == parse_json(plain_text.encode(), "x")


@given(st.lists(st.text(), unique=True))
def test_names_are_legal_and_distinct(names: list[str]) -> None:
    legal = legal_names(names)

    assert len(set(legal.values())) == len(names)
    assert all(
        set(name) <= set(string.ascii_letters + string.digits + "_-") for name in legal.values()
    )
    assert all(legal.values())


def test_a_name_that_is_legal_stays() -> None:
    assert legal_names(["a-b", "a b", "a_b"])["a_b"] == "a_b"
    assert legal_names(["My Server"]) == {"My Server": "My_Server"}


# References


def test_references_are_filled_in() -> None:
    table = {"A": "1", "EMPTY": ""}

    def find(reference: Reference) -> str | None:
        return "s3cret" if reference.kind == "secret" else table.get(reference.name)

    assert interpolate("${A}-${env:A}-${B:-two}-${EMPTY:-three}-${EMPTY}", find) == "1-1-two-three-"
    assert interpolate("${keyring:service/name/with}", find) == "s3cret"
    config = ServerConfig(name="a", env={"K": "${A}"}, oauth=OAuth(client_secret="${A}"))
    assert interpolate(config, find).env == {"K": "1"}
    assert interpolate(config, find).oauth.client_secret == "1"
    assert [each.name for each in find_references(config)] == ["A", "A"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${A}", "the variable A is not set"),
        ("${keyring:a/b}", "the keyring holds no a/b"),
        ("${input:key}", "${input:key} is nothing that can be filled in here"),
        ("${}", "is nothing that can be filled in"),
    ],
)
def test_a_missing_value_is_named(text: str, problem: str) -> None:
    with pytest.raises(MissingReference) as error_info:
        interpolate(text, lambda _: None)
    assert problem in str(error_info.value)


def test_a_reference_that_another_program_would_fill_in_is_not_looked_up() -> None:
    with pytest.raises(MissingReference):
        interpolate("${workspaceFolder:a}", lambda _: "anything")


@given(st.text(), st.text())
def test_a_value_that_was_filled_in_is_not_parsed_again(text: str, value: str) -> None:
    plain = text.replace("$", "")
    assert interpolate(f"{plain}${{A}}", lambda _: value) == plain + value


# Places of files


class Home:
    """The folders of a user, and a working folder of an unknown owner."""

    def __init__(self, root: Path) -> None:
        self.environ = {"XDG_CONFIG_HOME": str(root / "c"), "XDG_DATA_HOME": str(root / "d")}
        self.own = root / "c/antiphon"
        self.cwd = root / "work"
        for folder in (self.own, self.cwd):
            folder.mkdir(parents=True)

    def write(self, file: Path, **servers: Any) -> Path:
        file.write_text(json.dumps({"mcpServers": servers}))
        return file

    def find(self, config: str | None = None) -> discovery.DiscoveredServers:
        settings = load_with_origins({"config": config}, self.environ, self.cwd).settings
        return discovery.find_servers(settings, self.environ, self.cwd)

    def names(self, config: str | None = None) -> list[str]:
        return [each.config.name for each in self.find(config).servers]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_file_that_is_named_is_used_alone(home: Home) -> None:
    home.write(home.own / "mcp.json", mine={"command": "x"})
    home.write(home.cwd / "server_config.json", given={"command": "y", "cwd": "sub"})

    assert home.names() == ["mine"]
    assert home.names("server_config.json") == ["given"]
    (server,) = home.find("server_config.json").servers
    assert server.config.cwd == str(home.cwd / "sub")
    with pytest.raises(BadSettings, match=r"none\.json cannot be read"):
        home.find("none.json")


def test_servers_of_the_user_start_in_a_folder_of_the_user(home: Home) -> None:
    home.write(home.own / "mcp.json", a={"command": "x"}, b={"command": "x", "cwd": "${PWD}"})
    (home.own / "antiphon.toml").write_text('[servers.c]\ncommand = "x"\n')
    project_file = home.write(home.cwd / ".mcp.json", d={"command": "x"})
    tables = discovery.read_foreign_tables(project_file)
    discovery.open_approvals(home.environ).approve(project_file, tables)
    home.write(home.cwd / "named.json", e={"command": "x"})

    configs = {each.config.name: each.config for each in home.find().servers}
    own_file = home.write(home.own / "other.json", f={"command": "x"})
    (named_server,) = home.find("named.json").servers
    (other_server,) = home.find(str(own_file)).servers

    own_folder = str(home.own.parents[1] / "d/antiphon/mcp")
    assert [configs[name].start_folder for name in "abc"] == [own_folder] * 3
    assert (configs["d"].start_folder, named_server.config.start_folder) == ("", "")
    assert other_server.config.start_folder == own_folder
    assert configs["a"].origin == ServerConfig(name="a", command="x").origin  # so grants stay


async def test_code_of_the_working_folder_does_not_run_as_a_server_of_the_user(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    theft = home.cwd / "stolen"
    (home.cwd / "mcp_server_bees.py").write_text(f"open({str(theft)!r}, 'w')")
    command = {"command": sys.executable, "args": ["-m", "mcp_server_bees"]}
    home.write(home.own / "mcp.json", bees=command)
    monkeypatch.chdir(home.cwd)
    (bees,) = home.find().servers

    async with AsyncMcpServerPool([bees.config], delays=()) as pool:
        (state,) = await pool.ready(60)

    assert state.status == "failed"
    assert not theft.exists()


async def test_a_server_whose_folder_cannot_be_created_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = ServerConfig(
        name="bees", command=sys.executable, start_folder=str(tmp_path / "file/mcp")
    )

    async with AsyncMcpServerPool([config], delays=()) as pool:
        (state,) = await pool.ready(60)

    assert state.status == "failed"
    assert "file/mcp, which cannot be made: Not a directory; give it a `cwd`" in state.why


def test_a_server_may_be_given_the_working_folder(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.write(home.own / "mcp.json", a={"command": "x", "args": ["${PWD}"], "cwd": "${PWD}"})
    monkeypatch.chdir(home.cwd)

    stale_environ = {**home.environ, "PWD": "/somewhere/else"}
    usable = resolve_servers(Settings(), home.find(), environ=stale_environ)

    (a,) = usable.configs
    assert (a.args, a.cwd) == ((str(home.cwd),), str(home.cwd))


def test_tables_of_the_users_settings_complete_the_users_json(home: Home) -> None:
    home.write(home.own / "mcp.json", a={"command": "x", "args": ["1"], "disabled": True})
    (home.own / "antiphon.toml").write_text(
        '[servers.a]\nenabled = true\ntrusted = true\nexclude = ["rm*"]\ntimeout = 2000\n'
        '[servers.b]\nurl = "https://x"\nmode = "legacy"\nroots = ["~/notes"]\nbackend = true\n'
    )

    a, b = (each.config for each in home.find().servers)
    assert (a.command, a.enabled, a.trusted, a.exclude, a.timeout) == (
        "x",
        True,
        True,
        ("rm*",),
        2000,
    )
    assert (b.transport, b.mode, b.roots, b.backend) == ("http", "legacy", ("~/notes",), True)


def test_a_project_starts_nothing_until_it_was_approved(home: Home) -> None:
    file = home.write(home.cwd / ".mcp.json", evil={"command": "rm", "trusted": True})

    result = home.find()
    assert result.servers == ()
    assert {each.file.name: each.servers for each in result.unapproved} == {".mcp.json": ("evil",)}

    approvals = discovery.open_approvals(home.environ)
    approvals.approve(file, discovery.read_foreign_tables(file))
    assert home.names() == ["evil"]
    settings = home.cwd / "antiphon.toml"
    settings.write_text('[servers.too]\ncommand = "rm"\nbackend = true\n')
    with pytest.raises(BadSettings, match="not trusted"):
        home.find()
    trust_file(settings, home.environ)
    assert home.names() == ["evil", "too"]
    assert not any(each.config.trusted or each.config.backend for each in home.find().servers)


@pytest.mark.parametrize("text", ["{", "[]", "\0\xff"])
def test_a_broken_file_of_a_project_does_not_affect_the_users_own_servers(
    home: Home, text: str
) -> None:
    home.write(home.own / "mcp.json", mine={"command": "x"})
    (home.cwd / ".mcp.json").write_text(text)

    result = home.find()
    assert [each.config.name for each in result.servers] == ["mine"]
    assert ".mcp.json" in result.unapproved[0].problem


def test_an_approval_is_of_one_content_in_one_place(home: Home, tmp_path: Path) -> None:
    file = home.write(home.cwd / ".mcp.json", a={"command": "x"})
    discovery.open_approvals(home.environ).approve(file, discovery.read_foreign_tables(file))

    file.write_text(json.dumps({"mcpServers": {"a": {"command": "x"}}}, indent=8))
    assert home.names() == ["a"]
    home.write(file, a={"command": "x", "args": ["-c"]})
    assert home.names() == []
    home.write(file, a={"command": "x"})
    assert home.names() == ["a"]

    home.cwd = tmp_path / "elsewhere"
    home.cwd.mkdir()
    home.write(home.cwd / ".mcp.json", a={"command": "x"})
    assert home.names() == []


def test_a_server_of_a_project_replaces_the_users_own(home: Home) -> None:
    home.write(home.own / "mcp.json", a={"command": "mine"}, b={"command": "mine"})
    (home.own / "antiphon.toml").write_text("[servers.a]\ntrusted = true\n")
    file = home.write(home.cwd / ".mcp.json", a={"command": "theirs"})
    discovery.open_approvals(home.environ).approve(file, discovery.read_foreign_tables(file))

    a, b = (each.config for each in home.find().servers)
    assert (a.command, a.trusted, b.command) == ("theirs", False, "mine")
    assert (a.replaces_own, b.replaces_own) == (True, False)


def test_a_missing_value_disables_one_server_and_no_other(home: Home) -> None:
    home.write(
        home.own / "mcp.json",
        a={"command": "${NOPE}"},
        b={"command": "${B}"},
        off={"command": "${NOPE}", "disabled": True},
    )

    usable = resolve_servers(
        Settings(), home.find(), environ=home.environ | {"B": "b"}, keyring=lambda: None
    )
    assert [config.name for config in usable.configs] == ["b", "off"]
    assert usable.configs[0].command == "b"
    assert [(each.server, each.why) for each in usable.problems] == [
        ("a", "the variable NOPE is not set")
    ]


def test_an_unknown_name_is_reported_with_the_known_ones(home: Home) -> None:
    home.write(home.own / "mcp.json", a={"command": "x"})
    with pytest.raises(NotFound) as error_info:
        home.find().get("b")
    assert error_info.value.details["expected"] == "one of: a"


# The user's own file


def test_the_users_own_file_keeps_its_other_contents(tmp_path: Path) -> None:
    file = tmp_path / "antiphon/mcp.json"
    user_file = UserConfigFile(file)
    user_file.add("first", {"command": "x"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    contents = json.loads(file.read_text())
    contents |= {"shortcut": "Ctrl", "mcpServers": {"z": {"odd": [1]}, **contents["mcpServers"]}}
    file.write_text(json.dumps(contents))
    user_file.add("new", {"url": "https://x"})
    with pytest.raises(InvalidRequest, match="already"):
        user_file.add("new", {"url": "https://y"})
    assert user_file.add("new", {"url": "https://y"}, replace=True)
    assert user_file.remove("first")
    assert not user_file.remove("first")

    assert json.loads(file.read_text()) == {
        "mcpServers": {"z": {"odd": [1]}, "new": {"url": "https://y"}},
        "shortcut": "Ctrl",
    }


def test_a_file_with_comments_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {} // mine\n}')
    with pytest.raises(BadSettings, match="nothing is written"):
        UserConfigFile(file).add("a", {"command": "x"})
    assert "// mine" in file.read_text()


def test_a_server_is_added_to_a_file_of_vs_code_in_its_own_form(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{"servers": {"a": {"command": "x"}}}')
    UserConfigFile(file).add("b", {"command": "y"})
    assert set(json.loads(file.read_text())["servers"]) == {"a", "b"}


def test_a_server_is_switched_off_and_removed_by_the_name_that_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    file.write_text('{"mcpServers": {"my server": {"command": "x", "enabled": true}}, "a": 1}')
    user_file = UserConfigFile(file)

    assert user_file.set_enabled("my_server", enabled=False)
    assert not user_file.set_enabled("another", enabled=False)
    [(name, table)] = parse_json(file.read_bytes(), "here").items()
    assert (name, table) == ("my server", {"command": "x", "disabled": True})
    assert user_file.set_enabled("my_server", enabled=True)
    assert parse_json(file.read_bytes(), "here") == {"my server": {"command": "x"}}
    assert user_file.remove("my_server")
    assert json.loads(file.read_text()) == {"mcpServers": {}, "a": 1}
