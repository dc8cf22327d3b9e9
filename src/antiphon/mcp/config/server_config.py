"""Configuration of MCP servers, and its parser: the common `mcpServers` JSON, and our own tables.

The parser takes bytes and tables and returns servers, with unresolved references. A server that
cannot be parsed does not affect the others. Unknown keys are ignored and reported. `interpolate`
resolves the references. All is pure: variables and secrets come from an argument. Imports no SDK,
so every face can use it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from antiphon.types.errors import BadSettings
from antiphon.types.json_values import is_list, is_object

Transport = Literal["stdio", "http", "sse"]
Mode = Literal["auto", "legacy", "2026-07-28"]
LogLevel = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]


class OAuth(msgspec.Struct, frozen=True, kw_only=True):
    """OAuth client settings for a server that does not advertise them.

    `client_id` and `client_secret` belong to a client registered beforehand, whose authorization
    server may insist on `redirect_port`; `client_metadata_url` is the URL of a client metadata
    document. The grant `client_credentials` needs no person: it presents the secret, or a token
    signed with `private_key` (PEM), to the authorization server `issuer` only.
    """

    grant: Literal["authorization_code", "client_credentials"] = "authorization_code"
    client_id: str = ""
    client_secret: str = ""
    client_metadata_url: str = ""
    private_key: str = ""
    algorithm: str = "ES256"
    scope: str = ""
    issuer: str = ""
    redirect_port: int = 0

    def __repr__(self) -> str:
        """Omit secrets."""
        return f"OAuth(grant={self.grant!r}, client_id={self.client_id!r})"


class ServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Command or URL of one MCP server, and the options for its use.

    `command`, `args`, `env` and `cwd` belong to stdio; `url` and `headers` to http (Streamable
    HTTP) and sse (the legacy transport). A started server sees `env` and a short list of harmless
    variables of our environment. `timeout` limits one call, None leaves it to the caller;
    `task_timeout` limits a call that the server answers with a task instead, also over restarts;
    `connect_timeout` limits the start until tools are listed; all in seconds. `tools` and
    `exclude` are globs over the server's own names. The hints of a `trusted` server are believed.
    `mode` is the protocol: `auto` tries 2026-07-28 first. `roots` are folders that are listed to
    the server; `log_level` is the lowest level it is asked to log. With `backend`, a backend of
    this user may run it too. A `guarded` server over HTTP is reached only where tools may send
    requests: on the internet, and at `private_hosts`. One that `replaces_own` is a project's or an
    editor's, and has the name of one of the user's own. Without a `cwd`, the server starts in
    `start_folder`, which is made, and without that in the working folder of the program.
    """

    name: str
    transport: Transport = "stdio"
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str = ""
    headers: dict[str, str] = {}
    timeout: float | None = None
    task_timeout: float | None = None
    connect_timeout: float = 30.0
    tools: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    trusted: bool = False
    mode: Mode = "auto"
    enabled: bool = True
    roots: tuple[str, ...] = ()
    log_level: LogLevel | None = None
    oauth: OAuth = OAuth()
    backend: bool = False
    guarded: bool = False
    replaces_own: bool = False
    start_folder: str = ""

    def __repr__(self) -> str:
        """Omit `env`, `headers` and `url`, which hold secrets."""
        return f"ServerConfig(name={self.name!r}, transport={self.transport!r})"

    @property
    def origin(self) -> str:
        """Identity of the server as a text without secrets.

        Includes a digest of command and arguments, or of the URL, but not of credentials.
        """
        identity = msgspec.json.encode((self.command, self.args, self.cwd, self.url))
        place = urlsplit(self.url)
        name = self.command or f"{place.scheme}://{place.hostname}"
        return f"{name} ({hashlib.sha256(identity).hexdigest()[:16]})"

    @property
    def login_key(self) -> str:
        """Key of the login at the server: its URL, marked if the server is `guarded`.

        An administrator of the web chat may have added such a server: the login of the operator of
        the machine, at another server of this URL, is not for it.
        """
        return f"guarded {self.url}" if self.guarded else self.url

    def is_same_program(self, other: ServerConfig) -> bool:
        """Return whether both start the same program, or request the same URL, in the same way.

        What a person has allowed for the tools of one then applies to those of the other.
        """
        return all(
            getattr(self, field) == getattr(other, field)
            for field in ("transport", "command", "args", "env", "cwd", "url", "headers", "oauth")
        )

    def includes_tool(self, tool: str) -> bool:
        """Return whether the server's tool of this name is used."""
        wanted = any(fnmatchcase(tool, glob) for glob in self.tools)
        return wanted and not any(fnmatchcase(tool, glob) for glob in self.exclude)


class ParsedServer(msgspec.Struct, frozen=True, kw_only=True):
    """Server as configured in `origin`; `problem` says why it cannot be used, if it cannot.

    `ignored` are unknown keys.
    """

    config: ServerConfig
    origin: str
    ignored: tuple[str, ...] = ()
    problem: str = ""


def parse_json(content: bytes, origin: str) -> dict[str, dict[str, Any]]:
    """Return the servers of a JSON file, by name. Raises `BadSettings`.

    Comments and trailing commas are allowed, as in VS Code. A `timeout` from 1000 up is taken for
    milliseconds, which most programs write.
    """
    try:
        content = content.removeprefix(b"\xef\xbb\xbf")
        whole = msgspec.json.decode(_JSONC.sub(lambda found: found[1] or b" ", content))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadSettings(f"{origin} is not JSON: {error}", expected=_EXPECTED) from error
    for path in _PLACES:
        found: Any = whole
        for key in path:
            found = found.get(key) if is_object(found) else None
        if is_object(found):
            return {name: _in_seconds(each) for name, each in found.items()}
    if whole == {}:
        return {}
    raise BadSettings(f"{origin} names no MCP servers.", expected=_EXPECTED)


def parse_servers(tables: Mapping[str, Mapping[str, Any]], origin: str) -> tuple[ParsedServer, ...]:
    """Parse these tables; the servers get legal names."""
    names = legal_names(tables)
    return tuple(_parse_server(names[name], each, origin) for name, each in tables.items())


def legal_names(names: Iterable[str]) -> dict[str, str]:
    """Return a unique name of `[A-Za-z0-9_-]` for each name."""
    every = list(dict.fromkeys(names))
    plain = {name: _ILLEGAL.sub("_", name).strip("_")[:_LONGEST] or "server" for name in every}
    taken = list(plain.values())
    digests = {
        name: hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:6] for name in every
    }
    return {
        name: made if made == name or taken.count(made) == 1 else f"{made}-{digests[name]}"
        for name, made in plain.items()
    }


_EXPECTED = '{"mcpServers": {"NAME": {"command": ..., "args": [...]}}}'
_PLACES = (("mcpServers",), ("servers",), ("mcp", "servers"), ("mcp", "mcpServers"))
"""Paths to the servers:

of Claude, Cursor, mcp-cli and most others, of VS Code's mcp.json, of its settings.
"""
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST = 48
# Strings, which stay; comments; commas followed only by comments and a closing bracket.
_JSONC = re.compile(
    rb"""("(?:\\.|[^"\\])*+")|//[^\n]*+|/\*.*?\*/|,(?=(?:\s|//[^\n]*+|/\*.*?\*/)*+[}\]])""",
    re.DOTALL,
)

Converter = Callable[[Any], Any]


def _in_seconds(table: Any) -> dict[str, Any]:
    if not is_object(table):
        return {}
    timeout = table.get("timeout")
    if isinstance(timeout, int | float) and timeout >= 1_000:
        return table | {"timeout": timeout / 1_000}
    return table


def _convert_to(kind: Any) -> Converter:
    return lambda value: msgspec.convert(value, kind)


def _text(value: Any) -> str:
    """Convert an argument or a variable to text: numbers and booleans are written as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return msgspec.json.encode(value).decode()
    raise msgspec.ValidationError("a text was wanted")


def _texts(value: Any) -> tuple[str, ...]:
    if not is_list(value):
        raise msgspec.ValidationError("a list of texts was wanted")
    return tuple(_text(each) for each in value)


def _text_table(value: Any) -> dict[str, str]:
    if not is_object(value):
        raise msgspec.ValidationError("texts by name were wanted")
    return {name: _text(each) for name, each in value.items() if each is not None}


def _transport(value: Any) -> Transport:
    made = _TRANSPORTS.get(_text(value).lower().replace("_", "-"))
    if made is None:
        raise msgspec.ValidationError(f"one of {', '.join(_TRANSPORTS)} was wanted")
    return made


def _seconds(value: Any) -> float:
    seconds: float = msgspec.convert(value, float)
    if not 0 < seconds <= 86_400:
        raise msgspec.ValidationError("a number above 0 was wanted")
    return seconds


def _task_seconds(value: Any) -> float:
    seconds: float = msgspec.convert(value, float)
    if not 0 < seconds <= _LONGEST_TASK:
        raise msgspec.ValidationError("a number above 0 was wanted, and at most 7 days")
    return seconds


_LONGEST_TASK = 7 * 86_400  # then a run's action has expired


def _oauth(value: Any) -> OAuth:
    """Convert an `oauth` table with the names of Claude Code and Cursor, or ours."""
    if not is_object(value):
        raise msgspec.ValidationError("a table was wanted")
    plain = {_SNAKE.sub("_", name).lower(): each for name, each in value.items()}
    plain = {_OAUTH_NAMES.get(name, name): each for name, each in plain.items()}
    if isinstance(plain.get("scope"), list):
        plain["scope"] = " ".join(_texts(plain["scope"]))
    unknown = set(plain) - set(OAuth.__struct_fields__)
    if unknown:
        raise msgspec.ValidationError(f"`{min(unknown)}` is not one of its keys")
    return msgspec.convert(plain, OAuth)


_SNAKE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OAUTH_NAMES = {"scopes": "scope", "callback_port": "redirect_port"}
_TRANSPORTS: dict[str, Transport] = {
    "stdio": "stdio",
    "local": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamablehttp": "http",
    "remote": "http",
    "sse": "sse",
}

# Each key that is read: its field and its converter.
_KEYS: dict[str, tuple[str, Converter]] = {
    "command": ("command", _convert_to(str)),
    "args": ("args", _texts),
    "env": ("env", _text_table),
    "cwd": ("cwd", _convert_to(str)),
    "url": ("url", _convert_to(str)),
    "serverUrl": ("url", _convert_to(str)),  # Windsurf
    "httpUrl": ("url", _convert_to(str)),  # Gemini CLI
    "type": ("transport", _transport),
    "transport": ("transport", _transport),
    "headers": ("headers", _text_table),
    "timeout": ("timeout", _seconds),
    "task_timeout": ("task_timeout", _task_seconds),
    "connect_timeout": ("connect_timeout", _seconds),
    "enabled": ("enabled", _convert_to(bool)),
    "tools": ("tools", _texts),
    "includeTools": ("tools", _texts),  # Gemini CLI
    "exclude": ("exclude", _texts),
    "excludeTools": ("exclude", _texts),
    "disabledTools": ("exclude", _texts),  # Windsurf, Roo Code
    "mode": ("mode", _convert_to(Mode)),
    "trusted": ("trusted", _convert_to(bool)),
    "roots": ("roots", _texts),
    "log_level": ("log_level", _convert_to(LogLevel)),
    "oauth": ("oauth", _oauth),
    "auth": ("oauth", _oauth),  # Cursor
    "backend": ("backend", _convert_to(bool)),
    "guarded": ("guarded", _convert_to(bool)),
}


def _parse_server(name: str, table: Mapping[str, Any], origin: str) -> ParsedServer:
    fields: dict[str, Any] = {}
    ignored: list[str] = []
    problem = ""
    for key, value in table.items():
        if key == "disabled" and isinstance(value, bool):
            fields["enabled"] = not value
        elif key in _KEYS:
            field, read = _KEYS[key]
            try:
                fields[field] = read(value)
            except msgspec.ValidationError as error:
                problem = problem or f"its `{key}` cannot be used: {error}"
        else:
            ignored.append(key)
    fields.setdefault("transport", "http" if "url" in fields else "stdio")
    config = ServerConfig(name=name, **fields)
    return ParsedServer(
        config=config,
        origin=origin,
        ignored=tuple(ignored),
        problem=problem or _missing_key(config),
    )


def _missing_key(config: ServerConfig) -> str:
    wanted, other = ("command", "url") if config.transport == "stdio" else ("url", "command")
    if not getattr(config, wanted):
        return f"it has no `{wanted}`, which {config.transport} needs"
    if getattr(config, other):
        return f"it has a `{wanted}` and a `{other}`, of which only one can be meant"
    return ""


# References in configuration: `${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${keyring:a/b}`.


Value = TypeVar("Value")
Table = dict[str, Any]


class Reference(msgspec.Struct, frozen=True):
    """Reference to a variable, or to a secret as `service/name`."""

    kind: Literal["variable", "secret", "unknown"]
    name: str
    default: str | None = None


Lookup = Callable[[Reference], str | None]
"""Returns the value of a reference, None if there is none."""


class MissingReference(Exception):
    """Reference to something that does not exist."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(reference)
        self.reference = reference

    def __str__(self) -> str:
        name = self.reference.name
        match self.reference.kind:
            case "variable":
                return f"the variable {name} is not set"
            case "secret":
                return f"the keyring holds no {name}"
            case "unknown":
                return f"${{{name}}} is nothing that can be filled in here"


def interpolate(value: Value, find: Lookup) -> Value:
    """Replace the references in every text of the value, however deep. Raises `MissingReference`.

    Substituted text is not interpolated again.
    """
    return cast("Value", _interpolate(value, find))


def find_references(value: Any) -> Iterator[Reference]:
    """Yield every reference in the value, in order."""
    met: list[Reference] = []

    def note(reference: Reference) -> str:
        met.append(reference)
        return ""

    interpolate(value, note)
    yield from met


_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_VARIABLE = re.compile(
    r"(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL
)
_SECRET = re.compile(r"keyring:(?P<name>[^/]+/.+)", re.DOTALL)


def _interpolate(value: Any, find: Lookup) -> Any:
    match value:
        case str():
            return _REFERENCE.sub(lambda found: _value(_parse(found[1]), find), value)
        case dict():
            return {name: _interpolate(each, find) for name, each in cast("Table", value).items()}
        case tuple():
            return tuple(_interpolate(each, find) for each in cast("Sequence[Any]", value))
        case msgspec.Struct():
            fields = {
                name: _interpolate(getattr(value, name), find) for name in value.__struct_fields__
            }
            return replace(value, **fields)
        case _:
            return value


def _parse(text: str) -> Reference:
    if variable := _VARIABLE.fullmatch(text):
        return Reference("variable", variable["name"], variable["default"])
    if secret := _SECRET.fullmatch(text):
        return Reference("secret", secret["name"])
    return Reference("unknown", text)


def _value(reference: Reference, find: Lookup) -> str:
    """Return the value; an empty variable gets its default, as in a shell."""
    value = find(reference) if reference.kind != "unknown" else None
    if value is None or (not value and reference.default is not None):
        value = reference.default
    if value is None:
        raise MissingReference(reference)
    return value
