"""Named statements and numbered migrations, read from `.sql` files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import NamedTuple

import msgspec

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_FOLDER = files("antiphon.stores") / "sql"


class Migration(msgspec.Struct, frozen=True):
    """One step of a schema: `number` counts from 1, without a gap.

    An `online` migration may take long, and runs while others read and write.
    """

    number: int
    name: str
    statements: Sequence[str]
    online: bool = False


class SchemaVersion(NamedTuple):
    """The number of migrations that a database has had, and that this program knows."""

    found: int
    known: int


def load_statements(dialect: str) -> Mapping[str, str]:
    """Return the statements of `sql/DIALECT.sql`: each follows its line `-- name: NAME`."""
    _, *pieces = _NAME.split((_FOLDER / f"{dialect}.sql").read_text("utf-8"))
    return dict(zip(pieces[::2], map(str.strip, pieces[1::2]), strict=True))


def load_migrations(dialect: str) -> Sequence[Migration]:
    """Return the migrations in `sql/DIALECT/`, files named `0001_what_it_does.sql`, in order.

    Files of online ones end in `.online.sql`. A statement ends with a semicolon at a line's end.
    """
    scripts = sorted((_FOLDER / dialect).iterdir(), key=lambda script: script.name)
    return [
        Migration(
            int(script.name[:4]),
            script.name[5:].removesuffix(".sql").removesuffix(".online"),
            [piece.strip() for piece in script.read_text("utf-8").split(";\n") if piece.strip()],
            script.name.endswith(".online.sql"),
        )
        for script in scripts
    ]
