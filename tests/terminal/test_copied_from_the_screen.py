"""A selection on the screen equals the answer, in a terminal that knows wrapped lines."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from wcwidth import wcswidth, wcwidth

from tests.support.terminal.chatting import Chatting
from tests.support.terminal.model import Model
from tests.support.terminal.tmux import Window

COMMAND = (
    "curl --silent --show-error https://example.org/a/rather/long/address/of/a/file.tar.gz"
    " --output file.tar.gz && tar --extract --gzip --file file.tar.gz --directory /opt/somewhere"
)
ADDRESS = "https://example.org/" + "and/on/" * 20 + "end?with=a&query=too"
CODE = "def work(one):\n    if one:\n\treturn {'a': 1}  # a tab before it\n\n    return None\n" + (
    "    call(" + ", ".join(f"argument_{number}=value_{number}" for number in range(12)) + ")"
)
ANSWER = f"""\
Say:

```sh
{COMMAND}
```

1. In an item:

   ```sh
   {COMMAND}
   ```

See {ADDRESS} for more, or say `{COMMAND}` at once.

```python
{CODE}
```
"""


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not here")
async def test_a_command_an_address_and_code_have_no_breaks_that_nobody_wrote(
    tmp_path: Path,
) -> None:
    async with Model() as model, Window(model, home=tmp_path) as chat:
        await chat.sees("/help")
        chat.say("How?")
        reply = await model.next_request()
        for at in range(0, len(ANSWER), 11):
            await reply.say(ANSWER[at : at + 11])
        await reply.end()
        await chat.sees("10 in, 5 out")
        lines = [line.rstrip() for line in chat.text.split("\n")]

        assert lines.count(COMMAND) == 3
        assert ADDRESS in lines
        code = CODE.expandtabs(8).split("\n")
        start = lines.index(code[0])
        assert lines[start : start + len(code)] == code


async def test_letters_of_every_width_stand_where_they_belong(tmp_path: Path) -> None:
    lines = [
        "漢字かな混じり文、全角の句読点。",
        "שלום עולם, mixed with English",
        "مرحبا بالعالم",
        "e\u0301 and n\u0303 are one letter each",
        "👩\u200d🚀 and 🇩🇪 and 👍🏽 and ❤\ufe0f",
        "ไทย and नमस्ते",
    ]
    async with Model() as model, Chatting(model, home=tmp_path, columns=60) as chat:
        await chat.ready()
        chat.say("漢字 שלום é")
        reply = await model.next_request()
        for line in lines:
            for letter in f"{line}\n\n":
                await reply.say(letter)
        await reply.say("| 漢字 | שלום |\n|---|---|\n| 一 | a |\n| ab | ב |\n")
        await reply.end()
        await chat.sees("10 in, 5 out")

        assert reply.messages[-1]["content"] == "漢字 שלום é"
        assert [visible_text(line) for line in lines] == [
            row for row in chat.rows if row in map(visible_text, lines)
        ]
        assert len({cells_before("│", row) for row in chat.rows if "│" in row}) == 1
        assert not chat.foreign


def visible_text(line: str) -> str:
    """Return the characters of a line that take cells."""
    return "".join(letter for letter in line if wcwidth(letter) > 0)


def cells_before(mark: str, row: str) -> int:
    return wcswidth(row[: row.index(mark)])
