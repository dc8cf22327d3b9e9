"""The table of vendors with protocols of their own, reached through the extra any-llm."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Literal

from antiphon.ports import Provider
from antiphon.providers.servers import Lack, Terms
from antiphon.providers.stream_parser import PLAIN, Quirks
from antiphon.types.errors import BadSettings, install_hint

EXTRA = "vendors"


class Vendor(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Terms of one vendor; a `[providers.NAME]` table may change them.

    The key is read from the first of the variables `keys` that is set; without one, the vendor's
    library looks for credentials itself if `keyless`. A vendor that is not `listed` gets a key only
    if a model names it: its variable usually holds another vendor's key. A vendor that is not
    `movable` accepts no base URL.

    `tongue` selects the conversion of requests, `quirks` are further differences. `max_tokens` is
    sent if the vendor requires a limit and the run has none; `blocks` is set if the library blocks
    the event loop.
    """

    keys: tuple[str, ...] = ()
    keyless: bool = False
    listed: bool = True
    movable: bool = True
    tongue: Literal["chat", "anthropic", "gemini"] = "chat"
    quirks: Quirks = PLAIN
    max_tokens: int | None = None
    blocks: bool = False

    def variable(self, environ: Mapping[str, str]) -> str | None:
        """Return the name of the variable that holds a key; None if none is set."""
        return next((name for name in self.keys if environ.get(name)), None)


ANTHROPIC_TOKENS = 16_384  # for reasoning and answer; every current model accepts more
ANTHROPIC_LACKS: tuple[Lack, ...] = ("seed", "logit_bias", "response_format.json_object")
GEMINI_LACKS: tuple[Lack, ...] = ("logit_bias", "parallel_tool_calls")

# In the order in which the environment is searched for keys, after those of the servers.
VENDORS: dict[str, Vendor] = {
    "anthropic": Vendor(
        keys=("ANTHROPIC_API_KEY",),
        default="claude-sonnet-5",
        tongue="anthropic",
        max_tokens=ANTHROPIC_TOKENS,
        lacks=ANTHROPIC_LACKS,
    ),
    "gemini": Vendor(
        keys=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        default="gemini-3.8-flash",
        tongue="gemini",
        lacks=GEMINI_LACKS,
    ),
    "cohere": Vendor(keys=("COHERE_API_KEY",), default="command-a-03-2025"),
    "zai": Vendor(keys=("ZAI_API_KEY",), quirks=Quirks(reasoning_back="reasoning_content")),
    "minimax": Vendor(keys=("MINIMAX_API_KEY",)),
    # Clouds: without a key, their libraries find credentials themselves.
    "bedrock": Vendor(keys=("AWS_BEARER_TOKEN_BEDROCK",), keyless=True, blocks=True),
    "vertexai": Vendor(keyless=True, movable=False, tongue="gemini", lacks=GEMINI_LACKS),
    "vertexaianthropic": Vendor(
        keyless=True,
        movable=False,
        tongue="anthropic",
        max_tokens=ANTHROPIC_TOKENS,
        lacks=ANTHROPIC_LACKS,
    ),
    "azureanthropic": Vendor(
        keys=("AZURE_ANTHROPIC_API_KEY",),
        tongue="anthropic",
        max_tokens=ANTHROPIC_TOKENS,
        lacks=ANTHROPIC_LACKS,
    ),
    "databricks": Vendor(keys=("DATABRICKS_TOKEN",)),
    # Hosts of many models.
    "atlascloud": Vendor(keys=("ATLASCLOUD_API_KEY",)),
    "dashscope": Vendor(keys=("DASHSCOPE_API_KEY",), listed=False),
    "deepinfra": Vendor(keys=("DEEPINFRA_API_KEY",)),
    "edenai": Vendor(keys=("EDENAI_API_KEY",)),
    "gmi": Vendor(keys=("GMI_API_KEY",)),
    "inception": Vendor(keys=("INCEPTION_API_KEY",)),
    "kenari": Vendor(keys=("KENARI_API_KEY",)),
    "llama": Vendor(keys=("LLAMA_API_KEY",)),
    "meta": Vendor(keys=("MODEL_API_KEY",), listed=False),
    "nebius": Vendor(keys=("NEBIUS_API_KEY",)),
    "neosantara": Vendor(keys=("NEOSANTARA_API_KEY",)),
    "ovhcloud": Vendor(keys=("OVHCLOUD_API_KEY",)),
    "portkey": Vendor(keys=("PORTKEY_API_KEY",)),
    "qiniu": Vendor(keys=("QINIU_API_KEY",)),
    "requesty": Vendor(keys=("REQUESTY_API_KEY",)),
    "telnyx": Vendor(keys=("TELNYX_API_KEY",)),
}


def is_installed() -> bool:
    """Return whether the extra is installed, without importing it."""
    return find_spec("any_llm") is not None


def choose_model(
    vendors: Mapping[str, Vendor], environ: Mapping[str, str]
) -> tuple[str, str] | None:
    """Return the model of the first vendor whose key is set, and the variable."""
    if not is_installed():
        return None
    found = (
        (f"{name}:{vendor.default}", variable)
        for name, vendor in vendors.items()
        if vendor.default and (variable := vendor.variable(environ))
    )
    return next(found, None)


def find_listable(environ: Mapping[str, str]) -> list[str]:
    """Return the vendors that can list their models."""
    if not is_installed():
        return []
    return [name for name, vendor in VENDORS.items() if vendor.listed and vendor.variable(environ)]


def open_provider(
    name: str, vendor: Vendor, key: str | None, base_url: str | None = None
) -> Provider:
    """Open the vendor's provider; importing its library takes seconds.

    With `base_url` the vendor's protocol is used with that server. Raises `BadSettings` without the
    vendor's key or the extra.
    """
    if not is_installed():
        raise BadSettings(
            f"The provider {name} needs an extra that is not installed.",
            expected=f"the extra `{EXTRA}`",
            received="nothing",
            hint=install_hint(EXTRA),
        )
    if key is None and not vendor.keyless:
        raise BadSettings(
            f"The provider {name} needs a key.",
            expected="the environment variable " + " or ".join(vendor.keys),
            received="nothing",
            hint="or name another model, for instance demo",
        )
    if base_url and not vendor.movable:
        raise BadSettings(
            f"The provider {name} is asked at its own address only.",
            expected="no base_url",
            received=base_url,
        )
    module = import_module("antiphon.providers.any_llm")
    provider: Provider = module.AnyLlmProvider(name, vendor, key, base_url=base_url)
    return provider
