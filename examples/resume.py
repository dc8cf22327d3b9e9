"""A reader that stops in the middle comes back and misses nothing.

    python examples/resume.py                                  # a runtime in this process
    ANTIPHON_SERVER=http://127.0.0.1:8000 python examples/resume.py

The run goes on while nobody listens. Whoever knows its id and the number of the last event that was
read gets exactly the rest, from any process that shares the database.
"""

from __future__ import annotations

import sys

from antiphon import Client, TextDelta
from antiphon.calls import NewMessage

ENOUGH = 100  # letters


def main() -> int:
    """Read a part, go away, read the rest, compare; returns the exit code."""
    text: list[str] = []
    with Client() as client:
        with client.process(message=NewMessage("100 words"), model="demo") as first:
            for event in first:
                if isinstance(event, TextDelta):
                    text.append(event.text)
                if len("".join(text)) >= ENOUGH:
                    break
        run_id, last = str(first.run_id), first.last_event
        print(f"{''.join(text)} ...\n\n[left after event {last} of {run_id}]\n")

        rest = client.events(run_id, after=last)
        for event in rest:
            if isinstance(event, TextDelta):
                text.append(event.text)
                print(event.text, end="", flush=True)
        print(f"\n\n[events {last + 1} to {rest.last_event}: the run is {rest.status}]")

        *_, answer = client.list_messages(str(rest.thread_id)).data
    print(f"[together they are the message that was saved: {''.join(text) == answer.text}]")
    return 0 if "".join(text) == answer.text else 1


if __name__ == "__main__":
    sys.exit(main())
