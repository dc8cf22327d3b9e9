"""Questions to a person elsewhere: open until they are answered, once and with their digest."""

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
    """A page that records the questions that open and close."""

    def __init__(self) -> None:
        self.opened_questions: asyncio.Queue[OpenQuestion] = asyncio.Queue()
        self.closed_ids: list[str] = []
        self.questions = OpenQuestions(
            self.opened_questions.put_nowait,
            lambda open_question: self.closed_ids.append(open_question.id),
        )
        self.consent = Consent(asker=self.questions)

    def ask(self, call: ToolCall = CALL) -> "asyncio.Task[Approved | Refused]":
        return asyncio.create_task(self.consent.permit("run_1", call, lambda: [PUSH]))


async def test_a_question_is_open_until_it_is_answered():
    page = Page()
    task = page.ask()
    open_question = await page.opened_questions.get()
    assert page.questions.open() == (open_question,)

    page.questions.answer(open_question.id, open_question.question.digest, YES)

    assert isinstance(await task, Approved)
    assert page.questions.open() == ()
    assert page.closed_ids == [open_question.id]


async def test_an_answer_comes_from_any_thread():
    page = Page()
    task = page.ask()
    open_question = await page.opened_questions.get()

    await asyncio.to_thread(
        page.questions.answer, open_question.id, open_question.question.digest, YES
    )

    assert isinstance(await task, Approved)


async def test_a_question_is_answered_once_whoever_is_first():
    page = Page()
    task = page.ask()
    open_question = await page.opened_questions.get()
    outcomes: list[str] = []
    start = threading.Barrier(4)

    def answer(number: int) -> None:
        start.wait()
        try:
            page.questions.answer(
                open_question.id, open_question.question.digest, ConsentAnswer(word=str(number))
            )
            outcomes.append(f"They said: {number}")
        except NotFound:
            pass

    await asyncio.gather(*(asyncio.to_thread(answer, number) for number in range(4)))
    decision = await task

    assert isinstance(decision, Refused)
    assert len(outcomes) == 1
    assert decision.result.output.endswith(outcomes[0])


async def test_an_answer_cannot_be_used_again_for_the_next_call():
    page = Page()
    first = page.ask()
    open_question = await page.opened_questions.get()
    page.questions.answer(open_question.id, open_question.question.digest, YES)
    await first

    second = page.ask(replace(CALL, id="c2"))
    next_question = await page.opened_questions.get()

    with pytest.raises(NotFound, match="not open"):
        page.questions.answer(open_question.id, open_question.question.digest, YES)
    with pytest.raises(InvalidRequest, match="another call"):
        page.questions.answer(next_question.id, open_question.question.digest, YES)
    assert page.questions.open() == (next_question,)
    assert not second.done()
    second.cancel()


@pytest.mark.parametrize("digest", ["", "0" * 64, "é"])
async def test_an_answer_without_the_digest_leaves_the_question_open(digest: str):
    page = Page()
    task = page.ask()
    open_question = await page.opened_questions.get()

    with pytest.raises(InvalidRequest):
        page.questions.answer(open_question.id, digest, YES)

    assert page.questions.open() == (open_question,)
    task.cancel()


async def test_a_question_whose_call_is_cancelled_is_withdrawn():
    page = Page()
    task = page.ask()
    open_question = await page.opened_questions.get()
    task.cancel()
    await asyncio.wait([task])

    assert page.questions.open() == ()
    assert page.closed_ids == [open_question.id]
    with pytest.raises(NotFound):
        page.questions.answer(open_question.id, open_question.question.digest, YES)


async def test_ids_cannot_be_guessed():
    ids: set[str] = set()
    for _ in range(20):
        page = Page()
        task = page.ask()
        ids.add((await page.opened_questions.get()).id)
        task.cancel()

    assert len(ids) == 20
    assert min(map(len, ids)) >= 32


def test_an_answer_to_a_question_whose_loop_has_ended_says_so_or_does_nothing():
    questions = OpenQuestions()
    captured: list[OpenQuestion] = []

    async def ask() -> None:
        task = asyncio.ensure_future(Consent(asker=questions).permit("run_1", CALL, lambda: [PUSH]))
        while not questions.open():
            await asyncio.sleep(0)
        captured.extend(questions.open())
        task.cancel()

    asyncio.run(ask())

    with pytest.raises(NotFound):
        questions.answer(captured[0].id, captured[0].question.digest, YES)
