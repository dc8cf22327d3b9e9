"""Catalog of providers: resolves model names, and chooses a default model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import cast
from urllib.parse import urlsplit

import msgspec

from antiphon.ports import Provider, ResolvedModel
from antiphon.providers import endpoints
from antiphon.providers.chat_completions import ChatCompletionsProvider
from antiphon.providers.demo import WINDOW, DemoProvider
from antiphon.providers.http import HttpLimits
from antiphon.providers.model_info import Offer
from antiphon.providers.owner_providers import OwnerProviderPool
from antiphon.providers.servers import UNDECLARED, ServerTerms, Terms
from antiphon.providers.stream_parser import Quirks
from antiphon.providers.vendors import (
    Vendor,
    choose_model,
    find_listable,
    is_installed,
    open_provider,
)
from antiphon.settings.settings import Settings
from antiphon.types.accounts import OwnerProviderKey
from antiphon.types.addresses import is_local_url
from antiphon.types.errors import AntiphonError, BadSettings, ProviderError, ProviderUnavailable
from antiphon.types.runs import Deadlines, Destination
from antiphon.types.terminal_safe import clean

GROUP = (
    "antiphon.providers"  # entry points: a callable that takes the environment, gives a Provider
)
OLLAMA_SECONDS = 0.3  # how long a start may wait to learn that there is no Ollama
LIST_SECONDS = 5.0
_DEFAULTS = Settings()

KeysOf = Callable[[str, str], Awaitable[OwnerProviderKey | None]]
"""The key that an owner has of their own for a provider, by both names."""


async def no_keys(owner: str, provider: str) -> OwnerProviderKey | None:
    """Where nobody has keys of their own."""
    return None


def no_marks() -> Sequence[str]:
    """Return no marks of seals: where nobody has keys of their own."""
    return ()


class ModelChoice(msgspec.Struct, frozen=True):
    """Default model, and the reason for the choice."""

    model: str
    why: str


class ProviderListing(msgspec.Struct, frozen=True):
    """Models that a provider lists, or the error of one that failed.

    `where` is the URL that is asked, or the provider's name if only its library knows the URL.
    `prefix` stands before each name.
    """

    provider: str
    where: str
    prefix: str
    names: Sequence[str] = ()
    error: AntiphonError | None = None


class Catalog:
    """Opens providers by the names of their models, each provider once.

    An owner with a key of their own gets a separate provider.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        keys_of: KeysOf = no_keys,
        marks: Callable[[], Sequence[str]] = no_marks,
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._keys_of = keys_of
        self._marks = marks
        self._lending = OwnerProviderPool()
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
            chosen = await self._choice()
            await self.open(chosen.model)
            self._chosen = chosen
        return self._chosen

    async def open(self, model: str, owner: str | None = None) -> ResolvedModel:
        """Resolve `provider:name` to its provider and what is known of it.

        A known provider uses the owner's own key, if they have one. With a base URL in the
        settings, a model without a known provider belongs to that server. Raises `BadSettings` for
        an unknown provider, or a missing key.
        """
        provider, colon, name = model.partition(":")
        base_url = self._settings.base_url
        if provider == "demo":
            demo = self._get_or_open("demo", lambda: DemoProvider(self._settings.demo_delay))
            there = self._destination("demo")
            return ResolvedModel(provider=demo, model="demo", name="demo", destination=there)
        terms = self._terms(provider) if colon else None
        if terms is not None:
            return await self._resolve(provider, name, terms, owner)
        if base_url:
            plain = self._get_or_open("", lambda: self._plain(base_url))
            called, there = urlsplit(base_url).netloc, self._destination("")
            return ResolvedModel(provider=plain, model=model, name=called, destination=there)
        plugin = _plugins().get(provider) if colon else None
        if plugin is not None:
            theirs = self._get_or_open(provider, lambda: _load_plugin(plugin, self._environ))
            there = self._destination(provider)
            return ResolvedModel(provider=theirs, model=name, name=provider, destination=there)
        raise BadSettings(
            f"There is no provider for the model {model!r}.",
            expected="provider:name, the provider one of " + ", ".join(self._names()),
            received=model,
            hint=self._suggest(provider, colon, name),
        )

    def serves(self, destination: Destination) -> bool:
        """Return whether words sent from here go to that place, and whether they can be sent."""
        try:
            here = self._destination(destination.provider)
        except BadSettings:  # its address is not known here
            return False
        if here is None or here.digest != destination.digest:
            return False
        if destination.seal:
            return destination.seal in self._marks()
        return self._can_ask(destination.provider)

    def find_offer(self, model: str) -> Offer:
        """Where the replies of a model are bought that `open` takes, and what you say of it.

        A list goes by the address that is asked, whatever its provider's name: behind a base URL in
        the settings there may be anybody.
        """
        provider, colon, name = model.partition(":")
        if provider == "demo":
            return Offer(model=model, windows=WINDOW)
        base_url = self._settings.base_url
        match self._terms(provider) if colon else None:
            case ServerTerms() as server:
                address = base_url or self._address(provider, server)
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
        """Return the provider that is asked for a model, and the origin of its address.

        The provider is "" where only the address is known, the address "" where the provider's
        library knows it. Raises `BadSettings` for an address that is not known.
        """
        provider, colon, _ = model.partition(":")
        if provider != "demo" and not (colon and self._terms(provider)):
            provider = "" if self._settings.base_url else provider
        there = self._destination(provider)
        return (provider, there.address) if there else (provider, "")

    def keys(self) -> list[str]:
        """The variables that are set and hold a known provider's key; their names only."""
        named = [server.key_env for server in self._servers.values()]
        named += [name for vendor in self._vendors.values() for name in vendor.keys]
        return [name for name in named if name and self._environ.get(name)]

    async def listings(self) -> Sequence[ProviderListing]:
        """Ask for their models all providers whose key is here, or the base URL in their place.

        An Ollama that nobody has named and that does not answer is left out.
        """
        base_url = self._settings.base_url
        asked = [self._at_base_url()] if base_url else self._listing()
        found = await asyncio.gather(*map(self._list_models, asked))
        return [each for each in found if not (each.error and self._is_unbidden(each.provider))]

    async def configured(self) -> Sequence[ProviderListing]:
        """Ask for their models the providers that the settings lead to, and no others.

        That is the base URL, or else each table with an address and the model that is used.
        """
        if self._settings.base_url:
            return [await self._list_models(self._at_base_url())]
        asked = [name for name, table in self._settings.providers.items() if "base_url" in table]
        used = self._chosen.model.partition(":")[0] if self._chosen else ""
        if used in self._servers and used not in asked:
            asked.append(used)
        return await asyncio.gather(*map(self._list_models, asked))

    def check_own(self, provider: str, own: OwnerProviderKey) -> None:
        """Raise `InvalidRequest` for an owner's key with which nobody could be asked."""
        takers = {**self._vendors_with_keys(), **self._servers}
        endpoints.check_owner_key(provider, takers.get(provider), own, list(takers))

    async def close(self) -> None:
        """Close the providers that were opened."""
        for provider in self._open.values():
            await provider.close()
        await self._lending.close()

    async def _choice(self) -> ModelChoice:
        if self._settings.model:
            return ModelChoice(self._settings.model, "it is configured")
        if self._settings.base_url:
            return await self._first_of_base_url(self._settings.base_url)
        for name, server in self._servers.items():
            if server.default and self._has_key(server):
                why = f"{server.key_env} is set" if server.key_env else "it is configured"
                return ModelChoice(f"{name}:{server.default}", why)
        if found := choose_model(self._vendors, self._environ):
            model, variable = found
            return ModelChoice(model, f"{variable} is set")
        local = await self._local_ollama()
        if local:
            return ModelChoice(
                f"ollama:{local}", "no key is set, and Ollama answers on this machine"
            )
        return ModelChoice("demo", "no model is named, no key is set, and no Ollama answers")

    def _terms(self, name: str) -> ServerTerms | Vendor | None:
        return self._servers.get(name) or self._vendors.get(name)

    async def _resolve(
        self, provider: str, name: str, terms: ServerTerms | Vendor, owner: str | None
    ) -> ResolvedModel:
        own = await self._keys_of(owner, provider) if owner else None
        there = self._destination(provider)
        if own and there:
            there = msgspec.structs.replace(there, seal=next(iter(self._marks()), ""))
        return ResolvedModel(
            provider=await self._resolve_known(provider, terms, owner, own),
            model=name,
            name=provider,
            deadlines=self._deadlines(provider, terms),
            lacks=frozenset(terms.lacks),
            destination=there,
        )

    def _destination(self, provider: str) -> Destination | None:
        """Return where the words of runs of this provider go; None where nothing is known of it.

        Raises `BadSettings` where its address is not known.
        """
        base_url = self._settings.base_url
        if provider == "demo":
            return Destination("demo")
        if provider == "":
            return endpoints.server_destination("", base_url) if base_url else None
        terms = self._terms(provider)
        if base_url:
            return endpoints.server_destination(provider, base_url) if terms else None
        match terms:
            case ServerTerms():
                return endpoints.server_destination(provider, self._address(provider, terms))
            case Vendor():
                return endpoints.vendor_destination(provider, self._environ)
            case None:
                plugin = _plugins().get(provider)
                return endpoints.plugin_destination(provider, plugin.value) if plugin else None

    def _can_ask(self, provider: str) -> bool:
        """Return whether what is needed to ask it is here, such as its key."""
        match self._terms(provider):
            case ServerTerms() as server:
                return self._settings.base_url is not None or self._has_key(server)
            case Vendor() as vendor:
                keyed = vendor.keyless or vendor.variable(self._environ) is not None
                return is_installed() and (keyed or self._settings.provider_key is not None)
            case None:
                return True

    async def _resolve_known(
        self,
        name: str,
        terms: ServerTerms | Vendor,
        owner: str | None,
        own: OwnerProviderKey | None,
    ) -> Provider:
        if owner and own:
            return await self._lending.provider(
                owner, name, own, lambda: self._owners(name, terms, own)
            )
        if owner:
            await self._lending.give_up(owner, name)
        if isinstance(terms, Vendor):
            return await self._vendor(name, terms)
        return self._get_or_open(name, lambda: self._server(name, terms))

    async def _owners(
        self, name: str, terms: ServerTerms | Vendor, own: OwnerProviderKey
    ) -> Provider:
        """A provider that is asked with this key and no other."""
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
        return self._create_server_provider(terms, base_url or self._address(name, terms), own.key)

    def _get_or_open(self, name: str, make: Callable[[], Provider]) -> Provider:
        if name not in self._open:
            self._open[name] = make()
        return self._open[name]

    def _server(self, name: str, server: ServerTerms) -> Provider:
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
        return self._create_server_provider(server, base_url or self._address(name, server), key)

    def _create_server_provider(
        self, server: ServerTerms, base_url: str, key: str | None
    ) -> Provider:
        return ChatCompletionsProvider(
            endpoints.validate_base_url(base_url),
            endpoints.validate_key(key),
            key_header=server.key_header,
            quirks=self._quirks(server.quirks),
            models=server.models,
            limits=HttpLimits(
                connect_seconds=server.connect_timeout, pool=server.pool, retries=server.retries
            ),
        )

    def _quirks(self, known: Quirks) -> Quirks:
        """A server's own; none streams where the settings want whole replies."""
        return known if self._settings.stream else msgspec.structs.replace(known, stream=False)

    def _deadlines(self, name: str, terms: Terms) -> Deadlines:
        """Those of your table; a known server's own where the settings are as they always are."""
        yours = self._settings.providers.get(name, {})

        def kept(field: str) -> float | None:
            changed = getattr(self._settings, field) != getattr(_DEFAULTS, field)
            seconds: float | None = getattr(terms, field)
            return None if changed and field not in yours else seconds

        return Deadlines(
            chunk=kept("chunk_timeout"),
            first_chunk=kept("first_chunk_timeout"),
            turn=kept("turn_timeout"),
        )

    async def _vendor(self, name: str, vendor: Vendor) -> Provider:
        """The vendor's provider; its library loads in a thread, while others go on."""
        async with self._loading:
            if name not in self._open:
                key, address = self._of_vendor(name, vendor)
                made = asyncio.to_thread(open_provider, name, vendor, key, address)
                self._open[name] = await made
            return self._open[name]

    def _of_vendor(self, name: str, vendor: Vendor) -> tuple[str | None, str | None]:
        """The vendor's key, and where it is asked if not at its own address."""
        base_url = self._settings.base_url
        key = self._environ.get(vendor.variable(self._environ) or "")
        if base_url is None:
            return endpoints.validate_key(key), None
        if self._settings.foreign_base_url:
            # The vendors' libraries find credentials by themselves, and would send them there.
            raise BadSettings(
                f"The provider {name} is not asked at an address that a folder named.",
                expected="--base-url, ANTIPHON_BASE_URL, or your own antiphon.toml",
                received=base_url,
            )
        return endpoints.validate_key(
            self._settings.provider_key or key
        ), endpoints.validate_base_url(base_url)

    def _plain(self, base_url: str) -> Provider:
        return ChatCompletionsProvider(
            endpoints.validate_base_url(base_url),
            endpoints.validate_key(self._settings.provider_key),
            quirks=self._quirks(UNDECLARED),
        )

    def _address(self, name: str, server: ServerTerms) -> str:
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

    def _listing(self) -> list[str]:
        """The servers to ask for their models.

        Not every local one: vLLM's usual port is ours too, and we would ask ourselves.
        """
        wanted = {"ollama", *self._settings.providers}
        return [
            name
            for name, server in self._servers.items()
            if (server.key_env or name in wanted) and self._has_key(server)
        ] + [name for name in find_listable(self._environ) if name not in self._servers]

    async def _first_of_base_url(self, base_url: str) -> ModelChoice:
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

    async def _local_ollama(self) -> str | None:
        """The first model of an Ollama on this machine; no other machine is asked unbidden."""
        if not is_local_url(self._servers["ollama"].base_url):
            return None
        try:
            async with asyncio.timeout(OLLAMA_SECONDS):
                names = await (await self.open("ollama:")).provider.models()
        except (ProviderError, TimeoutError):
            return None
        return names[0] if names else None

    def _at_base_url(self) -> str:
        """Return the provider that the server at the base URL is asked as; "" where it is none.

        A model that is named for a provider has that one's key sent there.
        """
        name, _, _ = (self._settings.model or "").partition(":")
        return name if self._terms(name) else ""

    def _is_unbidden(self, provider: str) -> bool:
        model = self._settings.model or ""
        named = model.startswith("ollama:") or "ollama" in self._settings.providers
        return provider == "ollama" and not named

    async def _list_models(self, name: str) -> ProviderListing:
        """Ask one provider; "" is the server at the base URL."""
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
        """Suggest what a model without a provider may have meant."""
        names = self._names()
        if provider in names and not colon:
            return f"name one of its models: {provider}:NAME"
        near = get_close_matches(provider, names, n=1)
        if near:
            return f"did you mean {near[0]}{colon}{name}?"
        return "for instance openai:gpt-5 or demo; any other server by --base-url"

    def _names(self) -> list[str]:
        return sorted({*self._servers, *self._vendors, *_plugins(), "demo"})

    def _vendors_with_keys(self) -> dict[str, Vendor]:
        return {name: vendor for name, vendor in self._vendors.items() if vendor.keys}


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _load_plugin(point: EntryPoint, environ: Mapping[str, str]) -> Provider:
    try:
        return cast("Provider", point.load()(environ))
    except Exception as error:  # other people's code: whatever it raises, it cannot be used
        raise BadSettings(
            f"The provider {point.name} cannot be loaded from {point.value}: {error}"
        ) from error


_VARIABLE = re.compile(r"\{(\w+)\}")
