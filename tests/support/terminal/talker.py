"""Prints a reply in a terminal, some sentences for each key, for `test_tmux`."""

from __future__ import annotations

import os
import subprocess
import sys
import termios
import tty

from antiphon.terminal.painters import InputRows, Region
from antiphon.terminal.spans import StyledText
from antiphon.terminal.streaming_response_handler import StreamingResponseHandler
from antiphon.terminal.themes import THEMES, Ink
from antiphon.types.events import RunStatus, TextDelta
from antiphon.types.runs import Status

SENTENCES = 60
STEP = 10
SAYS = ["- In an item, sentence {}. ", "Well, sentence {}. ", "\n\n```py\nsentence = {}\n```\n\n"]


def main(socket: str) -> None:
    before = termios.tcgetattr(0)
    tty.setcbreak(0)
    try:
        talk(socket)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def talk(socket: str) -> None:
    handler = StreamingResponseHandler(THEMES["dark"])
    region = Region(sys.stdout, Ink(THEMES["dark"]))
    input_rows = InputRows(rows=((StyledText("> draft"),),), cursor=(0, 7))
    for number in range(SENTENCES + 1):
        if number == SENTENCES:
            status = RunStatus(run_id="r", thread_id="t", status=Status.COMPLETED)
            handler.handle_event(status, number)
        else:
            text = SAYS[number % len(SAYS)].format(number)
            handler.handle_event(TextDelta(text=text), number)
        columns, rows = os.get_terminal_size()
        region.paint(handler.frame(columns, rows - 1, number), input_rows, columns, number)
        if number % STEP == 0:
            subprocess.run(["tmux", "-S", socket, "wait-for", "-S", f"said-{number}"], check=True)
            os.read(0, 1)
    region.close()


if __name__ == "__main__":
    main(sys.argv[1])
