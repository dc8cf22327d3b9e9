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

from antiphon.settings import deprecated
from antiphon.settings.hooks import Hook
from antiphon.settings.paths import data_folder
from antiphon.settings.values import (
    Address,
    Count,
    Header,
    HostedTools,
    Origin,
    Port,
    RedisAddress,
    Seconds,
    Several,
    Site,
    StatusTemplate,
    Switch,
    ToolCalls,
    Words,
)
from antiphon.types.shares import Sharing

OWN_MODEL = "run"
"""Value of `title_model` that means the model of the run."""
CONTEXT_CACHE = 32_000_000

_SECRET = {"secret": True}
_UNSPOKEN = {"secret": True, "on_the_line": False}  # other processes can read a command line


class _AcceptOldNames(StructMeta):
    """Accepts old names of settings as keywords; an unknown one raises with the nearest name."""

    if not TYPE_CHECKING:  # type checkers know the new names only

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

    `providers` holds the catalog entries of the `[providers.NAME]` tables. `foreign_base_url` is
    true if `base_url` comes from a file in the working folder; `foreign_providers` are the
    providers with an address from there: no key of another provider is sent to these addresses.
    `servers` holds the `[servers.NAME]` tables of the user's own file, `foreign_servers` those of
    the working folder's, which start nothing until they are approved. `typed_allow` are those rules
    of `allow` that the command line gives. `hooks` holds the `[[hooks]]`
    of the user's own files, in their order.
    """

    model: Annotated[
        Words | None,
        Meta(description="provider:name, such as openai:gpt-5, ollama:qwen3 or demo"),
    ] = None
    base_url: Annotated[
        Address | None, Meta(description="the base URL of any OpenAI-compatible server")
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
            description="encrypts secrets in the database, such as owners' keys at providers:"
            " 32 bytes in base64; by default a file beside an SQLite database",
            extra=_UNSPOKEN,
        ),
    ] = None
    old_secret_keys: Annotated[
        Several,
        Meta(
            description="earlier values of secret_key, which still decrypt what they encrypted",
            extra={"several": True, **_UNSPOKEN},
        ),
    ] = ()
    redis: Annotated[
        RedisAddress | None,
        Meta(description="a Redis for notifications between processes, and a shared cache"),
    ] = None
    host: Annotated[Words, Meta(description="the address to listen on")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="the port to listen on")] = 8000
    server: Annotated[
        Address | None,
        Meta(description="the URL of a server to use instead of a runtime in this process"),
    ] = None
    api_key: Annotated[Words | None, Meta(description="the key for that server", extra=_SECRET)] = (
        None
    )
    chunk_timeout: Annotated[
        Seconds, Meta(description="the longest pause in a reply before it counts as cut off")
    ] = 45.0
    first_chunk_timeout: Annotated[
        Seconds | None,
        Meta(description="the longest wait for the start of a reply; chunk_timeout by default"),
    ] = None
    turn_timeout: Annotated[Seconds, Meta(description="the longest time of one reply")] = 300.0
    stream: Annotated[
        Switch,
        Meta(
            description="stream replies; if not, each arrives whole, and may take turn_timeout to"
            " begin"
        ),
    ] = True
    busy_timeout: Annotated[
        Seconds,
        Meta(description="how long a request may wait for the previous run in its thread"),
    ] = 300.0
    search_timeout: Annotated[
        Seconds,
        Meta(
            description="how long a search of threads may wait to start, and how long it may then"
            " take"
        ),
    ] = 10.0
    tool_timeout: Annotated[Seconds, Meta(description="how long one tool may take")] = 120.0
    max_parallel_tools: Annotated[
        Count, Meta(description="how many tools of a reply run at once")
    ] = 4
    max_calls: Annotated[
        Count, Meta(description="how many tools a model may call in one reply")
    ] = 128
    max_tool_calls: Annotated[
        ToolCalls | None,
        Meta(description="how many tools a model may call in one run; no limit by default"),
    ] = None
    max_reply: Annotated[
        Count,
        Meta(
            description="the longest reply of a model, in bytes: its text, reasoning and arguments"
        ),
    ] = 8_000_000
    context_cache: Annotated[
        Count,
        Meta(
            description="how many bytes of conversations a process keeps in memory, as the model"
            " gets them"
        ),
    ] = CONTEXT_CACHE
    allow: Annotated[
        Several,
        Meta(description="tools that run without a question, such as git__status or time__*"),
    ] = ()
    typed_allow: tuple[str, ...] = ()
    ask: Annotated[
        Several, Meta(description="tools that run only if a person approves the call")
    ] = ()
    deny: Annotated[Several, Meta(description="tools that never run")] = ()
    config: Annotated[
        Words | None,
        Meta(description="a file of MCP servers (mcpServers JSON) to use, and no others"),
    ] = None
    servers: dict[str, dict[str, Any]] = {}
    foreign_servers: dict[str, dict[str, Any]] = {}
    hooks: tuple[Hook, ...] = ()
    backend_mcp: Annotated[
        Literal["off", "configured", "urls"],
        Meta(
            title="off, configured or urls",
            description="which MCP servers runs may use in the backend: none (off), your servers"
            " marked `backend` (configured), or any https address too (urls)",
        ),
    ] = "off"
    hosted_tools: Annotated[
        HostedTools,
        Meta(
            description="hosted tools of OpenAI's API that your MCP servers do, such as"
            " web_search=brave/brave_web_search or code_interpreter=python"
        ),
    ] = ()
    skills: Annotated[
        Switch, Meta(description="use your skills, and those of the working folder that you trust")
    ] = True
    project_instructions: Annotated[
        Switch, Meta(description="give the model your AGENTS.md, and those that you trust")
    ] = True
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
    webhooks: Annotated[
        Switch, Meta(description="whether owners may have webhooks, and these are sent from here")
    ] = True
    webhook_hosts: Annotated[
        Several,
        Meta(
            description="hosts and networks of your own that webhooks may be sent to, over http"
            " too, such as jobs.corp:8080 or 10.0.0.0/8"
        ),
    ] = ()
    webhook_timeout: Annotated[
        Seconds, Meta(description="how long the receiver of a webhook may take to answer")
    ] = 15.0
    max_webhooks: Annotated[Count, Meta(description="how many webhooks an owner may have")] = 20
    schedules: Annotated[
        Switch, Meta(description="whether owners may have schedules, and these are run from here")
    ] = True
    max_schedules: Annotated[Count, Meta(description="how many schedules an owner may have")] = 50
    min_schedule_interval: Annotated[
        Count, Meta(description="seconds that lie at least between two runs of a schedule")
    ] = 300
    sharing: Annotated[
        Sharing,
        Meta(
            title="off, people or anyone",
            description="readers of links to conversations: off, people (with access of their own),"
            " or anyone",
        ),
    ] = "people"
    max_shares: Annotated[
        Count, Meta(description="how many links to conversations an owner may have at a time")
    ] = 200
    max_share_lifetime: Annotated[
        Count, Meta(description="most seconds for which a link to a conversation is valid")
    ] = 365 * 86_400
    max_chat_import: Annotated[
        Count, Meta(description="the largest export of another chat that is imported, in bytes")
    ] = 500_000_000
    publishing: Annotated[
        Switch, Meta(description="whether owners may publish assistants to all others")
    ] = True
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
            description="whether to use colours: auto depends on the terminal and NO_COLOR",
        ),
    ] = "auto"
    ascii: Annotated[Switch, Meta(description="draw with ASCII characters only")] = False
    screen_reader: Annotated[
        Switch,
        Meta(description="for screen readers: words instead of signs, and nothing is redrawn"),
    ] = False
    plain: Annotated[
        Switch, Meta(description="show the chat as plain lines, without a drawn prompt")
    ] = False
    keys: Annotated[
        Literal["emacs", "vi"],
        Meta(title="emacs or vi", description="the key bindings of the input line: emacs or vi"),
    ] = "emacs"
    links: Annotated[
        Switch, Meta(description="make URLs clickable, in terminals that support OSC 8")
    ] = False
    animation: Annotated[
        Literal["normal", "reduced"],
        Meta(
            title="normal or reduced",
            description="what moves in the chat: normal, or reduced, which draws only what has"
            " changed, without spinners and running clocks",
        ),
    ] = "normal"
    status_line: Annotated[
        StatusTemplate,
        Meta(
            description="template of the chat's last row, such as"
            " '{model} | {context} | {folder} {git_branch}'"
        ),
    ] = ""
    verbose: Annotated[
        Switch,
        Meta(description="show in the chat what Antiphon logs, such as broken tool calls"),
    ] = False
    login: Annotated[
        Literal["none", "password", "oidc", "proxy"],
        Meta(
            title="none, password, oidc or proxy",
            description="who may use the web chat: anybody on this machine (none), or people who"
            " log in by password, by OpenID Connect or at a proxy in front",
        ),
    ] = "none"
    allowed_hosts: Annotated[
        Several,
        Meta(
            description="host names that the web chat answers to, besides those of this machine,"
            " such as chat.example.org"
        ),
    ] = ()
    allowed_origins: Annotated[
        tuple[Origin, ...],
        Meta(
            title="a list of origins, or one text with commas between them",
            extra={"several": True},
            description="origins of pages in browsers that may use the API with a token or a key,"
            " such as https://shop.example.org; none by default",
        ),
    ] = ()
    max_token_age: Annotated[
        Seconds, Meta(description="the longest lifetime of a token for a page in a browser")
    ] = 3600.0
    public_url: Annotated[
        Site | None,
        Meta(description="the URL at which people open the web chat, if a proxy is in front"),
    ] = None
    artifact_origin: Annotated[
        Site | None,
        Meta(
            description="the second origin of the web chat, which shows previews of HTML, SVG and"
            " diagrams and nothing else, such as https://artifacts.example.org"
        ),
    ] = None
    oidc_issuer: Annotated[
        Address | None, Meta(description="the URL of the OpenID Connect provider")
    ] = None
    oidc_client_id: Annotated[
        Words | None, Meta(description="the client id of this web chat at that provider")
    ] = None
    oidc_client_secret: Annotated[
        Words | None,
        Meta(description="the client secret of this web chat at that provider", extra=_UNSPOKEN),
    ] = None
    oidc_admins: Annotated[
        Several,
        Meta(description="e-mail addresses of people who log in there as admins"),
    ] = ()
    proxy_user_header: Annotated[
        Header, Meta(description="the header with the person's name from the proxy in front")
    ] = "X-Forwarded-User"
    trusted_proxies: Annotated[
        Several,
        Meta(
            description="addresses and networks of proxies in front of the web chat whose headers"
            " are trusted; unix for one on a socket"
        ),
    ] = ()
    web_streams: Annotated[
        Count, Meta(description="how many answers the web chat streams at once")
    ] = 500
    web_rate: Annotated[
        Count, Meta(description="how many messages a person may send in a minute")
    ] = 60
    web_title: Annotated[Words, Meta(description="the title of the web chat")] = "Antiphon"
    web_mcp_programs: Annotated[
        Switch,
        Meta(
            description="MCP servers that are programs of this machine may be added in the web"
            " chat, by admins, or by its one user where nobody logs in"
        ),
    ] = False
    web_dictation: Annotated[
        Literal["off", "browser"],
        Meta(
            title="off or browser",
            description="dictation in the web chat: off, or by the speech recognition of the"
            " browser, whose maker may get the audio",
        ),
    ] = "off"
    transcription_model: Annotated[
        str | None,
        Meta(
            title="MODEL",
            description="the model that transcribes recordings, of dictation in the web chat and"
            " of the API, as `provider:name` of a server with OpenAI's `audio/transcriptions`; by"
            " default there is none",
        ),
    ] = None
    speech_model: Annotated[
        str | None,
        Meta(
            title="MODEL",
            description="the model that speaks, for answers read aloud in the web chat and for the"
            " API, as `provider:name` of a server with OpenAI's `audio/speech`; by default there is"
            " none",
        ),
    ] = None
    speech_voice: Annotated[
        Words,
        Meta(description="the voice of speech_model, as its provider names it"),
    ] = "alloy"
    max_concurrent_runs: Annotated[
        Count, Meta(description="how many runs a process works on at once")
    ] = 1000
    workers: Annotated[Count, Meta(description="how many processes serve on one port")] = 1
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
            description="how long a client may read nothing of a response before its connection is"
            " closed"
        ),
    ] = 30.0
    max_unsent: Annotated[
        Count,
        Meta(
            description="how many bytes of unread responses a process holds in memory; at most half"
            " of them for one key or address"
        ),
    ] = 128_000_000
    drain_delay: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            title="a number of seconds from 0 to 3600",
            description="how long a stopping server only reports itself unready on /readyz, so that"
            " a load balancer stops sending requests",
        ),
    ] = 0.0
    shutdown_timeout: Annotated[
        Seconds,
        Meta(description="how long runs and streams may take to finish when a server stops"),
    ] = 10.0
    watchdog_timeout: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            title="a number of seconds from 0 to 3600",
            description="how long the event loop may be blocked by computation before the process"
            " is ended, to be restarted; 0 is no limit",
        ),
    ] = 30.0
    stall_timeout: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            title="a number of seconds from 0 to 3600",
            description="how long the event loop of one of several processes may be blocked before"
            " the process is replaced; 0 is no limit",
        ),
    ] = 60.0  # longer than any working disk blocks a loop, shorter than clients wait
    lease_duration: Annotated[
        Seconds,
        Meta(description="for experts: how long a run stays with a worker without heartbeats"),
    ] = 15.0  # three missed heartbeats
    heartbeat_interval: Annotated[
        Seconds, Meta(description="for experts: how often a worker renews its leases")
    ] = 5.0
    expiry_interval: Annotated[
        Seconds,
        Meta(description="for experts: how often expired runs and leases are looked for"),
    ] = 5.0
    max_body: Annotated[Count, Meta(description="the largest request, in bytes")] = 10_000_000
    max_upload: Annotated[
        Count, Meta(description="the largest file that is uploaded, in bytes")
    ] = 50_000_000
    documents: Annotated[
        Switch, Meta(description="whether the text of files is read here, so that it is found")
    ] = True
    document_timeout: Annotated[
        Count, Meta(description="how many seconds the text of one file may take to read")
    ] = 120
    max_depth: Annotated[Count, Meta(description="the deepest JSON in a request")] = 64
    title_model: Annotated[
        str | None,
        Meta(
            title="MODEL",
            description="the model that writes the title of a thread after its first answer, if it"
            " has the provider and key of the thread's own model, and else that model; `run` means"
            " the thread's own model; by default the first message is the title",
        ),
    ] = None
    context_tokens: Annotated[
        Count | None,
        Meta(description="how much of a long thread a model gets, in tokens; all of it by default"),
    ] = None
    telemetry: Annotated[
        Literal["off", "otlp"],
        Meta(
            title="off or otlp",
            description="whether to send traces, by the OTEL_EXPORTER_OTLP_* variables",
        ),
    ] = "off"
    propagate_trace_to_providers: Annotated[
        Switch, Meta(description="send `traceparent` headers to the providers of models")
    ] = False
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(
            title="debug, info, warning or error",
            description="the lowest level that a server logs; debug has a line for each request",
        ),
    ] = "warning"
    log_format: Annotated[
        Literal["text", "json"],
        Meta(title="text or json", description="the format of a server's log lines"),
    ] = "text"
    log_content: Annotated[
        Switch,
        Meta(description="include texts of people and models in logs and traces, for debugging"),
    ] = False
    event_retention: Annotated[
        float,
        Meta(
            ge=60,
            le=100 * 365 * 86_400,
            title="a number of seconds from 60 up",
            description="how long the events of ended runs are stored",
        ),
    ] = 30 * 86_400.0
    temporary_retention: Annotated[
        float,
        Meta(
            ge=60,
            le=365 * 86_400,
            title="a number of seconds from 60 up",
            description="how long a temporary thread is stored after its last change",
        ),
    ] = 86_400.0
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
        """Raise `TypeError` for a string in place of a tuple: its letters would be the items."""
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


def mask_value(setting: Setting, value: Any) -> Any:
    """Return a value for display: secrets, and passwords in addresses, are masked."""
    if value is None:
        return None
    if setting.secret and value:
        return MASK
    return without_password(value)


MASK = "****"

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
"""All settings by name; except the `[providers.NAME]` and `[servers.NAME]` tables."""

_SEVERAL = tuple(setting.name for setting in TABLE.values() if setting.several)


def without_password(value: Any) -> Any:
    """Return the value; an address without its password."""
    return _PASSWORD.sub(rf"\1{MASK}@", value) if isinstance(value, str) else value


def sqlite_address(path: Path) -> str:
    """Return the address of the database in this file."""
    return SQLITE + path.as_posix()
