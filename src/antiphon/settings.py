"""Every setting once: one frozen record, read at the edge from flags, environment and TOML."""

from __future__ import annotations

from typing import Any

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a runtime is made of. Times in seconds, sizes in bytes.

    `model` is `provider:name`, or None to choose one. `providers` holds the catalog entries of
    `[providers.NAME]` tables. `context_tokens` is the budget for the part of a thread that a model
    sees, None for all of it. `demo_pace` is the demo model's chunks per second, 0 for no pause.
    """

    model: str | None = None
    base_url: str | None = None
    provider_key: str | None = None
    providers: dict[str, dict[str, Any]] = {}
    database: str = ""
    redis: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    server: str | None = None
    api_key: str | None = None
    chunk_timeout: float = 45.0
    first_chunk_timeout: float | None = None
    turn_timeout: float = 300.0
    tool_timeout: float = 120.0
    max_tools: int = 4
    max_runs: int = 1000
    max_body: int = 10_000_000
    max_depth: int = 64
    context_tokens: int | None = None
    event_retention: float = 30 * 86_400.0
    demo_pace: float = 50.0
