"""The terminal chat: answers stream as they are written, and tools run on this machine.

Every conversation is a thread of the runtime in this process, or of the server of --server;
--resume continues the last one. The configured MCP servers (`antiphon mcp list`) start in the
background. /help lists the commands and keys. Piped lines are sent one after the other; the exit
code is that of the last one that failed, as of `antiphon ask`.
"""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser, Namespace
from importlib import import_module
from typing import TYPE_CHECKING

from antiphon.cli.flags import CLIENT, LOOKS, RUNTIME, TOOLS
from antiphon.cli.question import ASK_ONLY_FLAGS, answer_arguments, read_request, tool_arguments
from antiphon.settings.extras import install_hint
from antiphon.settings.loading import LoadedSettings, refuse_untrusted
from antiphon.settings.trust import FolderFile
from antiphon.tools.permission_modes import MODES
from antiphon.types.errors import BadSettings, InvalidRequest

if TYPE_CHECKING:
    from antiphon.terminal.ui_manager import UiManager

FLAGS = (
    *RUNTIME,
    *CLIENT,
    *TOOLS,
    *LOOKS,
)


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the thread, the instructions and the options of a single question."""
    parser.add_argument("-s", "--system", metavar="TEXT", help="instructions for the model")
    parser.add_argument("--thread", metavar="ID", help="continue this thread")
    parser.add_argument("-r", "--resume", action="store_true", help="continue the last thread")
    tool_arguments(parser)
    parser.add_argument(
        "--mode",
        choices=MODES,
        help="ask before tools run (the default), plan only, or allow tools, as --yes does",
    )
    once = parser.add_argument_group("one question", "asked without a chat, as `antiphon ask` does")
    once.add_argument(
        "-p", "--prompt", metavar="TEXT", help="ask this, write the answer to stdout, and exit"
    )
    answer_arguments(once)


def decide(args: Namespace, file: FolderFile) -> bool:
    """Ask the person, before anything of the file is used; with -p there is none to be asked."""
    if args.prompt is not None:
        return refuse_untrusted(file)
    counts: bool = import_module("antiphon.cli.trust").ask_trust(file)
    return counts


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Chat until the person leaves."""
    if args.no_tools and args.tools:
        raise InvalidRequest("--no-tools and --tools exclude each other", hint="leave one out.")
    if args.prompt is not None:
        if args.mode is not None:
            raise InvalidRequest("--mode is for the chat", hint="-p takes --yes, --allow, --deny.")
        question = read_request(args, [args.prompt], last=args.resume)
        answered: int = import_module("antiphon.cli.ask").ask_once(question, loaded.settings)
        return answered
    if args.yes and args.mode in ("ask", "plan"):
        raise InvalidRequest("--yes and --mode exclude each other", hint="--mode allow is --yes.")
    for name, flag in ASK_ONLY_FLAGS.items():
        if getattr(args, name):
            raise InvalidRequest(f"{flag} goes with -p, for one question", hint="-p TEXT asks it.")
    try:
        opening = import_module("antiphon.terminal.startup")
    except ModuleNotFoundError as missing:
        raise BadSettings(
            f"the terminal chat needs {missing.name}, which is not installed",
            expected="the extra `terminal`",
            hint=install_hint("terminal"),
        ) from missing

    async def chat(ui: UiManager) -> int:
        """Load what is slow to load while the person reads and types, then chat."""
        behind = await asyncio.to_thread(import_module, "antiphon.cli.chat_session")
        code: int = await behind.chat(ui, args, loaded)
        return code

    code: int = opening.run(chat, loaded.settings)
    return code
