"""The steps of a release: one version in all places, a dated changelog, its notes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import antiphon
from antiphon.cli.flags import import_command
from scripts import release
from scripts.package_metadata import RepositoryMetadata

NEXT = "9.8.7"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files that a release changes."""
    for name in (release.CHANGELOG, *(place.path for place in release.PLACES)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(release.ROOT / name, tmp_path / name)
    return tmp_path


def test_the_version_is_the_same_everywhere() -> None:
    assert release.verify(release.ROOT) == antiphon.__version__


def test_a_release_is_prepared_in_all_places(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- A [b](docs/c.md).\n")

    release.prepare(checkout, NEXT, "2026-12-01")

    assert release.verify(checkout, f"v{NEXT}") == NEXT
    assert "## Unreleased\n\n## 9.8.7 - 2026-12-01\n" in (checkout / "CHANGELOG.md").read_text()
    assert release.read_notes(checkout, NEXT) == "- A [b](docs/c.md)."
    module_text = (checkout / "src/antiphon/__init__.py").read_text()
    assert module_text.replace(NEXT, antiphon.__version__) == Path(antiphon.__file__).read_text()


def test_links_of_the_notes_lead_to_the_repository(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTIPHON_REPOSITORY", "https://forge.example/x/")
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## 1.0.0 - today\n\n[b](docs/c.md)\n")

    notes = release.read_notes(checkout, "1.0.0")

    assert notes == "[b](https://forge.example/x/blob/v1.0.0/docs/c.md)"


def test_a_release_that_is_not_prepared_is_refused(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(release.Unprepared, match=r"The tag is v9\.8\.7"):
        release.verify(checkout, f"v{NEXT}")
    with pytest.raises(release.Unprepared, match="no section of"):
        release.verify(checkout, f"v{antiphon.__version__}")
    with pytest.raises(release.Unprepared, match="is no version"):
        release.prepare(checkout, "next", "2026-12-01")
    release.write_version(checkout, release.PLACES[0], NEXT)
    with pytest.raises(release.Unprepared, match="The versions differ"):
        release.verify(checkout)
    (checkout / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n")
    with pytest.raises(release.Unprepared, match="nothing under Unreleased"):
        release.prepare(checkout, NEXT, "2026-12-01")

    assert release.main(["notes", NEXT]) == 1
    assert f"no section of {NEXT}" in capsys.readouterr().err


def test_the_released_chart_names_its_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = f"sha256:{'1' * 64}"
    command = ["chart", str(tmp_path), "ghcr.io/example/antiphon"]

    assert release.main([*command, digest]) == 0
    assert release.main([*command, "latest"]) == 1

    values = yaml.safe_load((tmp_path / "antiphon/values.yaml").read_text())
    assert values["image"]["repository"] == "ghcr.io/example/antiphon"
    assert values["image"]["digest"] == digest
    assert (tmp_path / "antiphon/templates/server.yaml").is_file()
    assert "'latest' is no digest" in capsys.readouterr().err


def test_the_entry_of_the_mcp_registry_names_the_package_that_claims_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main(["registry", NEXT]) == 1
    assert "wanted https://github.com/OWNER/REPOSITORY" in capsys.readouterr().err
    monkeypatch.setenv(release.VARIABLE, "https://github.com/Example/antiphon")

    assert release.main(["registry", NEXT]) == 0

    entry = json.loads(capsys.readouterr().out)
    (package,) = entry["packages"]
    metadata: dict[str, Any] = {"version": NEXT}
    RepositoryMetadata(str(release.ROOT), {}).update(metadata)
    assert entry["name"] == "io.github.Example/antiphon"
    assert f"<!-- mcp-name: {entry['name']} -->" in metadata["readme"]["text"]
    assert len(entry["description"]) <= 100  # the registry's limit
    assert (entry["version"], package["version"]) == (NEXT, NEXT)
    arguments = [each["value"] for each in package["packageArguments"]]
    assert import_command(arguments[0]) is not None
    names = {each["name"] for each in package["environmentVariables"]}
    assert {f"ANTIPHON_{name.upper()}" for name in ("model", "server", "api_key")} == names


DOCKER = """#!/bin/sh
echo "$*" >> "$CALLS"
while [ $# -gt 0 ]; do
    [ "$1" = --metadata-file ] && printf '{"containerimage.digest": "%s"}' "$DIGEST" > "$2"
    shift
done
"""


@pytest.mark.parametrize("digest", [f"sha256:{'2' * 64}", ""])
def test_an_image_is_pushed_for_two_architectures(tmp_path: Path, digest: str) -> None:
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    environ = {"PATH": path, "CALLS": str(tmp_path / "calls"), "DIGEST": digest}
    command = [release.ROOT / "deploy/push-image.sh", "ghcr.io/example/antiphon", NEXT]

    completed = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)

    docker_calls = (tmp_path / "calls").read_text()
    assert "--platform linux/amd64,linux/arm64" in docker_calls
    assert f"--tag ghcr.io/example/antiphon:{NEXT}" in docker_calls
    if digest:
        assert completed.stdout == f"name=ghcr.io/example/antiphon\ndigest={digest}\n"
    else:
        assert (completed.returncode, completed.stdout) == (1, "")
