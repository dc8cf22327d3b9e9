"""The models that can be chosen."""

from __future__ import annotations

from flask import Blueprint, Response

from antiphon.web.context import client, site
from antiphon.web.http import answer

routes = Blueprint("models", __name__)


@routes.get("/api/models")
def listed() -> Response:
    """All that can be named, the one that is taken unasked marked."""
    models = site().run(client().list_models()).data
    return answer({"data": models})
