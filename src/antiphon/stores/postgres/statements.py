"""The statements of PostgreSQL: written with names, sent with numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from antiphon.stores import statements

_NAME = re.compile(r"(?<!:):([a-z]\w*)")


class Statement(NamedTuple):
    """SQL with `$1`, `$2`, ..., and the names of the values that belong there."""

    sql: str
    names: tuple[str, ...]

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """The values in the order of their numbers; a name that is not given is an error."""
        return [given[name] for name in self.names]


def numbered(sql: str) -> Statement:
    """The statement with each `:name` as a number, the same one wherever it occurs."""
    names = tuple(dict.fromkeys(_NAME.findall(sql)))
    numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
    return Statement(_NAME.sub(lambda found: numbers[found[1]], sql), names)


PIECES = statements.named("postgres")
SQL: Mapping[str, Statement] = {name: numbered(sql) for name, sql in PIECES.items()}


@cache
def writing(seen: tuple[str, ...], pieces: tuple[str, ...]) -> Statement:
    """The one statement that writes a change which consists of these pieces, in this order.

    `seen` are the tables of which a row was read that must still be as it was.
    """
    follows = {
        "seen": _unchanged(seen),
        "after_cut": PIECES["change_after_cut"] if "cut" in pieces else "",
        "after_move": PIECES["change_after_move"] if "moved" in pieces else "",
    }
    parts = [PIECES[f"change_{piece}"].format(**follows) for piece in ("passed", *pieces)]
    return numbered("WITH " + ",\n".join(parts) + "\n" + PIECES["change_end"])


def _unchanged(seen: tuple[str, ...]) -> str:
    conditions = "\nAND ".join(PIECES[f"seen_{table}"] for table in seen)
    return f"FROM {', '.join(seen)} WHERE {conditions} FOR UPDATE" if seen else ""
