"""Reads the settings in force, from flags, environment and files; says where each came from.

A file in the working folder may be anybody's: beyond how the chat looks, nothing in it counts
before a person has seen and trusted it. Even then it may not name what opens this machine.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from antiphon.settings.paths import config_folder, from_home
from antiphon.settings.settings import (
    MASK,
    SQLITE,
    TABLE,
    Settings,
    default_database,
    sqlite_address,
    without_password,
)
from antiphon.settings.trust import (
    FolderFile,
    digest,
    open_trust_record,
    read_regular,
    untrusted_error,
)
from antiphon.types.errors import BadSettings, InvalidRequest

PROVIDER_KEY = "ANTIPHON_PROVIDER_KEY"
"""The one variable that a file in the working folder may have sent to the addresses it names."""
_KEY_OF = {"base_url": "provider_key", "server": "api_key"}
_Tables = dict[str, dict[str, Any]]
_POSTGRES = re.compile(r"postgres(ql)?://([^/?#@\s]*@)?[^/?#@\s]*(/[^?#@\s]*)?(\?[^#\s]*)?\Z")
_TABLED = {
    "providers": "tables such as [providers.mine]",
    "servers": "tables such as [servers.files]",
    "foreign_servers": "tables such as [servers.files]",
}
"""What is made of tables, and how these look."""
_IN_FILES = ("providers", "servers")
_FILE = "antiphon.toml"
UNTRUSTED = frozenset({"theme", "color", "ascii", "screen_reader", "plain", "keys", "refresh"})
"""The settings that count in a file that nobody has trusted: how the chat looks, and whose keys
edit its line. Every other setting, a new one too, needs trust.
"""

TrustDecision = Callable[[FolderFile], bool]
"""Says whether a file of the working folder that is not trusted counts all the same, this time: a
person may have been shown it just now. False goes on without the file.
"""


class LoadedSettings(msgspec.Struct, frozen=True):
    """Settings, and for each name where its value came from.

    `folder_file` is the working folder's file where there is one; `counted` says whether it was
    read into the settings.
    """

    settings: Settings
    origins: Mapping[str, str]
    folder_file: FolderFile | None = None
    counted: bool = False


def refuse_untrusted(file: FolderFile) -> bool:
    """Decide where nobody can be asked: raise what keeps the file from counting."""
    raise file.fault or untrusted_error(file)


def load(
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    cwd: Path,
    *,
    config_file: Path | None = None,
) -> Settings:
    """The settings in force: a flag beats the environment, that beats TOML, that beats the default.

    `flags` holds what was given on the command line by setting name, None for what was not. The
    `antiphon.toml` in `cwd` beats the one in the user's config folder; since a folder may come from
    anybody, it counts once a person has trusted it, and an address in it is never given a key that
    was meant for another. A `config_file` is read in its place, and may name whatever the user's
    own may. An empty variable counts as unset. Raises `BadSettings`, which names the place that is
    to be mended, or the file that is not trusted.
    """
    return load_with_origins(flags, environ, cwd, config_file=config_file).settings


def load_with_origins(
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    cwd: Path,
    *,
    config_file: Path | None = None,
    decide: TrustDecision = refuse_untrusted,
) -> LoadedSettings:
    """As `load`, and where each value came from. `decide` is called for a file without trust."""
    values: dict[str, Any] = {}
    origins = dict.fromkeys([*TABLE, *_TABLED], "default")
    foreign: list[str] = []
    own = _own_file(environ)
    own_folder = _is_own(cwd / _FILE, own)
    found = None if config_file or own_folder else _folder_file(cwd / _FILE, own, environ)
    file, theirs = found or (None, ())
    counted = file is not None and _counts(file, environ, decide)
    theirs = theirs if counted else ()
    named = () if config_file is None else _from_file(cwd / config_file, named=True)
    mine = (*_from_file(own), *named)
    for given in (*mine, *theirs, *_given(flags, environ, cwd)):
        if given.name == "providers" and given in theirs:
            foreign += [name for name, table in given.value.items() if "base_url" in table]
        values[given.name] = _read(given, environ, values.get(given.name))
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
    return LoadedSettings(Settings(**values), origins, file, counted=counted)


def look_at(file: Path, environ: Mapping[str, str]) -> FolderFile:
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


class _Given(msgspec.Struct, frozen=True):
    name: str
    value: Any
    origin: str
    folder: Path  # what a relative path in the value is relative to


def _given(
    flags: Mapping[str, str | None], environ: Mapping[str, str], cwd: Path
) -> Iterator[_Given]:
    """Yield what was set in the environment and by flags, the weaker place first."""
    for setting in TABLE.values():
        if text := environ.get(setting.variable):
            yield _Given(setting.name, text, setting.variable, cwd)
    for name, flag in flags.items():
        if flag is not None:
            yield _Given(name, flag, TABLE[name].flag, cwd)


def _is_own(file: Path, own: Path) -> bool:
    return file == own or file.parent.resolve() == own.parent.resolve()


def _folder_file(
    file: Path, own: Path, environ: Mapping[str, str]
) -> tuple[FolderFile, Sequence[_Given]] | None:
    """The file of the working folder, read once, and what it sets; None where there is none."""
    content = b""
    try:
        content = read_regular(file)
        given = _parsed(file, content)
        wants = tuple(each.name for each in given if each.name not in UNTRUSTED)
        harmless = [_HARMLESS.get(each.name, _as_it_is)(each, own) for each in given]
        for each in harmless:
            _read(each, environ, None)
        return FolderFile(file, content, wants), harmless
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        problem = BadSettings(f"{file} cannot be read: {error.strerror}")
    except BadSettings as error:
        problem = error
    return FolderFile(file, content, fault=problem), ()


def _counts(file: FolderFile, environ: Mapping[str, str], decide: TrustDecision) -> bool:
    """Return whether the file is read into the settings. Raises `BadSettings`."""
    if file.fault is None and (
        not file.wants or open_trust_record(environ).covers(file.path, digest(file.content))
    ):
        return True
    return decide(file)


def _from_file(file: Path, *, named: bool = False) -> Sequence[_Given]:
    """Return what a file of the user's own sets; one that was `named` has to be there."""
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if named:
            raise BadSettings(f"{file} cannot be read: {error.strerror}") from error
        return ()
    except OSError as error:
        raise BadSettings(f"{file} cannot be read: {error}") from error
    return _parsed(file, content)


def _parsed(file: Path, content: bytes) -> Sequence[_Given]:
    try:
        values = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadSettings(f"{file} cannot be read: {error}") from error
    for name in values:
        if name not in TABLE and name not in _IN_FILES:
            raise _unknown(name, file)
    return [_Given(name, value, str(file), file.parent) for name, value in values.items()]


def _as_it_is(given: _Given, own: Path) -> _Given:
    return given


def _harmless_roots(given: _Given, own: Path) -> _Given:
    """The folders of a file that may be anybody's: it opens what it lies in, and nothing else."""
    here = given.folder.resolve()
    for root in _read(given, {}, None):
        if not Path(root).resolve().is_relative_to(here):
            raise BadSettings(
                f"{given.origin}: `roots` may not name what is outside its folder.",
                expected=f"folders below {here}",
                received=repr(root),
                hint=f"{own}, which is your own, may name any.",
            )
    return given


def _refused(given: _Given, own: Path) -> _Given:
    raise BadSettings(
        f"{given.origin} may not name `{given.name}`, for the file may be anybody's.",
        hint=f"{own}, which is your own, may.",
    )


def _foreign_servers(given: _Given, own: Path) -> _Given:
    """The MCP servers of a file that may be anybody's: kept apart, for each starts a program."""
    return msgspec.structs.replace(given, name="foreign_servers")


def _harmless_providers(given: _Given, own: Path) -> _Given:
    """The providers of a file that may be anybody's: it has addresses, so it chooses no secrets.

    Of the environment it may name one variable, which is meant for this. A known provider at an
    address of the file's has no key of its own there.
    """
    tables: _Tables = _converted(given, _Tables, _TABLED[given.name])
    for name, table in tables.items():
        if table.get("key_env", PROVIDER_KEY) != PROVIDER_KEY or "{" in str(table.get("base_url")):
            raise BadSettings(
                f"{given.origin}: [providers.{name}] may not name variables of the environment.",
                expected=f"key_env = {PROVIDER_KEY!r}, or none; no braces in base_url",
                hint=f"A table in {own}, which is your own, may name any.",
            )
    keyless = {"key": None, "key_env": None}
    return msgspec.structs.replace(
        given,
        value={
            name: {**(keyless if "base_url" in table else {}), **table}
            for name, table in tables.items()
        },
    )


def _harmless_database(given: _Given, own: Path) -> _Given:
    """A file of this machine: what people write goes to no server that a folder names."""
    return given if str(given.value).startswith(("sqlite:", "memory:")) else _refused(given, own)


_HARMLESS: Mapping[str, Callable[[_Given, Path], _Given]] = {
    "providers": _harmless_providers,
    "database": _harmless_database,
    "roots": _harmless_roots,
    "private_hosts": _refused,
    "config": _refused,
    "redis": _refused,  # what people write would go there
    "allow": _refused,
    "backend_mcp": _refused,
    "servers": _foreign_servers,
    "secret_key": _refused,
    "old_secret_keys": _refused,
    "log_content": _refused,
    "login": _refused,  # what follows says whom the web chat lets in
    "hosts": _refused,
    "public_url": _refused,
    "oidc_issuer": _refused,
    "oidc_client_id": _refused,
    "oidc_client_secret": _refused,
    "oidc_admins": _refused,
    "proxy_user_header": _refused,
    "trusted_proxies": _refused,
}


def _own_file(environ: Mapping[str, str]) -> Path:
    return config_folder(environ) / _FILE


def _unknown(name: str, file: Path) -> BadSettings:
    near = difflib.get_close_matches(name.replace("-", "_"), [*TABLE, *_IN_FILES], n=1)
    hint = f"did you mean `{near[0]}`?" if near else "`antiphon config` shows all settings."
    return BadSettings(f"{file}: there is no setting `{name}`", received=name, hint=hint)


def _read(given: _Given, environ: Mapping[str, str], weaker: Any) -> Any:
    """The value of a setting; `weaker` is what a weaker place said, which tables and rules join."""
    if given.name in _TABLED:
        return (weaker or {}) | _converted(given, _Tables, _TABLED[given.name])
    setting = TABLE[given.name]
    if setting.several and isinstance(given.value, str):
        texts = [text.strip() for text in given.value.split(",")]
        given = msgspec.structs.replace(given, value=texts)
    value = _converted(given, setting.kind, setting.wanted, secret=setting.secret)
    match given.name:
        case "database":
            return _database(given, environ)
        case "allow" | "ask" | "deny":  # no place takes back what another one denies
            return tuple(dict.fromkeys([*(weaker or ()), *value]))
        case "roots":
            return tuple(str(given.folder / from_home(root, environ)) for root in value)
        case "config":
            return str(given.folder / from_home(value, environ))
        case _:
            return value


def _converted(given: _Given, kind: Any, wanted: str, *, secret: bool = False) -> Any:
    try:
        return msgspec.convert(given.value, kind, strict=not isinstance(given.value, str))
    except msgspec.ValidationError as error:
        raise _unusable(given, wanted, secret=secret) from error


def _unusable(
    given: _Given, wanted: str, *, secret: bool = False, hint: str | None = None
) -> BadSettings:
    return BadSettings(
        f"`{given.name}` from {given.origin} cannot be used",
        expected=wanted,
        received=MASK if secret else repr(without_password(given.value)),
        hint=hint,
    )


def _database(given: _Given, environ: Mapping[str, str]) -> str:
    """The address with its path made absolute, so that nobody else needs to know the folder."""
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
        raise _unusable(given, wanted, secret=True, hint=hint)  # such an address holds a password
    hint = None if ":" in text else f"did you mean sqlite:///{text}?"
    raise _unusable(given, wanted, hint=hint)
