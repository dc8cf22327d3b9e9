"""Catalog of providers: resolves model names, and chooses a default model."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import msgspec

from antiphon.ports import Provider, ResolvedModel
from antiphon.providers import endpoints
from antiphon.providers.audio_endpoint import AudioEndpoint
from antiphon.providers.chat_completions import ChatCompletionsProvider
from antiphon.providers.demo import WINDOW, DemoProvider
from antiphon.providers.http import DEFAULT_LIMITS, HttpLimits
from antiphon.providers.model_info import Offer
from antiphon.providers.owner_providers import OwnerProviderPool
from antiphon.providers.quirks import Quirks
from antiphon.providers.servers import (
    UNDECLARED,
    ServerTerms,
    Terms,
    Vendor,
    choose_model,
    find_listable,
    is_installed,
    open_provider,
)
from antiphon.providers.speech import Speaker
from antiphon.providers.transcription import Transcriber
from antiphon.settings.settings import Settings
from antiphon.types.accounts import OwnerProviderKey
from antiphon.types.addresses import is_local_url
from antiphon.types.errors import AntiphonError, BadSettings, ProviderError, ProviderUnavailable
from antiphon.types.runs import Deadlines, Destination
from antiphon.types.terminal_safe import clean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "antiphon.providers"
"""Group of entry points: each is a callable that takes the environment and returns a Provider."""
OLLAMA_SECONDS = 0.3  # timeout for an Ollama on this machine, since it delays every start
LIST_SECONDS = 5.0
_DEFAULTS = Settings()

KeysOf = Callable[[str, str], Awaitable[OwnerProviderKey | None]]
"""Returns the owner's own key for the provider, if any."""


async def no_keys(owner: str, provider: str) -> OwnerProviderKey | None:
    """Return None: owners have no keys of their own."""
    return None


def no_fingerprints() -> Sequence[str]:
    """Return no fingerprints: owners have no keys of their own."""
    return ()


class ModelChoice(msgspec.Struct, frozen=True):
    """Default model, and the reason for the choice."""

    model: str
    why: str


class ProviderListing(msgspec.Struct, frozen=True):
    """Models that a provider lists, or the error of one that failed.

    `where` is the server's URL, or the provider's name if only its library knows the URL. `prefix`
    precedes each name in `provider:name`.
    """

    provider: str
    where: str
    prefix: str
    names: Sequence[str] = ()
    error: AntiphonError | None = None


class Catalog:
    """Opens providers by the names of their models, each provider once.

    An owner with a key of their own gets a separate provider. `fingerprints` returns those of the
    keys that can decrypt owners' keys here.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        keys_of: KeysOf = no_keys,
        fingerprints: Callable[[], Sequence[str]] = no_fingerprints,
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._keys_of = keys_of
        self._fingerprints = fingerprints
        self._owner_providers = OwnerProviderPool()
        self._servers = endpoints.merge_servers(settings.providers)
        self._vendors = endpoints.merge_vendors(settings.providers)
        self._chosen: ModelChoice | None = None
        self._open: dict[str, Provider] = {}
        self._loading = asyncio.Lock()

    async def choose(self) -> ModelChoice:
        """Return the configured model, else a known key's, else a local Ollama's, else the demo.

        The choice is made once, so that all runs of a process use the same model. Raises
        `BadSettings` for a model that `open` would refuse, so that a server reports it at its
        start.
        """
        if self._chosen is None:
            chosen = await self._choose_default()
            await self.open(chosen.model)
            self._chosen = chosen
        return self._chosen

    async def open(self, model: str, owner: str | None = None) -> ResolvedModel:
        """Resolve `provider:name` to a provider and its terms.

        A known provider uses the owner's own key, if any. With a base URL in the settings, a model
        without a known provider belongs to that server. Raises `BadSettings` for an unknown
        provider or a missing key.
        """
        provider, colon, name = model.partition(":")
        base_url = self._settings.base_url
        if provider == "demo":
            demo = self._get_or_open("demo", lambda: DemoProvider(self._settings.demo_delay))
            there = self._find_destination("demo")
            return ResolvedModel(provider=demo, model="demo", name="demo", destination=there)
        terms = self._find_terms(provider) if colon else None
        if terms is not None:
            return await self._resolve(provider, name, terms, owner)
        if base_url:
            plain = self._get_or_open(
                "",
                lambda: ChatCompletionsProvider(
                    endpoints.validate_base_url(base_url),
                    endpoints.validate_key(self._settings.provider_key),
                    quirks=self._adapt_quirks(UNDECLARED),
                ),
            )
            called, there = urlsplit(base_url).netloc, self._find_destination("")
            return ResolvedModel(provider=plain, model=model, name=called, destination=there)
        plugin = _find_plugins().get(provider) if colon else None
        if plugin is not None:
            theirs = self._get_or_open(provider, lambda: _load_plugin(plugin, self._environ))
            there = self._find_destination(provider)
            return ResolvedModel(provider=theirs, model=name, name=provider, destination=there)
        raise BadSettings(
            f"There is no provider for the model {model!r}.",
            expected="provider:name, such as openai:gpt-5, ollama:qwen3 or demo",
            received=model,
            hint=self._suggest(provider, colon, name),
        )

    def open_transcriber(self, model: str) -> Transcriber:
        """Return a client of the model that transcribes. Raises `BadSettings`."""
        return Transcriber(self._open_audio_endpoint("transcription_model", model))

    def open_speaker(self, model: str) -> Speaker:
        """Return a client of the model that speaks. Raises `BadSettings`."""
        return Speaker(self._open_audio_endpoint("speech_model", model))

    def serves(self, destination: Destination) -> bool:
        """Return whether requests from here go to that destination and can be sent."""
        try:
            here = self._find_destination(destination.provider)
        except BadSettings:  # the address is not known here
            return False
        if here is None or here.digest != destination.digest:
            return False
        if destination.seal:
            return destination.seal in self._fingerprints()
        return self._can_ask(destination.provider)

    def find_offer(self, model: str) -> Offer:
        """Return the vendor of a model that `open` accepts, with the terms in the settings.

        A price list is searched by the address and not by the provider's name: a base URL in the
        settings may be any vendor's.
        """
        provider, colon, name = model.partition(":")
        if provider == "demo":
            return Offer(model=model, windows=WINDOW)
        base_url = self._settings.base_url
        match self._find_terms(provider) if colon else None:
            case ServerTerms() as server:
                address = base_url or self._find_address(provider, server)
                return Offer(
                    model=name,
                    own=server.prices,
                    windows=server.context_tokens,
                    address=address,
                )
            case Vendor(prices=prices, context_tokens=windows):
                seller = None if base_url else provider
                return Offer(
                    model=name, own=prices, windows=windows, address=base_url, vendor=seller
                )
            case None:
                pass
        if base_url:
            return Offer(model=model, address=base_url)
        return Offer(model=name, vendor=provider)

    def find_server(self, model: str) -> tuple[str, str]:
        """Return the provider of a model, and the origin of its address.

        The provider is "" if only the address is known, the address "" if only the provider's
        library knows it. Raises `BadSettings` for an unknown address.
        """
        provider, colon, _ = model.partition(":")
        if provider != "demo" and not (colon and self._find_terms(provider)):
            provider = "" if self._settings.base_url else provider
        there = self._find_destination(provider)
        return (provider, there.address) if there else (provider, "")

    def lacks(self, model: str) -> tuple[str, ...]:
        """Return what the model's provider is known not to have; nothing of an unknown one."""
        provider, colon, _ = model.partition(":")
        terms = self._find_terms(provider) if colon else None
        return tuple(terms.lacks) if terms else ()

    def keys(self) -> list[str]:
        """Return the names of the variables that are set and hold a known provider's key."""
        named = [server.key_env for server in self._servers.values()]
        named += [name for vendor in self._vendors.values() for name in vendor.keys]
        return [name for name in named if name and self._environ.get(name)]

    async def list_all(self) -> Sequence[ProviderListing]:
        """List the models of the server at the base URL, else of all providers whose key is set.

        An Ollama that does not respond is left out unless the settings name it.
        """
        model, base_url = self._settings.model or "", self._settings.base_url
        named = model.startswith("ollama:") or "ollama" in self._settings.providers
        names = [self._find_name_at_base_url()] if base_url else self._find_listed_providers()
        found = await asyncio.gather(*map(self._list_models, names))
        return [each for each in found if not each.error or named or each.provider != "ollama"]

    async def list_configured(self) -> Sequence[ProviderListing]:
        """List the models of the providers in the settings only.

        These are the server at the base URL, else each table with an address, and the provider of
        the model that is used.
        """
        if self._settings.base_url:
            return [await self._list_models(self._find_name_at_base_url())]
        names = [name for name, table in self._settings.providers.items() if "base_url" in table]
        used = self._chosen.model.partition(":")[0] if self._chosen else ""
        if used in self._servers and used not in names:
            names.append(used)
        return await asyncio.gather(*map(self._list_models, names))

    def check_own(self, provider: str, own: OwnerProviderKey) -> None:
        """Raise `InvalidRequest` for an owner's key that the provider cannot use."""
        with_keys = {name: vendor for name, vendor in self._vendors.items() if vendor.keys}
        takers = {**with_keys, **self._servers}
        endpoints.check_owner_key(provider, takers.get(provider), own, list(takers))

    async def close(self) -> None:
        """Close the providers that were opened."""
        for provider in self._open.values():
            await provider.close()
        await self._owner_providers.close()

    async def _choose_default(self) -> ModelChoice:
        if self._settings.model:
            return ModelChoice(self._settings.model, "it is configured")
        if self._settings.base_url:
            return await self._choose_at_base_url(self._settings.base_url)
        for name, server in self._servers.items():
            if server.default and self._has_key(server):
                why = f"{server.key_env} is set" if server.key_env else "it is configured"
                return ModelChoice(f"{name}:{server.default}", why)
        if found := choose_model(self._vendors, self._environ):
            model, variable = found
            return ModelChoice(model, f"{variable} is set")
        local = await self._find_local_ollama()
        if local:
            return ModelChoice(
                f"ollama:{local}", "no key is set, and Ollama answers on this machine"
            )
        return ModelChoice("demo", "no model is named, no key is set, and no Ollama answers")

    def _find_terms(self, name: str) -> ServerTerms | Vendor | None:
        return self._servers.get(name) or self._vendors.get(name)

    async def _resolve(
        self, provider: str, name: str, terms: ServerTerms | Vendor, owner: str | None
    ) -> ResolvedModel:
        own = await self._keys_of(owner, provider) if owner else None
        there = self._find_destination(provider)
        if own and there:
            there = msgspec.structs.replace(there, seal=next(iter(self._fingerprints()), ""))
        return ResolvedModel(
            provider=await self._find_provider(provider, terms, owner, own),
            model=name,
            name=provider,
            deadlines=self._find_deadlines(provider, terms),
            lacks=frozenset(terms.lacks),
            destination=there,
        )

    def _find_destination(self, provider: str) -> Destination | None:
        """Return the destination of the provider's requests; None for an unknown provider.

        Raises `BadSettings` for an unknown address.
        """
        base_url = self._settings.base_url
        if provider == "demo":
            return Destination("demo")
        if provider == "":
            return endpoints.server_destination("", base_url) if base_url else None
        terms = self._find_terms(provider)
        if base_url:
            return endpoints.server_destination(provider, base_url) if terms else None
        match terms:
            case ServerTerms():
                return endpoints.server_destination(provider, self._find_address(provider, terms))
            case Vendor():
                return endpoints.vendor_destination(provider, self._environ)
            case None:
                plugin = _find_plugins().get(provider)
                return endpoints.plugin_destination(provider, plugin.value) if plugin else None

    def _can_ask(self, provider: str) -> bool:
        """Return whether the provider can be used here: its key and its library are there."""
        match self._find_terms(provider):
            case ServerTerms() as server:
                return self._settings.base_url is not None or self._has_key(server)
            case Vendor() as vendor:
                keyed = vendor.keyless or vendor.variable(self._environ) is not None
                return is_installed() and (keyed or self._settings.provider_key is not None)
            case None:
                return True

    async def _find_provider(
        self,
        name: str,
        terms: ServerTerms | Vendor,
        owner: str | None,
        own: OwnerProviderKey | None,
    ) -> Provider:
        if owner and own:
            return await self._owner_providers.provider(
                owner, name, own, lambda: self._create_owner_provider(name, terms, own)
            )
        if owner:
            await self._owner_providers.give_up(owner, name)
        if isinstance(terms, Vendor):
            return await self._open_vendor(name, terms)
        return self._get_or_open(name, lambda: self._open_server(name, terms))

    async def _create_owner_provider(
        self, name: str, terms: ServerTerms | Vendor, own: OwnerProviderKey
    ) -> Provider:
        """Create a provider that uses the owner's key and no other."""
        if own.base_url is None and (
            self._settings.foreign_base_url or name in self._settings.foreign_providers
        ):
            raise BadSettings(
                f"An owner's key for {name} is not sent to an address that a folder named.",
                expected="an address from --base-url, ANTIPHON_BASE_URL, your own antiphon.toml",
                received="one from the antiphon.toml of the working folder",
            )
        base_url = own.base_url or self._settings.base_url
        if isinstance(terms, Vendor):
            async with self._loading:
                return await asyncio.to_thread(open_provider, name, terms, own.key, base_url)
        return self._create_server_provider(
            terms, base_url or self._find_address(name, terms), own.key
        )

    def _get_or_open(self, name: str, make: Callable[[], Provider]) -> Provider:
        if name not in self._open:
            self._open[name] = make()
        return self._open[name]

    def _open_audio_endpoint(self, setting: str, model: str) -> AudioEndpoint:
        """Return the endpoint for the model of this setting, with the operator's key.

        A known provider is asked at its own address, another name at the base URL. Raises
        `BadSettings` for an unknown provider, one without OpenAI's API, or a missing key.
        """
        provider, colon, name = model.partition(":")
        server = self._servers.get(provider) if colon else None
        base_url, key, limits = self._settings.base_url, self._settings.provider_key, DEFAULT_LIMITS
        if server is not None:
            base_url = self._find_address(provider, server)
            key = server.key or (server.key_env and self._environ.get(server.key_env)) or None
            limits = HttpLimits(connect_seconds=server.connect_timeout, retries=server.retries)
            if server.key_env and not key:
                raise BadSettings(
                    f"The provider {provider} of `{setting}` needs a key.",
                    expected=f"the environment variable {server.key_env}",
                    received="nothing",
                )
        elif not base_url:
            raise BadSettings(
                f"The setting `{setting}` names no server with OpenAI's API.",
                expected="provider:name, the provider one of " + ", ".join(sorted(self._servers)),
                received=model,
            )
        return AudioEndpoint(
            endpoints.validate_base_url(base_url),
            endpoints.validate_key(key),
            name if server else model,
            setting,
            provider=provider if server else "",
            key_header=server.key_header if server else None,
            key_parameter=server.key_parameter if server else None,
            limits=limits,
        )

    def _open_server(self, name: str, server: ServerTerms) -> Provider:
        base_url = self._settings.base_url
        key = server.key or (server.key_env and self._environ.get(server.key_env)) or None
        if base_url:
            key = self._settings.provider_key or (None if self._settings.foreign_base_url else key)
        elif server.key_env and not key:
            raise BadSettings(
                f"The provider {name} needs a key.",
                expected=f"the environment variable {server.key_env}",
                received="nothing",
                hint="or name another model, for instance demo",
            )
        return self._create_server_provider(
            server, base_url or self._find_address(name, server), key
        )

    def _create_server_provider(
        self, server: ServerTerms, base_url: str, key: str | None
    ) -> Provider:
        return ChatCompletionsProvider(
            endpoints.validate_base_url(base_url),
            endpoints.validate_key(key),
            key_header=server.key_header,
            key_parameter=server.key_parameter,
            quirks=self._adapt_quirks(server.quirks),
            models=server.models,
            limits=HttpLimits(
                connect_seconds=server.connect_timeout, pool=server.pool, retries=server.retries
            ),
        )

    def _adapt_quirks(self, known: Quirks) -> Quirks:
        """Return the quirks, without streaming if the settings turn it off."""
        return known if self._settings.stream else msgspec.structs.replace(known, stream=False)

    def _find_deadlines(self, name: str, terms: Terms) -> Deadlines:
        """Return the timeouts of the provider's table, else of the known server.

        A known server's timeout gives way to a setting that differs from its default.
        """
        table = self._settings.providers.get(name, {})

        def find_timeout(field: str) -> float | None:
            changed = getattr(self._settings, field) != getattr(_DEFAULTS, field)
            seconds: float | None = getattr(terms, field)
            return None if changed and field not in table else seconds

        return Deadlines(
            chunk=find_timeout("chunk_timeout"),
            first_chunk=find_timeout("first_chunk_timeout"),
            turn=find_timeout("turn_timeout"),
        )

    async def _open_vendor(self, name: str, vendor: Vendor) -> Provider:
        """Return the vendor's provider; its library is loaded in a thread."""
        async with self._loading:
            if name not in self._open:
                key, address = self._find_vendor_access(name, vendor)
                made = asyncio.to_thread(open_provider, name, vendor, key, address)
                self._open[name] = await made
            return self._open[name]

    def _find_vendor_access(self, name: str, vendor: Vendor) -> tuple[str | None, str | None]:
        """Return the vendor's key, and the base URL if it is not the vendor's own."""
        base_url = self._settings.base_url
        key = self._environ.get(vendor.variable(self._environ) or "")
        if base_url is None:
            return endpoints.validate_key(key), None
        if self._settings.foreign_base_url:
            # The vendors' libraries find credentials themselves, and would send them there.
            raise BadSettings(
                f"The provider {name} is not asked at an address that a folder named.",
                expected="--base-url, ANTIPHON_BASE_URL, or your own antiphon.toml",
                received=base_url,
            )
        return endpoints.validate_key(
            self._settings.provider_key or key
        ), endpoints.validate_base_url(base_url)

    def _find_address(self, name: str, server: ServerTerms) -> str:
        wanted = _VARIABLE.findall(server.base_url)
        if missing := [variable for variable in wanted if not self._environ.get(variable)]:
            raise BadSettings(
                f"The address of the provider {name} is not known.",
                expected="the environment variable " + " and ".join(missing),
                received="nothing",
            )
        return _VARIABLE.sub(lambda found: self._environ[found[1]].rstrip("/"), server.base_url)

    def _has_key(self, server: ServerTerms) -> bool:
        """Return whether the server can be used: its key is set, or it needs none."""
        if server.key or server.key_env is None:
            return True
        return bool(self._environ.get(server.key_env))

    def _find_listed_providers(self) -> list[str]:
        """Return the providers whose models are listed.

        Of the local servers only Ollama and those in the settings: vLLM's usual port is also ours.
        """
        wanted = {"ollama", *self._settings.providers}
        return [
            name
            for name, server in self._servers.items()
            if (server.key_env or name in wanted) and self._has_key(server)
        ] + [name for name in find_listable(self._environ) if name not in self._servers]

    async def _choose_at_base_url(self, base_url: str) -> ModelChoice:
        provider = (await self.open("")).provider
        try:
            async with asyncio.timeout(LIST_SECONDS):
                names = await provider.models()
        except (ProviderError, TimeoutError) as error:
            late = f"nothing came in {LIST_SECONDS:g} s"
            why = clean(error.message) if isinstance(error, ProviderError) else late
            raise BadSettings(
                f"{base_url} does not list its models: {why.rstrip('.')}.",
                hint="Check the address and ANTIPHON_PROVIDER_KEY, or name a model (--model).",
            ) from error
        if not names:
            raise BadSettings(
                f"{base_url} lists no models.",
                hint="Name one (--model).",
            )
        return ModelChoice(names[0], f"it is the first that {base_url} lists")

    async def _find_local_ollama(self) -> str | None:
        """Return the first model of an Ollama on this machine; other machines are not contacted."""
        if not is_local_url(self._servers["ollama"].base_url):
            return None
        try:
            async with asyncio.timeout(OLLAMA_SECONDS):
                names = await (await self.open("ollama:")).provider.models()
        except (ProviderError, TimeoutError):
            return None
        return names[0] if names else None

    def _find_name_at_base_url(self) -> str:
        """Return the provider whose key the base URL gets, which is the model's; "" if unknown."""
        name, _, _ = (self._settings.model or "").partition(":")
        return name if self._find_terms(name) else ""

    async def _list_models(self, name: str) -> ProviderListing:
        """List the models of one provider; "" is the server at the base URL."""
        base_url = self._settings.base_url
        provider = name or urlsplit(base_url or "").netloc
        terms = self._servers.get(name)
        where = base_url or (terms.base_url if terms else provider)
        listing = ProviderListing(provider, where, f"{name}:" if name else "")
        try:
            opened = (await self.open(f"{name}:" if name else "")).provider
            async with asyncio.timeout(LIST_SECONDS):
                return msgspec.structs.replace(listing, names=await opened.models())
        except (ProviderError, BadSettings) as error:
            return msgspec.structs.replace(listing, error=error)
        except TimeoutError:
            late = ProviderUnavailable(f"{provider} did not answer within {LIST_SECONDS:g} s.")
            return msgspec.structs.replace(listing, error=late)

    def _suggest(self, provider: str, colon: str, name: str) -> str:
        """Return a hint for a model whose provider is unknown."""
        names = self._list_names()
        if provider in names and not colon:
            return f"name one of its models: {provider}:NAME"
        near = get_close_matches(provider, names, n=1, cutoff=0.75)
        if near:
            return f"did you mean {near[0]}{colon}{name}?"
        return (
            "`antiphon models` lists what can be used now, and docs/reference/providers.md all "
            "providers; --base-url names any other server"
        )

    def _list_names(self) -> list[str]:
        return sorted({*self._servers, *self._vendors, *_find_plugins(), "demo"})


@functools.cache
def _find_plugins() -> Mapping[str, EntryPoint]:
    """Return the providers of installed packages, searched once: each has a file to read."""
    # Needed for names of providers that are not built in; it is expensive to import.
    from importlib.metadata import entry_points  # noqa: PLC0415

    return {point.name: point for point in entry_points(group=GROUP)}


def _load_plugin(point: EntryPoint, environ: Mapping[str, str]) -> Provider:
    try:
        return cast("Provider", point.load()(environ))
    except Exception as error:  # foreign code: any error means that it cannot be used
        raise BadSettings(
            f"The provider {point.name} cannot be loaded from {point.value}: {error}"
        ) from error


_VARIABLE = re.compile(r"\{(\w+)\}")
