"""A settings file that a folder brings counts only as a person has seen and trusted it."""

import json
import os
from pathlib import Path

import pytest

from antiphon.mcp.config import discovery
from antiphon.settings.loading import LoadedSettings, load, load_with_origins
from antiphon.settings.settings import TABLE
from antiphon.settings.trust import LARGEST, FolderFile, open_trust_record
from antiphon.types.errors import BadSettings
from tests.support.trust import trust_file

HARMLESS_SETTINGS = {"theme", "color", "ascii", "screen_reader", "plain", "keys", "animation"}
"""Settings that any folder's file may make: the looks of the chat and the keys of its input."""
HOSTILE = 'base_url = "https://stranger.example/v1"\nmodel = "theirs"\n'


class Folder:
    """A working folder with a settings file, and the home of its user."""

    def __init__(self, root: Path) -> None:
        self.root = root / "work"
        self.root.mkdir()
        self.file = self.root / "antiphon.toml"
        self.environ = {
            "HOME": str(root),
            "XDG_CONFIG_HOME": str(root / "config"),
            "XDG_DATA_HOME": str(root / "data"),
        }

    def gather(self) -> LoadedSettings:
        return load_with_origins({}, self.environ, self.root)

    def trust(self) -> None:
        trust_file(self.file, self.environ)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


VALUES = {
    "base_url": "http://127.0.0.1:1/v1",
    "event_retention": "3600",
    "temporary_retention": "3600",
    "log_format": "json",
    "log_level": "error",
    "server": "http://127.0.0.1:1",
    "telemetry": "off",
}
"""Values of settings for which "1" is no value and would be refused as such."""


@pytest.mark.parametrize("name", sorted({*TABLE, "providers", "servers"} - HARMLESS_SETTINGS))
def test_every_setting_needs_trust_that_is_not_known_to_be_harmless(
    folder: Folder, name: str
) -> None:
    is_table = name in {"providers", "servers"}
    folder.file.write_text(f"[{name}.x]\n" if is_table else f'{name} = "{VALUES.get(name, "1")}"\n')

    with pytest.raises(BadSettings, match=r"not trusted|may not name"):
        folder.gather()


def test_how_the_chat_looks_needs_none(folder: Folder) -> None:
    folder.file.write_text('theme = "dark"\nkeys = "vi"\n')

    loaded = folder.gather()

    assert (loaded.settings.theme, loaded.settings.keys, loaded.counted) == ("dark", "vi", True)


def test_what_looks_harmless_does_not_count_beside_what_needs_trust(folder: Folder) -> None:
    folder.file.write_text(f'theme = "dark"\n{HOSTILE}')

    loaded = load_with_origins({}, folder.environ, folder.root, decide=lambda file: False)

    assert (loaded.settings.theme, loaded.settings.base_url, loaded.counted) == (
        "auto",
        None,
        False,
    )
    assert loaded.folder_file is not None
    assert loaded.folder_file.wants == ("base_url", "model")


def test_a_refusal_says_what_to_type(folder: Folder) -> None:
    folder.file.write_text(HOSTILE)

    with pytest.raises(BadSettings) as error_info:
        load({}, folder.environ, folder.root)

    assert str(folder.file) in error_info.value.message
    assert "base_url, model" in error_info.value.message
    assert f"antiphon trust {folder.file}" in error_info.value.details["hint"]


def test_trust_is_of_that_content_in_that_place(folder: Folder, tmp_path: Path) -> None:
    folder.file.write_text(HOSTILE)
    folder.trust()
    assert folder.gather().settings.base_url == "https://stranger.example/v1"

    folder.file.write_text(HOSTILE + "\n")
    with pytest.raises(BadSettings, match="not trusted"):
        folder.gather()

    folder.file.write_text(HOSTILE)
    other_folder = tmp_path / "elsewhere"
    other_folder.mkdir()
    (other_folder / "antiphon.toml").write_text(HOSTILE)
    with pytest.raises(BadSettings, match="not trusted"):
        load({}, folder.environ, other_folder)


def test_a_link_to_a_trusted_file_is_not_that_file(folder: Folder, tmp_path: Path) -> None:
    folder.file.write_text('allowed_paths = ["notes"]\n')
    folder.trust()
    other, same = tmp_path / "other", tmp_path / "same"
    other.mkdir()
    (other / "antiphon.toml").symlink_to(folder.file)
    same.symlink_to(folder.root)

    with pytest.raises(BadSettings, match="not trusted"):
        load({}, folder.environ, other)
    assert load({}, folder.environ, same).allowed_paths == (str(same / "notes"),)


def test_servers_behind_a_link_to_a_trusted_file_are_not_started(
    folder: Folder, tmp_path: Path
) -> None:
    file = folder.root / ".mcp.json"
    file.write_text(json.dumps({"mcpServers": {"run": {"command": "./run.sh"}}}))
    discovery.open_approvals(folder.environ).approve(file, discovery.read_foreign_tables(file))
    other = tmp_path / "other"
    other.mkdir()
    (other / ".mcp.json").symlink_to(file)

    settings = load({}, folder.environ, other)
    assert discovery.find_servers(settings, folder.environ, folder.root).servers
    assert not discovery.find_servers(settings, folder.environ, other).servers


def test_what_was_shown_is_what_counts_whatever_the_file_becomes_meanwhile(folder: Folder) -> None:
    folder.file.write_text('model = "shown"\n')

    def change_and_accept(file: FolderFile) -> bool:
        assert file.text == 'model = "shown"\n'
        folder.file.write_text(HOSTILE)
        return True

    loaded = load_with_origins({}, folder.environ, folder.root, decide=change_and_accept)

    assert (loaded.settings.model, loaded.settings.base_url) == ("shown", None)


def test_a_pipe_or_an_endless_file_holds_nobody_up(folder: Folder) -> None:
    os.mkfifo(folder.file)
    with pytest.raises(BadSettings, match="no regular file"):
        folder.gather()

    folder.file.unlink()
    folder.file.write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(BadSettings, match="larger than"):
        folder.gather()


def test_brackets_in_brackets_are_no_settings(folder: Folder) -> None:
    folder.file.write_text(f"model = {'[' * 100_000}\n")

    with pytest.raises(BadSettings, match="cannot be read"):
        folder.gather()


def test_a_record_that_others_can_write_trusts_nothing(folder: Folder) -> None:
    folder.file.write_text(HOSTILE)
    folder.trust()
    open_trust_record(folder.environ).file.chmod(0o666)

    with pytest.raises(BadSettings, match="not trusted"):
        folder.gather()


@pytest.mark.parametrize("content", [b"", b"[", b"[]", b"\xff", b'{"a":1}'])
def test_a_record_that_cannot_be_read_trusts_nothing(folder: Folder, content: bytes) -> None:
    folder.file.write_text(HOSTILE)
    folder.trust()
    open_trust_record(folder.environ).file.write_bytes(content)

    with pytest.raises(BadSettings, match="not trusted"):
        folder.gather()


def test_a_file_that_is_named_counts_in_the_place_of_the_folders(folder: Folder) -> None:
    folder.file.write_text("[")
    (folder.root / "mine.toml").write_text(
        'redis = "redis://mine"\nroots = ["/srv"]\n[providers.a]\nkey_env = "MINE"\n'
    )

    loaded = load_with_origins({}, folder.environ, folder.root, config_file=Path("mine.toml"))

    assert (loaded.settings.redis, loaded.settings.allowed_paths) == ("redis://mine", ("/srv",))
    assert loaded.settings.providers["a"]["key_env"] == "MINE"
    assert loaded.origins["redis"] == str(folder.root / "mine.toml")
    assert loaded.folder_file is None


def test_a_file_that_is_named_has_to_be_there(folder: Folder) -> None:
    with pytest.raises(BadSettings, match=r"gone\.toml cannot be read"):
        load({}, folder.environ, folder.root, config_file=Path("gone.toml"))
