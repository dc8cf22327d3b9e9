"""Questions to a person who is elsewhere: open until answered, answered once, by who saw them."""

import asyncio
import threading

import pytest
from msgspec.structs import replace

from antiphon.tools.consent import Approved, Consent, Refused
from antiphon.tools.open_questions import OpenQuestion, OpenQuestions
from antiphon.tools.questions import ConsentAnswer
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import Tool, ToolCall, ToolSpec

PUSH = Tool(spec=ToolSpec("git__push"), server="git", own_name="push")
CALL = ToolCall("c1", "git__push", "{}")
YES = ConsentAnswer(allowed=True)


class Page:
    """Sees questions as they come and go."""

    def __init__(self) -> None:
        self.shown: asyncio.Queue[OpenQuestion] = asyncio.Queue()
        self.gone: list[str] = []
        self.questions = OpenQuestions(
            self.shown.put_nowait, lambda opened: self.gone.append(opened.id)
        )
        self.consent = Consent(asker=self.questions)

    def ask(self, call: ToolCall = CALL) -> "asyncio.Task[Approved | Refused]":
        return asyncio.create_task(self.consent.permit("run_1", call, lambda: [PUSH]))


async def test_a_question_is_open_until_it_is_answered():
    page = Page()
    asking = page.ask()
    opened = await page.shown.get()
    assert page.questions.open() == (opened,)

    page.questions.answer(opened.id, opened.question.digest, YES)

    assert isinstance(await asking, Approved)
    assert page.questions.open() == ()
    assert page.gone == [opened.id]


async def test_an_answer_comes_from_any_thread():
    page = Page()
    asking = page.ask()
    opened = await page.shown.get()

    await asyncio.to_thread(page.questions.answer, opened.id, opened.question.digest, YES)

    assert isinstance(await asking, Approved)


async def test_a_question_is_answered_once_whoever_is_first():
    page = Page()
    asking = page.ask()
    opened = await page.shown.get()
    outcomes: list[str] = []
    start = threading.Barrier(4)

    def answer(number: int) -> None:
        start.wait()
        try:
            page.questions.answer(
                opened.id, opened.question.digest, ConsentAnswer(word=str(number))
            )
            outcomes.append(f"They said: {number}")
        except NotFound:
            pass

    await asyncio.gather(*(asyncio.to_thread(answer, number) for number in range(4)))
    decided = await asking

    assert isinstance(decided, Refused)
    assert len(outcomes) == 1
    assert decided.result.output.endswith(outcomes[0])


async def test_an_answer_cannot_be_used_again_for_the_next_call():
    page = Page()
    first = page.ask()
    opened = await page.shown.get()
    page.questions.answer(opened.id, opened.question.digest, YES)
    await first

    second = page.ask(replace(CALL, id="c2"))
    again = await page.shown.get()

    with pytest.raises(NotFound, match="not open"):
        page.questions.answer(opened.id, opened.question.digest, YES)
    with pytest.raises(InvalidRequest, match="another call"):
        page.questions.answer(again.id, opened.question.digest, YES)
    assert page.questions.open() == (again,)
    assert not second.done()
    second.cancel()


@pytest.mark.parametrize("digest", ["", "0" * 64, "é"])
async def test_an_answer_without_the_digest_leaves_the_question_open(digest: str):
    page = Page()
    asking = page.ask()
    opened = await page.shown.get()

    with pytest.raises(InvalidRequest):
        page.questions.answer(opened.id, digest, YES)

    assert page.questions.open() == (opened,)
    asking.cancel()


async def test_a_question_whose_call_is_cancelled_is_withdrawn():
    page = Page()
    asking = page.ask()
    opened = await page.shown.get()
    asking.cancel()
    await asyncio.wait([asking])

    assert page.questions.open() == ()
    assert page.gone == [opened.id]
    with pytest.raises(NotFound):
        page.questions.answer(opened.id, opened.question.digest, YES)


async def test_ids_cannot_be_guessed():
    ids: set[str] = set()
    for _ in range(20):
        page = Page()
        asking = page.ask()
        ids.add((await page.shown.get()).id)
        asking.cancel()

    assert len(ids) == 20
    assert min(map(len, ids)) >= 32


def test_an_answer_to_a_question_whose_loop_has_ended_says_so_or_does_nothing():
    questions = OpenQuestions()
    opened: list[OpenQuestion] = []

    async def ask() -> None:
        asking = asyncio.ensure_future(
            Consent(asker=questions).permit("run_1", CALL, lambda: [PUSH])
        )
        while not questions.open():
            await asyncio.sleep(0)
        opened.extend(questions.open())
        asking.cancel()

    asyncio.run(ask())

    with pytest.raises(NotFound):
        questions.answer(opened[0].id, opened[0].question.digest, YES)
