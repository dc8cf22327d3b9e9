"""The chat in tmux, which wraps its rows anew when it is resized."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.terminal.talker import SENTENCES, STEP
from tests.support.terminal.tmux import SECONDS, Tmux

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not here")

TALKER = Path(__file__).parents[1] / "support/terminal/talker.py"
WIDTHS = (45, 100, 33, 80, 24)


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    tmux = Tmux(tmp_path / "socket")
    command = f"{sys.executable} {TALKER} {tmp_path / 'socket'}"
    tmux("new-session", "-d", "-x", "80", "-y", "16", command)
    yield tmux
    tmux("kill-server")


def test_five_resizes_on_the_way_lose_and_repeat_nothing(tmux: Tmux):
    for number, width in zip(range(0, SENTENCES, STEP), (*WIDTHS, 60), strict=True):
        tmux("wait-for", f"said-{number}")
        tmux("resize-window", "-x", str(width), "-y", "16")
        _wait_for_width(tmux("display", "-p", "#{pane_tty}").strip(), width)
        tmux("send-keys", "x")
    tmux("wait-for", f"said-{SENTENCES}")

    screen = tmux("capture-pane", "-p", "-J", "-S", "-")
    patience = time.monotonic() + SECONDS
    # The signal may overtake what was written before it.
    while str(SENTENCES - 1) not in screen and time.monotonic() < patience:
        screen = tmux("capture-pane", "-p", "-J", "-S", "-")

    numbers = [int(number) for number in re.findall(r"sentence\s+(?:=\s)?(\d+)", screen)]
    assert numbers == list(range(SENTENCES))
    assert screen.count("> draft") == 1
    assert "writing" not in screen


def _wait_for_width(terminal: str, width: int) -> None:
    """Wait until programs see the width: tmux tells them a moment after it wraps its rows anew."""
    patience = time.monotonic() + SECONDS
    descriptor = os.open(terminal, os.O_RDONLY | os.O_NOCTTY)
    try:
        while os.get_terminal_size(descriptor).columns != width and time.monotonic() < patience:
            time.sleep(0.001)
    finally:
        os.close(descriptor)
