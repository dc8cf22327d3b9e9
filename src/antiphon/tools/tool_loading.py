"""Tools that a program names by module or file, as in `--tools shop.py:convert`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import cast

from antiphon.settings.settings import Settings
from antiphon.tools.functions import TOOL_MARK, TOOLSET_MARK, Function, Functions, Toolset
from antiphon.types.errors import BadSettings


@contextmanager
def open_tools(specs: Iterable[str], settings: Settings) -> Generator[list[Function]]:
    """Load the tools that these specs name; what a toolset holds is closed after the block.

    A spec is `module:function`, `module`, `path/to/file.py` or `path/to/file.py:function`.
    Without a function's name: all functions marked by `@tool`, or the tools of the function marked
    by `@toolset`. Importing runs the code. Raises `BadSettings`, also for an error at the end.
    """
    with ExitStack() as stack:
        yield [function for spec in specs for function in _load(spec, settings, stack)]


def _load(spec: str, settings: Settings, stack: ExitStack) -> list[Function]:
    place, colon, name = spec.rpartition(":")
    if not (colon and name.isidentifier() and len(place) > 1):  # none, or that of a drive letter
        place, name = spec, ""
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else _from_name(place)
        offered = _find_tools(module, spec, settings, stack)
    except BadSettings:
        raise
    except (Exception, SystemExit) as error:  # raised by the user's code
        raise BadSettings(
            f"--tools {spec} cannot be loaded: {type(error).__name__}: {error}",
            expected="module, module:function, file.py or file.py:function",
            received=spec,
        ) from error
    if name:
        by_name = {getattr(each, "__name__", ""): each for each in offered}
        function = by_name.get(name) or getattr(module, name, None)
        if not callable(function):
            raise BadSettings(
                f"--tools {spec}: there is no function {name} in {place}.",
                expected="a function",
                received=name,
            )
        offered = [function]
    elif not offered:
        raise BadSettings(
            f"--tools {spec}: nothing there is marked with @tool.",
            expected="functions under @tool, or module:function",
            hint=f"Name one: --tools {spec}:function",
        )
    Functions(offered)  # raises if one of them cannot be a tool
    return offered


def _find_tools(
    module: ModuleType, spec: str, settings: Settings, stack: ExitStack
) -> list[Function]:
    """Return the module's tools, each function once."""
    values = {id(value): value for value in vars(module).values()}.values()
    toolsets = [cast("Toolset", value) for value in values if _is_marked(value, TOOLSET_MARK)]
    if not toolsets:
        return [value for value in values if _is_marked(value, TOOL_MARK)]
    found: list[Function] = []
    for toolset in toolsets:
        made = toolset(settings)
        if isinstance(made, AbstractContextManager):
            found += stack.enter_context(_name_failure(made, spec))
        else:
            found += made
    return found


def _is_marked(value: object, mark: str) -> bool:
    """Return whether it is marked; an object that makes up attributes is not."""
    return inspect.getattr_static(value, mark, None) is not None


@contextmanager
def _name_failure(
    toolset: AbstractContextManager[Iterable[Function]], spec: str
) -> Generator[Iterable[Function]]:
    """Name the spec in an error of closing the toolset, which gets no error of the block."""
    tools = toolset.__enter__()
    try:
        yield tools
    finally:
        try:
            toolset.__exit__(None, None, None)
        except Exception as error:  # raised by the user's code
            raise BadSettings(
                f"--tools {spec} cannot be closed: {type(error).__name__}: {error}",
                expected="a toolset that yields its tools once",
                received=spec,
            ) from error


def _from_name(name: str) -> ModuleType:
    """Import the installed module, else that of the working folder.

    The folder is untrusted, so it comes last in `sys.path`, and only if needed: in front, a file in
    it would shadow any library that is loaded later.
    """
    root = name.partition(".")[0]
    installed = root in sys.modules or importlib.util.find_spec(root) is not None
    if not installed and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return importlib.import_module(name)


def _from_file(file: Path) -> ModuleType:
    folder = str(file.resolve().parent)
    if folder not in sys.path:  # as `python file.py` has it
        sys.path.insert(0, folder)
    name = f"_tools_{file.stem}"
    found = importlib.util.spec_from_file_location(name, file)
    if found is None or found.loader is None:
        raise ImportError(f"{file} is not Python")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # where dataclasses look for their module
    found.loader.exec_module(module)
    return module
