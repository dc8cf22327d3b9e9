"""Metadata of the packages that depends on the address of the repository.

The environment variable `ANTIPHON_REPOSITORY` is the address. With it, a package has links to the
repository, and the links of its description, the README, lead there. Without it, the package has no
links, and those of the description are relative. `hatchling` calls this for every build.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

VARIABLE = "ANTIPHON_REPOSITORY"
_LINK = re.compile(r"(!?)(\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)")


class RepositoryMetadata(MetadataHookInterface):
    """Metadata hook that adds the description and the links of the project."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the dynamic fields to the static ones."""
        repository = os.environ.get(VARIABLE, "").rstrip("/")
        readme = (Path(self.root) / "README.md").read_text("utf-8")
        if repository:
            readme = absolute_links(readme, repository, f"v{metadata['version']}")
            metadata["urls"] = project_urls(repository)
            # The registry of MCP servers looks for this line in the description of the package.
            readme += f"\n<!-- mcp-name: {mcp_server_name(repository)} -->\n"
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}


def project_urls(repository: str) -> dict[str, str]:
    """Return the links of the project, by the labels that package indexes know."""
    return {
        "Homepage": repository,
        "Documentation": f"{repository}/tree/main/docs",
        "Source": repository,
        "Issues": f"{repository}/issues",
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        "Security": f"{repository}/security/policy",
    }


def mcp_server_name(repository: str) -> str:
    """Return the name in the registry of MCP servers, whose namespace is that of the repository.

    Raises `ValueError` if the repository is not on GitHub.
    """
    match = re.fullmatch(r"https://github\.com/([A-Za-z0-9-]+)/[\w.-]+", repository)
    if match is None:
        raise ValueError(f"wanted https://github.com/OWNER/REPOSITORY, got {repository!r}")
    return f"io.github.{match[1]}/antiphon"


def absolute_links(text: str, repository: str, tag: str) -> str:
    """Return Markdown whose relative links lead to the repository at this tag."""

    def link(match: re.Match[str]) -> str:
        image, label, path = match.groups()
        return f"{image}{label}({repository}/{'raw' if image else 'blob'}/{tag}/{path})"

    return _LINK.sub(link, text)
