"""Settings, where they are read from, and the private files beside them."""

from __future__ import annotations

import importlib
import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    """Find what this package held as a module, for one more version."""
    if name.startswith("__"):
        raise AttributeError(name)
    value = getattr(importlib.import_module("antiphon.settings.settings"), name)
    warnings.warn(
        f"antiphon.settings.{name} is antiphon.settings.settings.{name} now; the old name goes "
        "with the next version.",
        DeprecationWarning,
        stacklevel=2,
    )
    return value
