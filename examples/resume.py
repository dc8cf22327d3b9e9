"""Stop reading in the middle of a run, and resume later without missing an event.

    python examples/resume.py [MODEL]                          # a runtime in this process
    ANTIPHON_SERVER=http://127.0.0.1:8000 python examples/resume.py

The run goes on without a reader. With its id and the number of the last event that was read, any
process that shares the database can read exactly the rest, even after the run has ended. If the run
did not complete, its error is raised.
"""

from __future__ import annotations

import sys

from antiphon import AntiphonError, Client, TextDelta

ENOUGH = 100  # letters


def main(model: str = "demo") -> int:
    """Read a part, stop, read the rest, and compare; return the exit code."""
    text: list[str] = []
    with Client() as client:
        with client.converse("100 words", model=model) as first:
            for event in first:
                if isinstance(event, TextDelta):
                    text.append(event.text)
                if len("".join(text)) >= ENOUGH:
                    break
        run_id, last = str(first.run_id), first.last_event
        print(f"{''.join(text)} ...\n\n[left after event {last} of {run_id}]\n")

        rest = client.converse(run_id=run_id, after=last)
        for event in rest:
            if isinstance(event, TextDelta):
                text.append(event.text)
                print(event.text, end="", flush=True)
        print(f"\n\n[events {last + 1} to {rest.last_event}: the run is {rest.status}]")

        *_, answer = client.list_messages(str(first.thread_id)).data
    print(f"[together they are the message that was saved: {''.join(text) == answer.text}]")
    return 0 if "".join(text) == answer.text else 1


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except AntiphonError as error:
        sys.exit(error.full_message)
