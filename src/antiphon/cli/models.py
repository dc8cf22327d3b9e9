"""List the available models, here or on a server; the default one is marked.

Providers that returned an error are named on stderr, and the exit code is then not 0.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from antiphon.cli.console import format_table, note, print_json
from antiphon.cli.exit_codes import DONE, code_for_fault
from antiphon.cli.flags import CLIENT
from antiphon.client.outcome import hint_for
from antiphon.client.sync_client import Client
from antiphon.settings.loading import LoadedSettings

FLAGS = ("model", "base_url", *CLIENT)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the output format."""
    parser.add_argument("--json", action="store_true", help="as one JSON list")


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Print the models of the providers, and note the providers that returned an error."""
    with Client(settings=loaded.settings) as client:
        models = client.list_models()
    if args.json:
        print_json(models.data)
    else:
        rows = [(model.id, "default" if model.default else "") for model in models.data]
        print(format_table(("model", ""), rows))
    for problem in models.problems:
        note(f"antiphon: {problem.provider} lists no models: {problem.message}")
        if hint := hint_for(problem.code):
            note(f"antiphon: {hint}")
    return code_for_fault(models.problems[0].code) if models.problems else DONE
