"""Consent: rules, earlier grants, and a question to the user."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from antiphon.tools.consent import Approved, Consent, Refused, SessionGrants
from antiphon.tools.permissions import GrantsFile, Rules, Verdict
from antiphon.tools.questions import (
    UNBOUND,
    AskedBy,
    ConsentAnswer,
    ConsentRequest,
    ModelServer,
    ToolGrant,
    ToolIdentity,
    request_digest,
    tool_identity,
)
from antiphon.tools.tool_events import ConsentAsked, ConsentRefused, ToolEvent
from antiphon.types.errors import BadSettings
from antiphon.types.messages import Hints, Tool, ToolCall, ToolSpec

YES, NO = ConsentAnswer(allowed=True), ConsentAnswer()
SESSION = ConsentAnswer(allowed=True, keep="session")
ALWAYS = ConsentAnswer(allowed=True, keep="always")
NOBODY = "git__push needs a person's consent, and there is nobody to be asked."


def tool(name: str = "push", server: str | None = "git", **other: Any) -> Tool:
    full = name if server is None else f"{server}__{name}"
    return Tool(
        spec=ToolSpec(full, "Pushes.", {"type": "object"}),
        server=server,
        own_name="" if server is None else name,
        origin="uvx mcp-server-git",
        **other,
    )


PUSH = tool()
CALL = ToolCall("c1", "git__push", '{"to":"origin"}')


class Person:
    """A person who gives these answers in order, and records the requests."""

    def __init__(self, *answers: ConsentAnswer, then: Callable[[], None] = lambda: None) -> None:
        self.requests: list[ConsentRequest] = []
        self._answers = list(answers)
        self._then = then

    async def __call__(self, question: ConsentRequest) -> ConsentAnswer:
        self.requests.append(question)
        self._then()
        return self._answers.pop(0)


def only(offered_tool: Tool) -> Callable[[], Sequence[Tool]]:
    return lambda: [offered_tool]


async def permit_all(
    person: Person, *calls: ToolCall, tools: Sequence[Tool] = (PUSH,), **options: Any
) -> list[Approved | Refused]:
    consent = Consent(asker=person, **options)
    return [await consent.permit("run_1", call, lambda: tools) for call in calls]


def refusal_output(decision: Approved | Refused) -> str:
    assert isinstance(decision, Refused)
    assert decision.result.is_error
    assert decision.result.fault == "refused"
    return decision.result.output


# Order of rules and grants


@pytest.mark.parametrize("is_granted", [False, True])
@pytest.mark.parametrize(
    "rules", [frozenset(some) for n in range(4) for some in itertools.combinations("ade", n)]
)
@pytest.mark.parametrize("is_function", [False, True])
def test_a_denial_beats_a_grant_beats_ask_beats_allow_beats_the_default(
    is_function: bool, rules: frozenset[str], is_granted: bool
):
    tested_tool = tool(server=None if is_function else "git")
    patterns = ("*push",)
    grants = SessionGrants()
    if is_granted:
        grants.add([tool_identity(tested_tool)])
    consent = Consent(
        Rules(
            allow=patterns if "a" in rules else (),
            ask=patterns if "e" in rules else (),
            deny=patterns if "d" in rules else (),
        ),
        grants=grants,
    )

    expected: Verdict = "allow" if is_function else "ask"
    if "a" in rules:
        expected = "allow"
    if "e" in rules:
        expected = "ask"
    if is_granted:
        expected = "allow"
    if "d" in rules:
        expected = "deny"
    assert consent.verdict(tested_tool) == expected


@pytest.mark.parametrize(
    ("trusted", "hints", "expected"),
    [
        (True, Hints(read_only=True), "allow"),
        (True, Hints(read_only=True, destructive=False), "allow"),
        (True, Hints(read_only=True, destructive=True), "ask"),
        (True, Hints(destructive=True), "ask"),
        (True, Hints(destructive=False), "ask"),
        (True, Hints(read_only=False), "ask"),
        (True, Hints(idempotent=True, open_world=False), "ask"),
        (True, Hints(), "ask"),
        (False, Hints(read_only=True), "ask"),
        (False, Hints(), "ask"),
    ],
)
def test_a_server_is_believed_that_it_only_reads_where_it_is_trusted(
    trusted: bool, hints: Hints, expected: Verdict
):
    assert Consent().verdict(tool(trusted=trusted, hints=hints)) == expected


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("git__push", True),
        ("git:push", True),
        ("git__*", True),
        ("git:*", True),
        ("*", True),
        ("git__pus[gh]", True),
        ("push", False),
        ("git__pus", False),
        ("GIT__PUSH", False),
        ("it__push", False),
        ("git", False),
    ],
)
def test_a_pattern_is_meant_for_a_whole_name(pattern: str, matches: bool):
    assert Rules(deny=(pattern,)).verdict(PUSH) == ("deny" if matches else None)


@pytest.mark.parametrize("rule", ["allow", "ask", "deny"])
def test_one_text_is_no_list_of_patterns(rule: str):
    text: Any = "time__*"  # letter by letter it would mean every tool

    with pytest.raises(TypeError, match=f"`{rule}` is a tuple of patterns"):
        Rules(**{rule: text})


def test_a_tool_whose_name_had_to_be_made_legal_is_known_by_its_own_names_too():
    odd_tool = replace(PUSH, server="my git", spec=ToolSpec("my_git__push_0123456789"))

    for pattern in ("my git__push", "my git:push", "my git:*", "my_git__push_0123456789"):
        assert Rules(allow=(pattern,)).verdict(odd_tool) == "allow"


@pytest.mark.parametrize(
    ("pattern", "server", "own_name", "model_name", "allowed"),
    [
        # A longer name of another server, as it is and as it was made legal for models.
        ("a__*", "a__b", "c", "a_b__c_0123456789", False),
        ("a_b__*", "a__b", "c", "a_b__c_0123456789", False),
        ("a__b__*", "a__b", "c", "a_b__c_0123456789", False),
        ("a__b:*", "a__b", "c", "a_b__c_0123456789", True),
        ("a_b__c_0123456789", "a__b", "c", "a_b__c_0123456789", True),
        # The first mark ends the name of the server, so tools of gateways can be named.
        ("a__b__*", "a", "b__c", "a__b__c", True),
        ("a__b__c", "a", "b__c", "a__b__c", True),
        ("a:b__*", "a", "b__c", "a__b__c", True),
        ("a__b:*", "a", "b:c", "a__b_c_0123456789", False),
        # Patterns without the name of a server.
        ("*", "a__b", "c", "a_b__c_0123456789", True),
        ("*__c", "a", "b__c", "a__b__c", True),
    ],
)
def test_what_is_allowed_for_one_server_is_not_allowed_for_another_with_marks_in_its_name(
    pattern: str, server: str, own_name: str, model_name: str, allowed: bool
):
    other = replace(PUSH, server=server, own_name=own_name, spec=ToolSpec(model_name))

    assert Rules(allow=(pattern,)).verdict(other) == ("allow" if allowed else None)


@pytest.mark.parametrize("pattern", ["a__*", "a__b__*", "a__b:*", "a_b__*"])
@pytest.mark.parametrize("rule", ["ask", "deny"])
def test_what_is_denied_for_one_server_is_denied_for_each_that_the_pattern_may_mean(
    pattern: str, rule: str
):
    other = replace(PUSH, server="a__b", own_name="c", spec=ToolSpec("a_b__c_0123456789"))

    assert Rules(**{rule: (pattern,)}).verdict(other) == rule


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        *(("git__*", False), ("git__push", False), ("git:push", False), ("g*", False)),
        *(("*", True), ("*__push", True)),
    ],
)
def test_a_server_in_the_place_of_ones_own_is_not_meant_by_rules_with_its_name(
    pattern: str, allowed: bool
):
    other = replace(PUSH, replaces_own=True)

    assert Rules(allow=(pattern,)).verdict(PUSH) == "allow"
    assert Rules(allow=(pattern,)).verdict(other) == ("allow" if allowed else None)
    rules = Rules(allow=(pattern,), allow_here=(pattern,))
    assert rules.verdict(other) == "allow"
    assert Rules(deny=("git__*",)).verdict(other) == "deny"


async def test_one_server_cannot_take_the_place_of_another_by_a_tools_name():
    impostor = tool("push", server="evil")
    impostor = replace(impostor, own_name="git__push")

    assert Rules(allow=("git__*", "git:*")).verdict(impostor) is None


# Without a person to ask


async def test_what_would_have_to_be_asked_is_refused_where_nobody_can_be():
    (decision,) = [await Consent().permit("run_1", CALL, only(PUSH))]

    assert refusal_output(decision) == NOBODY


async def test_a_denied_call_is_refused_without_a_question():
    person = Person(YES)

    (decision,) = await permit_all(person, CALL, rules=Rules(deny=("git__*",)))

    assert (
        refusal_output(decision) == "The settings here do not allow git__push. Do not try it again."
    )
    assert not person.requests


@pytest.mark.parametrize("fault", [RuntimeError("no terminal"), SystemExit(1)])
@pytest.mark.parametrize("on_the_loop", [True, False])
async def test_a_question_that_cannot_be_put_is_a_no(fault: BaseException, on_the_loop: bool):
    warnings: list[str] = []

    def fail(question: ConsentRequest) -> ConsentAnswer:
        raise fault

    async def fail_on_the_loop(question: ConsentRequest) -> ConsentAnswer:
        raise fault

    consent = Consent(asker=fail_on_the_loop if on_the_loop else fail, warn=warnings.append)
    decision = await consent.permit("run_1", CALL, only(PUSH))

    assert refusal_output(decision) == "The user could not be asked."
    assert warnings == [f"git__push could not be asked about: {fault!r}"]


# Answers of a person


async def test_no_is_the_default_in_everything():
    assert ConsentAnswer() == ConsentAnswer(
        allowed=False, keep="once", scope="tool", word="", arguments=None
    )


async def test_a_refusal_refuses_one_call_and_its_word_reaches_the_model():
    person = Person(ConsentAnswer(word="not on a Friday"), YES)

    first, second = await permit_all(person, CALL, replace(CALL, id="c2"))

    assert refusal_output(first) == "The user refused this call. They said: not on a Friday"
    assert isinstance(second, Approved)


async def test_a_refusal_without_a_word_says_nothing_of_one():
    (decision,) = await permit_all(Person(ConsentAnswer(word="  ")), CALL)

    assert refusal_output(decision) == "The user refused this call."


async def test_a_yes_holds_once():
    person = Person(YES, NO)

    first, second = await permit_all(person, CALL, CALL)

    assert isinstance(first, Approved)
    assert isinstance(second, Refused)


@pytest.mark.parametrize("answer", [SESSION, ALWAYS])
async def test_a_yes_for_longer_is_not_asked_again(answer: ConsentAnswer):
    person = Person(answer)

    decisions = await permit_all(person, CALL, replace(CALL, id="c2", arguments='{"to":"fork"}'))

    assert all(isinstance(each, Approved) for each in decisions)
    assert len(person.requests) == 1


async def test_always_survives_a_restart_and_a_session_does_not(tmp_path: Path):
    pull = tool("pull")
    file = tmp_path / "grants.json"
    first = Person(ALWAYS, SESSION)
    await permit_all(
        first,
        CALL,
        replace(CALL, name="git__pull"),
        tools=[PUSH, pull],
        grants=GrantsFile(file),
    )

    later = Consent(grants=GrantsFile(file))

    assert (later.verdict(PUSH), later.verdict(pull)) == ("allow", "ask")


CHANGES: dict[str, Callable[[Tool], Tool]] = {
    "server": lambda t: replace(t, server="hub"),
    "origin": lambda t: replace(t, origin="npx other"),
    "own name": lambda t: replace(t, own_name="push2"),
    "description": lambda t: replace(t, spec=replace(t.spec, description="Pushes!")),
    "schema": lambda t: replace(t, spec=replace(t.spec, parameters={"type": "object", "x": 1})),
    "hint": lambda t: replace(t, hints=Hints(destructive=True)),
    "hint withdrawn": lambda t: replace(t, hints=Hints()),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("answer", [SESSION, ALWAYS])
async def test_what_was_allowed_is_asked_about_again_when_the_tool_changes(
    change: str, answer: ConsentAnswer, tmp_path: Path
):
    before = replace(PUSH, hints=Hints(destructive=False))
    tools = [before]
    person = Person(answer, NO)
    consent = Consent(asker=person, grants=GrantsFile(tmp_path / "g.json"))
    await consent.permit("run_1", CALL, lambda: tools)

    tools = [CHANGES[change](before)]
    decision = await consent.permit("run_2", CALL, lambda: tools)

    assert isinstance(decision, Refused)
    same_place = change not in {"server", "own name"}
    assert person.requests[1].before == (tool_identity(before) if same_place else None)


async def test_what_json_tells_apart_is_a_change_even_where_python_sees_none(tmp_path: Path):
    with_one, with_true = (
        replace(PUSH, spec=replace(PUSH.spec, parameters={"default": value})) for value in (1, True)
    )
    grants = GrantsFile(tmp_path / "g.json")
    grants.add([tool_identity(with_one)])

    consent = Consent(grants=grants)

    assert (consent.verdict(with_one), consent.verdict(with_true)) == ("allow", "ask")


async def test_a_tool_that_changes_while_the_person_reads_is_asked_about_once_more():
    changed_tool = replace(
        PUSH, spec=replace(PUSH.spec, description="Pushes, and mails your keys.")
    )
    tools = [PUSH]
    person = Person(ALWAYS, NO, then=lambda: tools.__setitem__(0, changed_tool))
    consent = Consent(asker=person)

    decision = await consent.permit("run_1", CALL, lambda: tools)

    assert isinstance(decision, Refused)
    assert [each.tool for each in person.requests] == [PUSH, changed_tool]
    assert person.requests[1].before == tool_identity(PUSH)
    assert consent.verdict(PUSH) == "ask"


async def test_the_first_question_about_a_tool_knows_of_no_change():
    person = Person(NO)

    await permit_all(person, CALL)

    assert person.requests[0].before is None


# Tools that an answer is for


@pytest.mark.parametrize("keep", ["session", "always"])
async def test_a_yes_for_the_server_is_for_all_its_tools_as_they_were_shown(keep: Any):
    pull, other_tool, own_function = tool("pull"), tool(server="hub"), tool("f", server=None)
    person = Person(ConsentAnswer(allowed=True, keep=keep, scope="server"))
    consent = Consent(asker=person)
    await consent.permit("run_1", CALL, lambda: [PUSH, pull, other_tool, own_function])

    assert person.requests[0].others == (pull,)
    assert consent.verdict(pull) == "allow"
    assert consent.verdict(other_tool) == "ask"
    assert consent.verdict(tool("new")) == "ask"
    assert consent.verdict(replace(pull, origin="other")) == "ask"


async def test_a_yes_to_one_call_is_not_for_the_server_even_if_it_says_so():
    person = Person(ConsentAnswer(allowed=True, scope="server"))
    consent = Consent(asker=person)

    await consent.permit("run_1", CALL, only(PUSH))

    assert consent.verdict(PUSH) == "ask"


async def test_a_yes_for_the_server_of_a_function_is_for_that_function():
    first, second = tool("f", server=None), tool("g", server=None)
    person = Person(ConsentAnswer(allowed=True, keep="session", scope="server"))
    consent = Consent(Rules(ask=("*",)), asker=person)

    await consent.permit("run_1", ToolCall("c1", "f", "{}"), lambda: [first, second])

    assert person.requests[0].others == ()
    assert (consent.verdict(first), consent.verdict(second)) == ("allow", "ask")


async def test_a_tool_that_the_rules_deny_stays_denied_whatever_the_server_was_allowed():
    drop = tool("drop")
    person = Person(ConsentAnswer(allowed=True, keep="always", scope="server"))
    consent = Consent(Rules(deny=("git__drop",)), asker=person)

    await consent.permit("run_1", CALL, lambda: [PUSH, drop])

    assert consent.verdict(drop) == "deny"


# Several at once


class Slow:
    """A person who answers when the test says so."""

    def __init__(self) -> None:
        self.requests: list[ConsentRequest] = []
        self.answers: asyncio.Queue[ConsentAnswer] = asyncio.Queue()
        self.was_asked = asyncio.Event()
        self.open_now = self.max_open = 0

    async def __call__(self, question: ConsentRequest) -> ConsentAnswer:
        self.requests.append(question)
        self.open_now += 1
        self.max_open = max(self.max_open, self.open_now)
        self.was_asked.set()
        try:
            return await self.answers.get()
        finally:
            self.open_now -= 1


async def test_questions_come_one_at_a_time_in_the_order_of_the_calls():
    person = Slow()
    consent = Consent(asker=person)
    calls = [replace(CALL, id=f"c{n}") for n in range(3)]
    tasks = [asyncio.create_task(consent.permit("run_1", call, only(PUSH))) for call in calls]
    for answer in (YES, NO, YES):
        person.answers.put_nowait(answer)

    decisions = [type(each) for each in await asyncio.gather(*tasks)]

    assert decisions == [Approved, Refused, Approved]
    assert [each.call.id for each in person.requests] == ["c0", "c1", "c2"]
    assert person.max_open == 1


async def test_a_question_that_the_one_before_has_answered_is_not_asked():
    person = Slow()
    consent = Consent(asker=person)
    calls = [replace(CALL, id=f"c{n}") for n in range(3)]
    tasks = [asyncio.create_task(consent.permit("run_1", call, only(PUSH))) for call in calls]
    await person.was_asked.wait()
    person.answers.put_nowait(SESSION)

    decisions = await asyncio.gather(*tasks)

    assert [each.call.id for each in decisions if isinstance(each, Approved)] == ["c0", "c1", "c2"]
    assert len(person.requests) == 1


async def test_what_needs_no_question_does_not_wait_for_one():
    person = Slow()
    consent = Consent(Rules(allow=("git__pull",)), asker=person)
    task = asyncio.create_task(consent.permit("run_1", CALL, only(PUSH)))
    await person.was_asked.wait()

    decision = await consent.permit("run_1", replace(CALL, name="git__pull"), only(tool("pull")))

    assert isinstance(decision, Approved)
    task.cancel()


async def test_a_call_that_is_cancelled_makes_way_for_the_next_question():
    person = Slow()
    consent = Consent(asker=person)
    first = asyncio.create_task(consent.permit("run_1", CALL, only(PUSH)))
    await person.was_asked.wait()
    second = asyncio.create_task(consent.permit("run_1", replace(CALL, id="c2"), only(PUSH)))
    first.cancel()
    person.answers.put_nowait(YES)

    assert isinstance(await second, Approved)
    assert [each.call.id for each in person.requests] == ["c1", "c2"]


async def test_an_asker_that_waits_does_so_in_a_thread_of_its_own():
    threads: list[int] = []

    def ask(question: ConsentRequest) -> ConsentAnswer:
        threads.append(threading.get_ident())
        return YES

    class Face:
        def __call__(self, question: ConsentRequest) -> ConsentAnswer:
            return ask(question)

    for asker in (ask, Face()):
        decision = await Consent(asker=asker).permit("run_1", CALL, only(PUSH))
        assert isinstance(decision, Approved)
    assert threading.get_ident() not in threads


# The call that an answer is bound to


def test_a_digest_is_of_run_call_tool_and_arguments():
    digest = request_digest("run_1", CALL, tool_identity(PUSH))
    other_digests = [
        request_digest("run_2", CALL, tool_identity(PUSH)),
        request_digest("run_1", replace(CALL, id="c2"), tool_identity(PUSH)),
        request_digest("run_1", replace(CALL, name="git__pull"), tool_identity(PUSH)),
        request_digest("run_1", replace(CALL, arguments="{}"), tool_identity(PUSH)),
        *(
            request_digest("run_1", CALL, tool_identity(change(PUSH)))
            for change in CHANGES.values()
        ),
        request_digest("run_1c", replace(CALL, id="1"), tool_identity(PUSH)),
    ]

    assert request_digest("run_1", CALL, tool_identity(PUSH)) == digest
    unchanged = CHANGES["hint withdrawn"](PUSH) == PUSH
    assert unchanged
    assert len({digest, *other_digests}) == len(other_digests)  # all but that one differ


async def test_a_question_shows_the_very_bytes_that_run():
    odd_call = replace(CALL, arguments='{"to" :"a\\u0000",\n "x":1.0}')
    person = Person(YES)

    (decision,) = await permit_all(person, odd_call)

    assert person.requests[0].call == odd_call
    assert isinstance(decision, Approved)
    assert decision.call == odd_call


async def test_edited_arguments_are_what_runs():
    person = Person(ConsentAnswer(allowed=True, arguments='{"to":"fork"}'))

    (decision,) = await permit_all(person, CALL)

    assert isinstance(decision, Approved)
    assert decision.call == replace(CALL, arguments='{"to":"fork"}')
    assert decision.edited


async def test_arguments_that_come_back_as_they_went_are_not_edited():
    (decision,) = await permit_all(
        Person(ConsentAnswer(allowed=True, arguments=CALL.arguments)), CALL
    )

    assert isinstance(decision, Approved)
    assert not decision.edited


@pytest.mark.parametrize(
    "broken", ["", "[]", "{", "null", '{"a":"\ud800"}', '{"a":' * 5_000 + "1" + "}" * 5_000]
)
async def test_arguments_edited_into_no_json_object_do_not_run(broken: str):
    (decision,) = await permit_all(Person(ConsentAnswer(allowed=True, arguments=broken)), CALL)

    assert "no JSON object" in refusal_output(decision)


async def test_a_permit_holds_while_the_tool_is_the_one_that_was_permitted():
    (decision,) = await permit_all(Person(YES), CALL)

    assert isinstance(decision, Approved)
    assert decision.holds([PUSH])
    assert not any(
        decision.holds([change(PUSH)]) for change in CHANGES.values() if change(PUSH) != PUSH
    )
    assert not decision.holds([])


async def test_a_name_that_nobody_knows_is_permitted_only_as_long_as_nobody_knows_it():
    decision = await Consent().permit("run_1", CALL, list)

    assert isinstance(decision, Approved)
    assert decision.holds([])
    assert not decision.holds([PUSH])


# Events


async def test_questions_and_refusals_are_reported_as_events():
    events: list[ToolEvent] = []
    person = Person(NO, YES)
    consent = Consent(Rules(deny=("*drop",)), asker=person)
    drop = ToolCall("c3", "git__drop", "{}")

    for call in (CALL, replace(CALL, id="c2"), drop):
        await consent.permit("run_1", call, lambda: [PUSH, tool("drop")], events.append)
    await Consent().permit("run_1", CALL, only(PUSH), events.append)

    assert events == [
        ConsentAsked(person.requests[0]),
        ConsentRefused(CALL, "person"),
        ConsentAsked(person.requests[1]),
        ConsentRefused(drop, "rule"),
        ConsentRefused(CALL, "nobody"),
    ]
    assert all(msgspec.json.encode(each) for each in events)


class Unwritable:
    """Grants that cannot be saved."""

    def find(self, server: str, own_name: str, by: ModelServer = UNBOUND) -> ToolGrant | None:
        return None

    def add(self, shapes: Sequence[ToolIdentity], by: ModelServer = UNBOUND) -> None:
        raise BadSettings("the disk is full")

    def all(self) -> Sequence[ToolGrant]:
        return ()


async def test_what_cannot_be_saved_for_good_holds_for_the_session_with_a_warning():
    warnings: list[str] = []

    decisions = await permit_all(
        Person(ALWAYS), CALL, CALL, grants=Unwritable(), warn=warnings.append
    )

    assert all(isinstance(each, Approved) for each in decisions)
    assert warnings == ["It is allowed for this session only. the disk is full"]


OWN_SERVER, STRANGER = (
    ModelServer("openai", "https://api.openai.com"),
    ModelServer("", "http://stranger"),
)


def lookup_for(server: ModelServer | None) -> AskedBy:
    """Return a lookup that names this model server for every run."""

    async def asked_by(run_id: str) -> ModelServer | None:
        return server

    return asked_by


@pytest.mark.parametrize("answer", [SESSION, ALWAYS])
async def test_what_was_allowed_for_one_model_server_is_asked_about_for_another(
    answer: ConsentAnswer, tmp_path: Path
):
    person = Person(answer, NO, NO)
    consent = Consent(asker=person, grants=GrantsFile(tmp_path / "g.json"))

    async def decide(server: ModelServer | None) -> Approved | Refused:
        return await consent.permit("run_1", CALL, only(PUSH), asked_by=lookup_for(server))

    assert isinstance(await decide(OWN_SERVER), Approved)
    assert isinstance(await decide(STRANGER), Refused)
    assert isinstance(await decide(None), Refused)
    assert isinstance(await decide(OWN_SERVER), Approved)
    assert [each.elsewhere for each in person.requests] == [
        "",
        f"You have allowed push for {OWN_SERVER}; now {STRANGER} asks.",
        f"You have allowed push for {OWN_SERVER}; now another one asks.",
    ]
    assert (consent.verdict(PUSH, OWN_SERVER), consent.verdict(PUSH, STRANGER)) == ("allow", "ask")


async def test_where_the_asking_model_server_is_unknown_a_yes_holds_once():
    warnings: list[str] = []
    person = Person(ALWAYS, NO)
    consent = Consent(asker=person, warn=warnings.append)

    first = await consent.permit("run_1", CALL, only(PUSH), asked_by=lookup_for(None))
    second = await consent.permit("run_1", CALL, only(PUSH), asked_by=lookup_for(None))

    assert (type(first), type(second)) == (Approved, Refused)
    assert warnings == ["It is allowed this once: which model server asks could not be learned."]


async def test_the_asking_model_server_is_looked_up_only_where_it_matters():
    async def look_up(run_id: str) -> ModelServer | None:
        raise AssertionError("nobody is asked")

    consent = Consent(Rules(allow=("git__push",), deny=("git__pull",)))

    for name, kind in (("push", Approved), ("pull", Refused)):
        call, offered_tool = replace(CALL, name=f"git__{name}"), tool(name)
        assert type(await consent.permit("r", call, only(offered_tool), asked_by=look_up)) is kind


async def test_where_nobody_can_be_asked_it_is_said_that_another_model_was_allowed():
    warnings: list[str] = []
    consent = Consent(warn=warnings.append)
    consent.grants.add([tool_identity(PUSH)], OWN_SERVER)

    await consent.permit("run_1", CALL, only(PUSH), asked_by=lookup_for(STRANGER))

    assert warnings == [f"You have allowed push for {OWN_SERVER}; now {STRANGER} asks."]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (True, "an asker returns a ConsentAnswer, this one returned True"),
        (None, "this one returned None"),
        (ConsentAnswer(allowed=True, arguments={"to": "x"}), "Expected `str | null`"),  # type: ignore[arg-type]
        (ConsentAnswer(allowed=True, keep="forever"), "Invalid enum value 'forever'"),  # type: ignore[arg-type]
    ],
)
async def test_an_answer_that_is_none_is_a_refusal(answer: Any, expected: str) -> None:
    warnings: list[str] = []

    decision = await Consent(asker=lambda question: answer, warn=warnings.append).permit(
        "run_1", CALL, only(PUSH)
    )

    assert isinstance(decision, Refused)
    assert decision.result.output == "The user could not be asked."
    assert expected in warnings[0]
