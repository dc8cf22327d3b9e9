"""The tables of known OpenAI-compatible servers, and of vendors with protocols of their own.

Vendors are reached through the extra `any-llm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from antiphon.ports import Provider
from antiphon.providers.failures import RETRIES
from antiphon.providers.model_info import Price, Windows
from antiphon.providers.quirks import PLAIN, Quirks
from antiphon.settings.extras import install_hint
from antiphon.settings.values import Seconds
from antiphon.types.errors import BadSettings

Lack = Literal[
    "tools",
    "images",
    "files",
    "temperature",
    "top_p",
    "max_output_tokens",
    "stop",
    "seed",
    "tool_choice",
    "tool_choice.none",
    "tool_choice.required",
    "tool_choice.function",
    "parallel_tool_calls",
    "reasoning_effort",
    "response_format",
    "response_format.json_object",
    "response_format.json_schema",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
]
"""A setting of runs, or one value of it, that a server may not support."""


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Terms of a provider, whatever its protocol.

    `default` is the model that is used if the provider was chosen because its key is set. `lacks`
    lists features that runs cannot use. `prices` and `context_tokens` are keyed by patterns of
    model names; `context_tokens` may be one number for all models. A timeout of None is that of
    the settings. Requests are retried `retries` times, and only before the first byte.
    """

    default: str | None = None
    lacks: tuple[Lack, ...] = ()
    prices: dict[str, Price] = {}
    context_tokens: Windows | None = None
    chunk_timeout: Seconds | None = None
    first_chunk_timeout: Seconds | None = None
    turn_timeout: Seconds | None = None
    retries: Annotated[int, Meta(ge=0, le=10)] = RETRIES


class ServerTerms(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OpenAI-compatible server; `[providers.NAME]` in `antiphon.toml` has the same fields.

    `base_url` may name environment variables in braces. The key is `key`, or is read from the
    variable `key_env`; without either, none is sent. It is a bearer token unless `key_header` names
    a header, or `key_parameter` a parameter of the query; a server has at most one of the two.
    `models` is the path of the list of models or, for a server without a list, their names. `pool`
    is the maximum number of connections: further requests wait.
    """

    base_url: str
    key_env: str | None = None
    key: str | None = None
    key_header: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}\Z")] | None = None
    key_parameter: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._~-]{1,64}\Z")] | None = None
    models: str | tuple[str, ...] = "models"
    quirks: Quirks = Quirks()
    connect_timeout: Seconds = 10.0
    pool: Annotated[int, Meta(ge=1, le=100_000)] = 2_000  # more than a worker runs at once


# In the order in which the environment is searched for keys.
SERVERS: dict[str, ServerTerms] = {
    "openai": ServerTerms(
        base_url="https://api.openai.com/v1",
        key_env="OPENAI_API_KEY",
        default="gpt-5.4-mini",
        quirks=Quirks(max_tokens="max_completion_tokens", extra_content=False, refusal_back=True),
    ),
    "openrouter": ServerTerms(
        base_url="https://openrouter.ai/api/v1",
        key_env="OPENROUTER_API_KEY",
        default="openrouter/auto",
        quirks=Quirks(comments_are_life=True, reasoning_back="reasoning"),
    ),
    "deepseek": ServerTerms(
        base_url="https://api.deepseek.com",
        key_env="DEEPSEEK_API_KEY",
        default="deepseek-flash",
        lacks=("seed", "logit_bias", "parallel_tool_calls", "response_format.json_schema"),
        quirks=Quirks(
            comments_are_life=True,
            reasoning_back="reasoning_content",
            reasoning_required=True,
            extra_content=False,
        ),
    ),
    "together": ServerTerms(
        base_url="https://api.together.ai/v1",
        key_env="TOGETHER_API_KEY",
        default="openai/gpt-oss-120b",
        lacks=("parallel_tool_calls",),
        quirks=Quirks(extra_content=False),
    ),
    "hyperbolic": ServerTerms(
        base_url="https://api.hyperbolic.xyz/v1",
        key_env="HYPERBOLIC_API_KEY",
        default="meta-llama/Llama-3.3-70B-Instruct",
        quirks=Quirks(extra_content=False),
    ),
    "groq": ServerTerms(
        base_url="https://api.groq.com/openai/v1",
        key_env="GROQ_API_KEY",
        default="openai/gpt-oss-120b",
        lacks=("logit_bias", "presence_penalty", "frequency_penalty"),
        quirks=Quirks(max_tokens="max_completion_tokens", extra_content=False),
    ),
    "mistral": ServerTerms(
        base_url="https://api.mistral.ai/v1",
        key_env="MISTRAL_API_KEY",
        default="mistral-small-latest",
        lacks=("logit_bias", "files"),
        quirks=Quirks(
            stream_options=False,
            seed="random_seed",
            extra_content=False,
            call_ids="nine",
            roles="alternate",
        ),
    ),
    "xai": ServerTerms(
        base_url="https://api.x.ai/v1",
        key_env="XAI_API_KEY",
        default="grok-4.3",
        quirks=Quirks(max_tokens="max_completion_tokens", extra_content=False),
    ),
    "fireworks": ServerTerms(
        base_url="https://api.fireworks.ai/inference/v1",
        key_env="FIREWORKS_API_KEY",
        default="accounts/fireworks/models/gpt-oss-120b",
        quirks=Quirks(reasoning_back="reasoning_content", extra_content=False),
    ),
    "perplexity": ServerTerms(
        base_url="https://api.perplexity.ai",
        key_env="PERPLEXITY_API_KEY",
        default="sonar",
        models=("sonar", "sonar-pro", "sonar-reasoning-pro", "sonar-deep-research"),
        lacks=("tools", "stop", "seed", "logit_bias"),
        quirks=Quirks(stream_options=False, extra_content=False, roles="alternate"),
    ),
    "alibaba": ServerTerms(
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        key_env="DASHSCOPE_API_KEY",
        default="qwen-plus",
        lacks=("logit_bias", "tool_choice.required"),
        quirks=Quirks(
            reasoning_back="reasoning_content", extra_content=False, roles="system_first"
        ),
    ),
    "cerebras": ServerTerms(
        base_url="https://api.cerebras.ai/v1",
        key_env="CEREBRAS_API_KEY",
        default="gpt-oss-120b",
        lacks=("logit_bias", "presence_penalty", "frequency_penalty"),
        quirks=Quirks(max_tokens="max_completion_tokens", extra_content=False),
    ),
    "moonshot": ServerTerms(
        base_url="https://api.moonshot.ai/v1",
        key_env="MOONSHOT_API_KEY",
        default="kimi-k2.6",
        quirks=Quirks(
            max_tokens="max_completion_tokens",
            reasoning_back="reasoning_content",
            reasoning_required=True,
            extra_content=False,
        ),
    ),
    "sambanova": ServerTerms(
        base_url="https://api.sambanova.ai/v1",
        key_env="SAMBANOVA_API_KEY",
        default="Meta-Llama-3.3-70B-Instruct",
        quirks=Quirks(extra_content=False),
    ),
    "nvidia": ServerTerms(
        base_url="https://integrate.api.nvidia.com/v1",
        key_env="NVIDIA_API_KEY",
        default="openai/gpt-oss-120b",
        quirks=Quirks(extra_content=False),
    ),
    # No default: its variable is usually set for other reasons.
    "huggingface": ServerTerms(
        base_url="https://router.huggingface.co/v1",
        key_env="HF_TOKEN",
        quirks=Quirks(extra_content=False),
    ),
    "azure": ServerTerms(
        base_url="{AZURE_OPENAI_ENDPOINT}/openai/v1",
        key_env="AZURE_OPENAI_API_KEY",
        key_header="api-key",
        models=(),  # it lists models that can be deployed, not those that are
        quirks=Quirks(max_tokens="max_completion_tokens", extra_content=False, refusal_back=True),
    ),
    # Local servers load a model at its first request.
    "ollama": ServerTerms(
        base_url="http://127.0.0.1:11434/v1",
        lacks=("tool_choice", "parallel_tool_calls", "logit_bias"),
        first_chunk_timeout=180.0,
        quirks=Quirks(reasoning_back="reasoning"),
    ),
    "vllm": ServerTerms(
        base_url="http://127.0.0.1:8000/v1",
        first_chunk_timeout=180.0,
        quirks=Quirks(reasoning_back="reasoning", roles="system_first"),
    ),
    "llamacpp": ServerTerms(
        base_url="http://127.0.0.1:8080/v1",
        first_chunk_timeout=180.0,
        quirks=Quirks(reasoning_back="reasoning_content", roles="system_first"),
    ),
    "lmstudio": ServerTerms(
        base_url="http://127.0.0.1:1234/v1",
        first_chunk_timeout=180.0,
        quirks=Quirks(roles="system_first"),
    ),
}


UNDECLARED = Quirks(cumulative="auto")
"""Quirks assumed for a server of which only the address is known."""


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
ANTHROPIC_LACKS: tuple[Lack, ...] = (
    "seed",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
    "response_format.json_object",
)
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
