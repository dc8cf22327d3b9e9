"""The models that can be chosen."""

from __future__ import annotations

from flask import Blueprint, Response

from antiphon.web.answers import answer
from antiphon.web.here import client, site

routes = Blueprint("models", __name__)


@routes.get("/api/models")
def listed() -> Response:
    """All that can be named, the one that is taken unasked marked."""
    models = site().run(client().list_models()).data
    return answer({"data": models})
