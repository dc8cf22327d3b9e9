"""Build and check the files of a release: a wheel, a source archive and a bill of materials.

    make dist                                       build all three into dist/, and check them
    python scripts/build_packages.py --help

The packages contain the files that git tracks, as they are in the working tree. The same files give
the same bytes on any machine: the build backend is pinned in requirements/lock.txt, and all times
are that of the last commit. The tools that check are pinned in requirements/release.txt.
"""

from __future__ import annotations

import argparse
import base64
import email.parser
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools/release/bin"
VENDOR_LOCK = "src/antiphon/web/static/chat/vendor.lock"

VALIDATE = """
import pathlib, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = pathlib.Path(sys.argv[1]).read_text("utf-8")
sys.exit(str(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) or "") or None)
"""


class BadPackage(Exception):
    """A package differs from what it must be."""


def main(arguments: list[str] | None = None) -> int:
    """Run the named steps, or all; return 1 if a package is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("steps", nargs="*", help=f"of {', '.join(STEPS)}; by default all")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="the folder to write to")
    parser.add_argument("--tools", type=Path, default=TOOLS, help="the folder of twine and others")
    parser.add_argument("--compare", type=Path, help="a folder with packages of the same bytes")
    options = parser.parse_args(arguments)
    if unknown := set(options.steps) - STEPS.keys():
        parser.error(f"unknown steps: {', '.join(sorted(unknown))}")
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        for step in options.steps or STEPS:
            STEPS[step](options.output.resolve(), options.tools.resolve())
        if options.compare:
            compare_packages(options.output, options.compare)
    except BadPackage as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def build(output: Path, _: Path) -> None:
    """Build the wheel and the source archive, in place of older ones."""
    for old in (*output.glob("antiphon-*.whl"), *output.glob("antiphon-*.tar.gz")):
        old.unlink()
    environ = os.environ | {"SOURCE_DATE_EPOCH": commit_time()}
    with tempfile.TemporaryDirectory() as folder:
        for name in list_tracked_files():
            copy = Path(folder, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy)
            copy.chmod(0o755 if os.access(ROOT / name, os.X_OK) else 0o644)
        command = [sys.executable, "-m", "hatchling", "build", "-d", str(output)]
        run(command, cwd=folder, env=environ)
    for package in find_packages(output):
        print(f"{hashlib.sha256(package.read_bytes()).hexdigest()}  {package.name}")


def check(output: Path, tools: Path) -> None:
    """Check metadata and contents, also with the tools of the index. Raises `BadPackage`."""
    wheel, archive = find_packages(output)
    run([tools / "twine", "check", "--strict", wheel, archive])
    run([tools / "check-wheel-contents", "--config", ROOT / "pyproject.toml", wheel])
    check_contents(wheel, archive)
    print(f"{wheel.name} and {archive.name} are complete.")


def check_contents(wheel: Path, archive: Path) -> None:
    """Compare the contents of the packages with the checkout. Raises `BadPackage`."""
    with zipfile.ZipFile(wheel) as wheel_file:
        check_wheel_files(wheel_file)
        metadata = next(name for name in wheel_file.namelist() if name.endswith("/METADATA"))
        check_metadata(wheel_file.read(metadata).decode())
    with tarfile.open(archive) as archive_file:
        names = {name.partition("/")[2] for name in archive_file.getnames()}
    compare("The source archive", names - {"PKG-INFO"}, set(list_tracked_files()))


def compare_packages(output: Path, other: Path) -> None:
    """Raise `BadPackage` unless both folders have packages of the same bytes."""
    for package, other_package in zip(find_packages(output), find_packages(other), strict=True):
        if package.name != other_package.name or package.read_bytes() != other_package.read_bytes():
            raise BadPackage(f"{other_package} is not what is built here as {package}.")
    print(f"{output} and {other} have the same packages.")


def check_wheel_files(wheel: zipfile.ZipFile) -> None:
    """Compare the files of a wheel with those of the checkout. Raises `BadPackage`."""
    names = wheel.namelist()
    package = {name for name in names if name.startswith("antiphon/")}
    tracked = {name.removeprefix("src/") for name in list_tracked_files("src/antiphon")}
    compare("The wheel", package, tracked)
    licences = {name.partition("/licenses/")[2] for name in names if "/licenses/" in name}
    vendored = {name for name in list_tracked_files("src/antiphon") if "/vendor/licences/" in name}
    compare("The licences of the wheel", licences, {"LICENSE", *vendored})


def check_metadata(text: str) -> None:
    """Compare the metadata with pyproject.toml. Raises `BadPackage`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    metadata = email.parser.Parser().parsestr(text)
    extras = {name.lower() for name in project["optional-dependencies"]}
    compare("The extras", set(metadata.get_all("Provides-Extra", [])), extras)
    expected = {
        "Name": project["name"],
        "Summary": project["description"],
        "Requires-Python": project["requires-python"],
        "License-Expression": project["license"],
    }
    for field, value in expected.items():
        if metadata[field] != value:
            raise BadPackage(f"{field} is {metadata[field]!r}, wanted {value!r}.")
    if os.environ.get("ANTIPHON_REPOSITORY") and not metadata.get_all("Project-URL"):
        raise BadPackage("The metadata has no Project-URL.")


def compare(what: str, actual: set[str], expected: set[str]) -> None:
    """Raise `BadPackage` unless both are the same."""
    faults = [f"  without {name}" for name in sorted(expected - actual)]
    faults += [f"  with {name}" for name in sorted(actual - expected)]
    if faults:
        raise BadPackage("\n".join([f"{what} came", *faults]))


def write_bill_of_materials(output: Path, tools: Path) -> None:
    """Write a CycloneDX document: all extras, as the lock file pins them, and the page's libraries.

    It describes an environment in which the wheel is installed.
    """
    wheel, _ = find_packages(output)
    target = output / "antiphon.cdx.json"
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, "bin/python")
        run([tools / "uv", "venv", "--quiet", "--python", sys.executable, folder])
        pinned = ["--constraint", ROOT / "requirements/lock.txt", f"{wheel}[all]"]
        run([tools / "uv", "pip", "install", "--quiet", "--python", python, *pinned])
        command = [tools / "cyclonedx-py", "environment", python, "--output-reproducible"]
        command += ["--pyproject", ROOT / "pyproject.toml", "--output-file", target]
        run(command, env=os.environ | {"SOURCE_DATE_EPOCH": commit_time()})
    document = json.loads(target.read_text("utf-8"))
    add_page_libraries(document, version=wheel.name.split("-")[1])
    target.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", "utf-8")
    run([tools / "python", "-c", VALIDATE, target])
    print(f"{target.name} lists {len(document['components'])} components.")


def add_page_libraries(document: dict[str, Any], version: str) -> None:
    """Add to the document the libraries of the web page and the version of the package."""
    lock = json.loads((ROOT / VENDOR_LOCK).read_text("utf-8"))
    libraries = [_to_component(each) for each in lock["libraries"]]
    root = document["metadata"]["component"]
    root["version"] = version
    document["components"] += libraries
    references = [each["bom-ref"] for each in libraries]
    for each in document["dependencies"]:
        if each["ref"] == root["bom-ref"]:
            each["dependsOn"] = [*each.get("dependsOn", []), *references]
    document["dependencies"] += [{"ref": reference} for reference in references]


def _to_component(library: dict[str, Any]) -> dict[str, Any]:
    name, version = library["name"], library["version"]
    algorithm, _, digest = library["integrity"].partition("-")
    content = base64.b64decode(digest).hex()
    return {
        "type": "library",
        "bom-ref": f"npm:{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:npm/{name.replace('@', '%40')}@{version}",
        "licenses": [{"expression": library["licence"].strip("()")}],
        "hashes": [{"alg": algorithm.replace("sha", "SHA-"), "content": content}],
    }


STEPS: dict[str, Callable[[Path, Path], None]] = {
    "build": build,
    "check": check,
    "sbom": write_bill_of_materials,
}


def find_packages(output: Path) -> tuple[Path, Path]:
    """Return the wheel and the source archive in the folder. Raises `BadPackage`."""
    packages = [*output.glob("antiphon-*.whl"), *output.glob("antiphon-*.tar.gz")]
    if len(packages) != 2:
        raise BadPackage(f"{output} has {len(packages)} packages, wanted a wheel and an archive.")
    return packages[0], packages[1]


def list_tracked_files(folder: str = ".") -> list[str]:
    """Return the files below the folder that git tracks and that exist."""
    return [
        name
        for name in _git("ls-files", "-z", folder).split("\0")
        if name and (ROOT / name).is_file()
    ]


def commit_time() -> str:
    """Return the time of the last commit, in seconds since 1970."""
    return _git("log", "-1", "--format=%ct").strip()


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def run(command: list[Any], **options: Any) -> None:
    """Run a program. Raises `BadPackage` with its output if it fails."""
    process = subprocess.run(
        [str(word) for word in command],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    if process.returncode:
        raise BadPackage(f"{Path(str(command[0])).name} failed:\n{process.stdout}")


if __name__ == "__main__":
    sys.exit(main())
