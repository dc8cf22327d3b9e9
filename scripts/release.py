"""Prepare a release, check it, and write its notes.

    python -m scripts.release prepare 0.2.0         set the version and date the changelog's section
    python -m scripts.release verify [v0.2.0]       fail unless all versions agree (with this tag)
    python -m scripts.release notes 0.2.0           print the section of the changelog
    python -m scripts.release chart FOLDER IMAGE DIGEST     copy the Helm chart, with this image
    python -m scripts.release registry 0.2.0        print server.json of the MCP registry

See docs/contributing/release.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from scripts.package_metadata import VARIABLE, absolute_links, mcp_server_name

ROOT = Path(__file__).resolve().parent.parent
CHANGELOG = "CHANGELOG.md"
CHART = "deploy/helm/antiphon"
UNRELEASED = "Unreleased"
VERSION = r"\d+\.\d+\.\d+"


class Place(NamedTuple):
    """A file that contains the version `times` times; `pattern` has one group around it."""

    path: str
    pattern: str
    times: int = 1


PLACES = (
    Place("src/antiphon/__init__.py", rf'(?m)^__version__ = "({VERSION})"'),
    Place("clients/typescript/package.json", rf'(?m)^  "version": "({VERSION})"'),
    Place(
        "clients/typescript/package-lock.json",
        rf'"name": "antiphon-client",\s+"version": "({VERSION})"',
        2,
    ),
    Place("clients/typescript/src/client.ts", rf'antiphon-client-typescript/({VERSION})"'),
    Place("deploy/helm/antiphon/Chart.yaml", rf'(?m)^(?:version|appVersion): "?({VERSION})"?$', 2),
    Place("deploy/kubernetes/kustomization.yaml", rf'newTag: "({VERSION})"'),
    Place("docs/how-to/install.md", rf"antiphon-({VERSION})-py3-none-any\.whl", 2),
)


class Unprepared(Exception):
    """The release is not prepared."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return 1 if the release is not prepared."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare").add_argument("version")
    commands.add_parser("verify").add_argument("tag", nargs="?")
    commands.add_parser("notes").add_argument("version")
    chart = commands.add_parser("chart")
    chart.add_argument("folder", type=Path)
    chart.add_argument("image")
    chart.add_argument("digest")
    commands.add_parser("registry").add_argument("version")
    options = parser.parse_args(arguments)
    try:
        match options.command:
            case "prepare":
                prepare(ROOT, options.version, datetime.now(UTC).date().isoformat())
            case "verify":
                print(verify(ROOT, options.tag))
            case "notes":
                print(read_notes(ROOT, options.version))
            case "registry":
                entry = make_registry_entry(os.environ.get(VARIABLE, ""), options.version)
                print(json.dumps(entry, indent=2))
            case _:
                write_chart(ROOT, options.folder, options.image, options.digest)
    except Unprepared as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def prepare(root: Path, version: str, date: str) -> None:
    """Set the version in all places, and date the unreleased entries of the changelog."""
    if not re.fullmatch(VERSION, version):
        raise Unprepared(f"{version} is no version, such as 0.2.0.")
    changelog = (root / CHANGELOG).read_text("utf-8")
    sections = split_sections(changelog)
    if version in sections:
        raise Unprepared(f"{CHANGELOG} has a section of {version} already.")
    if not sections.get(UNRELEASED, "").strip():
        raise Unprepared(f"{CHANGELOG} has nothing under {UNRELEASED}.")
    for place in PLACES:
        write_version(root, place, version)
    heading = f"## {UNRELEASED}\n"
    released = changelog.replace(heading, f"{heading}\n## {version} - {date}\n", 1)
    (root / CHANGELOG).write_text(released, "utf-8")


def verify(root: Path, tag: str | None = None) -> str:
    """Return the version. Raises `Unprepared` if the places or the tag disagree."""
    versions_by_path = {place.path: read_versions(root, place) for place in PLACES}
    versions = {version for each in versions_by_path.values() for version in each}
    if len(versions) != 1:
        lines = [f"  {path}: {', '.join(each)}" for path, each in versions_by_path.items()]
        raise Unprepared("\n".join(["The versions differ:", *lines]))
    (version,) = versions
    if tag is not None:
        if tag != f"v{version}":
            raise Unprepared(f"The tag is {tag}, and the version is {version}.")
        sections = split_sections((root / CHANGELOG).read_text("utf-8"))
        if version not in sections or sections.get(UNRELEASED, "").strip():
            raise Unprepared(
                f"{CHANGELOG} has no section of {version}, or has entries under {UNRELEASED}."
            )
    return version


def read_notes(root: Path, version: str) -> str:
    """Return the changelog's section of the version, with absolute links if they are known."""
    sections = split_sections((root / CHANGELOG).read_text("utf-8"))
    if version not in sections:
        raise Unprepared(f"{CHANGELOG} has no section of {version}.")
    notes = sections[version].strip()
    repository = os.environ.get(VARIABLE, "").rstrip("/")
    return absolute_links(notes, repository, f"v{version}") if repository else notes


def write_chart(root: Path, folder: Path, image: str, digest: str) -> None:
    """Copy the Helm chart into the folder, and fill in the image and its digest."""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise Unprepared(f"{digest!r} is no digest, such as sha256:01ab...")
    chart = folder / "antiphon"
    shutil.copytree(root / CHART, chart, dirs_exist_ok=True)
    values = (chart / "values.yaml").read_text("utf-8")
    for field, value in (("repository", image), ("digest", digest)):
        values, times = re.subn(rf'(?m)^  {field}: ""$', f"  {field}: {value}", values)
        if times != 1:
            raise Unprepared(f"values.yaml has {times} places for the image's {field}, wanted one.")
    (chart / "values.yaml").write_text(values, "utf-8")


def make_registry_entry(repository: str, version: str) -> dict[str, Any]:
    """Return the content of server.json, the entry in the registry of MCP servers.

    `repository` is an address at GitHub. A client of the registry runs the package by `uvx`, with
    the extra `mcp`. The format is server.schema.json of
    https://github.com/modelcontextprotocol/registry.
    """
    repository = repository.rstrip("/")
    try:
        name = mcp_server_name(repository)
    except ValueError as error:
        raise Unprepared(f"{VARIABLE}: {error}") from error
    return {
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": name,
        "title": "Antiphon",
        "description": "Ask models and assistants of Antiphon, and read its conversations.",
        "version": version,
        "repository": {"url": repository, "source": "github"},
        "websiteUrl": f"{repository}/blob/v{version}/docs/how-to/mcp-server.md",
        "packages": [
            {
                "registryType": "pypi",
                "registryBaseUrl": "https://pypi.org",
                "identifier": "antiphon",
                "version": version,
                "runtimeHint": "uvx",
                "runtimeArguments": [
                    {"type": "named", "name": "--from", "value": f"antiphon[mcp]=={version}"}
                ],
                "packageArguments": [
                    {"type": "positional", "value": "mcp"},
                    {"type": "positional", "value": "serve"},
                ],
                "transport": {"type": "stdio"},
                "environmentVariables": [
                    {
                        "name": "ANTIPHON_MODEL",
                        "description": "The model, such as openai:gpt-5; by default a demo",
                    },
                    {
                        "name": "ANTIPHON_SERVER",
                        "description": "The URL of a server; by default all is local",
                    },
                    {
                        "name": "ANTIPHON_API_KEY",
                        "description": "The key for that server",
                        "isSecret": True,
                    },
                ],
            }
        ],
    }


def split_sections(changelog: str) -> dict[str, str]:
    """Return the text of each section of a changelog, by its version."""
    pieces = re.split(r"(?m)^## (.+)\n", changelog)[1:]
    return {
        heading.partition(" - ")[0].strip(): text
        for heading, text in zip(pieces[::2], pieces[1::2], strict=True)
    }


def read_versions(root: Path, place: Place) -> list[str]:
    """Return the versions in this place. Raises `Unprepared` unless there are `times`."""
    versions = re.findall(place.pattern, (root / place.path).read_text("utf-8"))
    if len(versions) != place.times:
        raise Unprepared(f"{place.path} has {len(versions)} versions, wanted {place.times}.")
    return versions


def write_version(root: Path, place: Place, version: str) -> None:
    """Replace the version in the place."""
    read_versions(root, place)
    text = (root / place.path).read_text("utf-8")

    def change(match: re.Match[str]) -> str:
        start, end = match.start(1) - match.start(), match.end(1) - match.start()
        return match[0][:start] + version + match[0][end:]

    (root / place.path).write_text(re.sub(place.pattern, change, text), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
