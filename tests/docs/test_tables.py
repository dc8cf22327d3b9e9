"""Tables for `antiphon.toml` in the docs are valid settings."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from antiphon.providers.catalog import Catalog
from antiphon.providers.servers import ServerTerms
from antiphon.settings.loading import load
from tests.support.docs.blocks import PAGES, ROOT

_TOML = re.compile(r"^ *```toml\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def list_tables() -> list[str]:
    """Return every table of a provider that a page shows."""
    tables = [text for page in PAGES for text in _TOML.findall(page.read_text("utf-8"))]
    return [textwrap.dedent(text) for text in tables if "[providers." in text]


@pytest.mark.parametrize("text", list_tables())
async def test_a_providers_table_on_a_page_can_be_used(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "antiphon"
    folder.mkdir()
    (folder / "antiphon.toml").write_text(text, "utf-8")
    variables = dict.fromkeys(re.findall(r'key_env = "(\w+)"', text), "k")
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path), "OPENAI_API_KEY": "k"}
    settings = load({}, environ, tmp_path)

    catalog = Catalog(settings, {**environ, **variables})
    for name in settings.providers:
        assert (await catalog.open(f"{name}:some-model")).name == name
    if settings.model:
        assert (await catalog.open(settings.model)).model == settings.model.partition(":")[2]


@pytest.mark.parametrize("field", ServerTerms.__struct_fields__)
def test_every_field_of_a_table_is_documented(field: str) -> None:
    assert f"`{field}`" in (ROOT / "docs/reference/providers.md").read_text("utf-8")
