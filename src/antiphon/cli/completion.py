"""Print a script for a shell to complete commands, flags and files.

bash: `eval "$(antiphon completion bash)"` in ~/.bashrc. zsh: the same with zsh, after compinit, in
~/.zshrc. fish: `antiphon completion fish > ~/.config/fish/completions/antiphon.fish`.

The script runs no program when it completes. Print it again after an upgrade.
"""

from __future__ import annotations

import re
from argparse import PARSER, SUPPRESS, Action, ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from textwrap import indent
from typing import Any, Literal

import msgspec

from antiphon.cli.command_names import ABOUT, COMMANDS
from antiphon.cli.flags import build_parser
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.trust import FolderFile

# Completion in the languages of three shells: static tables, for a shell waits for no Python.


Values = tuple[str, ...] | Literal["files", "any"]


class Flag(msgspec.Struct, frozen=True):
    """A flag by all its names; `values` are its choices, `files`, `any`, or None for no value."""

    names: tuple[str, ...]
    meaning: str
    values: Values | None


class CommandNode(msgspec.Struct, frozen=True):
    """A command or an action, by the words that lead to it."""

    words: tuple[str, ...]
    meaning: str
    flags: tuple[Flag, ...]
    below: tuple[CommandNode, ...] = ()

    @property
    def path(self) -> str:
        """The words, joined by spaces."""
        return " ".join(self.words)


def bash_script(program: CommandNode) -> str:
    """Return a script for bash, from 3.2 of macOS on; it offers files where it has no words."""
    choices = "\n".join(
        "{}) _antiphon_offer {}; return ;;".format(
            cases, _quote(" ".join(values if isinstance(values, tuple) else ()))
        )
        for values, cases in _flags_by_values(program)
    )
    places = "\n".join(
        f"{_quote(place.path)})\n"
        f"    flags={_quote(' '.join(name for flag in place.flags for name in flag.names))}\n"
        f"    below={_quote(' '.join(each.words[-1] for each in place.below))} ;;"
        for place in _walk(program)
    )
    return _fill(_BASH, steps=_steps(program, "|"), choices=choices, places=places)


def zsh_script(program: CommandNode) -> str:
    """Return a script for zsh, for `eval` after compinit or as file `_antiphon` in `fpath`."""
    choices = "\n".join(
        f"({cases}) {_zsh_values(values)}; return ;;" for values, cases in _flags_by_values(program)
    )
    places = "\n".join(
        "({})\n    flags=({})\n    below=({}) ;;".format(
            _quote(place.path),
            " ".join(_zsh_descriptions(flag.names, flag.meaning) for flag in place.flags),
            " ".join(_zsh_descriptions(each.words[-1:], each.meaning) for each in place.below),
        )
        for place in _walk(program)
    )
    return _fill(_ZSH, steps=_steps(program, "|"), choices=choices, places=places)


def fish_script(program: CommandNode) -> str:
    """Return a script for fish, for a file in its folder of completions."""
    lines = "\n".join(line for place in _walk(program) for line in _fish_lines(place))
    return _fill(_FISH, steps=_steps(program, " ", _fish_quote), lines=lines)


SCRIPTS: Mapping[str, Callable[[CommandNode], str]] = {
    "bash": bash_script,
    "zsh": zsh_script,
    "fish": fish_script,
}

_BASH = """\
# Completion of antiphon for bash.
_antiphon_offer() {
    COMPREPLY=($(compgen -W "$1" -- "$word"))
}

_antiphon() {
    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"
    local place=antiphon flags= below= i
    COMPREPLY=()
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before="${COMP_WORDS[COMP_CWORD-2]}"
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$place ${COMP_WORDS[i]}" in
            {steps}) place="$place ${COMP_WORDS[i]}" ;;
        esac
    done
    case "$place $before" in
        {choices}
    esac
    case "$place" in
        {places}
    esac
    if [[ $word == -* ]]; then
        _antiphon_offer "$flags"
    elif [[ -n $below ]]; then
        _antiphon_offer "$below"
    fi
}
complete -o default -F _antiphon antiphon
"""

_ZSH = """\
#compdef antiphon
_antiphon() {
    local place=antiphon i
    local -a flags below
    for ((i = 2; i < CURRENT; i++)); do
        case "$place $words[i]" in
            ({steps}) place="$place $words[i]" ;;
        esac
    done
    case "$place $words[CURRENT-1]" in
        {choices}
    esac
    case "$place" in
        {places}
    esac
    if [[ $PREFIX == -* ]]; then
        _describe -o flag flags
    elif (( $#below )); then
        _describe command below
    else
        [[ $PREFIX == @* ]] && compset -P @
        _files
    fi
}
if [[ $funcstack[1] == _antiphon ]]; then
    _antiphon "$@"
else
    compdef _antiphon antiphon
fi
"""

_FISH = """\
# Completion of antiphon for fish.
function __antiphon_at --description 'Whether the words lead to this place'
    set -l place antiphon
    for word in (commandline -opc)[2..-1]
        switch "$place $word"
            case {steps}
                set place "$place $word"
        end
    end
    test "$place" = "$argv"
end

{lines}
"""


def _fill(script: str, **parts: str) -> str:
    """Return the script with its parts in their places, indented like the place."""
    for name, part in parts.items():
        before, _, after = script.partition(f"{{{name}}}")
        margin = before.rpartition("\n")[2]
        own = indent(part, margin).removeprefix(margin) if margin.isspace() else part
        script = before + own + after
    return script


def _walk(place: CommandNode) -> Iterator[CommandNode]:
    yield place
    for each in place.below:
        yield from _walk(each)


def _flags_by_values(program: CommandNode) -> Iterator[tuple[Values, str]]:
    """Yield each set of values with the flags that take it."""
    cases: dict[Values, list[str]] = {}
    for place in _walk(program):
        for flag in place.flags:
            if flag.values is not None:
                cases.setdefault(flag.values, []).extend(
                    _quote(f"{place.path} {name}") for name in flag.names
                )
    for values, alike in cases.items():
        yield values, "|".join(alike)


def _steps(program: CommandNode, between: str, quoted: Callable[[str], str] | None = None) -> str:
    paths = [place.path for place in _walk(program)][1:]
    return between.join(map(quoted or _quote, paths))


def _zsh_values(values: Values) -> str:
    match values:
        case tuple():
            return f"compadd -- {' '.join(map(_quote, values))}"
        case "files":
            return "_files"
        case "any":
            return "_message value"


def _zsh_descriptions(names: Iterable[str], meaning: str) -> str:
    """Return names with their meaning in the form of `_describe`: `name:meaning`."""
    return " ".join(_quote(f"{name}:{meaning}") for name in names)


def _fish_lines(place: CommandNode) -> Iterator[str]:
    at = f"complete -c antiphon -n {_fish_quote(f'__antiphon_at {place.path}')}"
    for each in place.below:
        yield f"{at} -f -a {each.words[-1]} -d {_fish_quote(each.meaning)}"
    for flag in place.flags:
        names = " ".join(
            f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names
        )
        yield f"{at} {names} {_fish_values(flag)}-d {_fish_quote(flag.meaning)}"


def _fish_values(flag: Flag) -> str:
    match flag.values:
        case None:
            return ""
        case tuple(values):
            return f"-x -a {_fish_quote(' '.join(values))} "
        case "files":
            return "-r -F "
        case "any":
            return "-x "


def _quote(text: str) -> str:
    """Quote a text as one word for bash and zsh."""
    return "'{}'".format(text.replace("'", "'\\''"))


def _fish_quote(text: str) -> str:
    return "'{}'".format(text.replace("\\", "\\\\").replace("'", "\\'"))


FLAGS = ()
FILE_METAVARS = frozenset({"FILE", "PATH", "CONFIG", "PATHS", "MODULE[:FUNCTION]"})
"""Placeholder of a value that is a file or a folder."""


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the shell."""
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="the shell")


def decide(args: Namespace, file: FolderFile) -> bool:
    """Ignore the file silently: settings do not matter, and shells run this when they start."""
    return False


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Print the completion script."""
    print(SCRIPTS[args.shell](_build_tree()), end="")
    return 0


def _build_tree() -> CommandNode:
    """Return the tree of commands; its root has the flags of the chat."""
    below = tuple(
        _build_node(("antiphon", name), meaning, build_parser(name))
        for name, meaning in COMMANDS.items()
    )
    chat = next(each for each in below if each.words[-1] == "chat")
    about = (Flag((name,), "", None) for name in ABOUT)
    known = {name for flag in chat.flags for name in flag.names}
    flags = (*chat.flags, *(flag for flag in about if not known.intersection(flag.names)))
    return CommandNode(("antiphon",), "", flags, below)


def _build_node(words: tuple[str, ...], meaning: str, parser: ArgumentParser) -> CommandNode:
    flags: list[Flag] = []
    below: list[CommandNode] = []
    for action in parser._actions:  # argparse offers no other way to list them
        if action.nargs == PARSER:
            actions: Any = action
            meanings = {each.dest: each.help or "" for each in actions._choices_actions}
            for name, subparser in actions.choices.items():
                below.append(_build_node((*words, name), meanings.get(name, ""), subparser))
        elif action.option_strings and action.help is not SUPPRESS:
            names = tuple(action.option_strings)
            flags.append(Flag(names, _one_line(action.help or ""), _value_choices(action)))
    return CommandNode(words, _one_line(meaning), tuple(flags), tuple(below))


def _value_choices(action: Action) -> Values | None:
    if action.nargs == 0:
        return None
    if action.choices is not None:
        return tuple(map(str, action.choices))
    return "files" if action.metavar in FILE_METAVARS else "any"


def _one_line(meaning: str) -> str:
    """Return a help text on one line, without defaults, which differ between machines."""
    return " ".join(re.sub(r" \(default: .*\)", "", meaning).replace("%%", "%").split())
