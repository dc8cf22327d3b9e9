"""Who may see to the whole installation."""

from __future__ import annotations

from antiphon.errors import Forbidden
from antiphon.web.session import person


def refuse_others() -> None:
    """Raise `Forbidden` for everybody else, whatever is at the address."""
    if not person().is_admin:
        raise Forbidden(
            "This is for those who run the installation.",
            expected="an admin",
            hint="An admin can make you one.",
        )
