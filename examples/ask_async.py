"""Several questions at once on one loop; the tool is an async function.

python examples/ask_async.py
"""

from __future__ import annotations

import asyncio

from antiphon import AsyncClient, TextDelta, tool

QUESTIONS = (
    "When does the next flight from LAX to JFK leave?",
    "When does the next flight from LHR to CDG leave?",
    "Hello!",
)


@tool
async def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
    """Departure of the next flight between two airports, as IATA codes."""
    await asyncio.sleep(0.1)  # where a real one would ask a timetable
    return {"from": departure, "to": arrival, "departure_time": "16:35"}


async def ask(client: AsyncClient, question: str) -> str:
    """The whole answer to one question, its tool calls included."""
    pieces: list[str] = []
    async for event in client.converse(question, tools=[get_flight_times], model="demo"):
        match event:
            case TextDelta(text=text):
                pieces.append(text)
            case _:
                pass
    return "".join(pieces)


async def main() -> None:
    """Ask all, then print the answers in the order of the questions."""
    async with AsyncClient() as client:
        answers = await asyncio.gather(*(ask(client, question) for question in QUESTIONS))
    for question, answer in zip(QUESTIONS, answers, strict=True):
        print(f"> {question}\n\n{answer}\n")


if __name__ == "__main__":
    asyncio.run(main())
