"""Print a script by which a shell completes commands, flags and files.

bash: `eval "$(antiphon completion bash)"` in ~/.bashrc. zsh: the same with zsh, behind compinit, in
~/.zshrc. fish: `antiphon completion fish > ~/.config/fish/completions/antiphon.fish`.

The script calls nothing when it completes. Print it anew after an upgrade.
"""

from __future__ import annotations

import re
from argparse import PARSER, SUPPRESS, Action, ArgumentParser, Namespace
from collections.abc import Iterator
from typing import Any

from antiphon.commands.completion_scripts import SCRIPTS, Flag, Place, Values
from antiphon.commands.names import ABOUT, COMMANDS
from antiphon.commands.usage import parser_of
from antiphon.configuration import Loaded
from antiphon.trust import FolderFile

FLAGS = ()
OF_FILES = frozenset({"FILE", "PATH", "CONFIG", "ROOTS", "MODULE[:FUNCTION]"})
"""What stands for a value that is a file or a folder."""


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Which shell."""
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="whose script is printed")


def decide(asked: Namespace, file: FolderFile) -> bool:
    """Never, and without a word: no setting matters to it, and shells call it when they start."""
    return False


def run(asked: Namespace, loaded: Loaded) -> int:
    """Print it."""
    print(SCRIPTS[asked.shell](_program()), end="")
    return 0


def _program() -> Place:
    """The program itself; without a command it is the chat."""
    below = tuple(
        _place(("antiphon", name), meaning, parser_of(name)) for name, meaning in COMMANDS.items()
    )
    chat = next(each for each in below if each.words[-1] == "chat")
    about = (Flag((name,), "", None) for name in ABOUT)
    known = {name for flag in chat.flags for name in flag.names}
    flags = (*chat.flags, *(flag for flag in about if not known.intersection(flag.names)))
    return Place(("antiphon",), "", flags, below)


def _place(words: tuple[str, ...], meaning: str, parser: ArgumentParser) -> Place:
    return Place(words, _said(meaning), tuple(_flags(parser)), tuple(_below(words, parser)))


def _flags(parser: ArgumentParser) -> Iterator[Flag]:
    for action in parser._actions:  # argparse tells nobody else what a parser takes
        if action.option_strings and action.help is not SUPPRESS:
            yield Flag(tuple(action.option_strings), _said(action.help or ""), _values(action))


def _values(action: Action) -> Values | None:
    if action.nargs == 0:
        return None
    if action.choices is not None:
        return tuple(map(str, action.choices))
    return "files" if action.metavar in OF_FILES else "any"


def _below(words: tuple[str, ...], parser: ArgumentParser) -> Iterator[Place]:
    for action in parser._actions:
        if action.nargs == PARSER:
            actions: Any = action
            meanings = {each.dest: each.help or "" for each in actions._choices_actions}
            for name, below in actions.choices.items():
                yield _place((*words, name), meanings.get(name, ""), below)


def _said(meaning: str) -> str:
    """On one line, without what is true on one machine alone."""
    return " ".join(re.sub(r" \(default: .*\)", "", meaning).replace("%%", "%").split())
