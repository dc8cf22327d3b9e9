"""JSON on stdout, for programs: valid JSON that does nothing to a terminal."""

from __future__ import annotations

import msgspec

from antiphon.clean import json_text


def print_json(value: object) -> None:
    """Print the value as one line of JSON."""
    print(json_text(msgspec.json.encode(value)))
