"""Queries of OpenAI's API: pages of lists, and the fields to include.

Clients write a list as `include=a&include=b` or `include[]=a&include[]=b`. Names that are not known
here are ignored, as clients send fields of other vendors along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from starlette.types import Scope

from antiphon.api.problems import Malformed
from antiphon.engine import sanitize
from antiphon.types.errors import InvalidRequest

MAX_LIMIT = 100
_ORDERS = {"desc": True, "asc": False}
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_MAX_FIELDS = 100


class Query:
    """The fields of a query. Each method raises `InvalidRequest` for a value that cannot be."""

    def __init__(self, scope: Scope) -> None:
        try:
            self._fields: Mapping[str, Sequence[str]] = parse_qs(
                scope["query_string"].decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=_MAX_FIELDS,
            )
        except ValueError as error:  # a UnicodeDecodeError is one
            raise Malformed("The query cannot be read.", expected="percent-encoded text") from error
        for name, values in self._fields.items():
            sanitize.validate_text(list(values), name[:MAX_LIMIT])

    @property
    def include(self) -> frozenset[str]:
        """The values of `include`."""
        return frozenset((*self._fields.get("include", ()), *self._fields.get("include[]", ())))

    @property
    def after(self) -> str | None:
        """The id of the object after which a page begins."""
        return self.text("after")

    @property
    def descending(self) -> bool:
        """True unless the order is `asc`."""
        order = self.text("order")
        if order is None:
            return True
        if order not in _ORDERS:
            raise _invalid_error("order", "asc or desc", order)
        return _ORDERS[order]

    def flag(self, name: str) -> bool:
        """Return the value of a field that is on or off; off by default."""
        given = self.text(name)
        if given is None:
            return False
        if given.lower() not in _FLAGS:
            raise _invalid_error(name, "true or false", given)
        return _FLAGS[given.lower()]

    def limit(self, usual: int, most: int = MAX_LIMIT) -> int:
        """Return the size of a page."""
        given = self.text("limit")
        if given is None:
            return usual
        if not (
            given.isascii() and given.isdecimal() and len(given) < 9 and 1 <= int(given) <= most
        ):
            raise _invalid_error("limit", f"1 to {most}", given)
        return int(given)

    def text(self, name: str) -> str | None:
        """Return the value of a field, None without one."""
        values = self._fields.get(name, ())
        if len(values) > 1:
            raise _invalid_error(name, "one", str(len(values)))
        return values[0] if values and values[0] else None


def _invalid_error(name: str, expected: str, received: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{name}` cannot be used.",
        expected=expected,
        received=received[:100],
        where=f"$.{name}",
    )
