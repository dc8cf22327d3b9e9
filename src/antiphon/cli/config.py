"""The commands that show what is in force: settings, grants of tools, and models."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from antiphon.cli import trust
from antiphon.cli.console import format_table, note, print_json
from antiphon.cli.exit_codes import DONE, code_for_fault
from antiphon.cli.flags import CLIENT
from antiphon.client.outcome import hint_for
from antiphon.client.sync_client import Client
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.paths import data_folder
from antiphon.settings.settings import MASK, TABLE, mask_value
from antiphon.settings.trust import FolderFile
from antiphon.tools.permissions import NAME, GrantsFile
from antiphon.types.errors import InvalidRequest


class Config:
    """Show the settings in force and their origins. Secrets are masked.

    --grants lists the tools that are always allowed; --revoke has one of them asked about again.
    """

    FLAGS = tuple(name for name, setting in TABLE.items() if setting.on_the_line)

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the output format and the actions on grants."""
        parser.add_argument("--json", action="store_true", help="as one JSON object")
        parser.add_argument(
            "--grants", action="store_true", help="list the tools that are always allowed"
        )
        parser.add_argument(
            "--revoke",
            metavar="SERVER[:TOOL]",
            help="ask again about this tool, or all of the server's; `:NAME` is a function",
        )

    def decide(self, args: Namespace, file: FolderFile) -> bool:
        """Ignore the file with a note: this command shows which files count."""
        return trust.ignore_file(file)

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
        """Print one row for each setting, or for each grant."""
        grants = GrantsFile(data_folder(os.environ) / NAME, lambda text: note(f"antiphon: {text}"))
        if args.revoke is not None:
            return _revoke(grants, args.revoke)
        if args.grants:
            return _show_grants(grants, as_json=args.json)
        if args.json:
            both = {
                name: {"value": value, "from": loaded.origins[name]}
                for name, value in _values(loaded).items()
            }
            print_json(both)
        else:
            print(format_table(("setting", "value", "from"), rows(loaded)))
        if loaded.folder_file is not None and loaded.counted:
            note(f"antiphon: {trust.explain_counted(loaded.folder_file)}")
        return 0


def rows(loaded: LoadedSettings) -> Sequence[tuple[str, str, str]]:
    """Return each setting with its value and origin."""
    texts = {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in _values(loaded).items()
        if value is not None
    }
    return [(name, texts.get(name, "-"), origin) for name, origin in loaded.origins.items()]


def _values(loaded: LoadedSettings) -> Mapping[str, Any]:
    values = {name: mask_value(row, getattr(loaded.settings, name)) for name, row in TABLE.items()}
    values["providers"] = {
        name: {key: MASK if key == "key" else value for key, value in entry.items()}
        for name, entry in loaded.settings.providers.items()
    }
    values["hooks"] = loaded.settings.hooks
    return values


def _show_grants(grants: GrantsFile, *, as_json: bool) -> int:
    allowed = grants.all()
    if as_json:
        print_json({"grants": allowed})
    else:
        again = "none: it is asked about again"
        rows = [
            (each.server or "-", each.own_name, each.origin or "-", str(each.asked_by or again))
            for each in allowed
        ]
        print(format_table(("server", "tool", "what the server is", "where this asks"), rows))
    return 0


def _revoke(grants: GrantsFile, which: str) -> int:
    server, colon, tool = which.partition(":")
    revoked = grants.revoke(server, tool if colon else None)
    if not revoked:
        raise InvalidRequest(
            f"{which} was not allowed", hint="`antiphon config --grants` lists what is."
        )
    print(f"revoked {revoked}")
    return 0


class Models:
    """List the available models, here or on a server; the default one is marked.

    Providers that returned an error are named on stderr, and the exit code is then not 0.
    """

    FLAGS = ("model", "base_url", *CLIENT)

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the output format."""
        parser.add_argument("--json", action="store_true", help="as one JSON list")

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
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
