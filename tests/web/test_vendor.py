"""The libraries of the page are the ones that were fetched, with their licences, and no older."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
CHAT = ROOT / "src/antiphon/web/static/chat"
VENDOR = CHAT / "vendor"
OWN_FILES = {"ui.mjs"}
# Older versions than these have known vulnerabilities.
FLOORS = {"dompurify": (3, 4, 18), "katex": (0, 16, 21), "marked": (4, 0, 10)}
LICENCES = {
    "MIT": "Permission is hereby granted, free of charge",
    "BSD-3-Clause": "Redistribution and use in source and binary forms",
    "Apache-2.0": "Apache License",
    "(MPL-2.0 OR Apache-2.0)": "Apache License",
}
IMPORT = re.compile(r"""(?:^|[};])(?:import|export)[^;"']*from ?["']([^"']+)["']""", re.MULTILINE)


class Library(msgspec.Struct, frozen=True):
    name: str
    version: str
    licence: str
    integrity: str
    files: dict[str, str]


def libraries() -> list[Library]:
    lock = json.loads((CHAT / "vendor.lock").read_text(encoding="utf-8"))
    return msgspec.convert(lock["libraries"], list[Library])


def files() -> dict[str, str]:
    return {name: sum_ for library in libraries() for name, sum_ in library.files.items()}


@pytest.mark.parametrize("name", sorted(files()))
def test_a_vendored_file_is_the_one_that_was_fetched(name: str) -> None:
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == files()[name]


def test_nothing_is_among_the_libraries_that_the_lock_does_not_name() -> None:
    present_files = {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()}

    assert present_files == set(files()) | OWN_FILES


@pytest.mark.parametrize("library", libraries(), ids=lambda library: library.name)
def test_a_library_keeps_its_licence_beside_it(library: Library) -> None:
    texts = [VENDOR / name for name in library.files if name.startswith("licences/")]

    assert LICENCES[library.licence] in texts[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_a_library_is_not_older_than_its_known_holes(name: str) -> None:
    version = next(library.version for library in libraries() if library.name == name)

    assert tuple(map(int, version.split("."))) >= FLOORS[name]


@pytest.mark.parametrize("path", sorted(VENDOR.glob("*.mjs")), ids=lambda path: path.name)
def test_a_library_asks_only_for_files_beside_it_and_names_no_map_of_its_source(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert all((VENDOR / name).is_file() for name in IMPORT.findall(text))
    assert "sourceMappingURL=" not in text.rsplit("\n", 2)[-2]
