"""A setting has one name in four places, and the stronger place wins."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from antiphon.cli.flags import WEB
from antiphon.settings.deprecated import SETTINGS
from antiphon.settings.loading import LoadedSettings, load, load_with_origins
from antiphon.settings.paths import data_folder
from antiphon.settings.settings import MASK, TABLE, Setting, Settings, database_file, mask_value
from antiphon.settings.trust import FolderFile
from antiphon.types.errors import BadSettings

TEXTS: Mapping[str, tuple[str, object]] = {
    "model": ("demo", "demo"),
    "base_url": ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
    "provider_key": ("sk-1", "sk-1"),
    "database": ("memory:", "memory:"),
    "redis": ("rediss://cache.corp:6380/1", "rediss://cache.corp:6380/1"),
    "secret_key": ("c2VjcmV0", "c2VjcmV0"),
    "old_secret_keys": ("b2xk,b2xkZXI=", ("b2xk", "b2xkZXI=")),
    "host": ("::1", "::1"),
    "server": ("https://antiphon.example", "https://antiphon.example"),
    "api_key": ("ak-1", "ak-1"),
    "allow": ("git__status, time__*", ("git__status", "time__*")),
    "ask": ("git__push", ("git__push",)),
    "deny": ("*__drop", ("*__drop",)),
    "config": ("/srv/servers.json", "/srv/servers.json"),
    "allowed_paths": ("/srv/notes,/srv/more", ("/srv/notes", "/srv/more")),
    "webhook_hosts": ("jobs.corp:8080, 10.0.0.0/8", ("jobs.corp:8080", "10.0.0.0/8")),
    "hosted_tools": (
        "web_search=brave/search, code_interpreter=python",
        ("web_search=brave/search", "code_interpreter=python"),
    ),
    "private_hosts": ("wiki.corp:8080, 10.0.0.0/8", ("wiki.corp:8080", "10.0.0.0/8")),
    "allowed_hosts": ("chat.example.org, chat.lan:8443", ("chat.example.org", "chat.lan:8443")),
    "allowed_origins": (
        "https://shop.example.org, app://shop:80",
        ("https://shop.example.org", "app://shop:80"),
    ),
    "artifact_origin": ("https://artifacts.example.org", "https://artifacts.example.org"),
    "public_url": ("https://chat.example.org", "https://chat.example.org"),
    "oidc_issuer": ("https://id.example.org/realm", "https://id.example.org/realm"),
    "oidc_client_id": ("antiphon", "antiphon"),
    "oidc_client_secret": ("hush", "hush"),
    "oidc_admins": ("ann@example.org,bob@example.org", ("ann@example.org", "bob@example.org")),
    "proxy_user_header": ("Remote-User", "Remote-User"),
    "trusted_proxies": ("127.0.0.1, 10.0.0.0/8", ("127.0.0.1", "10.0.0.0/8")),
    "title_model": ("openai:gpt-5-nano", "openai:gpt-5-nano"),
    "transcription_model": ("openai:whisper-1", "openai:whisper-1"),
    "speech_model": ("openai:tts-1", "openai:tts-1"),
    "speech_voice": ("nova", "nova"),
    "web_title": ("Our chat", "Our chat"),
    "status_line": ("{model} | {cost}", "{model} | {cost}"),
}
"""Text and value of each setting that is a text or a list; `_example` finds those of numbers,
switches and words."""


def _example(name: str, kind: Any) -> tuple[str, object]:
    """Return an example of a setting of this type: its text and its value, not the default."""
    default = getattr(Settings(), name)
    if get_origin(kind) is Literal:
        word = next(word for word in get_args(kind) if word != default)
        return word, word
    if kind is bool:
        return str(not default).lower(), not default
    if {int, float} & {kind, *get_args(kind)}:
        number = (default or 1) * 2
        return str(number), number
    return TEXTS[name]


EXAMPLES = {
    name: _example(name, kind) for name, kind in get_type_hints(Settings).items() if name in TABLE
}
every_setting = pytest.mark.parametrize("setting", TABLE.values(), ids=lambda setting: setting.name)


class Place:
    """A home and a project to read settings in."""

    def __init__(self, root: Path) -> None:
        self.home, self.project = root / "home", root / "project"
        self.own_file = self.home / ".config/antiphon/antiphon.toml"
        self.file = self.project / "antiphon.toml"
        self.own_file.parent.mkdir(parents=True)
        self.project.mkdir()

    def gather(
        self,
        flags: Mapping[str, str | None] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> LoadedSettings:
        folders = {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
        }
        return load_with_origins(
            flags or {}, {**folders, **(environ or {})}, self.project, decide=_accept_usable
        )


def _accept_usable(file: FolderFile) -> bool:
    """Let the file count as if it were trusted; one that cannot be used is refused."""
    if file.fault is not None:
        raise file.fault
    return True


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def find_setting(loaded: LoadedSettings, setting: Setting) -> tuple[object, str]:
    return getattr(loaded.settings, setting.name), loaded.origins[setting.name]


@every_setting
def test_the_example_of_a_setting_is_not_its_default(setting: Setting) -> None:
    assert EXAMPLES[setting.name][1] != getattr(Settings(), setting.name)


@every_setting
def test_a_setting_can_be_given_in_the_file_as_a_text(place: Place, setting: Setting) -> None:
    text, value = EXAMPLES[setting.name]
    place.own_file.write_text(f'{setting.name} = "{text}"\n')

    assert find_setting(place.gather(), setting) == (value, str(place.own_file))


@every_setting
def test_a_setting_can_be_given_in_the_file_in_its_own_type(place: Place, setting: Setting) -> None:
    text, value = EXAMPLES[setting.name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    value_text = text if number else json.dumps(value)
    place.own_file.write_text(f"{setting.name} = {value_text}\n")

    assert find_setting(place.gather(), setting) == (value, str(place.own_file))


@every_setting
def test_a_setting_can_be_given_in_the_environment(place: Place, setting: Setting) -> None:
    text, value = EXAMPLES[setting.name]

    assert find_setting(place.gather(environ={setting.variable: text}), setting) == (
        value,
        setting.variable,
    )


@every_setting
def test_a_setting_can_be_given_as_a_flag(place: Place, setting: Setting) -> None:
    text, value = EXAMPLES[setting.name]

    assert find_setting(place.gather({setting.name: text}), setting) == (value, setting.flag)


@every_setting
def test_without_any_of_them_the_default_holds(place: Place, setting: Setting) -> None:
    value, origin = find_setting(place.gather(), setting)

    assert origin == "default"
    assert setting.name == "database" or value == getattr(Settings(), setting.name)


def test_the_file_in_the_working_folder_opens_that_folder_alone(place: Place) -> None:
    place.file.write_text('allowed_paths = ["notes", "."]\n')
    assert place.gather().settings.allowed_paths == (
        str(place.project / "notes"),
        str(place.project),
    )

    for path in ("..", "~", "/", "notes/../.."):
        place.file.write_text(f'allowed_paths = ["notes", "{path}"]\n')
        with pytest.raises(BadSettings, match="outside its folder"):
            place.gather()


def test_a_link_in_the_working_folder_leads_no_root_out(place: Place) -> None:
    (place.project / "notes").symlink_to(place.home)
    place.file.write_text('allowed_paths = ["notes"]\n')

    with pytest.raises(BadSettings, match="outside its folder"):
        place.gather()


def test_the_file_in_the_working_folder_opens_no_private_host(place: Place) -> None:
    place.file.write_text('private_hosts = ["127.0.0.1"]\n')

    with pytest.raises(BadSettings, match="may be anybody's"):
        place.gather()


def test_the_file_in_the_working_folder_allows_no_tool(place: Place) -> None:
    place.file.write_text('allow = ["*"]\n')

    with pytest.raises(BadSettings, match="may be anybody's"):
        place.gather()


@pytest.mark.parametrize("name", ["allow", "ask", "deny"])
def test_what_one_place_says_of_tools_no_other_takes_back(place: Place, name: str) -> None:
    place.own_file.write_text(f'{name} = ["git__*", "b"]\n')
    environ = {f"ANTIPHON_{name.upper()}": "b,c"}
    if name != "allow":
        place.file.write_text(f'{name} = ["here__*"]\n')

    rules = getattr(place.gather({name: "d,git__*"}, environ).settings, name)

    here = () if name == "allow" else ("here__*",)
    assert rules == ("git__*", "b", *here, "c", "d")


def test_folders_are_those_of_the_place_that_names_them(place: Place) -> None:
    place.own_file.write_text('allowed_paths = ["~/notes", "more"]\n')

    assert place.gather().settings.allowed_paths == (
        str(place.home / "notes"),
        str(place.own_file.parent / "more"),
    )
    assert place.gather({"allowed_paths": "here"}).settings.allowed_paths == (
        str(place.project / "here"),
    )


def test_mcp_servers_of_the_working_folder_are_kept_apart_from_ones_own(place):
    place.own_file.write_text('[servers.mine]\ncommand = "a"\n')
    place.file.write_text('[servers.theirs]\ncommand = "b"\n')

    settings = place.gather().settings
    assert settings.servers == {"mine": {"command": "a"}}
    assert settings.foreign_servers == {"theirs": {"command": "b"}}


def test_a_file_in_the_working_folder_may_not_name_a_file_of_servers(place):
    place.file.write_text('config = "servers.json"\n')
    with pytest.raises(BadSettings, match="may not name `config`"):
        place.gather()

    place.file.unlink()
    assert place.gather({"config": "servers.json"}).settings.config == str(
        place.project / "servers.json"
    )


@pytest.mark.parametrize("name", sorted(set(WEB) - {"web_streams", "web_rate", "web_title"}))
def test_a_file_that_may_be_anybodys_does_not_say_whom_the_web_chat_lets_in(
    place: Place, name: str
) -> None:
    place.file.write_text(f'{name} = "{EXAMPLES[name][0]}"')

    with pytest.raises(BadSettings, match=f"may not name `{name}`"):
        place.gather()


def test_every_setting_can_be_given_from_outside() -> None:
    assert {*Settings.__struct_fields__} == {
        *TABLE,
        "providers",
        "foreign_base_url",
        "foreign_providers",
        "servers",
        "foreign_servers",
        "hooks",
        "typed_allow",
    }


def test_rules_of_the_command_line_are_distinguished_from_those_of_files(place: Place) -> None:
    place.own_file.write_text('allow = ["git__*"]')
    settings = place.gather({"allow": "time__*"}, {"ANTIPHON_ALLOW": "a__*"}).settings

    assert settings.allow == ("git__*", "a__*", "time__*")
    assert settings.typed_allow == ("time__*",)


def test_the_stronger_place_wins(place: Place) -> None:
    def model(flag: str | None, variable: str) -> str | None:
        return place.gather({"model": flag}, {"ANTIPHON_MODEL": variable}).settings.model

    place.own_file.write_text('model = "own"')
    assert model(None, "") == "own"
    place.file.write_text('model = "project"')
    assert model(None, "") == "project"
    assert model(None, "variable") == "variable"
    assert model("flag", "variable") == "flag"


def test_provider_tables_of_both_files_are_joined_by_name(place: Place) -> None:
    place.own_file.write_text('[providers.a]\nbase_url = "1"\n[providers.b]\nbase_url = "2"\n')
    place.file.write_text('[providers.b]\nbase_url = "3"\n')

    tables = place.gather().settings.providers
    assert {name: table["base_url"] for name, table in tables.items()} == {"a": "1", "b": "3"}


@pytest.mark.parametrize(
    "table", ['key_env = "AWS_SECRET_ACCESS_KEY"', 'base_url = "https://h/{AWS_SECRET_ACCESS_KEY}"']
)
def test_a_table_in_the_folder_names_no_variable_of_the_environment(
    place: Place, table: str
) -> None:
    place.file.write_text(f"[providers.openai]\n{table}\n")

    with pytest.raises(BadSettings, match="may not name variables") as error_info:
        place.gather()
    assert str(place.own_file) in error_info.value.details["hint"]


@pytest.mark.parametrize("field", ["key_parameter", "key_header"])
def test_a_table_in_the_folder_does_not_say_where_a_key_of_the_user_is_sent(
    place: Place, field: str
) -> None:
    place.file.write_text(f'[providers.openai]\n{field} = "key"\n')

    with pytest.raises(BadSettings, match="may not say where a key of yours") as error_info:
        place.gather()
    assert str(place.own_file) in error_info.value.details["hint"]


def test_a_server_of_the_folder_may_want_its_key_in_the_address(place: Place) -> None:
    place.file.write_text('[providers.theirs]\nbase_url = "https://h/v1"\nkey_parameter = "key"\n')

    table = place.gather().settings.providers["theirs"]

    assert (table["key_parameter"], table["key"], table["key_env"]) == ("key", None, None)


def test_a_table_of_the_users_own_names_any_variable(place: Place) -> None:
    place.own_file.write_text(
        '[providers.mine]\nbase_url = "https://{HOST}/v1"\nkey_env = "MINE"\n'
    )

    assert place.gather().settings.providers["mine"]["key_env"] == "MINE"


def test_the_users_own_folder_is_not_any_folder(place: Place) -> None:
    place.own_file.write_text('[providers.mine]\nbase_url = "https://h/v1"\nkey_env = "MINE"\n')
    place.project = place.own_file.parent

    assert place.gather().settings.providers["mine"]["key_env"] == "MINE"


def test_a_known_provider_at_an_address_of_the_folder_has_no_key_of_its_own(place: Place) -> None:
    place.file.write_text('[providers.openai]\nbase_url = "https://h/v1"\n')

    table = place.gather().settings.providers["openai"]

    assert (table["key"], table["key_env"]) == (None, None)


@pytest.mark.parametrize(("address", "key"), [("base_url", "provider_key"), ("server", "api_key")])
def test_an_address_of_the_folder_is_not_given_the_users_own_key(
    place: Place, address: str, key: str
) -> None:
    place.own_file.write_text(f'{address} = "https://mine"\n{key} = "secret"\n')
    assert getattr(place.gather().settings, key) == "secret"

    place.file.write_text(f'{address} = "https://other"\n')
    assert getattr(place.gather().settings, key) is None

    place.file.write_text(f'{address} = "https://other"\n{key} = "theirs"\n')
    assert getattr(place.gather().settings, key) == "theirs"


def test_a_base_url_is_foreign_where_the_folder_named_it(place: Place) -> None:
    place.file.write_text('base_url = "https://other"\n')

    assert place.gather().settings.foreign_base_url
    assert not place.gather({"base_url": "https://mine"}).settings.foreign_base_url


def test_the_default_database_is_in_the_users_data_folder(place: Place, tmp_path: Path) -> None:
    assert database_file(place.gather().settings) == (
        place.home / ".local/share/antiphon/antiphon.db"
    )
    settings = place.gather(environ={"XDG_DATA_HOME": str(tmp_path)}).settings
    assert database_file(settings) == tmp_path / "antiphon/antiphon.db"


def test_settings_made_by_hand_mean_the_same_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)

    assert Settings(model="demo").database == load({}, {"HOME": str(tmp_path)}, tmp_path).database


def test_a_relative_xdg_folder_is_ignored() -> None:
    assert data_folder({"HOME": "/home/a", "XDG_DATA_HOME": "here"}) == data_folder(
        {"HOME": "/home/a"}
    )


def test_reading_settings_makes_no_folder(place: Place) -> None:
    place.gather()

    assert not (place.home / ".local").exists()


def test_a_relative_database_belongs_to_the_place_that_named_it(place: Place) -> None:
    place.own_file.write_text('database = "sqlite:///mine.db"')
    assert database_file(place.gather().settings) == place.own_file.parent / "mine.db"
    settings = place.gather({"database": "sqlite:///here.db"}).settings
    assert database_file(settings) == place.project / "here.db"


@pytest.mark.parametrize(
    ("address", "file"),
    [("sqlite:////srv/a.db", "/srv/a.db"), ("sqlite:///~/a.db", "HOME/a.db"), ("memory:", None)],
)
def test_a_database_is_a_file_or_memory(place: Place, address: str, file: str | None) -> None:
    expected = Path(file.replace("HOME", str(place.home))) if file else None

    assert database_file(place.gather({"database": address}).settings) == expected


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("database", "chats.db", "did you mean sqlite:///chats.db?"),
        ("database", "mysql://a/b", None),
        ("database", "sqlite://", None),
        ("port", "eighty", None),
        ("port", "65536", None),
        ("chunk_timeout", "0", None),
        ("chunk_timeout", "nan", None),
        ("max_parallel_tools", "1.5", None),
        ("base_url", "127.0.0.1:11434", None),
        ("server", "http://", None),
        ("login", "everybody", None),
        ("public_url", "https://chat.example.org/below", None),
        ("proxy_user_header", "X-User\r\nX-Admin", None),
    ],
)
def test_a_bad_value_is_refused_with_what_is_wanted_and_where_it_came_from(
    place: Place, name: str, text: str, hint: str | None
) -> None:
    with pytest.raises(BadSettings) as error_info:
        place.gather(environ={TABLE[name].variable: text})

    assert TABLE[name].variable in error_info.value.message
    assert error_info.value.details["received"] == repr(text)
    assert error_info.value.details["expected"]
    assert error_info.value.details.get("hint") == hint


def test_a_database_of_a_server_is_taken_as_it_is_written(place: Place) -> None:
    address = "postgresql://ann:s%40cret@db.corp:5433/antiphon?sslmode=require"

    assert place.gather({"database": address}).settings.database == address


def test_a_database_that_cannot_be_understood_is_refused_without_its_password(
    place: Place,
) -> None:
    for address in ("postgresql:ann:secret@db/antiphon", "postgresql://ann:sec/ret@db/antiphon"):
        with pytest.raises(BadSettings) as error_info:
            place.gather({"database": address})

        assert "%2F" in error_info.value.details["hint"]
        assert "ret@" not in f"{error_info.value} {error_info.value.details}"


def test_an_address_that_is_refused_is_reported_without_its_password(place: Place) -> None:
    with pytest.raises(BadSettings) as error_info:
        place.gather({"redis": "http://ann:secret@cache"})

    assert error_info.value.details["received"] == "'http://****@cache'"


def test_a_folder_says_nothing_about_redis_for_what_people_write_would_go_there(
    place: Place,
) -> None:
    place.file.write_text('redis = "redis://somewhere"')

    with pytest.raises(BadSettings, match="redis"):
        place.gather()


def test_an_unknown_setting_in_a_file_is_refused_with_the_nearest_name(place: Place) -> None:
    place.file.write_text("chunk-timout = 3\n")

    with pytest.raises(BadSettings, match="chunk-timout") as error_info:
        place.gather()
    assert error_info.value.details["hint"] == "did you mean `chunk_timeout`?"
    assert str(place.file) in error_info.value.message


@pytest.mark.parametrize("content", [b"model = ", b"\xff\xfe", b'providers = "x"'])
def test_a_file_that_is_no_settings_is_refused_by_name(place: Place, content: bytes) -> None:
    place.file.write_bytes(content)

    with pytest.raises(BadSettings) as error_info:
        place.gather()
    assert str(place.file) in error_info.value.message


def test_a_secret_of_the_wrong_kind_is_refused_without_being_shown(place: Place) -> None:
    place.file.write_text("provider_key = 123456\n")

    with pytest.raises(BadSettings) as error_info:
        place.gather()
    assert "123456" not in f"{error_info.value} {error_info.value.details}"


def test_secrets_and_passwords_are_masked_where_settings_are_shown() -> None:
    assert mask_value(TABLE["api_key"], "ak-1") == MASK
    assert mask_value(TABLE["base_url"], "http://ann:pw@host/v1") == f"http://{MASK}@host/v1"
    assert mask_value(TABLE["port"], 8000) == 8000
    assert mask_value(TABLE["api_key"], None) is None


def test_loading_gives_the_settings_alone(place: Place) -> None:
    loaded = load({"port": "1"}, {"HOME": str(place.home)}, place.project)

    assert loaded.port == 1


@pytest.mark.parametrize("name", [row.name for row in TABLE.values() if row.several])
def test_one_text_is_not_several(name: str) -> None:
    text: Any = "/srv"  # letter by letter it would name the folder `/`

    with pytest.raises(TypeError, match=f"`{name}` is a tuple of texts"):
        Settings(**{name: text})


# Old names work for one more version.

OLD_EXAMPLES: Mapping[str, tuple[str, object]] = {
    "beat": ("0.5", 0.5),
    "demo_pace": ("20", 0.05),
    "grace": ("3", 3.0),
    "hosts": ("chat.example.org,chat.lan", ("chat.example.org", "chat.lan")),
    "lease": ("9", 9.0),
    "max_runs": ("7", 7),
    "max_tools": ("2", 2),
    "refresh": ("calm", "reduced"),
    "roots": ("/srv/notes", ("/srv/notes",)),
    "sweep": ("0.5", 0.5),
    "trace_providers": ("true", True),
}
every_old_name = pytest.mark.parametrize("old", OLD_EXAMPLES)


def test_there_is_an_example_of_every_old_name_and_each_names_a_setting() -> None:
    assert set(OLD_EXAMPLES) == set(SETTINGS)
    assert {renamed.name for renamed in SETTINGS.values()} <= set(TABLE)
    assert not set(SETTINGS) & set(TABLE)


@every_old_name
def test_an_old_name_works_in_every_place_and_the_new_one_is_named(place: Place, old: str) -> None:
    text, value = OLD_EXAMPLES[old]
    setting = TABLE[SETTINGS[old].name]
    end = "; the old name goes with the next version."

    place.own_file.write_text(f'{old} = "{text}"\n')
    loaded = place.gather()
    assert find_setting(loaded, setting) == (value, str(place.own_file))
    expected = (
        f"`{old}` in {place.own_file} is called `{setting.name}` in {place.own_file} now{end}"
    )
    assert loaded.warnings == [expected]
    place.own_file.unlink()

    loaded = place.gather(environ={f"ANTIPHON_{old.upper()}": text})
    assert find_setting(loaded, setting) == (value, f"ANTIPHON_{old.upper()}")
    assert loaded.warnings == [f"ANTIPHON_{old.upper()} is called {setting.variable} now{end}"]

    loaded = place.gather({old: text})
    assert find_setting(loaded, setting) == (value, f"--{old.replace('_', '-')}")
    assert loaded.warnings == [f"--{old.replace('_', '-')} is called {setting.flag} now{end}"]


def test_the_new_name_wins_over_the_old_one_in_one_place_and_says_so(place: Place) -> None:
    environ = {"ANTIPHON_GRACE": "3", "ANTIPHON_SHUTDOWN_TIMEOUT": "5"}
    loaded = place.gather(environ=environ)

    assert find_setting(loaded, TABLE["shutdown_timeout"]) == (5.0, "ANTIPHON_SHUTDOWN_TIMEOUT")
    [warning] = loaded.warnings
    assert warning.startswith("ANTIPHON_GRACE is ignored, because ANTIPHON_SHUTDOWN_TIMEOUT")

    place.own_file.write_text("shutdown_timeout = 4\ngrace = 3\n")
    loaded = place.gather({"grace": "6", "shutdown_timeout": "7"}, environ)
    assert loaded.settings.shutdown_timeout == 7
    assert len(loaded.warnings) == 3


def test_a_stronger_place_wins_by_whichever_name(place: Place) -> None:
    place.own_file.write_text("shutdown_timeout = 4\n")

    assert place.gather({"grace": "6"}).settings.shutdown_timeout == 6


def test_a_bad_value_of_an_old_name_is_refused_by_that_name(place: Place) -> None:
    for old, text in (("grace", "none"), ("refresh", "reduced"), ("demo_pace", "fast")):
        with pytest.raises(BadSettings, match=f"`{old}` from ANTIPHON_{old.upper()}"):
            place.gather(environ={f"ANTIPHON_{old.upper()}": text})


def test_a_folder_may_not_do_by_an_old_name_what_the_new_one_may_not(place: Place) -> None:
    place.file.write_text('hosts = ["chat.example.org"]\n')
    with pytest.raises(BadSettings, match=r"may not name `hosts`"):
        place.gather()

    place.file.write_text('roots = ["/"]\n')
    with pytest.raises(BadSettings, match=r"`roots` may not name"):
        place.gather()


def test_an_old_name_in_an_untrusted_file_that_does_not_count_warns_of_nothing(
    place: Place,
) -> None:
    place.file.write_text("grace = 3\n")
    loaded = load_with_origins({}, {"HOME": str(place.home)}, place.project, decide=lambda _: False)

    assert (loaded.settings.shutdown_timeout, loaded.warnings) == (10, [])


def test_old_names_work_in_python_with_a_warning_that_names_the_caller(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="`grace` is called `shutdown_timeout`") as records:
        assert Settings(grace=3).shutdown_timeout == 3  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert [warning.filename for warning in records] == [__file__]

    with pytest.warns(DeprecationWarning, match="`hosts` is ignored, because `allowed_hosts`"):
        settings = Settings(hosts=("a",), allowed_hosts=("b",))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert settings.allowed_hosts == ("b",)

    with pytest.warns(DeprecationWarning, match="`refresh` is called `animation`"):
        assert settings.refresh == "normal"  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

    environ = {"HOME": str(tmp_path), "ANTIPHON_LEASE": "3"}
    with pytest.warns(DeprecationWarning, match="ANTIPHON_LEASE is called") as records:
        load({}, environ, tmp_path)
    assert [warning.filename for warning in records] == [__file__]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("shutdown_timout", "; did you mean `shutdown_timeout`?"),
        ("max_tool", "; did you mean `max_parallel_tools`?"),
        ("x", ""),
    ],
)
def test_an_unknown_keyword_is_refused_with_the_nearest_name(name: str, suggestion: str) -> None:
    with pytest.raises(TypeError) as error_info:
        Settings(**{name: 3})  # type: ignore[arg-type]
    assert str(error_info.value) == f"there is no setting `{name}`{suggestion}"


@pytest.mark.parametrize("template", ["{model} {branch}", "{model", "}", "two\nlines", "{0}"])
def test_a_status_line_with_an_unknown_part_is_refused_with_the_list(
    place: Place, template: str
) -> None:
    with pytest.raises(BadSettings) as error_info:
        place.gather(environ={"ANTIPHON_STATUS_LINE": template})

    assert (
        "status_line" in error_info.value.full_message
        or "ANTIPHON_STATUS_LINE" in error_info.value.full_message
    )
    assert "{folder} or {git_branch}" in error_info.value.full_message
