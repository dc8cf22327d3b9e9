"""Joins the modules of the page to a few bundles, without a build step.

Each entry point begins a bundle with all that it imports and earlier ones do not have. So does each
module that is imported later, `import("./x.mjs")`; what several of these need is in one shared
bundle. A module is in exactly one bundle, so that its state exists once; bundles import modules
from each other.

Each module becomes a function that is called once and returns what it exports. That is the same as
long as modules do not import each other in a circle and do not assign to what they export; tests
show both. A bundle that is loaded later waits until the first one has run: the first must not await
it at the top level of a module. Libraries are minified in many forms, and are imported instead.

A browser may keep it in mind that a module could not be fetched, and never fetch that address again
(Chromium does, as the HTML standard has it), so that each further try has a query of its own. All
bundles share one record of these tries, and load each other and their libraries by it: a static
import would ask for the address that failed, or run the modules a second time. Only the first
bundle, and what it needs itself, is imported.

Comments that have lines of their own, types, indentation and blank lines are left out: they are a
quarter of what is sent. A line inside a template literal must not begin like a comment, and begins
without blanks.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
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
_TYPE = re.compile(r"/\*\* @(?:(?!\*/)[^\n])*\*/ ?")
"""A type within a line, such as `/** @type {any} */`."""
_BLANK = re.compile(r"^[ \t]+|^\n", re.MULTILINE)
"""Indentation, and the lines that are empty."""
_LEFT = re.compile(r"^(?:import|export)\b(?!\().*$", re.MULTILINE)
_LOAD = """\
const $failures = new Map();
const $load = (address) => {
const failures = $failures.get(address) ?? 0;
return import(failures ? `${address}?try=${failures + 1}` : address).catch((error) => {
$failures.set(address, failures + 1);
throw error;
});
};"""
"""Imports a bundle, with another address after each failure and the same after a success.

It is in the first bundle, for all."""


class Bundle(NamedTuple):
    """One module in place of many.

    `imports` are the libraries and bundles that it imports, in the order of loading.
    """

    text: str
    imports: tuple[str, ...]


def join_modules(folder: Path, entries: Sequence[str], libraries: str) -> dict[str, Bundle]:
    """Return the bundles of the entry points of the folder, and the others, by name.

    Names are relative to the folder; those that start with `libraries` are imported. Bundles are
    meant for the folder of the first entry point, whose bundle is `bundle.mjs`; another one's is
    `bundle-` and the words of its name. Raises `ValueError` for a circle of imports, for an import
    or export of another form, for a name that is imported and not exported, and for
    `import.meta` in a module of another folder than the bundles'.
    """
    modules = _Modules(folder, libraries)
    home = posixpath.dirname(entries[0])
    bundle_of: dict[str, str] = {}
    for entry in entries:
        modules.add(entry)
        name = "bundle.mjs" if entry == entries[0] else _bundle_name(posixpath.relpath(entry, home))
        for module in modules.own:
            bundle_of.setdefault(module, posixpath.join(home, name))
    wanted: dict[str, list[str]] = {}
    for later in modules.add_later() - bundle_of.keys():
        for module in modules.closure(later):
            wanted.setdefault(module, []).append(posixpath.relpath(later, home))
    for module in modules.own:
        if module not in bundle_of:
            name = _bundle_name(wanted[module][0] if len(wanted[module]) == 1 else "shared")
            bundle_of[module] = posixpath.join(home, name)
    writer = _Writer(modules, bundle_of, home)
    return {bundle: writer.write(bundle) for bundle in dict.fromkeys(bundle_of.values())}


class _Modules:
    """Modules without their comments; `order` has each of them after those that it imports."""

    def __init__(self, folder: Path, libraries: str) -> None:
        self.order: dict[str, None] = {}
        self.texts: dict[str, str] = {}
        self.imports: dict[str, list[str]] = {}
        self._folder = folder
        self._libraries = libraries

    @property
    def own(self) -> list[str]:
        return list(filter(self.is_own, self.order))

    def is_own(self, name: str) -> bool:
        return not name.startswith(self._libraries)

    def add(self, name: str, importers: tuple[str, ...] = ()) -> None:
        if name in self.order:
            return
        if name in importers:
            raise ValueError(f"{name} imports itself: {' -> '.join((*importers, name))}")
        text = (self._folder / name).read_text(encoding="utf-8")
        if self.is_own(name):
            text = _TYPE.sub("", _COMMENT.sub("", text))
        self.texts[name] = text
        self.imports[name] = [_resolve(name, each) for each in _DEPENDENCY.findall(text)]
        for module in self.imports[name]:
            self.add(module, (*importers, name))
        self.order[name] = None

    def exports(self, name: str) -> list[str]:
        """Return what a module of our own exports, each as `exported: own` or one name for both."""
        text = self.texts[name]
        pairs = [
            each.split(" as ")
            for found in _EXPORT.findall(text)
            for each in found.split(",")
            if each.strip()
        ]
        return [
            *(found[1] for found in _DECLARATION.findall(text)),
            *(f"{pair[-1].strip()}: {pair[0].strip()}" for pair in pairs),
        ]

    def add_later(self) -> set[str]:
        """Add the modules that are imported later, and return them."""
        found: set[str] = set()
        seen: set[str] = set()
        while unseen := [name for name in self.own if name not in seen]:
            for name in unseen:
                seen.add(name)
                found.update(filter(self.is_own, self.later_imports(name)))
            for later in sorted(found):
                self.add(later)
        return found

    def later_imports(self, name: str) -> list[str]:
        """Return what this module imports later."""
        return [_resolve(name, each) for each in _LOADED_LATER.findall(self.texts[name])]

    def closure(self, name: str) -> set[str]:
        """Return the module and all that it imports, and what these import."""
        closure = {name}
        waiting = [name]
        while waiting:
            new = [each for each in self.imports[waiting.pop()] if each not in closure]
            closure.update(new)
            waiting.extend(new)
        return closure


class _Writer:
    """Writes bundles; `bundle_of` has the bundle of each module."""

    def __init__(self, modules: _Modules, bundle_of: Mapping[str, str], home: str) -> None:
        self._modules = modules
        self._bundle_of = bundle_of
        self._home = home
        self._first = next(iter(bundle_of.values()))
        self._asked: dict[str, set[str]] = {}
        for name in modules.own:
            for imported in modules.imports[name]:
                self._ask(imported, bundle_of[name])
            for later in modules.later_imports(name):
                self._ask(later, None)
        self._loads = any(map(modules.later_imports, modules.own))
        first = [name for name in modules.own if bundle_of[name] == self._first]
        self._imported = {self._first}.union(*map(modules.closure, first))

    def _ask(self, name: str, bundle: str | None) -> None:
        """Remember that the module is needed outside its bundle."""
        if name in self._bundle_of and self._bundle_of[name] != bundle:
            self._asked.setdefault(self._bundle_of[name], set()).add(name)

    def write(self, bundle: str) -> Bundle:
        """Return the bundle with its imports, its modules and what others import from it."""
        modules = self._modules
        own = [name for name in modules.own if self._bundle_of[name] == bundle]
        needed = {each for name in own for each in modules.imports[name]} - set(own)
        outside: dict[str, list[str]] = {}
        for name in modules.order:
            if name in needed:
                outside.setdefault(self._bundle_of.get(name, name), []).append(name)
        later = {
            source: names
            for source, names in outside.items()
            if bundle != self._first and source not in self._imported
        }
        lines = [
            self._import(source, names) for source, names in outside.items() if source not in later
        ]
        exported = [*map(_variable, sorted(self._asked.get(bundle, ())))]
        if bundle == self._first:
            if self._loads:
                lines.append(_LOAD)
                exported.append("$load")
        elif later or any(map(modules.later_imports, own)):
            lines.append(f'import {{ $load }} from "{self._address(self._first)}";')
        if later:
            lines.append(self._load_first(later))
        lines += map(self._run_module, own)
        if exported:
            lines.append(f"export {{ {', '.join(exported)} }};")
        libraries = {each for name in needed for each in modules.closure(name)} - set(modules.own)
        imports = [*filter(libraries.__contains__, modules.order), *outside]
        return Bundle("\n".join(lines), tuple(dict.fromkeys(imports)))

    def _load_first(self, later: Mapping[str, list[str]]) -> str:
        """Return the statement that loads what must be there before these modules run."""
        bound = ", ".join(
            _variable(source) if names == [source] else f"{{ {', '.join(map(_variable, names))} }}"
            for source, names in later.items()
        )
        loaded = ", ".join(f'$load("{self._address(source)}")' for source in later)
        return f"const [{bound}] = await Promise.all([{loaded}]);"

    def _import(self, source: str, names: list[str]) -> str:
        """Return the statement that imports a library, or modules of another bundle."""
        if names == [source]:
            return f'import * as {_variable(source)} from "{self._address(source)}";'
        return f'import {{ {", ".join(map(_variable, names))} }} from "{self._address(source)}";'

    def _run_module(self, name: str) -> str:
        """Return the statement that runs a module and keeps its exports."""
        modules = self._modules

        def bind(found: re.Match[str]) -> str:
            default, names, source = found.groups()
            if default is None and names is None:
                return ""
            if names and modules.is_own(imported := _resolve(name, source)):
                exported = {each.split(":")[0] for each in modules.exports(imported)}
                wanted = {each.split(" as ")[0].strip() for each in names.split(",")} - {""}
                if lacking := sorted(wanted - exported):
                    raise ValueError(
                        f"{imported} does not export {lacking[0]}, which {name} imports"
                    )
            pattern = f"default: {default}" if default else names.replace(" as ", ": ")
            return f"const {{ {pattern} }} = {_variable(_resolve(name, source))};"

        def load(found: re.Match[str]) -> str:
            later = _resolve(name, found[1])
            address = self._address(self._bundle_of.get(later, later))
            if later not in self._bundle_of:
                return f'$load("{address}")'
            return f'$load("{address}").then((all) => all.{_variable(later)})'

        if "import.meta" in modules.texts[name] and posixpath.dirname(name) != self._home:
            raise ValueError(f"{name} cannot be joined: import.meta is that of another folder")
        text = _LOADED_LATER.sub(load, modules.texts[name])
        text = _EXPORT.sub("", _DECLARATION.sub(r"\1", _IMPORT.sub(bind, text)))
        if left := _LEFT.search(text):
            raise ValueError(f"{name} cannot be joined with the others: {left[0]}")
        begin = f"const {_variable(name)} = await (async () => {{ // {name}"
        end = f"return {{ {', '.join(modules.exports(name))} }};\n}})();"
        return f"{begin}\n{_BLANK.sub('', text)}\n{end}"

    def _address(self, name: str) -> str:
        """Return the address of a library or a bundle, relative to a bundle's."""
        return f"./{posixpath.relpath(name, self._home)}"


def _bundle_name(module: str) -> str:
    return f"bundle-{module.removesuffix('.mjs').replace('/', '-')}.mjs"


def _resolve(name: str, imported: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), imported))


def _variable(name: str) -> str:
    return "$" + re.sub(r"\W", "_", name.removesuffix(".mjs"))
