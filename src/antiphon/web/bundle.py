"""Joins the modules of the page to one, as they are, without a build step.

Each module becomes a function that is called once and returns what it exports. That is the same as
long as modules do not import each other in a circle and do not assign to what they export; tests
show both. Libraries are minified in many forms, and are imported instead.

Comments that have lines of their own are left out: they are a quarter of what is sent. A line
inside a template literal must not begin like one.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import NamedTuple

_DEPENDENCY = re.compile(r'(?:^|;)(?:import|export)\b[^;"(]*"(\.{1,2}/[^"]+)"', re.MULTILINE)
"""An import or re-export; modules that are loaded later have parentheses."""
_IMPORT = re.compile(r'^import (?:(\w+) from |\{([^}]*)\} from )?"([^"]+)";$', re.MULTILINE)
_LOADED_LATER = re.compile(r'\bimport\("(\.{1,2}/[^"]+)"\)')
_DECLARATION = re.compile(r"^export ((?:(?:async )?function\*?|const|class) (\w+))", re.MULTILINE)
_EXPORT = re.compile(r"^export \{([^}]*)\};$", re.MULTILINE)
_COMMENT = re.compile(
    r"^[ \t]*(?:/\*\*(?:(?!\*/).)*\*/[ \t]*|//[^\n]*)\n", re.MULTILINE | re.DOTALL
)
"""A comment that is alone on its lines."""
_LEFT = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)


class Bundle(NamedTuple):
    """One module in place of many, and the libraries that it imports, in the order of loading."""

    text: str
    libraries: tuple[str, ...]


def join_modules(folder: Path, entry: str, libraries: str) -> Bundle:
    """Return the module `entry` of the folder with all that it imports, for the same address.

    Names are relative to the folder; those that start with `libraries` are imported. Raises
    `ValueError` for a circle of imports, and for an import or export of another form.
    """
    joiner = _Joiner(folder, entry)
    imported = tuple(name for name in joiner.order if name.startswith(libraries))
    own = [name for name in joiner.order if not name.startswith(libraries)]
    statements = [*map(joiner.import_library, imported), *map(joiner.run_module, own)]
    return Bundle("\n".join(statements), imported)


class _Joiner:
    """The modules of one bundle; `order` has each of them after those that it imports."""

    def __init__(self, folder: Path, entry: str) -> None:
        self.order: dict[str, None] = {}
        self._folder = folder
        self._home = posixpath.dirname(entry)
        self._texts: dict[str, str] = {}
        self._add(entry, ())

    def _add(self, name: str, importers: tuple[str, ...]) -> None:
        if name in importers:
            raise ValueError(f"{name} imports itself: {' -> '.join((*importers, name))}")
        self._texts[name] = (self._folder / name).read_text(encoding="utf-8")
        for imported in _DEPENDENCY.findall(self._texts[name]):
            module = _resolve(name, imported)
            if module not in self.order:
                self._add(module, (*importers, name))
        self.order[name] = None

    def import_library(self, name: str) -> str:
        """Return the statement that imports a library."""
        return f'import * as {_variable(name)} from "{self._address(name)}";'

    def run_module(self, name: str) -> str:
        """Return the statement that runs a module and keeps its exports."""
        exports: list[str] = []

        def bind(found: re.Match[str]) -> str:
            default, names, source = found.groups()
            if default is None and names is None:
                return ""
            pattern = f"default: {default}" if default else names.replace(" as ", ": ")
            return f"const {{ {pattern} }} = {_variable(_resolve(name, source))};"

        def declare(found: re.Match[str]) -> str:
            exports.append(found[2])
            return found[1]

        def export(found: re.Match[str]) -> str:
            pairs = (each.split(" as ") for each in found[1].split(",") if each.strip())
            exports.extend(f"{pair[-1].strip()}: {pair[0].strip()}" for pair in pairs)
            return ""

        text = _LOADED_LATER.sub(
            lambda found: f'import("{self._address(_resolve(name, found[1]))}")', self._texts[name]
        )
        text = _COMMENT.sub("", text)
        text = _EXPORT.sub(export, _DECLARATION.sub(declare, _IMPORT.sub(bind, text)))
        if left := _LEFT.search(text):
            raise ValueError(f"{name} cannot be joined with the others: {left[0]}")
        begin = f"const {_variable(name)} = await (async () => {{ // {name}"
        return f"{begin}\n{text}\nreturn {{ {', '.join(exports)} }};\n}})();"

    def _address(self, name: str) -> str:
        """Return the module's address relative to the bundle's."""
        return f"./{posixpath.relpath(name, self._home)}"


def _resolve(name: str, imported: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), imported))


def _variable(name: str) -> str:
    return "$" + re.sub(r"\W", "_", name.removesuffix(".mjs"))
