"""Header fields of answers to OpenAI's clients: thread and run, and what was ignored."""

from __future__ import annotations

from collections.abc import Iterable

from antiphon.server.requests import Field, field

THREAD_HEADER = "antiphon-thread"
RUN_HEADER = b"antiphon-run"


def name_run(thread_id: str, run_id: str) -> list[Field]:
    """Return the fields that name a stored thread and its run."""
    return [(THREAD_HEADER.encode(), thread_id.encode()), (RUN_HEADER, run_id.encode())]


def name_ignored(fields: Iterable[str]) -> list[Field]:
    """Return the field that names ignored fields of the request; none if there are none."""
    names = ", ".join(fields)[:1000]
    return [field(b"antiphon-ignored", names)] if names else []
