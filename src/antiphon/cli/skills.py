"""Skills for models, and the instructions and slash commands that folders bring.

A skill is a folder with a SKILL.md, as at agentskills.io. `list` shows your own, and those of the
working folder and of the folders above it up to the root of its repository. What is not your own
counts only once you have seen and trusted it, until it changes. `add` copies a skill into your own
folder, from a folder or an archive.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import msgspec

from antiphon.cli import trust
from antiphon.cli.console import note, print_list
from antiphon.cli.exit_codes import DONE, FAILED
from antiphon.cli.flags import Parser
from antiphon.settings.loading import LoadedSettings
from antiphon.settings.trust import FolderFile
from antiphon.skills.discovery import Finder, FoundFile, State
from antiphon.skills.install import SkillSource, install_skill, read_sources, remove_skill
from antiphon.skills.review import list_others, review_found, summarize
from antiphon.skills.skill import FILE, Skill, is_script, looks_like_text
from antiphon.skills.toolbox import Skills
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.terminal_safe import clean, one_line

FLAGS = ()


class FoundRow(msgspec.Struct, frozen=True, kw_only=True):
    """A skill, a file of instructions or a slash command, and whether it counts."""

    kind: Literal["skill", "instructions", "command"]
    name: str
    state: State
    why: str
    file: str
    own: bool
    description: str


def arguments(parser: ArgumentParser, flags: ArgumentParser) -> None:
    """Add the actions and their arguments."""
    actions: Any = parser.add_subparsers(
        dest="action", required=True, metavar="|".join(ACTIONS), parser_class=Parser
    )
    listing = actions.add_parser(
        "list", help="list skills, instructions and slash commands, and whether they count"
    )
    listing.add_argument("--json", action="store_true", help="as one JSON list")
    show = actions.add_parser("show", help="print a skill, or one of its files")
    show.add_argument("name", metavar="NAME")
    show.add_argument("file", nargs="?", metavar="FILE", help="a file of the skill")
    add = actions.add_parser(
        "add", help="copy a skill into your own folder, after you have seen it"
    )
    add.add_argument(
        "path", metavar="PATH", help="a folder, a .zip or .skill file, or a .tar.gz file"
    )
    add.add_argument("--yes", action="store_true", help="do not ask")
    add.add_argument("--replace", action="store_true", help="replace a skill of that name")
    review = actions.add_parser("trust", help="show what this folder brings, and trust it")
    review.add_argument(
        "name", nargs="?", metavar="NAME", help="a skill, or a path; by default all"
    )
    review.add_argument("--yes", action="store_true", help="do not ask")
    remove = actions.add_parser("remove", help="delete a skill of your own folder")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("--yes", action="store_true", help="do not ask")


def decide(args: Namespace, file: FolderFile) -> bool:
    """Ignore the settings file of the folder: it changes nothing here."""
    return False


def run(args: Namespace, loaded: LoadedSettings) -> int:
    """Run one action; return the exit code."""
    return ACTIONS[args.action](args)


def _list(args: Namespace) -> int:
    rows = [
        FoundRow(
            kind=each.kind,
            name=each.name,
            state=each.state,
            why=each.why,
            file=str(each.file),
            own=each.own,
            description=getattr(each.content, "description", "")
            or getattr(each.content, "meaning", ""),
        )
        for each in _find_all()
    ]
    none = "No skill is here; `antiphon skills add PATH` adds one."
    head = ("name", "kind", "state", "file", "description")
    row = attrgetter("name", "kind", "state", "file", "description")
    print_list(
        rows if args.json else [_shorten(each) for each in rows],
        head,
        row,
        none,
        as_json=args.json,
    )
    for each in rows:
        if each.state == "broken" and not args.json:
            file = "" if each.file in each.why else f"{each.file}: "
            note(f"antiphon: {one_line(file + each.why)}")
    if any(each.state == "not trusted" for each in rows) and not args.json:
        note("antiphon: `antiphon skills trust` shows what is not trusted, and asks.")
    return DONE


def _shorten(row: FoundRow) -> FoundRow:
    home = str(Path.home())
    file = row.file.replace(home, "~", 1) if row.file.startswith(f"{home}/") else row.file
    text = one_line(row.description)
    return msgspec.structs.replace(
        row, name=row.name[:40], file=file, description=text[:60] + ("..." if text[60:] else "")
    )


def _show(args: Namespace) -> int:
    named = [each for each in Finder(os.environ, Path.cwd()).skills() if each.name == args.name]
    if not named:
        raise NotFound(f"there is no skill {args.name}", hint="`antiphon skills list` lists them.")
    # The one that counts, else one that does not.
    found = next((each for each in named if each.ready), named[0])
    skill = found.content
    if not isinstance(skill, Skill):
        raise InvalidRequest(f"{found.file}: {found.why}")
    if args.file is not None:
        content = Skills([skill]).read_file(skill.name, args.file)
        if not looks_like_text(content):
            raise InvalidRequest(f"{args.file} is no text: {len(content):,} bytes")
        print(clean(content.decode("utf-8"), "approval"))
        return DONE
    for warning in skill.warnings:
        note(f"antiphon: {skill.name}: {warning}")
    seen = review_found(found)
    _, text = seen.files[0]
    print(clean(text, "approval"))
    place = one_line(str(skill.folder), "approval")
    note(f"antiphon: {seen.summary}. {found.state.capitalize()}. It is in {place}")
    for path in (*(name for name, _ in seen.files[1:]), *seen.others):
        note(f"antiphon: with it {one_line(path, 'approval')}")
    return DONE


def _add(args: Namespace) -> int:
    if "://" in args.path or args.path.startswith("git@"):
        raise InvalidRequest(
            "A skill is added from a file or a folder, so that you see it first",
            received=args.path,
            hint=f"git clone {args.path}; then antiphon skills add FOLDER",
        )
    folder = Finder(os.environ, Path.cwd()).own_skills
    code = DONE
    for source in read_sources(Path(args.path)):
        _show_source(source)
        if not args.yes and not _confirm(
            f"Type yes to add {source.skill.name} to your own skills:",
            f"antiphon skills add {args.path} --yes",
        ):
            note(f"antiphon: {source.skill.name} is not added.")
            code = FAILED
            continue
        target = install_skill(source, folder, replace=args.replace)
        note(f"antiphon: {source.skill.name} is in {target}, and counts from now on.")
    return code


def _show_source(source: SkillSource) -> None:
    shown = {FILE: source.contents[FILE]}
    shown |= {path: each for path, each in sorted(source.contents.items()) if is_script(path)}
    for path, content in shown.items():
        trust.show_text(f"{source.skill.name}/{path}", content.decode("utf-8", "backslashreplace"))
    for other in list_others(source.contents):
        note(f"antiphon: with it {one_line(other, 'approval')}")
    for link in source.left_out:
        note(f"antiphon: {one_line(link, 'approval')} is a link, and left out")
    for warning in source.skill.warnings:
        note(f"antiphon: {source.skill.name}: {warning}")
    note(f"antiphon: {summarize(source.skill, source.contents)}.")


def _trust(args: Namespace) -> int:
    if args.name is None:
        files = trust.find_guidance(Path.cwd())
        if not files:
            note("antiphon: This folder brings nothing that needs trust.")
        return trust.review_and_trust(files, yes=args.yes)
    if os.path.lexists(args.name):
        return trust.review_and_trust([Path(args.name)], yes=args.yes)
    named = [each.file for each in _find_all() if each.name == args.name and each.digest]
    if not named:
        raise NotFound(
            f"this folder brings nothing named {args.name}",
            hint="`antiphon skills list` lists what it brings.",
        )
    return trust.review_and_trust(named, yes=args.yes)


def _remove(args: Namespace) -> int:
    own = Finder(os.environ, Path.cwd()).own_skills
    folder = own / args.name
    if Path(args.name).name != args.name or not os.path.lexists(folder):
        found = next((each for each in _find_all() if each.name == args.name), None)
        raise NotFound(
            f"{own} has no skill {args.name}",
            hint=f"the one of this name is in {found.file.parent}; it is left alone."
            if found
            else "`antiphon skills list` lists them.",
        )
    if not args.yes and not _confirm(
        f"Type yes to delete {folder}:", f"antiphon skills remove {args.name} --yes"
    ):
        note("antiphon: It stays.")
        return FAILED
    remove_skill(folder)
    note(f"antiphon: {folder} is deleted.")
    return DONE


def _confirm(question: str, otherwise: str) -> bool:
    if not trust.can_ask():
        raise InvalidRequest("nobody can be asked here", hint=f"look at it, then: {otherwise}")
    return trust.ask_yes(f"antiphon: {question}")


def _find_all() -> list[FoundFile]:
    finder = Finder(os.environ, Path.cwd())
    return [*finder.skills(), *finder.instructions(), *finder.commands()]


ACTIONS: Mapping[str, Callable[[Namespace], int]] = {
    "list": _list,
    "show": _show,
    "add": _add,
    "trust": _trust,
    "remove": _remove,
}
