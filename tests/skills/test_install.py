"""Skills are copied from folders and archives, and nothing is written anywhere else."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from antiphon.skills.install import install_skill, read_sources
from antiphon.types.errors import InvalidRequest
from tests.support.skills.folders import write_skill

HEAD = b"---\nname: pdf\ndescription: Reads them.\n---\n"


def make_zip(file: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file


def make_tar(file: Path, entries: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w:gz") as archive:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if name.endswith(".sh") else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return file


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize("root", ["", "pdf/", "a/b/pdf/"])
def test_an_archive_is_a_skill_wherever_it_lies_in_it(tmp_path: Path, make, root: str) -> None:
    files = {"SKILL.md": HEAD, "scripts/a.sh": b"echo", "empty.txt": b""}
    archive = make(tmp_path / "pdf.skill", {f"{root}{name}": each for name, each in files.items()})

    (source,) = read_sources(archive)
    target = install_skill(source, tmp_path / "skills")

    assert target == tmp_path / "skills/pdf"
    installed_files = {
        str(file.relative_to(target)) for file in target.rglob("*") if file.is_file()
    }
    assert installed_files == set(files)
    assert (target / "SKILL.md").read_bytes() == HEAD
    assert [each.name for each in (tmp_path / "skills").iterdir()] == ["pdf"]


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    "path", ["../evil", "/tmp/evil", "pdf/../../evil", "pdf/a\\..\\b", "C:evil", "pdf/\x1b[2J"]
)
def test_an_archive_with_a_path_that_leads_out_is_refused_whole(
    tmp_path: Path, make, path: str
) -> None:
    archive = make(tmp_path / "a.zip", {"pdf/SKILL.md": HEAD, path: b"evil"})

    with pytest.raises(InvalidRequest, match="leads out"):
        read_sources(archive)


def test_links_in_an_archive_are_left_out(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        entry = tarfile.TarInfo("pdf/SKILL.md")
        entry.size = len(HEAD)
        tar.addfile(entry, io.BytesIO(HEAD))
        link = tarfile.TarInfo("pdf/key")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        hard = tarfile.TarInfo("pdf/hard")
        hard.type, hard.linkname = tarfile.LNKTYPE, "pdf/SKILL.md"
        tar.addfile(hard)

    (source,) = read_sources(archive)

    assert set(source.contents) == {"SKILL.md"}


def test_an_archive_that_grows_without_measure_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"pdf/SKILL.md": HEAD, "pdf/big": b"\0" * 40_000_000})

    with pytest.raises(InvalidRequest, match="too large"):
        read_sources(archive)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"no archive", b"\x1f\x8bbroken"])
def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(content)

    with pytest.raises(InvalidRequest):
        read_sources(file)


def test_a_folder_of_skills_brings_all_of_them(tmp_path: Path) -> None:
    write_skill(tmp_path / "repo/skills", "one", run="print()")
    write_skill(tmp_path / "repo/skills", "two")
    (tmp_path / "repo/skills/two/link").symlink_to("/etc/passwd")

    one, two = read_sources(tmp_path / "repo")

    assert (one.skill.name, two.skill.name) == ("one", "two")
    assert two.left_out == ("link",)
    assert "link" not in two.contents


def test_a_skill_is_replaced_only_if_that_is_wanted(tmp_path: Path) -> None:
    write_skill(tmp_path / "a", "pdf", "new")
    write_skill(tmp_path / "skills", "pdf", "old")
    (source,) = read_sources(tmp_path / "a")

    with pytest.raises(InvalidRequest, match="already"):
        install_skill(source, tmp_path / "skills")
    install_skill(source, tmp_path / "skills", replace=True)

    assert "new" in (tmp_path / "skills/pdf/SKILL.md").read_text()


def test_a_compressed_archive_is_unpacked_within_bounds(tmp_path: Path) -> None:
    bomb = tmp_path / "a.tar.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        for _ in range(100):
            file.write(b"\0" * 1_000_000)

    with pytest.raises(InvalidRequest, match="too large"):
        read_sources(bomb)
