"""Replies of a model that are held back, so that a run goes on for as long as a test needs."""

from __future__ import annotations

from dataclasses import replace

from tests.support.providers.upstream import Upstream


def hold_at_the_end(upstream: Upstream) -> dict[str, str]:
    """Hold back the end of each reply until the gate is open; return the servers' settings."""
    upstream.scenarios["held"] = replace(upstream.scenarios["ok"], gated_from=b'"finish_reason": "')
    return {"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_MODEL": "quirk:held"}
