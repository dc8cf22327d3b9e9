"""One trace through all that takes part in an answer, wherever it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest

from tests.support.prometheus_text import value
from tests.support.providers.upstream import Upstream
from tests.support.services.collector import Collector, ReceivedSpan
from tests.support.system.programs_traced import environ, script, serving

MESSAGE = {"content": "When does the next LAX-JFK flight leave?"}


def _span_names(spans: Sequence[ReceivedSpan], *services: str) -> list[str]:
    return sorted(span.name for span in spans if span.service in services)


def _count(spans: Sequence[ReceivedSpan], name: str) -> int:
    return sum(span.name == name for span in spans)


def _find_only_root(spans: Sequence[ReceivedSpan]) -> ReceivedSpan:
    """Return the root: all others hang below it, and nothing is missing between."""
    ids = {span.id for span in spans}
    roots = [span for span in spans if span.parent not in ids]
    assert len(roots) == 1, [(span.name, span.parent) for span in roots]
    assert {span.trace for span in spans} == {roots[0].trace}
    return roots[0]


async def test_a_script_its_server_the_model_and_the_tool_are_one_trace(tmp_path: Path) -> None:
    with Collector() as collector:
        env = environ(tmp_path, **collector.environ)
        async with serving(tmp_path, "serve", environ=env) as server:
            events = await script(tmp_path, server.address, environ=env)
        spans = collector.wait_for(lambda spans: _count(spans, "POST /v1/process") > 3)

    assert events.splitlines()[-1] == "turn.ended"
    root = _find_only_root(spans)
    assert (root.service, root.name, root.parent) == ("antiphon-client", "invoke_agent", "")
    requests = ["POST /v1/process", "POST /v1/process", "POST /v1/submit_tool_output"]
    tool = "execute_tool get_flight_times"
    assert _span_names(spans, "antiphon-client") == [*requests, tool, "invoke_agent"]
    turns = ["chat demo", "chat demo", "invoke_agent", "invoke_agent"]
    assert _span_names(spans, "antiphon") == [*requests, *turns]
    _check_usage_without_content(spans)


def _check_usage_without_content(spans: Sequence[ReceivedSpan]) -> None:
    chat = next(span for span in spans if span.name == "chat demo")
    assert chat.facts["gen_ai.operation.name"] == "chat"
    assert chat.facts["gen_ai.provider.name"] == "demo"
    assert chat.facts["gen_ai.usage.output_tokens"] > 0
    assert chat.facts["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert chat.facts["gen_ai.response.time_to_first_chunk"] >= 0
    assert chat.kind == 3
    assert "LAX" not in str(spans)
    assert "08:00" not in str(spans)


async def test_a_browser_the_web_chat_and_its_backend_are_one_trace(tmp_path: Path) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    with Collector() as collector:
        env = environ(tmp_path, **collector.environ)
        web_env = {**env, "OTEL_SERVICE_NAME": "web"}
        async with (
            serving(tmp_path, "serve", environ=env) as server,
            serving(tmp_path, "web", "--server", server.address, environ=web_env) as web,
            httpx2.AsyncClient(base_url=web.address, timeout=60) as browser,
        ):
            headers = {"Origin": web.address, "traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
            await browser.get("/")
            answer = await browser.post(
                "/api/messages/process?sdk=5", json=MESSAGE, headers=headers
            )
            assert answer.status_code == 200, answer.text
        spans = collector.wait_for(lambda spans: _count(spans, "chat demo") > 1)

    trace_spans = [span for span in spans if span.trace == trace_id]
    root = next(span for span in trace_spans if span.parent == "b7ad6b7169203331")
    assert (root.service, root.name) == ("web", "POST /api/messages/process")
    names = _span_names(trace_spans, "web")
    assert {"invoke_agent", "execute_tool get_flight_times"} < set(names), names
    assert _span_names(trace_spans, "antiphon").count("chat demo") == 2
    ids = {span.id for span in trace_spans}
    assert [span.name for span in trace_spans if span.parent not in ids] == [root.name]


async def test_what_was_written_is_told_where_the_operator_wants_it(tmp_path: Path) -> None:
    with Collector() as collector:
        env = environ(tmp_path, **collector.environ, ANTIPHON_LOG_CONTENT="true")
        async with serving(tmp_path, "serve", environ=env) as server:
            await script(tmp_path, server.address, environ=env)
        spans = collector.wait_for(
            lambda spans: (
                _count(spans, "chat demo") > 1
                and any(each.name.startswith("execute_tool") for each in spans)
            )
        )

    input_messages = [
        span.facts["gen_ai.input.messages"] for span in spans if span.name == "chat demo"
    ]
    tool = next(span for span in spans if span.name.startswith("execute_tool"))
    assert (
        '"parts":[{"type":"text","content":"When does the next LAX-JFK flight leave?"}]'
        in input_messages[0]
    )
    assert '"type":"tool_call_response"' in max(input_messages, key=len)
    assert "LAX" in tool.facts["gen_ai.tool.call.arguments"]
    assert "08:00" in tool.facts["gen_ai.tool.call.result"]


async def test_a_provider_is_told_only_if_it_may_be_and_its_failure_is_seen(tmp_path: Path) -> None:
    with Collector() as collector:
        async with Upstream() as upstream:
            provider_environ = {"ANTIPHON_BASE_URL": upstream.url, "ANTIPHON_MODEL": "quirk:401"}
            host = upstream.url.split("/")[2]
            env = environ(tmp_path, **collector.environ, **provider_environ)
            propagating_env = {**env, "ANTIPHON_PROPAGATE_TRACE_TO_PROVIDERS": "true"}
            for each in (env, propagating_env):
                async with serving(tmp_path, "serve", environ=each) as server:
                    metrics = await _ask_and_fail(server.address)
        spans = collector.wait_for(lambda spans: _count(spans, "chat quirk:401") > 1)

    first, last = (request.headers for request in upstream.requests)
    chat = next(span for span in reversed(spans) if span.name == "chat quirk:401")
    assert "traceparent" not in first
    assert last["traceparent"].startswith(f"00-{chat.trace}-{chat.id}-")
    assert (chat.failed, chat.facts["error.type"]) == (True, "provider_auth")
    faults = {"provider": host, "code": "provider_auth"}
    assert value(metrics, "antiphon_provider_faults_total", **faults) == 1
    assert value(metrics, "antiphon_turns_total", outcome="failed") == 1


async def _ask_and_fail(address: str) -> str:
    """Ask a question that fails; return the metrics after it."""
    async with httpx2.AsyncClient(base_url=address, timeout=60) as client:
        answer = await client.post("/v1/process", json={"message": {"content": "hello"}})
        assert '"status":"failed"' in answer.text
        return (await client.get("/metrics")).text


@pytest.mark.parametrize("answer", [0, pytest.param(503, marks=pytest.mark.soak)])
async def test_a_collector_that_is_broken_costs_no_run_and_little_of_an_end(
    tmp_path: Path, answer: int
) -> None:
    with Collector(answer) as collector:
        env = environ(tmp_path, **collector.environ)
        async with serving(tmp_path, "serve", environ=env) as server:
            start = time.monotonic()
            events = await script(tmp_path, server.address, environ=env)
            seconds = time.monotonic() - start

    assert events.splitlines()[-1] == "turn.ended"
    assert seconds < 30


@pytest.mark.slow
async def test_without_telemetry_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    env = environ(tmp_path, PYTHONPROFILEIMPORTTIME="1")
    async with serving(tmp_path, "serve", environ=env) as server:
        pass

    assert any("antiphon.telemetry.tracing" in line for line in server.said)
    assert not [line for line in server.said if "opentelemetry" in line]
