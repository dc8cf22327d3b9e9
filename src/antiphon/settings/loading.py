"""Loads the settings from flags, environment and files, with the origin of each value.

A file in the working folder may come from anybody: except for the looks of the chat, nothing in it
counts until a person has seen and trusted it. Even then it may not set anything that gives access
to this machine.
"""

from __future__ import annotations

import errno
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from antiphon.settings import deprecated
from antiphon.settings.hooks import read_hooks
from antiphon.settings.paths import config_folder, from_home
from antiphon.settings.settings import (
    MASK,
    SQLITE,
    TABLE,
    Settings,
    default_database,
    flag_name,
    nearest_setting,
    sqlite_address,
    variable_name,
    without_password,
)
from antiphon.settings.trust import (
    FolderFile,
    digest,
    open_trust_record,
    read_regular,
    trust_required_error,
)
from antiphon.types.errors import BadSettings, InvalidRequest

PROVIDER_KEY = "ANTIPHON_PROVIDER_KEY"
"""The only variable that a file in the working folder may send to its own addresses."""
_KEY_OF = {"base_url": "provider_key", "server": "api_key"}
_Tables = dict[str, dict[str, Any]]
_POSTGRES = re.compile(r"postgres(ql)?://([^/?#@\s]*@)?[^/?#@\s]*(/[^?#@\s]*)?(\?[^#\s]*)?\Z")
_UNQUOTED = 'a text needs quotes: model = "demo"'
_TABLED = {
    "providers": "tables such as [providers.mine]",
    "servers": "tables such as [servers.files]",
    "foreign_servers": "tables such as [servers.files]",
}
"""Settings made of tables, and examples of their headers."""
_IN_FILES = ("providers", "servers", "hooks")
_FILE = "antiphon.toml"
UNTRUSTED = frozenset({"theme", "color", "ascii", "screen_reader", "plain", "keys", "animation"})
"""Settings that count in an untrusted file: looks and key bindings of the chat.

Every other setting, including new ones, needs trust.
"""

TrustDecision = Callable[[FolderFile], bool]
"""Returns whether an untrusted file of the working folder counts this time.

It may ask a person. False continues without the file.
"""


class LoadedSettings(msgspec.Struct, frozen=True):
    """Settings, and the origin of each value by name.

    `folder_file` is the working folder's file, if there is one; `counted` is true if it was read
    into the settings. `warnings` has a sentence for each old name of a setting that was used.
    """

    settings: Settings
    origins: Mapping[str, str]
    folder_file: FolderFile | None = None
    counted: bool = False
    warnings: Sequence[str] = ()


def refuse_untrusted(file: FolderFile) -> bool:
    """Raise the reason why the file does not count, where no person can be asked."""
    raise file.fault or trust_required_error(file)


def load(
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    cwd: Path,
    *,
    config_file: Path | None = None,
) -> Settings:
    """Load the settings: a flag overrides the environment, that TOML, that the default.

    `flags` holds the values of the command line by setting name, None for flags that were not
    given. The `antiphon.toml` in `cwd` overrides the one in the user's config folder. As a folder
    may come from anybody, it counts only once a person has trusted it, and its addresses never
    receive a key of another address. A `config_file` is read in its place, and may set whatever the
    user's own file may. An empty variable counts as unset. Raises `BadSettings` with the place to
    fix, or with the file that is not trusted.
    """
    loaded = load_with_origins(flags, environ, cwd, config_file=config_file)
    for text in loaded.warnings:
        deprecated.warn(text)
    return loaded.settings


def load_with_origins(
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    cwd: Path,
    *,
    config_file: Path | None = None,
    decide: TrustDecision = refuse_untrusted,
) -> LoadedSettings:
    """Like `load`, with the origin of each value. `decide` is called for an untrusted file."""
    values: dict[str, Any] = {}
    origins = dict.fromkeys([*TABLE, *_TABLED, "hooks"], "default")
    foreign: list[str] = []
    own = _own_file(environ)
    own_folder = _is_own(cwd / _FILE, own)
    found = None if config_file or own_folder else _folder_file(cwd / _FILE, own, environ)
    file, theirs = found or (None, ())
    counted = file is not None and _is_counted(file, environ, decide)
    theirs = theirs if counted else ()
    named = () if config_file is None else _from_file(cwd / config_file, named=True)
    mine = (*_from_file(own), *named)
    typed = {name: text for name, text in flags.items() if text is not None}
    everything = (
        *mine,
        *theirs,
        *_read_environment(environ, cwd),
        *_read_place(typed, flag_name, flag_name, cwd),
    )
    for given in everything:
        if given.name == "providers" and given in theirs:
            foreign += [name for name, table in given.value.items() if "base_url" in table]
        if given.origin == flag_name("allow"):
            values["typed_allow"] = _convert_value(given, environ, None)
        values[given.name] = _convert_value(given, environ, values.get(given.name))
        origins[given.name] = given.origin
    of_folder = {given.origin for given in theirs}
    for address, key in _KEY_OF.items():
        if origins[address] in of_folder and origins[key] == str(own):
            del values[key]
            origins[key] = "default"
    values["foreign_base_url"] = origins["base_url"] in of_folder
    values["foreign_providers"] = frozenset(foreign)
    if "database" not in values:
        values["database"] = default_database(environ)
    warnings = [given.warning for given in everything if given.warning]
    return LoadedSettings(Settings(**values), origins, file, counted=counted, warnings=warnings)


def read_folder_file(file: Path, environ: Mapping[str, str]) -> FolderFile:
    """Read a settings file that a folder brings, whether it is trusted or not.

    Raises `BadSettings` for one that cannot be used, and `InvalidRequest` for the user's own.
    """
    own = _own_file(environ)
    if _is_own(file, own):
        raise InvalidRequest(f"{file} is your own, and counts without being trusted")
    found = _folder_file(file, own, environ)
    if found is None:
        raise BadSettings(f"{file} cannot be read: {os.strerror(errno.ENOENT)}")
    folder_file, _ = found
    if folder_file.fault is not None:
        raise folder_file.fault
    return folder_file


class _RawValue(msgspec.Struct, frozen=True):
    name: str
    value: Any
    origin: str
    folder: Path  # what a relative path in the value is relative to
    given_as: str  # the name by which it was set: the setting's, or its old one
    warning: str | None = None


def _read_environment(environ: Mapping[str, str], cwd: Path) -> Iterator[_RawValue]:
    set_variables = {
        name: text
        for name in (*deprecated.SETTINGS, *TABLE)
        if (text := environ.get(variable_name(name)))
    }
    return _read_place(set_variables, variable_name, variable_name, cwd)


def _read_place(
    given: Mapping[str, Any],
    origin: Callable[[str], str],
    shown: Callable[[str], str],
    folder: Path,
) -> Iterator[_RawValue]:
    """Yield the values of one place under the settings' new names, with warnings for old ones."""
    warnings: dict[str, str] = {}
    for old in given:
        if old in deprecated.SETTINGS:
            new = deprecated.SETTINGS[old].name
            warnings[new] = deprecated.explain_renamed(shown(old), shown(new), both=new in given)
    for name, value in given.items():
        if name not in deprecated.SETTINGS:
            yield _RawValue(name, value, origin(name), folder, name, warnings.get(name))
            continue
        new, convert = deprecated.SETTINGS[name]
        if new not in given:
            yield _RawValue(new, convert(value), origin(name), folder, name, warnings[new])


def _is_own(file: Path, own: Path) -> bool:
    return file == own or file.parent.resolve() == own.parent.resolve()


def _folder_file(
    file: Path, own: Path, environ: Mapping[str, str]
) -> tuple[FolderFile, Sequence[_RawValue]] | None:
    """Return the working folder's file, read once, and its settings; None where there is none."""
    content = b""
    try:
        content = read_regular(file)
        given = _parse(file, content)
        wants = tuple(each.name for each in given if each.name not in UNTRUSTED)
        harmless = [_HARMLESS.get(each.name, _accept)(each, own) for each in given]
        for each in harmless:
            _convert_value(each, environ, None)
        return FolderFile(file, content, wants), harmless
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        problem = BadSettings(f"{file} cannot be read: {error.strerror}")
    except BadSettings as error:
        problem = error
    return FolderFile(file, content, fault=problem), ()


def _is_counted(file: FolderFile, environ: Mapping[str, str], decide: TrustDecision) -> bool:
    """Return whether the file is read into the settings. Raises `BadSettings`."""
    if file.fault is None and (
        not file.wants or open_trust_record(environ).covers(file.path, digest(file.content))
    ):
        return True
    return decide(file)


def _from_file(file: Path, *, named: bool = False) -> Sequence[_RawValue]:
    """Return what a file of the user's own sets; one that was `named` has to be there."""
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if named:
            raise BadSettings(f"{file} cannot be read: {error.strerror}") from error
        return ()
    except OSError as error:
        raise BadSettings(f"{file} cannot be read: {error}") from error
    return _parse(file, content)


def _parse(file: Path, content: bytes) -> Sequence[_RawValue]:
    try:
        values = tomllib.loads(content.decode("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{file} cannot be read: {error}", hint=_UNQUOTED) from error
    except (ValueError, RecursionError) as error:
        raise BadSettings(f"{file} cannot be read: {error}") from error
    for name in values:
        if name not in TABLE and name not in _IN_FILES and name not in deprecated.SETTINGS:
            near = nearest_setting(name, [*TABLE, *_IN_FILES])
            hint = f"did you mean `{near}`?" if near else "`antiphon config` shows all settings."
            raise BadSettings(f"{file}: there is no setting `{name}`", received=name, hint=hint)
    return list(
        _read_place(values, lambda name: str(file), lambda name: f"`{name}` in {file}", file.parent)
    )


def _accept(given: _RawValue, own: Path) -> _RawValue:
    return given


def _harmless_paths(given: _RawValue, own: Path) -> _RawValue:
    """Check that a folder's file opens only paths in its own folder."""
    here = given.folder.resolve()
    for path in _convert_value(given, {}, None):
        if not Path(path).resolve().is_relative_to(here):
            raise BadSettings(
                f"{given.origin}: `{given.given_as}` may not name what is outside its folder.",
                expected=f"folders below {here}",
                received=repr(path),
                hint=f"{own}, which is your own, may name any.",
            )
    return given


def _reject(given: _RawValue, own: Path) -> _RawValue:
    raise BadSettings(
        f"{given.origin} may not name `{given.given_as}`, for the file may be anybody's.",
        hint=f"{own}, which is your own, may.",
    )


def _foreign_servers(given: _RawValue, own: Path) -> _RawValue:
    """Keep the MCP servers of a folder's file apart, because each starts a program."""
    return msgspec.structs.replace(given, name="foreign_servers")


def _harmless_providers(given: _RawValue, own: Path) -> _RawValue:
    """Restrict the providers of a folder's file, which may send secrets to its addresses.

    It may name only the one environment variable for this purpose. A known provider at an address
    of the file does not get its own key. At its own address it gets it, in the usual place: a query
    or another header may be logged.
    """
    tables: _Tables = _convert(given, _Tables, _TABLED[given.name])
    for name, table in tables.items():
        if table.get("key_env", PROVIDER_KEY) != PROVIDER_KEY or "{" in str(table.get("base_url")):
            raise BadSettings(
                f"{given.origin}: [providers.{name}] may not name variables of the environment.",
                expected=f"key_env = {PROVIDER_KEY!r}, or none; no braces in base_url",
                hint=f"A table in {own}, which is your own, may name any.",
            )
        placed = [field for field in ("key_header", "key_parameter") if table.get(field)]
        if placed and "base_url" not in table:
            raise BadSettings(
                f"{given.origin}: [providers.{name}] may not say where a key of yours is sent.",
                expected=f"a base_url in the same table, or no {placed[0]}",
                received=f"{placed[0]} alone",
                hint=f"A table in {own}, which is your own, may.",
            )
    keyless = {"key": None, "key_env": None}
    return msgspec.structs.replace(
        given,
        value={
            name: {**(keyless if "base_url" in table else {}), **table}
            for name, table in tables.items()
        },
    )


def _harmless_database(given: _RawValue, own: Path) -> _RawValue:
    """Check that a folder's file names a local database, so that no text leaves the machine."""
    return given if str(given.value).startswith(("sqlite:", "memory:")) else _reject(given, own)


_HARMLESS: Mapping[str, Callable[[_RawValue, Path], _RawValue]] = {
    "providers": _harmless_providers,
    "database": _harmless_database,
    "allowed_paths": _harmless_paths,
    "private_hosts": _reject,
    "webhook_hosts": _reject,
    "config": _reject,
    "web_mcp_programs": _reject,  # a page could start programs
    "web_dictation": _reject,  # the maker of a browser may get what is said
    "transcription_model": _reject,  # its provider gets what is said
    "speech_model": _reject,  # its provider gets what is read aloud
    "redis": _reject,  # it would receive what people write
    "allow": _reject,
    "backend_mcp": _reject,
    "hosted_tools": _reject,
    "servers": _foreign_servers,
    "hooks": _reject,  # they are programs
    "secret_key": _reject,
    "old_secret_keys": _reject,
    "log_content": _reject,
    "login": _reject,  # this and what follows controls access to the web chat
    "allowed_hosts": _reject,
    "allowed_origins": _reject,
    "max_token_age": _reject,
    "sharing": _reject,  # strangers could read conversations
    "max_share_lifetime": _reject,
    "publishing": _reject,
    "public_url": _reject,
    "artifact_origin": _reject,
    "oidc_issuer": _reject,
    "oidc_client_id": _reject,
    "oidc_client_secret": _reject,
    "oidc_admins": _reject,
    "proxy_user_header": _reject,
    "trusted_proxies": _reject,
}


def _own_file(environ: Mapping[str, str]) -> Path:
    return config_folder(environ) / _FILE


def _convert_value(given: _RawValue, environ: Mapping[str, str], weaker: Any) -> Any:
    """Return the value of a setting, with what only the weaker place says.

    Tables are merged by name, each whole; rules are added to the weaker place's.
    """
    if given.name in _IN_FILES or given.name in _TABLED:
        return _convert_tables(given, environ, weaker)
    setting = TABLE[given.name]
    if setting.several and isinstance(given.value, str):
        texts = [text.strip() for text in given.value.split(",")]
        given = msgspec.structs.replace(given, value=texts)
    value = _convert(given, setting.kind, setting.wanted, secret=setting.secret)
    match given.name:
        case "database":
            return _database(given, environ)
        case "allow" | "ask" | "deny":  # no place cancels what another one denies
            return tuple(dict.fromkeys([*(weaker or ()), *value]))
        case "allowed_paths":
            return tuple(str(given.folder / from_home(path, environ)) for path in value)
        case "config":
            return str(given.folder / from_home(value, environ))
        case _:
            return value


def _convert_tables(given: _RawValue, environ: Mapping[str, str], weaker: Any) -> Any:
    if given.name == "hooks":  # no place cancels what another one checks
        hooks = read_hooks(given.value, given.origin, given.folder.absolute(), environ)
        return (*(weaker or ()), *hooks)
    return (weaker or {}) | _convert(given, _Tables, _TABLED[given.name])


def _convert(given: _RawValue, kind: Any, wanted: str, *, secret: bool = False) -> Any:
    try:
        return msgspec.convert(given.value, kind, strict=not isinstance(given.value, str))
    except msgspec.ValidationError as error:
        raise _unusable_error(given, wanted, secret=secret) from error


def _unusable_error(
    given: _RawValue, wanted: str, *, secret: bool = False, hint: str | None = None
) -> BadSettings:
    return BadSettings(
        f"`{given.given_as}` from {given.origin} cannot be used",
        expected=wanted,
        received=MASK if secret else repr(without_password(given.value)),
        hint=hint,
    )


def _database(given: _RawValue, environ: Mapping[str, str]) -> str:
    """Return the database's address with an absolute path, which does not depend on the folder."""
    text: str = given.value
    wanted = TABLE["database"].meaning
    hint: str | None
    path = text.removeprefix(SQLITE)
    if text == "memory:":
        return text
    if text.startswith(SQLITE) and path:
        return sqlite_address(given.folder / from_home(path, environ))
    if _POSTGRES.match(text):
        return text
    if text.startswith(("postgresql:", "postgres:")):
        hint = "what is no letter or digit in a user or a password is written as %40, %2F, ..."
        # Such an address holds a password.
        raise _unusable_error(given, wanted, secret=True, hint=hint)
    hint = None if ":" in text else f"did you mean sqlite:///{text}?"
    raise _unusable_error(given, wanted, hint=hint)
