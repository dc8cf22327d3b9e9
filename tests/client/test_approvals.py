"""Approval through the SDK of calls that the backend would run: only consent decides."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon import (
    ActionRequired,
    AsyncClient,
    Client,
    Consent,
    ConsentAnswer,
    ConsentRequest,
    McpServer,
    Rules,
    TextDelta,
    ToolOutputAdded,
)
from antiphon.settings.settings import Settings

pytest.importorskip("mcp")

SERVER = Path(__file__).parents[1] / "support/harness/tool_server.py"
FAR = (McpServer("far"),)
TEXT = "Use far look."


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    far = {"command": sys.executable, "args": ["-I", str(SERVER), str(tmp_path / "calls")]}
    config = tmp_path / "mcp.json"
    config.write_text(json.dumps({"mcpServers": {"far": {**far, "backend": True}}}))
    return Settings(
        model="demo", demo_delay=0, database="memory:", backend_mcp="configured", config=str(config)
    )


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], int]:
    """Return the number of calls that the server received."""
    log = tmp_path / "calls"
    return lambda: len(log.read_text().splitlines()) if log.exists() else 0


def consent_with_answers(*answers: ConsentAnswer) -> tuple[Consent, list[ConsentRequest]]:
    requests: list[ConsentRequest] = []

    async def ask(question: ConsentRequest) -> ConsentAnswer:
        requests.append(question)
        return answers[len(requests) - 1]

    return Consent(asker=ask), requests


async def converse_once(settings: Settings, consent: Consent | None) -> list[Any]:
    async with asyncio.timeout(30), AsyncClient(settings=settings) as client:
        return [e async for e in client.converse(TEXT, consent=consent, mcp_servers=FAR)]


def find_output(events: list[Any]) -> ToolOutputAdded:
    (addition,) = [event for event in events if isinstance(event, ToolOutputAdded)]
    return addition


async def test_a_person_sees_whose_tool_it_is_and_a_yes_lets_the_backend_run_it(
    settings: Settings, calls: Callable[[], int]
) -> None:
    consent, requests = consent_with_answers(ConsentAnswer(allowed=True))
    events = await converse_once(settings, consent)

    (question,) = requests
    assert (question.tool.server, question.tool.own_name) == ("far", "look")
    assert question.call.name == "far__look"
    assert find_output(events).output == "look saw 16:35"
    assert "16:35" in "".join(event.text for event in events if isinstance(event, TextDelta))
    assert calls() == 1


async def test_a_no_and_its_word_reach_the_model_and_nothing_runs(
    settings: Settings, calls: Callable[[], int]
) -> None:
    consent, _ = consent_with_answers(ConsentAnswer(word="Ask me tomorrow."))
    events = await converse_once(settings, consent)

    assert find_output(events).is_error
    assert "Ask me tomorrow." in find_output(events).output
    assert calls() == 0


async def test_other_arguments_are_a_no_that_says_them(
    settings: Settings, calls: Callable[[], int]
) -> None:
    consent, _ = consent_with_answers(ConsentAnswer(allowed=True, arguments='{"x":2}'))
    events = await converse_once(settings, consent)

    assert '{"x":2}' in find_output(events).output
    assert calls() == 0


async def test_where_nobody_can_be_asked_the_call_is_refused(
    settings: Settings, calls: Callable[[], int]
) -> None:
    events = await converse_once(settings, None)

    assert "nobody to be asked" in find_output(events).output
    assert calls() == 0


async def test_a_rule_approves_without_a_question(
    settings: Settings, calls: Callable[[], int]
) -> None:
    events = await converse_once(settings, Consent(Rules(allow=("far__*",))))

    assert find_output(events).output == "look saw 16:35"
    assert calls() == 1


async def test_what_was_allowed_for_good_holds_for_this_tool_and_no_namesake_elsewhere(
    settings: Settings, tmp_path: Path
) -> None:
    consent, requests = consent_with_answers(*[ConsentAnswer(allowed=True, keep="always")] * 2)
    await converse_once(settings, consent)
    await converse_once(settings, consent)
    assert len(requests) == 1

    config = Path(settings.config or "")
    config.write_text(config.read_text().replace(str(tmp_path / "calls"), str(tmp_path / "other")))
    await converse_once(settings, consent)

    assert len(requests) == 2


@pytest.mark.parametrize(("consent", "times"), [(None, 0), (Consent(Rules(allow=("*",))), 1)])
def test_polling_answers_approvals_by_consent_and_never_by_its_handler(
    settings: Settings, calls: Callable[[], int], consent: Consent | None, times: int
) -> None:
    def handler(name: str, arguments: dict[str, Any]) -> str:
        raise AssertionError(name)

    with Client(settings=settings) as client:
        thread = client.create_thread()
        client.create_message(thread.id, TEXT)
        run = client.create_run(thread.id, mcp_servers=FAR)
        first = list(client.completions(run.id))
        assert any(isinstance(event, ActionRequired) for event in first)
        (action,) = client.poll_and_execute_action(run.id, handler, consent=consent)
        assert action.approval == ("given" if times else "refused")
        list(client.completions(run.id))

        assert client.get_run(run.id).status == "completed"
        assert calls() == times
