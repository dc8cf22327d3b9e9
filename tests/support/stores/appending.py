"""`Store.append` as a future, for tests that wait until the lines are stored."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from antiphon.ports import Store


def append_lines(
    store: Store, run_id: str, epoch: int, first: int, lines: Sequence[bytes], *, urgent: bool
) -> asyncio.Future[None]:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(fault: Exception | None) -> None:
        if fault is None:
            done.set_result(None)
        else:
            done.set_exception(fault)

    store.append(run_id, epoch, first, lines, settle, urgent=urgent)
    return done
