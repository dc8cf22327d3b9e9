"""Access policy of the web chat: host names, trusted proxies and the way to log in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from antiphon.settings.settings import Settings
from antiphon.types.addresses import Address, is_local_url, is_loopback
from antiphon.types.errors import BadSettings

Login = Literal["none", "password", "oidc", "proxy"]
Network = IPv4Network | IPv6Network

SOCKET = "unix"
"""Entry of `trusted_proxies` for a proxy that connects over a Unix socket, without an address."""
LOCAL_ARTIFACTS = "artifacts.localhost"
"""Host of the second origin where the page is opened at a loopback address.

Browsers resolve it to this machine. It is another site than `localhost` and `127.0.0.1`, so their
cookies are neither sent to it nor set by it; another port would share them.
"""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Host names that are accepted, proxies that are trusted, and the way to log in.

    `origin` is the origin of `public_url`, None if it is not set. `artifact_origin` is the second
    origin of the settings, for previews of artifacts.
    """

    login: Login = "none"
    hosts: frozenset[str] = frozenset()
    origin: str | None = None
    artifact_origin: str | None = None
    proxies: tuple[Network, ...] = ()
    socket_is_proxy: bool = False
    user_header: str = "X-Forwarded-User"

    def answers_to(self, host: str) -> bool:
        """Return true for a `Host` of ours: a loopback name, or a configured name with its port."""
        name = host_name(host)
        return bool(name) and (is_loopback(name) or not self.hosts.isdisjoint((name, host.lower())))

    def is_public(self, name: str, scheme: str) -> bool:
        """Return true if `public_url` has this host name and scheme."""
        return (
            self.origin is not None
            and self.origin.startswith(f"{scheme}://")
            and (host_name(urlsplit(self.origin).netloc) == name)
        )

    def artifact_origin_for(self, page: str) -> str | None:
        """Return the second origin for a page of this origin; None if there is none."""
        if self.artifact_origin:
            return self.artifact_origin
        scheme, _, netloc = page.partition("://")
        port = urlsplit(page).port
        if not is_loopback(host_name(netloc)):
            return None
        return f"{scheme}://{LOCAL_ARTIFACTS}{f':{port}' if port else ''}"

    def is_for_artifacts(self, host: str) -> bool:
        """Return true if this `Host` is that of the second origin."""
        origin = self.artifact_origin or f"http://{LOCAL_ARTIFACTS}"
        return host_name(host) == host_name(urlsplit(origin).netloc)

    def trusts(self, peer: str) -> bool:
        """Return true if headers of a proxy at this address are trusted."""
        if not peer:
            return self.socket_is_proxy
        address = _address(peer)
        return address is not None and any(address in network for network in self.proxies)

    def client_address(self, peer: str, forwarded_for: str) -> str:
        """Return the last address in `X-Forwarded-For` that is no trusted proxy."""
        if not self.trusts(peer):
            return peer
        steps = [step.strip() for step in forwarded_for.split(",") if _address(step.strip())]
        elsewhere = (step for step in reversed(steps) if not self.trusts(step))
        return next(elsewhere, steps[0] if steps else peer)


def read_policy(settings: Settings) -> Policy:
    """Return the policy of the settings. Raises `BadSettings` if they admit everybody or nobody."""
    _check_reach(settings)
    _check_login(settings)
    return Policy(
        login=settings.login,
        hosts=frozenset(_names(settings)),
        origin=settings.public_url.rstrip("/").lower() if settings.public_url else None,
        artifact_origin=_read_artifact_origin(settings),
        proxies=tuple(_networks(settings.trusted_proxies)),
        socket_is_proxy=SOCKET in settings.trusted_proxies,
        user_header=settings.proxy_user_header,
    )


def host_name(host: str) -> str:
    """Return the lower-case name in a `Host` header, without port; empty if it is not valid."""
    found = _HOST.fullmatch(host)
    return (found["v6"] or found["name"]).lower() if found else ""


_HOST = re.compile(
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?", re.ASCII
)


def _check_reach(settings: Settings) -> None:
    if is_loopback(settings.host):
        return
    if settings.login == "none":
        raise BadSettings(
            "Without a login the web chat listens on loopback only.",
            expected="--host 127.0.0.1, or --login password, oidc or proxy",
            received=f"--host {settings.host}",
            hint="`antiphon people add NAME --role admin` makes the first person.",
        )
    if not (settings.allowed_hosts or settings.public_url):
        raise BadSettings(
            "The web chat must know the name that others open it by.",
            expected="--allowed-hosts chat.example.org, or --public-url https://chat.example.org",
            received=f"--host {settings.host}, and no name",
        )


def _check_login(settings: Settings) -> None:
    match settings.login:
        case "oidc":
            _check_oidc(settings)
        case "proxy" if not settings.trusted_proxies:
            raise BadSettings(
                "Login by a proxy needs the proxy's address.",
                expected="--trusted-proxies 127.0.0.1, an address or a network",
                received="none",
                hint="The header of a request from there names its user, without a proof.",
            )
        case _:
            return


def _check_oidc(settings: Settings) -> None:
    missing = [name for name in ("oidc_issuer", "oidc_client_id") if not getattr(settings, name)]
    if missing:
        raise BadSettings(
            "Login by OpenID Connect needs a provider, and a name there.",
            expected=" and ".join(f"`{name}`" for name in ("oidc_issuer", "oidc_client_id")),
            received=f"no `{'`, no `'.join(missing)}`",
        )
    issuer = settings.oidc_issuer or ""
    if not (issuer.startswith("https:") or is_local_url(issuer)):
        raise BadSettings(
            "An OpenID Connect provider is asked over https only.",
            expected="oidc_issuer = https://..., or an address of this machine",
            received=issuer,
        )


def _read_artifact_origin(settings: Settings) -> str | None:
    """Return the second origin. Raises `BadSettings` if it shares cookies with the web chat."""
    if settings.artifact_origin is None:
        return None
    origin = settings.artifact_origin.rstrip("/").lower()
    name = host_name(urlsplit(origin).netloc)
    if not (origin.startswith("https:") or is_loopback(name) or name == LOCAL_ARTIFACTS):
        raise BadSettings(
            "Previews of artifacts are shown over https only.",
            expected="artifact_origin = https://..., or an address of this machine",
            received=origin,
            hint="Over http, browsers do not say whether a frame or a window asks for a preview.",
        )
    if not name or name in {host_name(each) for each in _names(settings)}:
        raise BadSettings(
            "The second origin needs a host name of its own.",
            expected="artifact_origin with another name than `public_url` and `allowed_hosts`",
            received=origin,
            hint="Cookies belong to a name, and not to a port.",
        )
    return origin


def _names(settings: Settings) -> Iterator[str]:
    for host in settings.allowed_hosts:
        if not host_name(host):
            raise BadSettings(
                "A name in `allowed_hosts` cannot be used.",
                expected="a name such as chat.example.org, or chat.example.org:8443",
                received=host,
            )
        yield host.lower()
    if settings.public_url:
        yield host_name(urlsplit(settings.public_url).netloc)


def _networks(proxies: Sequence[str]) -> Iterator[Network]:
    for proxy in proxies:
        if proxy == SOCKET:
            continue
        try:
            yield ip_network(proxy)
        except ValueError as error:
            raise BadSettings(
                "An entry of `trusted_proxies` cannot be used.",
                expected=f"an address, a network such as 10.0.0.0/8, or {SOCKET}",
                received=proxy,
            ) from error


def _address(text: str) -> Address | None:
    """Parse an IP address, IPv4-mapped IPv6 as IPv4; None if it is not one."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
