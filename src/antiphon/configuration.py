"""Reads the settings in force, from flags, environment and files; says where each came from.

A file in the working folder may be anybody's: it may choose, and neither open nor send anything.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from antiphon.errors import BadSettings
from antiphon.folders import config_folder, from_home
from antiphon.settings import (
    MASK,
    SQLITE,
    TABLE,
    Settings,
    own_database,
    sqlite_address,
    without_password,
)

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


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and for each name where its value came from."""

    settings: Settings
    origins: Mapping[str, str]


def load(flags: Mapping[str, str | None], environ: Mapping[str, str], cwd: Path) -> Settings:
    """The settings in force: a flag beats the environment, that beats TOML, that beats the default.

    `flags` holds what was given on the command line by setting name, None for what was not. The
    `antiphon.toml` in `cwd` beats the one in the user's config folder; since a folder may come from
    anybody, an address in it is never given a key that was meant for another. An empty variable
    counts as unset. Raises `BadSettings`, which names the place that is to be mended.
    """
    return gather(flags, environ, cwd).settings


def gather(flags: Mapping[str, str | None], environ: Mapping[str, str], cwd: Path) -> Loaded:
    """As `load`, and where each value came from."""
    values: dict[str, Any] = {}
    origins = dict.fromkeys([*TABLE, *_TABLED], "default")
    foreign: list[str] = []
    for given in _given(flags, environ, cwd):
        if given.name == "providers" and given.origin != str(_own_file(environ)):
            foreign += [name for name, table in given.value.items() if "base_url" in table]
        values[given.name] = _read(given, environ, values.get(given.name))
        origins[given.name] = given.origin
    own, found = str(_own_file(environ)), str(cwd / _FILE)
    for address, key in _KEY_OF.items():
        if origins[address] == found and origins[key] == own:
            del values[key]
            origins[key] = "default"
    values["foreign_base_url"] = origins["base_url"] == found
    values["foreign_providers"] = frozenset(foreign)
    if "database" not in values:
        values["database"] = own_database(environ)
    return Loaded(Settings(**values), origins)


class _Given(msgspec.Struct, frozen=True):
    name: str
    value: Any
    origin: str
    folder: Path  # what a relative path in the value is relative to


def _given(
    flags: Mapping[str, str | None], environ: Mapping[str, str], cwd: Path
) -> Iterator[_Given]:
    """What was set where, the weakest place first."""
    own, found = _own_file(environ), cwd / _FILE
    yield from _from_file(own)
    if found != own:
        for given in _from_file(found):
            yield _HARMLESS.get(given.name, _as_it_is)(given, own)
    for setting in TABLE.values():
        if text := environ.get(setting.variable):
            yield _Given(setting.name, text, setting.variable, cwd)
    for name, flag in flags.items():
        if flag is not None:
            yield _Given(name, flag, TABLE[name].flag, cwd)


def _from_file(file: Path) -> Iterator[_Given]:
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        raise BadSettings(f"{file} cannot be read: {error}") from error
    for name, value in values.items():
        if name not in TABLE and name not in _IN_FILES:
            raise _unknown(name, file)
        yield _Given(name, value, str(file), file.parent)


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
