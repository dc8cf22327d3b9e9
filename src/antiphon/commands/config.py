"""Show the settings in force, and where each comes from. Secrets are masked."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

import msgspec

from antiphon.commands.tables import table
from antiphon.settings import MASK, TABLE, Loaded, shown

FLAGS = tuple(name for name, setting in TABLE.items() if setting.on_the_line)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Whether a program reads it."""
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(asked: Namespace, loaded: Loaded) -> int:
    """Print one row for each setting."""
    values = {name: shown(row, getattr(loaded.settings, name)) for name, row in TABLE.items()}
    values["providers"] = {
        name: {key: MASK if "key" in key else value for key, value in entry.items()}
        for name, entry in loaded.settings.providers.items()
    }
    if asked.json:
        both = {
            name: {"value": value, "from": loaded.origins[name]} for name, value in values.items()
        }
        print(msgspec.json.encode(both).decode())
    else:
        rows = [(name, _text(value), loaded.origins[name]) for name, value in values.items()]
        print(table(("setting", "value", "from"), rows))
    return 0


def _text(value: object) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
