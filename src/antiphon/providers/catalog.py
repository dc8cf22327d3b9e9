"""From a model's name to the provider that has it: the known servers, in one table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from antiphon.addresses import leads_here
from antiphon.errors import BadSettings, ProviderError
from antiphon.ports import Provider
from antiphon.providers.demo import Demo
from antiphon.providers.openai import OpenAI
from antiphon.providers.reply import Quirks
from antiphon.settings import Settings

GROUP = (
    "antiphon.providers"  # entry points: a callable that takes the environment, gives a Provider
)
OLLAMA_SECONDS = 0.3  # how long a start may wait to learn that there is no Ollama
LIST_SECONDS = 5.0


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OpenAI-compatible server; `[providers.NAME]` in `antiphon.toml` has the same fields.

    `base_url` may name environment variables in braces. The key comes from the variable `key_env`,
    or stands in `key`; without either none is sent. `default` is the model that is taken where the
    server was chosen because its key is there.
    """

    base_url: str
    key_env: str | None = None
    key: str | None = None
    key_header: str | None = None
    default: str | None = None
    quirks: Quirks = Quirks()


# In the order in which keys in the environment are looked for.
SERVERS: dict[str, Server] = {
    "openai": Server(
        base_url="https://api.openai.com/v1",
        key_env="OPENAI_API_KEY",
        default="gpt-5-mini",
        quirks=Quirks(max_tokens="max_completion_tokens", extra_content=False),
    ),
    "openrouter": Server(
        base_url="https://openrouter.ai/api/v1",
        key_env="OPENROUTER_API_KEY",
        default="openrouter/auto",
        quirks=Quirks(comments_are_life=True, reasoning_back="reasoning"),
    ),
    "deepseek": Server(
        base_url="https://api.deepseek.com/v1",
        key_env="DEEPSEEK_API_KEY",
        default="deepseek-chat",
        quirks=Quirks(
            comments_are_life=True,
            reasoning_back="reasoning_content",
            reasoning_required=True,
            extra_content=False,
        ),
    ),
    "together": Server(
        base_url="https://api.together.xyz/v1",
        key_env="TOGETHER_API_KEY",
        default="meta-llama/Llama-3.3-70B-Instruct-Turbo",
        quirks=Quirks(extra_content=False),
    ),
    "hyperbolic": Server(
        base_url="https://api.hyperbolic.xyz/v1",
        key_env="HYPERBOLIC_API_KEY",
        default="meta-llama/Llama-3.3-70B-Instruct",
        quirks=Quirks(extra_content=False),
    ),
    "groq": Server(
        base_url="https://api.groq.com/openai/v1",
        key_env="GROQ_API_KEY",
        default="llama-3.3-70b-versatile",
        quirks=Quirks(max_tokens="max_completion_tokens", extra_content=False),
    ),
    "mistral": Server(
        base_url="https://api.mistral.ai/v1",
        key_env="MISTRAL_API_KEY",
        default="mistral-small-latest",
        quirks=Quirks(
            stream_options=False,
            seed="random_seed",
            extra_content=False,
            call_ids="nine",
            roles="alternate",
        ),
    ),
    "xai": Server(
        base_url="https://api.x.ai/v1",
        key_env="XAI_API_KEY",
        default="grok-3-mini",
        quirks=Quirks(max_tokens="max_completion_tokens", extra_content=False),
    ),
    "fireworks": Server(
        base_url="https://api.fireworks.ai/inference/v1",
        key_env="FIREWORKS_API_KEY",
        default="accounts/fireworks/models/llama-v3p3-70b-instruct",
        quirks=Quirks(reasoning_back="reasoning_content", extra_content=False),
    ),
    "perplexity": Server(
        base_url="https://api.perplexity.ai",
        key_env="PERPLEXITY_API_KEY",
        default="sonar",
        quirks=Quirks(stream_options=False, extra_content=False, roles="alternate"),
    ),
    "alibaba": Server(
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        key_env="DASHSCOPE_API_KEY",
        default="qwen-plus",
        quirks=Quirks(
            reasoning_back="reasoning_content", extra_content=False, roles="system_first"
        ),
    ),
    "azure": Server(
        base_url="{AZURE_OPENAI_ENDPOINT}/openai/v1",
        key_env="AZURE_OPENAI_API_KEY",
        key_header="api-key",
        quirks=Quirks(max_tokens="max_completion_tokens", extra_content=False),
    ),
    "ollama": Server(
        base_url="http://127.0.0.1:11434/v1",
        quirks=Quirks(reasoning_back="reasoning"),
    ),
    "vllm": Server(
        base_url="http://127.0.0.1:8000/v1",
        quirks=Quirks(reasoning_back="reasoning", roles="system_first"),
    ),
    "llamacpp": Server(
        base_url="http://127.0.0.1:8080/v1",
        quirks=Quirks(reasoning_back="reasoning_content", roles="system_first"),
    ),
    "lmstudio": Server(
        base_url="http://127.0.0.1:1234/v1",
        quirks=Quirks(roles="system_first"),
    ),
}


class Choice(msgspec.Struct, frozen=True):
    """The model for who named none, and why it is this one."""

    model: str
    why: str


class Catalog:
    """Opens providers by the names of their models, each provider once."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._own = _own(settings.providers)
        self._servers = self._own | {n: one for n, one in SERVERS.items() if n not in self._own}
        self._chosen: Choice | None = None
        self._open: dict[str, Provider] = {}

    async def choose(self) -> Choice:
        """The configured model, else a known key's, else a local Ollama's, else the demo.

        What was chosen stays chosen, so that all runs of a process have the same model. Raises
        `BadSettings` for a model that `open` would refuse, so that a server says so at its start.
        """
        if self._chosen is None:
            chosen = await self._choice()
            self.open(chosen.model)
            self._chosen = chosen
        return self._chosen

    def open(self, model: str) -> tuple[Provider, str]:
        """The provider of `provider:name`, and the name it knows the model by.

        With a base URL in the settings, a model without a known provider is that server's. Raises
        `BadSettings` for a provider that is not known, or whose key is missing.
        """
        provider, colon, name = model.partition(":")
        if provider == "demo":
            return self._kept("demo", lambda: Demo(self._settings.demo_pace)), "demo"
        base_url = self._settings.base_url
        if colon and provider in self._servers:
            return self._kept(provider, lambda: self._server(provider, base_url)), name
        if base_url:
            return self._kept("", lambda: self._plain(base_url)), model
        plugin = _plugins().get(provider) if colon else None
        if plugin is not None:
            return self._kept(provider, lambda: _loaded(plugin, self._environ)), name
        raise BadSettings(
            f"There is no provider for the model {model!r}.",
            expected="provider:name, the provider one of " + ", ".join(self._names()),
            received=model,
            hint="for instance openai:gpt-5 or demo; any other server by --base-url",
        )

    def keys(self) -> list[str]:
        """The variables that are set and hold a known provider's key; their names only."""
        named = (server.key_env for server in self._servers.values())
        return [name for name in named if name and self._environ.get(name)]

    async def models(self) -> list[tuple[str, str]]:
        """Every model that can be named here, with its provider: what answers, and the demo."""
        base_url = self._settings.base_url
        prefixes = [""] if base_url else [f"{name}:" for name in self._listing()]
        lists = await asyncio.gather(*map(self._listed, prefixes))
        return [*(found for one in lists for found in one), ("demo", "demo")]

    async def close(self) -> None:
        """Close the providers that were opened."""
        for provider in self._open.values():
            await provider.close()

    async def _choice(self) -> Choice:
        if self._settings.model:
            return Choice(self._settings.model, "it is configured")
        if self._settings.base_url:
            return await self._first_of_base_url(self._settings.base_url)
        for name, server in self._servers.items():
            if server.default and self._has_key(server):
                why = f"{server.key_env} is set" if server.key_env else "it is configured"
                return Choice(f"{name}:{server.default}", why)
        local = await self._local_ollama()
        if local:
            return Choice(f"ollama:{local}", "no key is set, and Ollama answers on this machine")
        return Choice("demo", "no model is named, no key is set, and no Ollama answers")

    def _kept(self, name: str, make: Callable[[], Provider]) -> Provider:
        if name not in self._open:
            self._open[name] = make()
        return self._open[name]

    def _server(self, name: str, base_url: str | None) -> Provider:
        server = self._servers[name]
        key = server.key or (server.key_env and self._environ.get(server.key_env)) or None
        if base_url:
            key = self._settings.provider_key or key
        elif server.key_env and not key:
            raise BadSettings(
                f"The provider {name} needs a key.",
                expected=f"the environment variable {server.key_env}",
                received="nothing",
                hint="or name another model, for instance demo",
            )
        return OpenAI(
            _checked(base_url or self._address(name, server)),
            _checked_key(key),
            key_header=server.key_header,
            quirks=server.quirks,
        )

    def _plain(self, base_url: str) -> Provider:
        return OpenAI(_checked(base_url), _checked_key(self._settings.provider_key))

    def _address(self, name: str, server: Server) -> str:
        known = {variable: value.rstrip("/") for variable, value in self._environ.items()}
        try:
            return server.base_url.format_map(known)
        except (KeyError, ValueError) as error:
            raise BadSettings(
                f"The address of the provider {name} is not known.",
                expected=f"the environment variables in {server.base_url}",
                received=f"none for {error}",
            ) from error

    def _has_key(self, server: Server) -> bool:
        """Whether the server can be asked: its key is there, or it needs none."""
        if server.key or server.key_env is None:
            return True
        return bool(self._environ.get(server.key_env))

    def _listing(self) -> list[str]:
        """The servers to ask for their models.

        Not every local one: vLLM's usual port is ours too, and we would ask ourselves.
        """
        wanted = {"ollama", *self._own}
        return [
            name
            for name, server in self._servers.items()
            if (server.key_env or name in wanted) and self._has_key(server)
        ]

    async def _first_of_base_url(self, base_url: str) -> Choice:
        provider, _ = self.open("")
        try:
            async with asyncio.timeout(LIST_SECONDS):
                names = await provider.models()
        except (ProviderError, TimeoutError) as error:
            raise BadSettings(
                f"A model must be named: {base_url} does not list any.", hint="--model NAME"
            ) from error
        if not names:
            raise BadSettings(f"{base_url} lists no models.", hint="--model NAME")
        return Choice(names[0], f"it is the first that {base_url} lists")

    async def _local_ollama(self) -> str | None:
        """The first model of an Ollama on this machine; no other machine is asked unbidden."""
        if not leads_here(self._servers["ollama"].base_url):
            return None
        try:
            async with asyncio.timeout(OLLAMA_SECONDS):
                names = await self.open("ollama:")[0].models()
        except (ProviderError, TimeoutError):
            return None
        return names[0] if names else None

    async def _listed(self, prefix: str) -> Sequence[tuple[str, str]]:
        """The models behind a prefix; none of a server that does not answer."""
        try:
            provider, _ = self.open(prefix)
            async with asyncio.timeout(LIST_SECONDS):
                names = await provider.models()
        except (ProviderError, BadSettings, TimeoutError):
            return []
        owner = prefix.removesuffix(":") or urlsplit(self._settings.base_url or "").netloc
        return [(f"{prefix}{name}", owner) for name in names]

    def _names(self) -> list[str]:
        return sorted({*self._servers, *_plugins(), "demo"})


def _own(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Server]:
    """The entries of the settings; one that names a known server changes what it gives."""
    servers: dict[str, Server] = {}
    for name, table in tables.items():
        known = SERVERS.get(name)
        base: dict[str, Any] = msgspec.to_builtins(known) if known else {}
        try:
            servers[name] = msgspec.convert({**base, **table}, Server)
        except msgspec.ValidationError as error:
            raise BadSettings(
                f"[providers.{name}] cannot be used: {error}.",
                expected=", ".join(Server.__struct_fields__),
            ) from error
    return servers


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _loaded(point: EntryPoint, environ: Mapping[str, str]) -> Provider:
    try:
        return cast("Provider", point.load()(environ))
    except Exception as error:  # other people's code: whatever it raises, it cannot be used
        raise BadSettings(
            f"The provider {point.name} cannot be loaded from {point.value}: {error}"
        ) from error


def _checked(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise BadSettings(
            "The base URL cannot be used.",
            expected="http:// or https://, a host, and no user or password in it",
            received=parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(),
        )
    return base_url


def _checked_key(key: str | None) -> str | None:
    """The key as it may stand in a header; a newline at its end is what files leave there."""
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise BadSettings(
            "The provider's key cannot be sent.", expected="printable ASCII", received="other"
        )
    return key or None
