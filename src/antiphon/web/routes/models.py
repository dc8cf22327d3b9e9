"""The models to choose from."""

from __future__ import annotations

from flask import Blueprint, Response

from antiphon.web.context import current_client, current_site
from antiphon.web.http import json_response

routes = Blueprint("models", __name__)


@routes.get("/api/models")
def list_models() -> Response:
    """List the models; the default one is marked."""
    models = current_site().run(current_client().list_models()).data
    return json_response({"data": models})
