"""What a view works with: the site that it belongs to."""

from __future__ import annotations

from typing import cast

from flask import current_app

from antiphon.web.site import Site

KEY = "antiphon"


def site() -> Site:
    """The site of the application that answers now."""
    return cast("Site", current_app.extensions[KEY])
