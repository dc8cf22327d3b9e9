"""The lock pins the requirements of pyproject.toml, by hash and without a host."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements/lock.txt").read_text("utf-8")
PINNED = {
    name: Version(version)
    for name, version in re.findall(r"^([a-z0-9-]+)==([^\s;]+)", LOCK, re.MULTILINE)
}


def list_requirements() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lists = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        project["dependency-groups"]["dev"],
    ]
    for texts in lists:
        yield from (
            requirement for text in texts if (requirement := Requirement(text)).name != "antiphon"
        )


@pytest.mark.parametrize("requirement", list(list_requirements()), ids=str)
def test_every_requirement_is_pinned_to_a_version_that_satisfies_it(
    requirement: Requirement,
) -> None:
    name = re.sub(r"[-_.]+", "-", requirement.name).lower()

    assert name in PINNED, f"{name} is not pinned; `make lock` does it"
    assert PINNED[name] in requirement.specifier, "`make lock` pins it again"


def test_every_pin_has_hashes() -> None:
    entries = re.split(r"\n(?=[a-z0-9])", LOCK.partition("\n#")[2].partition("\n")[2])

    assert len(entries) == len(PINNED)
    assert all("--hash=sha256:" in entry for entry in entries)


def test_no_host_is_named() -> None:
    assert not re.search(r"://|--(?:extra-)?index-url|--find-links", LOCK)
