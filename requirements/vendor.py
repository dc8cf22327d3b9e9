"""Fetches the libraries of the web page from npm, and writes them to where the page loads them.

    .venv/bin/python requirements/vendor.py

The page has no build step: what is written here is what browsers get. For another version change
its line below and run this again; `vendor.lock` then tells what has changed. It needs `npm`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).parents[1] / "src/antiphon/web/static/chat/vendor"
LOCK = VENDOR.parent / "vendor.lock"
LICENCES = VENDOR / "licences"


@dataclass(frozen=True)
class Library:
    """`file` of the package becomes `becomes`; `umd` when it is a script and no module yet."""

    name: str
    version: str
    file: str
    becomes: str
    licence: str
    licence_files: tuple[str, ...] = ("LICENSE",)
    umd: bool = False

    @property
    def licence_names(self) -> list[str]:
        """Names of the files with the texts of its licence."""
        stem = self.name.removeprefix("@").replace("/", "-")
        return [f"{stem}{file.removeprefix('LICENSE')}.txt" for file in self.licence_files]


LIBRARIES = [
    Library("preact", "11.2.0", "dist/preact.mjs", "preact.mjs", "MIT"),
    Library("preact", "11.2.0", "hooks/dist/hooks.mjs", "preact-hooks.mjs", "MIT"),
    Library("htm", "3.1.1", "dist/htm.mjs", "htm.mjs", "Apache-2.0"),
    Library("@preact/signals-core", "1.14.5", "dist/signals-core.mjs", "signals-core.mjs", "MIT"),
    Library("@preact/signals", "2.11.4", "dist/signals.mjs", "signals.mjs", "MIT"),
    Library("marked", "18.2.1", "lib/marked.esm.js", "marked.mjs", "MIT"),
    Library(
        "dompurify",
        "3.4.18",
        "dist/purify.min.js",
        "dompurify.mjs",
        "(MPL-2.0 OR Apache-2.0)",
        ("LICENSE", "LICENSE-MPL"),
        umd=True,
    ),
    Library(
        "@highlightjs/cdn-assets",
        "11.12.0",
        "es/highlight.min.js",
        "highlight.mjs",
        "BSD-3-Clause",
    ),
    Library("katex", "0.19.1", "dist/katex.min.js", "katex.mjs", "MIT", umd=True),
    # A script, not a module: only the second origin serves it, for previews of diagrams.
    Library("@mermaid-js/tiny", "12.0.0", "dist/mermaid.tiny.js", "mermaid.js", "MIT"),
]
# What one library calls another, and where that one stands here.
ADDRESSES = {
    "preact": "./preact.mjs",
    "preact/hooks": "./preact-hooks.mjs",
    "@preact/signals-core": "./signals-core.mjs",
}
IMPORT = re.compile(rf"""\bfrom ?"({"|".join(ADDRESSES)})\"""")
SOURCE_MAP = re.compile(r"//# sourceMappingURL=\S*\s*\Z")


def main() -> None:
    """Write every library and its licence, and what they are to `vendor.lock`."""
    known = {each["name"]: each for each in read_lock()}
    LICENCES.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="antiphon-vendor-") as folder:
        for library in LIBRARIES:
            package, integrity = fetch_package(library, Path(folder))
            refuse_another(known.get(library.name), library, integrity)
            row = rows.setdefault(library.name, describe_library(library, integrity))
            row["files"].update(written(library, package))
    lock = json.dumps({"libraries": list(rows.values())}, indent=2)
    LOCK.write_text(lock + "\n", encoding="utf-8")


def read_lock() -> list[dict[str, Any]]:
    """Return the libraries of the lock file, an empty list if there is none."""
    if not LOCK.exists():
        return []
    libraries: list[dict[str, Any]] = json.loads(LOCK.read_text(encoding="utf-8"))["libraries"]
    return libraries


def fetch_package(library: Library, folder: Path) -> tuple[Path, str]:
    """Fetch and unpack the package; return its folder, and the sum of its archive as npm has it."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("vendor: wanted npm to fetch the libraries with; found none. Install Node.js.")
    command = [npm, "pack", f"{library.name}@{library.version}", "--json", "--silent"]
    answer = subprocess.run(  # noqa: S603 - its words are in the table above
        command, cwd=folder, check=True, capture_output=True, text=True
    )
    archive = folder / json.loads(answer.stdout)[0]["filename"]
    sum_ = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    package = folder / f"{archive.stem}-unpacked"
    with tarfile.open(archive) as files:
        files.extractall(package, filter="data")
    return package / "package", f"sha512-{sum_}"


def refuse_another(known: dict[str, Any] | None, library: Library, integrity: str) -> None:
    """The same version is the same archive for ever; another one was tampered with."""
    if known is None or known["version"] != library.version or known["integrity"] == integrity:
        return
    sys.exit(
        f"vendor: {library.name} {library.version} was {known['integrity']} and is now "
        f"{integrity}. A version never changes at npm: find out why before you take it."
    )


def describe_library(library: Library, integrity: str) -> dict[str, Any]:
    """Return the row of a library in the lock file, without its files."""
    return {
        "name": library.name,
        "version": library.version,
        "licence": library.licence,
        "integrity": integrity,
        "files": {},
    }


def written(library: Library, package: Path) -> dict[str, str]:
    """The library's file and its licences, written; with the sum of each."""
    source = (package / library.file).read_text(encoding="utf-8")
    texts = {library.becomes: as_module(source, library)}
    for file, name in zip(library.licence_files, library.licence_names, strict=True):
        texts[f"licences/{name}"] = (package / file).read_text(encoding="utf-8")
    for name, text in texts.items():
        (VENDOR / name).write_text(text, encoding="utf-8", newline="\n")
    return {name: hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() for name in texts}


def as_module(source: str, library: Library) -> str:
    """The source as a module whose imports are addresses; maps of the source stay away."""
    source = IMPORT.sub(lambda name: f'from"{ADDRESSES[name[1]]}"', source)
    source = SOURCE_MAP.sub("", source).rstrip("\n") + "\n"
    if not library.umd:
        return source
    head = "const module = { exports: {} }, exports = module.exports;\n"
    return f"{head}{source}export default module.exports;\n"


if __name__ == "__main__":
    main()
