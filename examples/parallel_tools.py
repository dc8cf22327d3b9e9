"""Run two tools of one turn at the same time, and submit each output when it is ready.

    python examples/parallel_tools.py [MODEL]

If a tool fails, the model gets the error as its output, and the conversation goes on. If the run
does not complete, the program ends with the run's error on stderr and exit code 1.
"""

from __future__ import annotations

import sys
import time

from antiphon import AntiphonError, Client, TextDelta, ToolCallReady, ToolOutputAdded, tool

QUESTION = "Get both at once: the weather in Paris, and the news from Paris."
SECONDS = 0.5  # how long each tool takes


@tool
def get_weather(city: str) -> dict[str, str]:
    """The weather in a city."""
    time.sleep(SECONDS)
    return {"city": city, "sky": "clear"}


@tool
def get_news(city: str) -> str:
    """The latest news from a city."""
    time.sleep(SECONDS)
    raise ConnectionError("the news agency does not answer")


def main(model: str = "demo") -> None:
    """Converse, and print each event with its time."""
    began = time.monotonic()
    with Client() as client:
        tools = [get_weather, get_news]
        for event in client.converse(QUESTION, model=model, tools=tools, tool_timeout=10):
            at = f"{time.monotonic() - began:4.1f} s"
            match event:
                case ToolCallReady(name=name, arguments=arguments):
                    print(f"{at}  the model asks for {name}({arguments})")
                case ToolOutputAdded(output=output, is_error=is_error):
                    print(f"{at}  {'a failure' if is_error else 'an output'} is saved: {output}")
                case TextDelta(text=text):
                    print(text, end="", flush=True)
                case _:
                    pass
    print()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except AntiphonError as error:
        sys.exit(error.full_message)
