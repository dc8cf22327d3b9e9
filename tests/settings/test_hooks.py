"""Hooks are read from the user's own settings, and from nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.settings.hooks import Hook
from antiphon.settings.loading import load_with_origins
from antiphon.settings.settings import Settings
from antiphon.types.errors import BadSettings
from tests.support.trust import trust_file


class Home:
    """A home with settings of its own, and a folder to work in."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config" / "antiphon"
        self.work = root / "work"
        self.config.mkdir(parents=True)
        self.work.mkdir()
        self.own_file = self.config / "antiphon.toml"
        self.environ = {
            "HOME": str(root),
            "XDG_CONFIG_HOME": str(root / "config"),
            "XDG_DATA_HOME": str(root / "data"),
        }

    def load(self, **options: Path) -> Settings:
        return load_with_origins({}, self.environ, self.work, **options).settings


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_hooks_come_in_order_with_their_defaults_and_the_folder_of_their_file(home: Home) -> None:
    home.own_file.write_text(
        '[[hooks]]\nwhen = "before"\ncommand = ["./check.sh", "~/notes", "~other"]\n'
        '[[hooks]]\nwhen = "after"\ntools = ["files__*"]\ncommand = ["fmt"]\ntimeout = 5\n'
    )

    folder = str(home.config)
    assert home.load().hooks == (
        Hook(
            when="before",
            command=("./check.sh", str(home.root / "notes"), "~other"),
            tools=("*",),
            timeout=30.0,
            folder=folder,
        ),
        Hook(when="after", command=("fmt",), tools=("files__*",), timeout=5.0, folder=folder),
    )


def test_a_file_that_is_named_adds_to_the_users_own_and_cancels_none(home: Home) -> None:
    home.own_file.write_text('[[hooks]]\nwhen = "before"\ncommand = ["mine"]\n')
    named_file = home.root / "named.toml"
    named_file.write_text('[[hooks]]\nwhen = "after"\ncommand = ["more"]\n')

    hooks = home.load(config_file=named_file).hooks

    assert [(each.command, each.folder) for each in hooks] == [
        (("mine",), str(home.config)),
        (("more",), str(home.root)),
    ]
    named_file.write_text("hooks = []\n")
    assert len(home.load(config_file=named_file).hooks) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('hooks = "rm -rf /"', "`hooks` from"),
        ('[hooks]\nwhen = "before"', "`hooks` from"),
        ("hooks = [1]", "`hooks` from"),
        ('[[hooks]]\ncommand = ["x"]', "missing required field `when`"),
        ('[[hooks]]\nwhen = "before"', "missing required field `command`"),
        ('[[hooks]]\nwhen = "during"\ncommand = ["x"]', "during"),
        ('[[hooks]]\nwhen = "before"\ncommand = "x y"', "`array`"),
        ('[[hooks]]\nwhen = "before"\ncommand = []', "length >= 1"),
        ('[[hooks]]\nwhen = "before"\ncommand = [""]', "begins with the name"),
        ('[[hooks]]\nwhen = "before"\ncommand = ["x", "\\u0000"]', "null"),
        ('[[hooks]]\nwhen = "before"\ncommand = ["x"]\ntools = []', "length >= 1"),
        ('[[hooks]]\nwhen = "before"\ncommand = ["x"]\ntools = "git__*"', "`array`"),
        ('[[hooks]]\nwhen = "before"\ncommand = ["x"]\ntimeout = 0', "> 0"),
        ('[[hooks]]\nwhen = "before"\ncommand = ["x"]\ntool = ["a"]', "`tool`"),
        ('[[hooks]]\nwhen = "before"\ncommand = ["x"]\nfolder = "/"', "`folder`"),
        ('[[hooks]]\nwhen = "before"\ncommand = ["x"]\n[[hooks]]\nwhen = 1', "hook 2 from"),
    ],
)
def test_a_wrong_hook_is_named_with_what_is_wrong(home: Home, text: str, expected: str) -> None:
    home.own_file.write_text(f"{text}\n")

    with pytest.raises(BadSettings) as error_info:
        home.load()

    assert expected in error_info.value.message
    assert str(home.own_file) in error_info.value.message
    assert "[[hooks]]" in error_info.value.details["expected"]


HOSTILE = '[[hooks]]\nwhen = "before"\ncommand = ["./steal.sh"]\n'


@pytest.mark.parametrize("trusted", [False, True])
def test_hooks_of_the_working_folder_are_refused_even_if_it_is_trusted(
    home: Home, trusted: bool
) -> None:
    file = home.work / "antiphon.toml"
    file.write_text(HOSTILE)
    if trusted:
        trust_file(file, home.environ)

    with pytest.raises(BadSettings, match="may not name `hooks`"):
        home.load()


def test_a_folder_without_trust_cannot_cancel_the_users_hooks(home: Home) -> None:
    home.own_file.write_text('[[hooks]]\nwhen = "before"\ncommand = ["mine"]\n')
    (home.work / "antiphon.toml").write_text("hooks = []\n")

    loaded = load_with_origins({}, home.environ, home.work, decide=lambda file: False)

    assert [each.command for each in loaded.settings.hooks] == [("mine",)]


def test_hooks_cannot_be_given_by_a_variable(home: Home) -> None:
    home.environ["ANTIPHON_HOOKS"] = '[{"when": "before", "command": ["x"]}]'

    assert home.load().hooks == ()
