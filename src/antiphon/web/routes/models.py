"""The models that can be chosen."""

from __future__ import annotations

from flask import Blueprint, Response

from antiphon.web.answers import answer
from antiphon.web.here import site
from antiphon.web.session import person

routes = Blueprint("models", __name__)


@routes.get("/api/models")
def listed() -> Response:
    """All that can be named, the one that is taken unasked marked."""
    models = site().run(site().client_of(person()).list_models()).data
    return answer({"data": models})
