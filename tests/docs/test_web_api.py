"""The page about the web API lists every address of the web chat."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flask import Flask

from antiphon.web.app import BLUEPRINTS
from tests.support.docs.blocks import ROOT

PAGE = ROOT / "docs" / "reference" / "web-api.md"


def list_addresses() -> Iterator[str]:
    app = Flask("addresses", static_folder=None)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield f"{method} {path}"


def test_every_address_is_listed() -> None:
    page = PAGE.read_text("utf-8")
    names_on_page = {"GET /static/{asked}/{name}": "GET /static/{version}/{path}"}

    assert [
        each for each in list_addresses() if f"`{names_on_page.get(each, each)}`" not in page
    ] == []
