"""Demo model: offline and deterministic, and it says so.

It streams reasoning, Markdown and tool calls, so that a user without a key sees everything that a
real model produces. It only matches a few words of the user's message.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from itertools import chain, cycle, islice
from typing import Any

import msgspec

from antiphon.engine import titles
from antiphon.engine.seam import find_quoted_words
from antiphon.ports import TakeNow, take_none
from antiphon.providers.demo_arguments import ArgumentFiller
from antiphon.types.chunks import (
    CallPiece,
    Chunk,
    Finish,
    ModelRequest,
    ReasoningPiece,
    TextPiece,
    UsagePiece,
)
from antiphon.types.json_values import is_object
from antiphon.types.messages import ToolSpec
from antiphon.types.runs import Usage

WINDOW = 32_768
"""The declared context window in tokens: small, so that a chat that is tried out fills it."""
MAX_WORDS = 200_000
MAX_SEARCHED = 65_536  # characters of a message that are searched, at its beginning and its end
MAX_CALLS = 32
MAX_KEYS, MAX_VALUE = 32, 1_000  # of JSON without a schema: keys, and characters of each value
SUMMARY_CHARACTERS = 80  # of each message; the request for a summary is searched in as many
PAGE = 64  # chunks that come together if there is no pace


class DemoProvider:
    """The demo model, with `delay` seconds between chunks; with 0 they come in pages."""

    def __init__(self, delay: float = 0) -> None:
        self._delay = delay

    async def stream(
        self, request: ModelRequest, take_now: TakeNow = take_none
    ) -> AsyncGenerator[Sequence[Chunk], None]:
        """Stream the reply: the same for the same request."""
        chunks = reply(request)
        if not self._delay:
            while page := list(islice(chunks, PAGE)):
                await asyncio.sleep(0)
                yield page
            return
        clock = asyncio.get_running_loop().time
        began = clock()
        for count, chunk in enumerate(chunks):
            await asyncio.sleep(began + count * self._delay - clock())
            yield [chunk]

    async def models(self) -> Sequence[str]:
        """Return the one name."""
        return ["demo"]

    async def close(self) -> None:
        """Do nothing."""


def reply(request: ModelRequest) -> Iterator[Chunk]:
    """Yield the demo model's reply."""
    messages = request.decode_messages()
    question, outputs = _latest(messages)
    last_words = find_quoted_words(question)
    calls = [] if outputs or last_words is not None else _calls(question, request)
    if last_words is not None:
        thought = "My answer was cut off, so I will go on with it."
        stream = _text_chunks(_continue_answer(messages, last_words))
    elif calls:
        thought = f"A tool fits: {', '.join(name for name, _ in calls)}. I will ask for it."
        stream = _call_chunks(calls, request)
    elif (wanted := _find_json(request.sampling.response_format, question)) is not None:
        thought = "JSON is wanted, so I will fill it in."
        stream = _text_chunks(_encode(wanted).decode())
    elif outputs:
        thought = "The tools have answered, so I can."
        stream = _text_chunks(_from_outputs(outputs))
    elif request.instructions == titles.INSTRUCTIONS:
        thought = "A title is wanted, so I will take the first words."
        words = re.findall(r"\w[\w'-]*", question.partition("\n")[2][:MAX_SEARCHED])
        stream = _text_chunks(f"On {' '.join(words[:5]).lower() or 'nothing'}")
    else:
        thought = "No tool fits, so I will answer in words."
        stream = _text_chunks(_in_words(question))
    thoughts = [ReasoningPiece(piece) for piece in _pieces(thought)]
    chunks = chain(thoughts, stream)
    count = 0
    for chunk in islice(chunks, request.sampling.max_output_tokens):
        yield chunk
        count += 1
    cut = next(chunks, None) is not None
    yield UsagePiece(
        Usage(
            # Four letters to a token is the usual guess.
            input_tokens=len(request.messages) // 4,
            output_tokens=count,
            reasoning_tokens=min(count, len(thoughts)),
        )
    )
    yield Finish("length" if cut else "tool_calls" if calls else "stop")


def _find_json(response_format: dict[str, Any] | None, question: str) -> dict[str, Any] | None:
    """Return the object that the run wants: by a schema, or with the quoted words as its keys."""
    filler = ArgumentFiller(_searchable(question))
    match response_format:
        case {"json_schema": {"schema": schema}} if is_object(schema):
            return filler.arguments(ToolSpec("answer", "", schema))
        case {"type": "json_object"}:
            return dict.fromkeys(filler.quotations[:MAX_KEYS] or ["answer"], question[:MAX_VALUE])
        case _:
            return None


class _ToolOutput(msgspec.Struct, frozen=True):
    """Tool output after the user's last message."""

    name: str
    arguments: str
    text: str


def _latest(messages: list[dict[str, Any]]) -> tuple[str, list[_ToolOutput]]:
    """Return the user's last message, and the tool outputs after it."""
    users = [at for at, message in enumerate(messages) if message["role"] == "user"]
    after = messages[users[-1] :] if users else messages
    calls = {
        call["id"]: call["function"]
        for message in after
        for call in message.get("tool_calls") or ()
    }
    outputs = [
        _ToolOutput(
            calls[message["tool_call_id"]]["name"],
            calls[message["tool_call_id"]]["arguments"],
            _text(message["content"]),
        )
        for message in after
        if message["role"] == "tool" and message["tool_call_id"] in calls
    ]
    return (_text(after[0]["content"]) if users else ""), outputs


def _continue_answer(messages: list[dict[str, Any]], last_words: str) -> str:
    """Return the last words of the answer before the last message, and what the script has next."""
    *earlier, _ = messages
    question, outputs = _latest(earlier)
    script = _from_outputs(outputs) if outputs else _in_words(question)
    written = _text(earlier[-1]["content"]).rstrip() if earlier else ""
    return last_words + script[len(written) :] if script.startswith(written) else last_words


def _searchable(question: str) -> str:
    """Return the part of the text that is searched for tools: at most a bounded length."""
    if len(question) <= MAX_SEARCHED:
        return question
    return f"{question[: MAX_SEARCHED // 2]}\n{question[-MAX_SEARCHED // 2 :]}"


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content or () if part.get("text"))


def _calls(question: str, request: ModelRequest) -> list[tuple[str, str]]:
    """Return names and arguments of the tools to call: those that the message names best."""
    choice = request.sampling.tool_choice
    if not request.tools or choice == "none":
        return []
    question = _searchable(question)
    fitting = _find_fitting_tools(question, request.tools, choice)
    if fitting and _PARALLEL.search(question):
        fitting = fitting if len(fitting) > 1 else fitting * 2
    else:
        fitting = fitting[:1]
    filler = ArgumentFiller(question)
    return [(spec.name, _encode(filler.arguments(spec)).decode()) for spec in fitting[:MAX_CALLS]]


def _find_fitting_tools(
    question: str, tools: Sequence[ToolSpec], choice: str | dict[str, Any] | None
) -> list[ToolSpec]:
    forced = [spec for spec in tools if spec.name == _find_chosen(choice)]
    if forced:
        return forced
    words = _words(question)
    names = frozenset(name.strip(".-") for name in _NAME.findall(question)) - {""}
    scored = [(_score(spec.name, names, words), spec) for spec in tools]
    fitting = [(score, spec) for score, spec in scored if score]
    if not fitting and (choice == "required" or "tool" in words):
        return [tools[0]]
    best = max((score for score, _ in fitting), default=0)
    return [spec for _, spec in sorted(fitting, key=lambda each: each[0] < best)]


def _find_chosen(choice: Any) -> Any:
    """Return the tool that a choice names, as a string or as OpenAI's object."""
    match choice:
        case {"function": {"name": name}}:
            return name
        case _:
            return choice


def _score(name: str, names: frozenset[str], words: frozenset[str]) -> int:
    """Return how many words of the tool's name the message has; the most if it has the name."""
    parts = _words(name)
    distinctive = parts - _COMMON or parts
    if name.strip(".-") in names:
        return len(parts) + 1
    return len(distinctive & words)


def _words(text: str) -> frozenset[str]:
    """Return the words of a text or a name, in lower case and in the singular."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).replace("_", " ").lower()
    found: list[str] = _WORD.findall(apart)
    plain = (word[:-1] if len(word) > 3 and word.endswith("s") else word for word in found)
    return frozenset(_SAME.get(word, word) for word in plain)


def _call_chunks(calls: Sequence[tuple[str, str]], request: ModelRequest) -> Iterator[Chunk]:
    turn = f"{(request.run_id or 'demo')[-8:]}_{request.turn}"
    for index, (name, arguments) in enumerate(calls):
        yield CallPiece(index=index, id=f"call_{turn}_{index + 1}", name=name)
        for at in range(0, len(arguments), 8):
            yield CallPiece(index=index, arguments=arguments[at : at + 8])


def _text_chunks(text: str) -> Iterator[Chunk]:
    return (TextPiece(piece) for piece in _pieces(text))


def _pieces(text: str) -> Iterable[str]:
    """Yield the words, each with the space before it; trailing space is dropped."""
    return (found[0] for found in _PIECE.finditer(text.rstrip()))


def _from_outputs(outputs: Sequence[_ToolOutput]) -> str:
    answers = [
        f"`{output.name}` was given `{output.arguments}` and says:"
        f"\n\n{_output_markdown(output.text)}"
        for output in outputs
    ]
    return "\n\n".join([*answers, _OPENLY])


def _output_markdown(output: str) -> str:
    """Return a tool's output as Markdown: an object as a list, anything else unchanged."""
    try:
        fields = msgspec.json.decode(output, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError):
        return output
    return "\n".join(f"- **{name}**: {_plain(bytes(value))}" for name, value in fields.items())


def _plain(value: bytes) -> str:
    """Return a string's text; any other JSON value unchanged."""
    if value.startswith(b'"'):
        return msgspec.json.decode(value, type=str)
    return value.decode()


def _in_words(question: str) -> str:
    searchable = _searchable(question)
    words = _words(searchable)
    if _SUM_UP.search(searchable[-SUMMARY_CHARACTERS:]):
        lines = [line[:SUMMARY_CHARACTERS] for line in _SAID.findall(searchable)]
        return "\n".join(["The user said:", "", *(f"- {line}" for line in lines or ["(nothing)"])])
    if counted := _COUNTED.search(searchable):
        return _long(min(int(re.sub(r"\D", "", counted[1])), MAX_WORDS))
    if "long" in words:
        return _long(600)
    if words & {"markdown", "table", "code"}:
        return _MARKDOWN
    quoted = "\n".join(f"> {line}" for line in question.splitlines()) or "> (nothing)"
    return f"You said:\n\n{quoted}\n\n{_HELLO}"


def _long(count: int) -> str:
    """Return exactly this number of words, in sentences and paragraphs."""
    tale = _TALE.split()
    words = list(islice(cycle(tale), count))
    lines = [" ".join(words[at : at + len(tale)]) for at in range(0, count, len(tale))]
    return "\n\n".join(lines)


_encode = msgspec.json.Encoder().encode
_WORD = re.compile(r"[^\W_]+")
_NAME = re.compile(r"[\w.-]+")
_PIECE = re.compile(r"\s*\S+")
_COUNTED = re.compile(r"(?<![\w,.])(\d[\d,.]{0,15}) words?\b")
_SUM_UP = re.compile(r"\bsum (?:it|this|that) up\b[^.\n]*\W*$", re.IGNORECASE)
_SAID = re.compile(r"^User: (.+)$", re.MULTILINE)
_PARALLEL = re.compile(r"\b(both|parallel|two tools|at once|at the same time)\b", re.IGNORECASE)
_COMMON = frozenset(
    {"a", "all", "by", "data", "do", "for", "from", "get", "in", "info", "is", "it", "list", "new"}
    | {"of", "on", "run", "set", "the", "time", "to", "tool", "use", "with"}
)
_SAME = (
    {"fly": "flight", "flying": "flight", "plane": "flight", "flug": "flight", "vuelo": "flight"}
    | {"regnet": "weather", "tiempo": "weather", "wetter": "weather"}
    | {"berechne": "calculate", "calcula": "calculate"}
)
"""Synonyms, among them words of the web chat's suggestions in each of its languages."""
_OPENLY = "*This is the demo model: it follows a script and has only repeated what the tools said.*"
_HELLO = """\
This is the **demo model** of Antiphon. It runs offline, follows a script and understands nothing;
name a real one with `--model`, for instance `openai:gpt-5` or `ollama:qwen3`. Until then, try:

- *When does the next flight from LAX to JFK leave?* (calls `get_flight_times`, if it is offered)
- *Use current_time* (calls the tool of that name, if it is offered)
- *Show me Markdown* (headings, lists, a table, code)
- *Tell me a long story*, or *500 words* (a long answer)
"""
_TALE = """\
One voice calls and another answers. The first asks for what it cannot do alone, and lets go; the
second does it where it is at home, takes the time it needs, and sends back what it found. Nobody
waits at the door. What was said is written down before it is heard, so that whoever comes late, or
leaves and returns, hears the same words in the same order.
"""
_MARKDOWN = '''\
# Markdown, of every kind

This is the **demo model**, which *follows a script*: ~~a real answer~~ a sample with `inline code`,
a [link](https://example.org) and an escaped \\*star\\*.

## Lists

1. First
2. Second
   - nested
   - and **bold**
3. Third

- [x] done
- [ ] open

## A table

| Flight | From | To  | Leaves |
|:-------|:----:|:---:|-------:|
| AA 10  | LAX  | JFK |  08:00 |
| DL 424 | LAX  | JFK |  11:30 |

## Code

```python
def answer(call: str) -> str:
    """One voice calls, another answers."""
    return f"{call}!"
```

> A quotation,
> over two lines.

---

Emoji 👩‍🚀, Chinese 你好, and the end.
'''
