"""Tools that a page in a browser runs itself: which they are, and that nobody else runs them."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Run

PAGE_TOOLS = "page_tools"
"""Metadata key of a run with the number of its tools that the page runs; they are its last.

After it may stand `?` and, in hexadecimal, a bit for each that asks a person, the lowest for the
first.
"""
ASK = "?"
PAGE_WORKER = "page"
"""The worker that has the calls of a page's tools.

A page chooses their names. A worker for tools, which claims calls by name, would run its own tool
of that name with what a visitor of the page wants.
"""


def page_tools(run: Run) -> Sequence[ToolSpec]:
    """Return the tools of a run that a page runs: the last ones, as many as were marked."""
    count = run.metadata.get(PAGE_TOOLS, "").partition(ASK)[0]
    return run.tools[-int(count) :] if count.isdecimal() and int(count) else ()
