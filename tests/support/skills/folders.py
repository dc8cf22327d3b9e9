"""Skills on disk, with a home and a project for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from antiphon.settings.trust import open_trust_record
from antiphon.skills.discovery import Finder, FoundFile


def write_skill(
    folder: Path, name: str, description: str = "Does a thing.", body: str = "Do it.", **files: str
) -> Path:
    """Write a skill below a folder of skills; `files` are scripts by name, without `.py`."""
    skill = folder / name
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text(f"---\nname: {name}\ndescription: {description}\n---\n{body}\n")
    for file, text in files.items():
        script = skill / "scripts" / f"{file}.py"
        script.parent.mkdir(exist_ok=True)
        script.write_text(text)
    return skill


class SkillHome:
    """Home of a user, with a project that is a repository of another person."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = root / "project"
        (self.project / ".git").mkdir(parents=True)
        self.own = root / "config/antiphon"
        self.environ: Mapping[str, str] = {
            "HOME": str(root),
            "XDG_CONFIG_HOME": str(root / "config"),
            "XDG_DATA_HOME": str(root / "data"),
        }

    def finder(self, folder: Path | None = None) -> Finder:
        return Finder(self.environ, folder or self.project)

    def trust(self, file: FoundFile) -> None:
        """Trust the file in its current form."""
        open_trust_record(self.environ).trust(file.file, file.digest)

    def trust_all(self) -> None:
        """Trust all files of the project that need trust."""
        finder = self.finder()
        for file in (*finder.skills(), *finder.instructions(), *finder.commands()):
            if file.digest:
                self.trust(file)
