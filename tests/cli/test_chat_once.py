"""`antiphon chat -p`: one question without a chat."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def chat(folder: Path, *flags: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "antiphon", "chat", "--model", "demo", *flags)
    environ = {"HOME": str(folder), "ANTIPHON_DEMO_DELAY": "0", "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, env=environ, timeout=60, check=False
    )


def test_the_answer_and_nothing_else_is_on_stdout(tmp_path: Path) -> None:
    result = chat(tmp_path, "-p", "Say 3 words")

    assert (result.stdout, result.returncode) == ("One voice calls\n", 0)


@pytest.mark.slow
def test_what_is_piped_in_goes_along(tmp_path: Path) -> None:
    result = chat(tmp_path, "-p", "hello", stdin="from a pipe")

    assert "from a pipe" in result.stdout


@pytest.mark.slow
def test_each_event_is_a_line(tmp_path: Path) -> None:
    result = chat(tmp_path, "-p", "Say 3 words", "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]

    assert events[0]["type"] == "run.status"
    assert events[-1]["type"] == "turn.ended"


@pytest.mark.slow
def test_resume_goes_on_with_the_last_thread(tmp_path: Path) -> None:
    chat(tmp_path, "-p", "Say 3 words")
    result = chat(tmp_path, "--resume", "-p", "And then?", "--output", "json")
    listing = subprocess.run(
        (sys.executable, "-m", "antiphon", "threads", "list", "--json"),
        env={"HOME": str(tmp_path)},
        capture_output=True,
        check=True,
    )

    assert json.loads(result.stdout)["thread_id"] == json.loads(listing.stdout)[0]["id"]
    assert len(json.loads(listing.stdout)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--json", "--quiet", "--thinking"])
def test_a_flag_for_one_question_is_refused_for_a_chat(tmp_path: Path, flag: str) -> None:
    result = chat(tmp_path, flag)

    assert result.returncode == 2
    assert f"{flag} goes with -p, for one question" in result.stderr
