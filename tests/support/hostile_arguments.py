"""Arguments of tool calls that try to hide something from the person who approves the call.

Each case is for a tool named `shell` and is tested wherever a person approves: in the box of the
terminal and on the card of the page. `names` are the arguments that must be named, in order;
`hidden` is the hidden part: before it was shown, only No may be offered as an answer.
"""

from __future__ import annotations

import json
from typing import NamedTuple


class Case(NamedTuple):
    """A tool call. `arguments` is the JSON text of the model."""

    name: str
    arguments: str
    names: tuple[str, ...]
    hidden: str


def _case(name: str, arguments: dict[str, object], hidden: str) -> Case:
    text = json.dumps(arguments, ensure_ascii=False)
    return Case(name, text, tuple(arguments), hidden)


LINES = [f"line {number}" for number in range(200)]
CASES = (
    _case("behind a long text", {"command": "ls\n" * 300, "delete_all": True}, "delete_all"),
    _case("before a long text", {"delete_all": True, "command": "ls\n" * 300}, "delete_all"),
    _case(
        "between two", {"a": "ls\n" * 200, "delete_all": True, "z": "ls\n" * 200}, "delete_all"
    ),
    _case("in the middle of a text", {"command": "ls " * 2_000 + "rm -rf ~" + " ls" * 2_000},
          "rm -rf ~"),
    _case("at the end of a list", {"command": "ls", "note": [*LINES, "the end"]}, "the end"),
    _case("in the middle of a list", {"note": [*LINES, "rm -rf ~", *LINES]}, "rm -rf ~"),
    Case(
        "very deep",
        '{"command": ' + '{"a": ' * 120 + '"rm -rf ~"' + "}" * 120 + ', "delete_all": true}',
        ("command", "delete_all"),
        "rm -rf ~",
    ),
    _case(
        "among many",
        {f"option_{number:03}": number for number in range(150)} | {"delete_all": True},
        "delete_all",
    ),
    _case("under a long name", {"n" * 5_000: "ls", "delete_all": True}, "delete_all"),
    _case("in a wide text", {"command": "\u6f22" * 3_000 + "rm -rf ~"}, "rm -rf ~"),
    _case("behind blanks", {"command": "ls" + " " * 5_000 + "\n" * 500 + "rm -rf ~"}, "rm -rf ~"),
    _case(
        "written unseen",
        {"command": "ls\U000e0080\U0001bca0\ufff3\u200b\u202e", "delete\u200b_all": True},
        "delete<U+200B>_all",
    ),
    Case(
        "given twice",
        '{"command": "ls", "command": ' + json.dumps("ls\n" * 300 + "rm -rf ~") + "}",
        ("command", "command"),
        "rm -rf ~",
    ),
)  # fmt: skip
SMALL = _case("small", {"command": "ls", "note": ["a"]}, "ls")
"""A call that fits everywhere, and can be allowed at once."""
