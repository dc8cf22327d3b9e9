"""The tools by which a model remembers and forgets, in conversations of both clients."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon import AsyncClient, Client, Consent, ConsentAnswer, ConsentRequest, Rules
from antiphon.settings.settings import Settings
from antiphon.testing.script import Script
from antiphon.tools.consent import SessionGrants
from antiphon.tools.memory import MAX_ASKED, MemoryTools

STATEMENT = "I am a vegetarian."


class Person:
    """A person who gives every request the same answer, for good."""

    def __init__(self, *, allowed: bool = True) -> None:
        self.requests: list[ConsentRequest] = []
        self._allowed = allowed

    def __call__(self, question: ConsentRequest) -> ConsentAnswer:
        self.requests.append(question)
        return ConsentAnswer(allowed=self._allowed, keep="always")


def texts(client: Client) -> list[str]:
    return [each.text for each in client.list_memories().data]


def ask(client: Client, person: Person | None, **options: Any) -> list[Any]:
    consent = Consent(asker=person, grants=SessionGrants())
    result = client.ask(STATEMENT, tools=[MemoryTools(client)], consent=consent, **options)
    return list(result.calls)


def test_what_the_person_allows_is_remembered_and_read_in_the_next_conversation(
    antiphon_client: Client, antiphon_script: Script
) -> None:
    antiphon_script.call("remember", text="Is a vegetarian.").reply("Noted.").reply("Tofu?")
    person = Person()

    (call,) = ask(antiphon_client, person)
    antiphon_client.ask("What may I eat?")

    (question,) = person.requests
    assert question.call.arguments == '{"text":"Is a vegetarian."}'
    assert question.asks_each_time
    (memory,) = antiphon_client.list_memories().data
    assert (memory.text, memory.source) == ("Is a vegetarian.", "assistant")
    assert memory.id in call.output
    assert memory.thread_id is not None
    assert "- Is a vegetarian." in str(antiphon_script.requests[-1].instructions)


async def test_an_async_client_does_the_same(
    antiphon_settings: Settings, antiphon_script: Script
) -> None:
    antiphon_script.call("remember", text="Is a vegetarian.").call(
        "forget", text="is a VEGETARIAN."
    )
    antiphon_script.reply("Noted.")
    async with AsyncClient(settings=antiphon_settings) as client:
        consent = Consent(asker=Person(), grants=SessionGrants())
        result = await client.ask(STATEMENT, tools=[MemoryTools(client)], consent=consent)

        assert [call.name for call in result.calls] == ["remember", "forget"]
        assert "forgotten" in result.calls[1].output
        assert list((await client.list_memories()).data) == []


def test_the_person_is_asked_each_time_whatever_is_allowed_and_nothing_is_kept_for_later(
    antiphon_client: Client, antiphon_script: Script
) -> None:
    antiphon_script.call("remember", text="One.").call("remember", text="Two.").reply("Noted.")
    person = Person()
    consent = Consent(Rules(allow=("*",)), asker=person, grants=SessionGrants())

    antiphon_client.ask(STATEMENT, tools=[MemoryTools(antiphon_client)], consent=consent)

    assert len(person.requests) == 2
    assert list(consent.grants.all()) == list(consent.session.all()) == []


@pytest.mark.parametrize("person", [None, Person(allowed=False)], ids=["nobody", "refusal"])
def test_without_a_yes_nothing_is_remembered(
    antiphon_client: Client, antiphon_script: Script, person: Person | None
) -> None:
    antiphon_script.call("remember", text="Is a vegetarian.").reply("Well.")

    (call,) = ask(antiphon_client, person)

    assert call.is_error
    assert texts(antiphon_client) == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"text": ""},
        {"text": "x" * 301},
        {"text": "a\nb"},
        {"text": "a\0b"},
        {"text": "a\u202eb"},
        {"text": "a\U000e0041"},
        {"text": 7},
        {"text": "a", "also": "b"},
        {},
    ],
    ids=["empty", "long", "lines", "NUL", "override", "tags", "number", "more", "nothing"],
)
def test_a_text_that_no_memory_can_have_is_refused_before_anybody_is_asked(
    antiphon_client: Client, antiphon_script: Script, arguments: dict[str, Any]
) -> None:
    antiphon_script.calls(("remember", arguments)).reply("Well.")
    person = Person()

    (call,) = ask(antiphon_client, person)

    assert call.is_error
    assert person.requests == []
    assert texts(antiphon_client) == []


def test_a_model_that_remembers_a_hundred_times_asks_a_few_times(
    antiphon_client: Client, antiphon_script: Script
) -> None:
    many = [("remember", {"text": f"Fact {n}."}) for n in range(100)]
    antiphon_script.calls(*many).call("remember", text="Again.").reply("Noted.").reply("Hi.")
    person = Person()

    calls = ask(antiphon_client, person)

    assert len(calls) == 101
    assert len(person.requests) == MAX_ASKED == len(texts(antiphon_client))
    assert sum("is not asked again" in call.output for call in calls) == 101 - MAX_ASKED


def test_the_server_refuses_it_in_a_temporary_thread_and_while_memory_is_off(
    antiphon_client: Client, antiphon_script: Script
) -> None:
    for _ in range(2):
        antiphon_script.call("remember", text="Is a vegetarian.").reply("Well.")

    (temporary_call,) = ask(antiphon_client, Person(), temporary=True)
    antiphon_client.update_personal_settings(memory_enabled=False)
    (call_while_off,) = ask(antiphon_client, Person())

    assert "temporary" in temporary_call.output
    assert "turned memory off" in call_while_off.output
    assert texts(antiphon_client) == []


def test_to_forget_what_is_not_there_is_an_error_that_says_so(
    antiphon_client: Client, antiphon_script: Script
) -> None:
    antiphon_client.create_memory("Likes tea.")
    antiphon_script.call("forget", text="Likes").reply("Well.")

    (call,) = ask(antiphon_client, Person())

    assert "There is no such note" in call.output
    assert texts(antiphon_client) == ["Likes tea."]
