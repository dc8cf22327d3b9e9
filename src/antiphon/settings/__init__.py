"""Settings, where they are read from, the private files beside them, and old names."""

from __future__ import annotations

import importlib
from typing import Any

from antiphon.settings import deprecated


def __getattr__(name: str) -> Any:
    """Find what this package held as a module, for one more version."""
    if name.startswith("__"):
        raise AttributeError(name)
    value = getattr(importlib.import_module("antiphon.settings.settings"), name)
    old, new = f"antiphon.settings.{name}", f"antiphon.settings.settings.{name}"
    deprecated.warn(deprecated.explain_renamed(old, new, both=False))
    return value
