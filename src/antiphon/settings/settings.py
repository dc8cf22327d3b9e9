"""Every setting, declared once in one frozen record, which `loading` fills.

The record is the table. A field's name is its key in `antiphon.toml`; in capitals after `ANTIPHON_`
it is the environment variable; with dashes it is the flag. Its annotation holds the valid values
and the line that `--help` shows.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta, StructMeta, field

from antiphon import deprecated
from antiphon.settings.paths import data_folder

Words = Annotated[str, Meta(min_length=1, title="text")]
Address = Annotated[
    str, Meta(pattern=r"^https?://[^\s/]+", title="an address such as http://127.0.0.1:8000")
]
Site = Annotated[
    str,
    Meta(pattern=r"^https?://[^\s/?#@]+/?\Z", title="an address such as https://chat.example.org"),
]
RedisAddress = Annotated[
    str, Meta(pattern=r"^rediss?://[^\s/]+", title="an address such as redis://127.0.0.1:6379/0")
]
Seconds = Annotated[
    float, Meta(gt=0, le=86_400, title="a number of seconds above 0, at most 86400")
]
Count = Annotated[int, Meta(ge=1, title="a whole number from 1 up")]
Header = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z][A-Za-z0-9-]*$", title="the name of a header, of letters and dashes"),
]
Several = Annotated[
    tuple[Annotated[str, Meta(min_length=1)], ...],
    Meta(title="a list of texts, or one text with commas between them", extra={"several": True}),
]
Switch = Annotated[bool, Meta(title="true or false", extra={"switch": True})]
Port = Annotated[int, Meta(ge=0, le=65_535, title="a whole number from 0 (any free port) to 65535")]

_SECRET = {"secret": True}
_UNSPOKEN = {"secret": True, "on_the_line": False}  # every process can read a command line


class _AcceptOldNames(StructMeta):
    """Accepts settings as keywords by their old names, and names what is near an unknown one."""

    if not TYPE_CHECKING:  # which know the new names alone

        def __call__(cls, **given: Any) -> Settings:  # noqa: N805
            for old in [name for name in given if name in deprecated.SETTINGS]:
                new, convert = deprecated.SETTINGS[old]
                both = new in given
                deprecated.warn(deprecated.explain_renamed(f"`{old}`", f"`{new}`", both=both))
                value = given.pop(old)
                if not both:
                    given[new] = convert(value)
            for name in given:
                if name not in cls.__struct_fields__:
                    near = nearest_setting(name, cls.__struct_fields__)
                    hint = f"; did you mean `{near}`?" if near else ""
                    raise TypeError(f"there is no setting `{name}`{hint}")
            return super().__call__(**given)


class Settings(msgspec.Struct, frozen=True, kw_only=True, metaclass=_AcceptOldNames):
    """The settings of a runtime and its clients. Times in seconds, sizes in bytes.

    `providers` holds the catalog entries of the `[providers.NAME]` tables. `foreign_base_url` says
    that `base_url` comes from a file in the working folder, `foreign_providers` which of the
    providers have their addresses from there: no key that was meant for a provider goes to these.
    `servers` holds the `[servers.NAME]` tables of the user's own file, `foreign_servers` those of
    the working folder's, which start nothing before they are approved.
    """

    model: Annotated[
        Words | None,
        Meta(description="provider:name, such as openai:gpt-5, ollama:qwen3 or demo"),
    ] = None
    base_url: Annotated[
        Address | None, Meta(description="any OpenAI-compatible server to ask for replies")
    ] = None
    provider_key: Annotated[
        Words | None, Meta(description="the key for the server at base_url", extra=_UNSPOKEN)
    ] = None
    providers: dict[str, dict[str, Any]] = {}
    foreign_base_url: bool = False
    foreign_providers: frozenset[str] = frozenset()
    database: Annotated[
        Words,
        Meta(
            description="sqlite:///path, postgresql://user:password@host/name, or memory: to forget"
            " everything at the end"
        ),
    ] = field(default_factory=lambda: default_database(os.environ))
    database_connections: Annotated[
        Count, Meta(description="how many connections to PostgreSQL a process may have")
    ] = 10
    secret_key: Annotated[
        Words | None,
        Meta(
            description="seals what only this installation may read, such as owners' keys at"
            " providers: 32 bytes in base64; by default a file beside an SQLite database",
            extra=_UNSPOKEN,
        ),
    ] = None
    old_secret_keys: Annotated[
        Several,
        Meta(
            description="earlier values of secret_key, which still open what they sealed",
            extra={"several": True, **_UNSPOKEN},
        ),
    ] = ()
    redis: Annotated[
        RedisAddress | None,
        Meta(description="a Redis by which processes wake one another, and share what they read"),
    ] = None
    host: Annotated[Words, Meta(description="the address to listen on")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="the port to listen on")] = 8000
    server: Annotated[
        Address | None, Meta(description="a server to use instead of a runtime in this process")
    ] = None
    api_key: Annotated[Words | None, Meta(description="the key for that server", extra=_SECRET)] = (
        None
    )
    chunk_timeout: Annotated[
        Seconds, Meta(description="how long a model may be silent before its reply counts as cut")
    ] = 45.0
    first_chunk_timeout: Annotated[
        Seconds | None,
        Meta(description="how long a model may take to begin; as chunk_timeout by default"),
    ] = None
    turn_timeout: Annotated[Seconds, Meta(description="how long one reply may take")] = 300.0
    stream: Annotated[
        Switch,
        Meta(
            description="replies of servers come as they are written; if not, each comes whole,"
            " and may take as long as turn_timeout to begin"
        ),
    ] = True
    busy_timeout: Annotated[
        Seconds,
        Meta(description="how long a request may wait for the run before it in its thread"),
    ] = 300.0
    search_timeout: Annotated[
        Seconds,
        Meta(
            description="how long a search of threads may wait for its turn, and how long it may"
            " then take"
        ),
    ] = 10.0
    tool_timeout: Annotated[Seconds, Meta(description="how long one tool may take")] = 120.0
    max_parallel_tools: Annotated[Count, Meta(description="how many tools run at once")] = 4
    max_calls: Annotated[
        Count, Meta(description="how many tools a model may call in one reply")
    ] = 128
    max_reply: Annotated[
        Count,
        Meta(
            description="the longest reply of a model, in bytes: its text, reasoning and arguments"
        ),
    ] = 8_000_000
    allow: Annotated[
        Several,
        Meta(description="tools that run without a question, such as git__status or time__*"),
    ] = ()
    ask: Annotated[Several, Meta(description="tools that run only if a person agrees")] = ()
    deny: Annotated[Several, Meta(description="tools that never run, whoever agrees")] = ()
    config: Annotated[
        Words | None,
        Meta(description="a file of MCP servers (mcpServers JSON) to use, and no others"),
    ] = None
    servers: dict[str, dict[str, Any]] = {}
    foreign_servers: dict[str, dict[str, Any]] = {}
    backend_mcp: Annotated[
        Literal["off", "configured", "urls"],
        Meta(
            title="off, configured or urls",
            description="whose MCP tools runs may have run here: nobody's (off), those of your"
            " servers marked `backend` (configured), or those of any https address too (urls)",
        ),
    ] = "off"
    allowed_paths: Annotated[
        Several, Meta(description="folders that the tools read_file and list_files may read")
    ] = ()
    private_hosts: Annotated[
        Several,
        Meta(
            description="hosts and networks of your own that tools may fetch from,"
            " such as wiki.corp:8080 or 10.0.0.0/8"
        ),
    ] = ()
    theme: Annotated[
        Literal["auto", "dark", "light", "contrast", "none"],
        Meta(
            title="auto, dark, light, contrast or none",
            description="the chat's colours: auto, dark, light, contrast or none",
        ),
    ] = "auto"
    color: Annotated[
        Literal["auto", "always", "never"],
        Meta(
            title="auto, always or never",
            description="whether there are colours: auto asks the terminal and NO_COLOR,"
            " always and never do not",
        ),
    ] = "auto"
    ascii: Annotated[
        Switch, Meta(description="no box characters and no other signs beyond ASCII of ours")
    ] = False
    screen_reader: Annotated[
        Switch,
        Meta(description="words instead of signs, and nothing is drawn twice: for screen readers"),
    ] = False
    plain: Annotated[
        Switch, Meta(description="the chat as lines, one below the other, without a drawn prompt")
    ] = False
    keys: Annotated[
        Literal["emacs", "vi"],
        Meta(title="emacs or vi", description="whose keys edit the line: emacs or vi"),
    ] = "emacs"
    links: Annotated[
        Switch, Meta(description="addresses can be clicked, in terminals that know OSC 8")
    ] = False
    animation: Annotated[
        Literal["normal", "reduced"],
        Meta(
            title="normal or reduced",
            description="what moves in the chat: normal, or reduced, which draws only what has"
            " changed, without spinners and running clocks",
        ),
    ] = "normal"
    verbose: Annotated[
        Switch,
        Meta(description="show in the chat what Antiphon logs, such as broken tool calls"),
    ] = False
    login: Annotated[
        Literal["none", "password", "oidc", "proxy"],
        Meta(
            title="none, password, oidc or proxy",
            description="who may use the web chat: whoever is at this machine (none), or people who"
            " are known by a password, by OpenID Connect or by a proxy in front",
        ),
    ] = "none"
    allowed_hosts: Annotated[
        Several,
        Meta(
            description="names that the web chat answers to, beside those of this machine,"
            " such as chat.example.org"
        ),
    ] = ()
    public_url: Annotated[
        Site | None,
        Meta(description="the address that people open the web chat at, if a proxy is in front"),
    ] = None
    oidc_issuer: Annotated[
        Address | None, Meta(description="the OpenID Connect provider that knows the people")
    ] = None
    oidc_client_id: Annotated[
        Words | None, Meta(description="what that provider calls this web chat")
    ] = None
    oidc_client_secret: Annotated[
        Words | None,
        Meta(description="by what that provider knows this web chat", extra=_UNSPOKEN),
    ] = None
    oidc_admins: Annotated[
        Several, Meta(description="e-mail addresses of people who come as admins from there")
    ] = ()
    proxy_user_header: Annotated[
        Header, Meta(description="the header in which the proxy in front names the person")
    ] = "X-Forwarded-User"
    trusted_proxies: Annotated[
        Several,
        Meta(
            description="addresses and networks of proxies in front of the web chat, whose headers"
            " are believed; unix for one on a socket"
        ),
    ] = ()
    web_streams: Annotated[
        Count, Meta(description="how many answers the web chat streams at once")
    ] = 500
    web_rate: Annotated[
        Count, Meta(description="how many messages a person who logged in may send in a minute")
    ] = 60
    web_title: Annotated[Words, Meta(description="what the web chat is called")] = "Antiphon"
    max_concurrent_runs: Annotated[Count, Meta(description="how many runs are driven at once")] = (
        1000
    )
    workers: Annotated[
        Count, Meta(description="how many processes serve together, on one port")
    ] = 1
    max_requests: Annotated[
        Count,
        Meta(description="how many requests a process has open at once, streams included"),
    ] = 10_000
    max_connections: Annotated[
        Count, Meta(description="how many connections a process has open at once, idle ones too")
    ] = 12_000
    send_timeout: Annotated[
        Seconds,
        Meta(
            description="how long a reader may take nothing of an answer before its connection is"
            " closed"
        ),
    ] = 30.0
    max_unsent: Annotated[
        Count,
        Meta(
            description="how many bytes of answers a process holds for readers that have not taken"
            " them; one key or address at most half of them"
        ),
    ] = 128_000_000
    drain_delay: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            title="a number of seconds from 0 to 3600",
            description="how long a server that is told to stop only says so on /readyz,"
            " so that a load balancer can turn away",
        ),
    ] = 0.0
    shutdown_timeout: Annotated[
        Seconds, Meta(description="how long runs and streams may take to end when a server stops")
    ] = 10.0
    watchdog_timeout: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            title="a number of seconds from 0 to 3600",
            description="how long a server may compute without serving anybody until it is ended,"
            " to be started again; 0 is for ever",
        ),
    ] = 30.0
    stall_timeout: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            title="a number of seconds from 0 to 3600",
            description="how long one of several processes may have no turn of its event loop"
            " until it is replaced; 0 is for ever",
        ),
    ] = 60.0  # no disk that works holds a loop so long, and who waits has not given up yet
    lease_duration: Annotated[
        Seconds,
        Meta(description="for experts: how long a run stays with a worker that is not heard of"),
    ] = 15.0  # three missed beats
    heartbeat_interval: Annotated[
        Seconds, Meta(description="for experts: how often a worker says that it is there")
    ] = 5.0
    expiry_interval: Annotated[
        Seconds,
        Meta(description="for experts: how often runs whose time has run out are looked for"),
    ] = 5.0
    max_body: Annotated[Count, Meta(description="the largest request, in bytes")] = 10_000_000
    max_depth: Annotated[Count, Meta(description="the deepest JSON in a request")] = 64
    context_tokens: Annotated[
        Count | None,
        Meta(description="how much of a long thread a model sees, in tokens; all of it by default"),
    ] = None
    telemetry: Annotated[
        Literal["off", "otlp"],
        Meta(
            title="off or otlp",
            description="whether traces are sent, to where the OTEL_EXPORTER_OTLP_* variables say",
        ),
    ] = "off"
    propagate_trace_to_providers: Annotated[
        Switch, Meta(description="tell the providers of models which trace a request belongs to")
    ] = False
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(
            title="debug, info, warning or error",
            description="from where on a server logs; debug has a line for each answer",
        ),
    ] = "warning"
    log_format: Annotated[
        Literal["text", "json"],
        Meta(title="text or json", description="how a server's log lines look"),
    ] = "text"
    log_content: Annotated[
        Switch,
        Meta(description="let logs and traces hold what people and models write, for trials"),
    ] = False
    event_retention: Annotated[
        float,
        Meta(
            ge=60,
            le=100 * 365 * 86_400,
            title="a number of seconds from 60 up",
            description="how long the events of ended runs are kept",
        ),
    ] = 30 * 86_400.0
    demo_delay: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            title="a number of seconds from 0 (no pause) to 86400",
            description="how long the demo model pauses between the pieces of its reply",
        ),
    ] = 0.02

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a setting by its old name."""
            if name not in deprecated.SETTINGS:
                raise AttributeError(f"there is no setting `{name}`", name=name, obj=self)
            new, convert = deprecated.SETTINGS[name]
            deprecated.warn(deprecated.explain_renamed(f"`{name}`", f"`{new}`", both=False))
            return convert(getattr(self, new))

    def __post_init__(self) -> None:
        """Raise `TypeError` for a string where a tuple is due: its letters would be items."""
        for name in _SEVERAL:
            given: object = getattr(self, name)
            if isinstance(given, str):
                raise TypeError(f"`{name}` is a tuple of texts; got {given!r}: ({given!r},)")


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting: its names, its valid values, and its meaning."""

    name: str
    kind: Any
    wanted: str
    meaning: str
    secret: bool
    on_the_line: bool
    several: bool
    switch: bool

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return flag_name(self.name)

    @property
    def variable(self) -> str:
        """The name in the environment."""
        return variable_name(self.name)


def nearest_setting(name: str, settings: Iterable[str]) -> str | None:
    """Return the setting whose name, or old name, is nearest to a wrong one; None if none is."""
    old = {old: renamed.name for old, renamed in deprecated.SETTINGS.items()}
    near = difflib.get_close_matches(name.replace("-", "_"), [*settings, *old], n=1)
    return old.get(near[0], near[0]) if near else None


def flag_name(name: str) -> str:
    """Return the name of a setting on the command line."""
    return "--" + name.replace("_", "-")


def variable_name(name: str) -> str:
    """Return the name of a setting in the environment."""
    return "ANTIPHON_" + name.upper()


def default_database(environ: Mapping[str, str]) -> str:
    """Return the address of this user's own database, the default."""
    return sqlite_address(data_folder(environ) / "antiphon.db")


def database_file(settings: Settings) -> Path | None:
    """Return the absolute path of an SQLite database; None for another."""
    if not settings.database.startswith(SQLITE):
        return None
    return Path(settings.database.removeprefix(SQLITE))


def masked_value(setting: Setting, value: Any) -> Any:
    """Return a value for display: secrets, and passwords in addresses, are masked."""
    if value is None:
        return None
    if setting.secret and value:
        return MASK
    return without_password(value)


MASK = "****"

_SEVERAL = (
    *("allow", "ask", "deny", "allowed_paths", "private_hosts"),
    *("allowed_hosts", "oidc_admins", "trusted_proxies", "old_secret_keys"),
)
_PASSWORD = re.compile(r"(://)[^/@\s]+@")
SQLITE = "sqlite:///"


def _build_table() -> Iterator[Setting]:
    for name, kind in get_type_hints(Settings, include_extras=True).items():
        notes = list(_iterate_meta(kind))
        extra: dict[str, bool] = {
            key: flag for note in notes for key, flag in (note.extra or {}).items()
        }
        meaning = next((note.description for note in notes if note.description), None)
        if meaning is not None:
            yield Setting(
                name=name,
                kind=kind,
                wanted=next(note.title for note in notes if note.title),
                meaning=meaning,
                secret=extra.get("secret", False),
                on_the_line=extra.get("on_the_line", True),
                several=extra.get("several", False),
                switch=extra.get("switch", False),
            )


def _iterate_meta(kind: Any) -> Iterator[Meta]:
    """Yield the `Meta` of a type and of its parts, from outside to inside."""
    yield from (note for note in getattr(kind, "__metadata__", ()) if isinstance(note, Meta))
    for part in get_args(kind):
        yield from _iterate_meta(part)


TABLE: Mapping[str, Setting] = {setting.name: setting for setting in _build_table()}
"""All settings by name; the `[providers.NAME]` and `[servers.NAME]` tables are besides."""


def without_password(value: Any) -> Any:
    """Return the value; an address without its password."""
    return _PASSWORD.sub(rf"\1{MASK}@", value) if isinstance(value, str) else value


def sqlite_address(path: Path) -> str:
    """Return the address of the database in this file."""
    return SQLITE + path.as_posix()
