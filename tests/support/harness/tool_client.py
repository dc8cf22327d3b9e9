"""A client as a separate program: it continues a run, answers its calls, and may be killed.

    python tool_client.py URL RUN_ID LOG

Each call that it executes is a line in the log. It prints the final status of the run.
"""

from __future__ import annotations

import os
import sys

from antiphon import Client, ToolCall


def main(url: str, run_id: str, log: str) -> None:
    """Continue the run until it ends."""
    log_file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def f(x: int, call: ToolCall) -> str:
        os.write(log_file, f"{call.id}\n".encode())
        return f"output of {x}"

    with Client(url) as client:
        events = client.converse(run_id=run_id, tools=[f], max_tools=10, raise_on_failure=False)
        for _ in events:
            pass
        print(events.status, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
