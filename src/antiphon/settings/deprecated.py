"""Old names of modules, settings and arguments: they work for one more version, with a warning."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

T = TypeVar("T")

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

NAMES = {
    "Answer": "ConsentAnswer",
    "Question": "ConsentRequest",
    "Servers": "McpServerPool",
    "Tell": "ProgressCallback",
}
"""The new name of each old one in `antiphon` itself."""


def _swap_animation(value: Any) -> Any:
    return {"calm": "reduced", "reduced": "calm"}.get(value, value)


def _invert(value: Any) -> Any:
    """Turn pieces per second into seconds per piece, and back; 0 stays 0."""
    try:
        return 1 / float(value) if float(value) else 0.0
    except (TypeError, ValueError):
        return value


class RenamedSetting(NamedTuple):
    """A setting's new name, and the conversion of its value from the old form to the new and back.

    A value that cannot be converted is returned as it is, to be refused as any wrong value.
    """

    name: str
    convert: Callable[[Any], Any] = lambda value: value


SETTINGS: Mapping[str, RenamedSetting] = {
    "beat": RenamedSetting("heartbeat_interval"),
    "demo_pace": RenamedSetting("demo_delay", _invert),
    "grace": RenamedSetting("shutdown_timeout"),
    "hosts": RenamedSetting("allowed_hosts"),
    "lease": RenamedSetting("lease_duration"),
    "max_runs": RenamedSetting("max_concurrent_runs"),
    "max_tools": RenamedSetting("max_parallel_tools"),
    "refresh": RenamedSetting("animation", _swap_animation),
    "roots": RenamedSetting("allowed_paths"),
    "sweep": RenamedSetting("expiry_interval"),
    "trace_providers": RenamedSetting("propagate_trace_to_providers"),
}
"""The new name of each setting by its old one, in files, environment, flags and Python alike."""


def warn(text: str) -> None:
    """Warn the first caller outside this package that it uses an old name."""
    level, frame = 1, importlib.import_module("inspect").currentframe()  # only where it is needed
    while frame is not None and frame.f_globals["__name__"].startswith("antiphon."):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, DeprecationWarning, stacklevel=level)


def explain_renamed(old: str, new: str, *, both: bool) -> str:
    """Return the warning for an old name that was used, alone or beside the new one."""
    end = "the old name goes with the next version."
    if both:
        return f"{old} is ignored, because {new}, its new name, is given too; {end}"
    return f"{old} is called {new} now; {end}"


_PACKAGES = {name.rsplit(".", 1)[0] for name in MODULES} - {"antiphon"}


class DeprecatedModules:
    """Finder and loader that resolves the old name of a module to the module itself."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec where the name is an old one, else None."""
        if fullname in MODULES:
            return ModuleSpec(fullname, cast("Loader", self))
        if fullname in _PACKAGES:  # a removed package with old names below it
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
        """Restore the spec of the module's new name, under which it was executed."""
        if module.__spec__ is not None and module.__spec__.name in MODULES:
            module.__spec__ = module.__spec__.loader_state


def resolve_argument(old: str, given: T | None, new: str, value: T) -> T:
    """Return the argument of a renamed parameter: `given` by the old name, with a warning."""
    if given is None:
        return value
    warnings.warn(f"`{old}=` is now `{new}=`.", DeprecationWarning, stacklevel=3)
    return given


def install() -> None:
    """Add the finder of old names after all other finders."""
    if not any(isinstance(finder, DeprecatedModules) for finder in sys.meta_path):
        sys.meta_path.append(DeprecatedModules())
