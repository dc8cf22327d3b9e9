"""Named points in the code at which a test can kill, fail or freeze this process.

`arm("append.after_commit:kill@3,claim.before_commit:pause")` performs each action at the given
pass, or at the first one. Actions: `kill` (SIGKILL to this process), `raise` (`Unavailable`),
`pause` (block the thread for `PAUSE_SECONDS`, as SIGSTOP would), `spin` (compute without end,
holding the interpreter's lock). A point that is not armed costs one lookup in an empty dictionary.
The command line arms the points in the environment variable `FAILPOINTS`; this module does not read
it.

The points:

- `X.before_commit`, `X.after_commit` around a store's transaction, where X is its work:
  `append`, `claim`, `beat`, `put`, `delete`, `forget`, `key`, `check`, `import`, `transfer`,
  `finish_import`, `claim_delivery`, `settle_delivery`, or the `ReadSet.what` of a
  change: `message`, `run`, `output`, `cancel`, `finalize`, `result`, `expire`, `release`,
  `save_task`, `decline`, `start_schedule`, `record_occurrence`, ...;
- in the worker and the runner: `lease.before_beat`, `turn.before_request`,
  `turn.after_first_chunk`, `append.after_wake`, `finalize.before_wake`, `tools.before_call`,
  `result.before_wake`, `takeover.after_commit`, `sweep.after_commit`, `drain.before_release`;
- in the deliverer of webhooks: `webhook.before_settle`;
- in a process that is one of several: `serve.before_open`;
- in a reader: `replay.after_subscribe`, `replay.middle`, `replay.before_live`.
"""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass
from typing import Literal, get_args

from antiphon.types.errors import BadSettings, Unavailable

PAUSE_SECONDS = 30.0  # two leases

FailpointAction = Literal["kill", "raise", "pause", "spin"]


@dataclass
class _Point:
    action: FailpointAction
    passes_left: int


_armed: dict[str, _Point] = {}


def arm(spec: str) -> None:
    """Arm `name:action` or `name:action@pass`, separated by commas; "" disarms all.

    Raises `BadSettings` for anything else.
    """
    points = dict(_point(part.strip()) for part in spec.split(",") if part.strip())
    _armed.clear()
    _armed.update(points)


def hit(name: str) -> None:
    """Pass this point and perform the action that is armed for it. Safe from any thread."""
    point = _armed.get(name)
    if point is not None:
        _pass(name, point)


def _point(spec: str) -> tuple[str, _Point]:
    name, _, rest = spec.partition(":")
    action, _, number = rest.partition("@")
    for known in get_args(FailpointAction):
        if action == known and (number or "1").isdecimal():
            return name, _Point(known, int(number or "1"))
    raise BadSettings(
        "a failpoint cannot be read",
        expected="name:action or name:action@pass, action one of "
        + ", ".join(get_args(FailpointAction)),
        received=spec,
    )


def _pass(name: str, point: _Point) -> None:
    point.passes_left -= 1
    if point.passes_left != 0:
        return
    match point.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise Unavailable(f"failpoint {name}")
        case "pause":
            time.sleep(PAUSE_SECONDS)
        case "spin":
            re.match("(a+)+$", "a" * 64 + "!")
