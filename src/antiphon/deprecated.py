"""Old names of public modules, which work for one more version and warn with the new name."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

MODULES = {
    "antiphon.calls": "antiphon.api.operations",
    "antiphon.chunks": "antiphon.types.chunks",
    "antiphon.clean": "antiphon.types.terminal_safe",
    "antiphon.client.aio": "antiphon.client.async_client",
    "antiphon.client.exports": "antiphon.client.export",
    "antiphon.client.servers": "antiphon.mcp.sync_servers",
    "antiphon.client.sync": "antiphon.client.sync_client",
    "antiphon.configuration": "antiphon.settings.loading",
    "antiphon.embedded": "antiphon.runtime.embedded_transport",
    "antiphon.errors": "antiphon.types.errors",
    "antiphon.events": "antiphon.types.events",
    "antiphon.messages": "antiphon.types.messages",
    "antiphon.people": "antiphon.types.accounts",
    "antiphon.runs": "antiphon.types.runs",
    "antiphon.sse": "antiphon.wires.sse",
    "antiphon.tools.bundle": "antiphon.tools.tool_manager",
    "antiphon.tools.clock": "antiphon.tools.deadlines",
    "antiphon.tools.mcp.config": "antiphon.mcp.config.server_config",
    "antiphon.tools.mcp.toolbox": "antiphon.mcp.client.toolbox",
    "antiphon.tools.processor": "antiphon.tools.tool_processor",
}
"""The new name of each module that the documentation named by an old one."""
_PACKAGES = {name.rsplit(".", 1)[0] for name in MODULES} - {"antiphon"}


class DeprecatedModules:
    """Finder and loader of modules by their old names: the module itself, under both names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec where the name is an old one, else None."""
        if fullname in MODULES:
            return ModuleSpec(fullname, cast("Loader", self))
        if fullname in _PACKAGES:  # a package that is gone, below which old names are
            return ModuleSpec(fullname, cast("Loader", self), is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Import the module by its new name, and warn."""
        if spec.name not in MODULES:
            return None
        new = MODULES[spec.name]
        warnings.warn(
            f"{spec.name} is called {new} now; the old name goes with the next version.",
            DeprecationWarning,
            stacklevel=2,
        )
        module = importlib.import_module(new)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module back the spec of its new name, under which it was executed."""
        if module.__spec__ is not None and module.__spec__.name in MODULES:
            module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Have Python find old names, after all other finders."""
    if not any(isinstance(finder, DeprecatedModules) for finder in sys.meta_path):
        sys.meta_path.append(DeprecatedModules())
