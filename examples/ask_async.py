"""Ask several questions at once on one event loop; the tool is an async function.

    python examples/ask_async.py [MODEL]

The model is the offline demo unless you name another. If a run does not complete, the program ends
with the run's error on stderr and exit code 1.
"""

from __future__ import annotations

import asyncio
import sys

from antiphon import AntiphonError, AsyncClient, TextDelta, tool

QUESTIONS = (
    "When does the next flight from LAX to JFK leave?",
    "When does the next flight from LHR to CDG leave?",
    "Hello!",
)


@tool
async def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    """Departure of the next flight between two airports, as IATA codes."""
    await asyncio.sleep(0.1)  # a real tool would query a timetable here
    return {"from": departure, "to": arrival, "departure_time": "16:35"}


async def ask(client: AsyncClient, question: str, model: str) -> str:
    """Ask one question, run the tools that it needs, and return the answer."""
    pieces: list[str] = []
    async for event in client.converse(question, tools=[get_flight_times], model=model):
        match event:
            case TextDelta(text=text):
                pieces.append(text)
            case _:
                pass
    return "".join(pieces)


async def main(model: str = "demo") -> None:
    """Ask all questions at once, then print the answers in order."""
    async with AsyncClient() as client:
        answers = await asyncio.gather(*(ask(client, question, model) for question in QUESTIONS))
    for question, answer in zip(QUESTIONS, answers, strict=True):
        print(f"> {question}\n\n{answer}\n")


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except AntiphonError as error:
        sys.exit(error.full_message)
