"""List the models that can be named, here or on a server; the one used by default is marked."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from antiphon.client.sync import Client
from antiphon.commands.json_output import print_json
from antiphon.commands.tables import table
from antiphon.commands.usage import CLIENT
from antiphon.configuration import Loaded

FLAGS = ("model", "base_url", *CLIENT)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Whether a program reads it."""
    parser.add_argument("--json", action="store_true", help="as one JSON list")


def run(asked: Namespace, loaded: Loaded) -> int:
    """Ask the runtime; providers that do not answer have nothing to list."""
    with Client(settings=loaded.settings) as client:
        models = client.list_models().data
    if asked.json:
        print_json(models)
    else:
        rows = [(model.id, "default" if model.default else "") for model in models]
        print(table(("model", ""), rows))
    return 0
