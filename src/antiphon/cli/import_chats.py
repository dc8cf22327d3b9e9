"""The command that imports conversations of other chats."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from antiphon.api.operations import ImportOwner, ListThreads
from antiphon.cli.console import ProgressBar, note, print_json
from antiphon.cli.flags import CLIENT
from antiphon.client.async_client import AsyncClient
from antiphon.client.formatting import count_noun
from antiphon.runtime.imports.conversion import IMPORTED_FROM, SOURCES, Converted
from antiphon.runtime.imports.convert import convert_export
from antiphon.settings.loading import LoadedSettings
from antiphon.types.errors import NotFound

AUTO = "auto"


class ImportChats:
    """Import the conversations of an export of ChatGPT, Claude or Open WebUI.

    They become your conversations, with their branches, times, titles and pictures. What was
    imported before is left as it is, so a later export can be imported too. On a server, this needs
    a key with the scope `admin`.
    """

    FLAGS = ("database", "redis", *CLIENT)

    def arguments(self, parser: ArgumentParser, flags: ArgumentParser) -> None:
        """Add the file, and where it comes from."""
        parser.add_argument("file", metavar="FILE", help="the zip or the JSON of the export")
        parser.add_argument(
            "--from",
            dest="source",
            choices=(AUTO, *SOURCES),
            default=AUTO,
            help="the chat that wrote it; by default it is recognized",
        )
        parser.add_argument(
            "--check", action="store_true", help="say what would be imported; write nothing"
        )
        parser.add_argument("--json", action="store_true", help="as one JSON object")

    def run(self, args: Namespace, loaded: LoadedSettings) -> int:
        """Import the file through a client."""
        asyncio.run(_import(args, loaded))
        return 0


async def _import(args: Namespace, loaded: LoadedSettings) -> None:
    path = Path(args.file)
    if not await asyncio.to_thread(path.is_file):
        raise NotFound(f"There is no file {args.file}.", expected="the file of an export")
    async with AsyncClient(settings=loaded.settings) as client:
        owner = (await client.get_caller()).owner
        known: set[str] = set()
        for source in SOURCES:
            listing = ListThreads(limit=100, metadata={IMPORTED_FROM: source})
            known |= {thread.id async for thread in client.paginate(listing)}
        with TemporaryFile() as archive:  # without a name, so that it is gone with this process
            converted = await asyncio.to_thread(_convert, args, path, archive, owner, known)
            if converted.conversations:
                call = ImportOwner(owner, check=args.check)
                await client.transport.import_archive(call, archive)
    if args.json:
        print_json(converted)
    else:
        _report(converted, check=args.check)


def _convert(
    args: Namespace, path: Path, archive: IO[bytes], owner: str, known: set[str]
) -> Converted:
    total, done = path.stat().st_size, 0
    with ProgressBar(sys.stderr) as bar, path.open("rb") as export:

        def advance(size: int) -> None:
            nonlocal done
            done += size
            bar.show("reading", "bytes", done, max(done, total))

        source = None if args.source == AUTO else args.source
        return convert_export(export, archive, owner, source, known, advance)


def _report(converted: Converted, *, check: bool) -> None:
    word = "to import" if check else "imported"
    versions = converted.threads - converted.conversations
    print(f"{count_noun(converted.conversations, 'conversation')} {word}")
    print(f"{count_noun(converted.messages, 'message')} in them, with other versions: {versions:,}")
    if converted.files:
        print(f"{count_noun(converted.files, 'file')} of the export")
    if converted.present:
        note(f"{count_noun(converted.present, 'conversation')} had been imported before.")
    for what, count in converted.skipped.items():
        note(f"Left out: {count:,} {what}.")
