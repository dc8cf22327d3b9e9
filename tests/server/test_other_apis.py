"""Other protocols' APIs are imported at their first request, which nothing else waits for."""

import asyncio
import threading
from pathlib import Path

import pytest

from antiphon.server.other_apis import import_in_thread

SLOW = """
import builtins
builtins.slow_module_entered.set()
builtins.slow_module_may_end.wait(60)
"""


async def test_a_second_request_does_not_block_the_loop_during_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_to_import.py").write_text(SLOW)
    is_entered, may_end = threading.Event(), threading.Event()
    monkeypatch.setattr("builtins.slow_module_entered", is_entered, raising=False)
    monkeypatch.setattr("builtins.slow_module_may_end", may_end, raising=False)
    monkeypatch.syspath_prepend(tmp_path)

    first = asyncio.create_task(import_in_thread("slow_to_import"))
    await asyncio.to_thread(is_entered.wait, 60)
    second = asyncio.create_task(import_in_thread("slow_to_import"))
    await asyncio.sleep(0)

    assert not second.done()
    may_end.set()
    await asyncio.gather(first, second)
