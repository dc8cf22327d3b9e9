"""Permanent grants: private to the owner, and none from a file of another user."""

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from antiphon.tools.permissions import SETTLED_SECONDS, GrantsFile
from antiphon.tools.questions import ModelServer, ToolGrant, ToolIdentity
from antiphon.types.errors import BadSettings
from antiphon.types.messages import Hints


def make_tool(own_name: str = "push", server: str = "git", description: str = "") -> ToolIdentity:
    return ToolIdentity(
        server=server,
        origin="uvx git",
        own_name=own_name,
        description=description,
        parameters={"type": "object", "default": 1.0},
        hints=Hints(read_only=True),
    )


def list_tools(grants: Iterable[ToolGrant | None]) -> list[ToolIdentity]:
    """Return only the tools of these grants."""
    return [each.tool for each in grants if each is not None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data/antiphon/grants.json"


def test_where_there_is_no_file_nothing_is_allowed(file: Path):
    grants = GrantsFile(file)

    assert grants.all() == []
    assert grants.find("git", "push") is None
    assert not file.parent.exists()


def test_the_file_may_be_named_by_a_text(file: Path):
    GrantsFile(str(file)).add([make_tool()])

    assert list_tools(GrantsFile(file).all()) == [make_tool()]


def test_what_is_added_is_known_to_whoever_reads_the_file(file: Path):
    GrantsFile(file).add([make_tool(), make_tool("pull")])

    other = GrantsFile(file)

    assert list_tools([other.find("git", "push")]) == [make_tool()]
    assert other.find("git", "drop") is None
    assert list_tools(other.all()) == [make_tool(), make_tool("pull")]


def test_a_program_that_runs_already_sees_what_another_one_adds(file: Path):
    grants = GrantsFile(file)
    grants.add([make_tool()])

    GrantsFile(file).add([make_tool("pull")])

    assert list_tools([grants.find("git", "pull")]) == [make_tool("pull")]


@pytest.fixture
def opened_paths() -> Iterator[list[str]]:
    """Yield the paths of the files that are opened, from Python's audit events."""
    paths: list[str] = []
    is_listening = True

    def record_open(event: str, arguments: tuple[object, ...]) -> None:
        if is_listening and event == "open":
            paths.append(str(arguments[0]))

    sys.addaudithook(record_open)  # a hook stays for good, so a flag ends its work
    yield paths
    is_listening = False


def test_a_file_that_has_not_changed_is_not_read_again(file: Path, opened_paths: list[str]):
    grants = GrantsFile(file)
    grants.add([make_tool()])
    wait_until_settled(file)
    grants.find("git", "push")
    opened_paths.clear()

    for _ in range(100):
        assert grants.find("git", "push") is not None
        assert len(grants.all()) == 1

    assert str(file) not in opened_paths


@pytest.mark.parametrize("is_settled", [True, False])
def test_what_another_program_revokes_is_asked_about_at_once(file: Path, is_settled: bool):
    grants = GrantsFile(file)
    grants.add([make_tool()])
    if is_settled:
        wait_until_settled(file)
    assert grants.find("git", "push") is not None

    GrantsFile(file).revoke("git")
    assert grants.find("git", "push") is None

    grants.add([make_tool()])
    assert grants.find("git", "push") is not None
    file.unlink()
    assert grants.all() == []


def wait_until_settled(file: Path) -> None:
    """Wait until the next change of the file shows in its times."""
    while time.time() - file.stat().st_ctime <= SETTLED_SECONDS:
        pass


def test_a_tool_that_is_allowed_again_is_allowed_as_it_is_now(file: Path):
    grants = GrantsFile(file)
    grants.add([make_tool(), make_tool("pull")])

    grants.add([make_tool(description="new")])

    assert list_tools(grants.all()) == [make_tool("pull"), make_tool(description="new")]


def test_what_is_revoked_is_asked_about_again(file: Path):
    grants = GrantsFile(file)
    grants.add([make_tool("a"), make_tool("b"), make_tool("c"), make_tool("a", server="hub")])

    assert grants.revoke("git", "a") == 1
    assert list_tools(grants.all()) == [
        make_tool("b"),
        make_tool("c"),
        make_tool("a", server="hub"),
    ]
    assert grants.revoke("git") == 2
    assert list_tools(grants.all()) == [make_tool("a", server="hub")]
    assert grants.revoke("nobody") == 0


def test_only_the_owner_may_read_it(file: Path):
    mask = os.umask(0)
    try:
        GrantsFile(file).add([make_tool()])
    finally:
        os.umask(mask)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.with_suffix(".lock").stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert {each.name for each in file.parent.iterdir()} == {"grants.json", "grants.lock"}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"grants":[{}]}', b'{"grants":1}', b"\xff\xfe", b"\0" * 100]
)
def test_a_file_that_is_broken_allows_nothing_says_so_once_and_stays_as_it_is(
    file: Path, content: bytes
):
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    file.chmod(0o600)
    warnings: list[str] = []
    grants = GrantsFile(file, warnings.append)

    assert grants.all() == []
    assert grants.find("git", "push") is None
    with pytest.raises(BadSettings, match="cannot be read, so nothing in it is allowed"):
        grants.add([make_tool()])
    with pytest.raises(BadSettings):
        grants.revoke("git")
    assert file.read_bytes() == content
    assert len(warnings) == 1
    assert str(file) in warnings[0]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_a_file_that_others_may_write_allows_nothing_and_says_so(file: Path, mode: int):
    warnings: list[str] = []
    GrantsFile(file).add([make_tool()])
    file.chmod(mode)
    grants = GrantsFile(file, warnings.append)

    assert grants.find("git", "push") is None
    with pytest.raises(BadSettings, match="can be written by others"):
        grants.add([make_tool("pull")])
    assert len(warnings) == 1

    file.chmod(0o600)
    assert list_tools([grants.find("git", "push")]) == [make_tool()]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_somebody_else_allows_nothing(file: Path):
    GrantsFile(file).add([make_tool()])
    os.chown(file, 12345, -1)

    assert GrantsFile(file).all() == []


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path):
    (tmp_path / "data").write_text("a file")

    with pytest.raises(BadSettings, match="cannot be saved"):
        GrantsFile(tmp_path / "data/grants.json").add([make_tool()])


def test_a_write_that_fails_leaves_what_was_there(file: Path):
    grants = GrantsFile(file)
    grants.add([make_tool()])
    unencodable_tool = make_tool("odd", description="\ud800")

    with pytest.raises(BadSettings, match="cannot be saved"):
        grants.add([unencodable_tool])

    assert list_tools(grants.all()) == [make_tool()]
    assert {each.name for each in file.parent.iterdir()} == {"grants.json", "grants.lock"}


ADD_GRANTS = """
import sys
from collections.abc import Iterable
from pathlib import Path
from antiphon.types.messages import Hints
from antiphon.tools.permissions import GrantsFile
from antiphon.tools.questions import ToolIdentity

grants = GrantsFile(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()  # until all have started
for number in range(20):
    grants.add([ToolIdentity(server=sys.argv[2], origin="", own_name=str(number), description="",
                      parameters={}, hints=Hints())])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock")
def test_programs_that_allow_something_at_once_lose_nothing(file: Path):
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", ADD_GRANTS, file, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in ("one", "two", "three")
    ]
    for program in programs:
        assert program.stdout
        program.stdout.readline()
    for program in programs:
        assert program.stdin
        program.stdin.write(b"go\n")
        program.stdin.flush()
    exit_codes = [program.communicate(timeout=60) and program.returncode for program in programs]

    assert exit_codes == [0, 0, 0]
    assert len(GrantsFile(file).all()) == 60


OWN_SERVER, STRANGER = (
    ModelServer("openai", "https://api.openai.com"),
    ModelServer("", "http://stranger"),
)


def test_what_is_allowed_is_allowed_for_one_model_server(file: Path):
    grants = GrantsFile(file)
    grants.add([make_tool()], OWN_SERVER)

    assert list_tools([grants.find("git", "push", OWN_SERVER)]) == [make_tool()]
    assert grants.find("git", "push", STRANGER) is None
    assert grants.find("git", "push") is None

    grants.add([make_tool()], STRANGER)
    grants.add([make_tool(description="new")], STRANGER)
    assert list_tools([grants.find("git", "push", OWN_SERVER)]) == [make_tool()]
    assert [each.asked_by for each in grants.all()] == [OWN_SERVER, STRANGER]
    assert grants.revoke("git", "push") == 2


def test_what_was_allowed_before_model_servers_were_told_apart_counts_for_none(file: Path):
    GrantsFile(file).add([make_tool(), make_tool("pull")])
    content = json.loads(file.read_bytes())
    for each in content["grants"]:
        del each["asked_by"]
    file.write_text(json.dumps(content))
    grants = GrantsFile(file)

    assert grants.find("git", "push") is None
    assert [each.asked_by for each in grants.all()] == [None, None]

    grants.add([make_tool()], OWN_SERVER)
    assert [(each.own_name, each.asked_by) for each in grants.all()] == [
        ("pull", None),
        ("push", OWN_SERVER),
    ]
