"""Ratings of replies: how they are counted, and which part of them is in the trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from antiphon.api.operations import DeleteFeedback, SetFeedback
from antiphon.engine.snapshot import ReadSet
from antiphon.runtime.services.feedback import FeedbackService
from antiphon.stores.memory.store import MemoryStore
from antiphon.telemetry.metrics import FEEDBACK, Metrics
from antiphon.telemetry.tracing import NO_TRACES
from antiphon.types.accounts import Principal
from antiphon.types.messages import Message
from tests.support.stores.steps import a_message, a_run, add_thread, begin, say
from tests.support.telemetry.recording_tracer import RecordingTracer

ANN = Principal(owner="ann")


async def rate(service: FeedbackService, *calls: SetFeedback | DeleteFeedback) -> Iterator[Any]:
    return iter([await service.handlers[type(call)](call, ANN, None) for call in calls])


async def store_reply() -> tuple[MemoryStore, Message]:
    store = MemoryStore()
    read_set = ReadSet(owner="ann", thread_id="thread_1")
    await add_thread(store)
    await store.change(read_set, begin(a_run()))
    reply = a_message(9, "reply", role="assistant", run_id="run_1")
    await store.change(read_set, say(reply))
    return store, reply


@pytest.mark.parametrize("content", [False, True])
async def test_a_rating_is_in_the_trace_its_comment_only_where_text_may_be(content: bool) -> None:
    store, reply = await store_reply()
    tracer, metrics = RecordingTracer(content=content), Metrics()
    service = FeedbackService(store, metrics, tracer)

    await rate(service, SetFeedback(reply.id, "down", "Too short."))

    ((name, _, facts),) = tracer.spans
    assert name == "gen_ai.evaluation.result"
    assert facts["gen_ai.evaluation.name"] == "user_feedback"
    assert facts["gen_ai.evaluation.score.label"] == "down"
    assert facts["gen_ai.evaluation.score.value"] == -1
    assert facts["antiphon.run.id"] == "run_1"
    assert facts.get("gen_ai.evaluation.explanation") == ("Too short." if content else None)


async def test_a_rating_that_is_repeated_counts_once() -> None:
    store, reply = await store_reply()
    metrics = Metrics()
    service = FeedbackService(store, metrics, NO_TRACES)

    first, repeated, _, other = await rate(
        service,
        SetFeedback(reply.id, "up"),
        SetFeedback(reply.id, "up"),
        DeleteFeedback(reply.id),
        SetFeedback(reply.id, "down"),
    )

    assert first == repeated
    assert other.feedback.rating == "down"
    assert metrics.snapshot().series[FEEDBACK.name] == {
        'rating="up"': [1],
        'rating="down"': [1],
    }
