"""A user's own prompts."""

from __future__ import annotations

from flask import Blueprint, Response

from antiphon.web.http import json_response, read_json
from antiphon.web.prompts import PromptList
from antiphon.web.session import current_client, current_site

routes = Blueprint("prompts", __name__)


@routes.get("/api/prompts")
def get_prompts() -> Response:
    """Return the user's prompts."""
    site = current_site()
    return json_response(site.run(site.prompts.read(current_client())))


@routes.put("/api/prompts")
def save_prompts() -> Response:
    """Save the user's prompts in place of those that they are based on."""
    body, site = read_json(PromptList), current_site()
    return json_response(site.run(site.prompts.save(current_client(), body)))
