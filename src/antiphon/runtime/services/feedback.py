"""Feedback: a person's rating of a reply, which is also exported with the trace of its run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon.api import operations
from antiphon.api.operations import Operation
from antiphon.engine.snapshot import IdempotencyKey
from antiphon.ports import RunStore
from antiphon.runtime.responses import OperationHandler
from antiphon.telemetry import genai
from antiphon.telemetry.metrics import FEEDBACK, Metrics
from antiphon.telemetry.tracing import NO_TRACES, Tracer
from antiphon.types.accounts import Principal
from antiphon.types.errors import InvalidRequest, NotFound
from antiphon.types.messages import Feedback, Message


class FeedbackService:
    """Saves and removes ratings of replies."""

    def __init__(self, store: RunStore, metrics: Metrics, tracer: Tracer) -> None:
        self._store = store
        self._metrics = metrics
        self._tracer = tracer
        self.handlers: Mapping[type[Operation[Any]], OperationHandler] = {
            operations.SetFeedback: self._set_feedback,
            operations.DeleteFeedback: lambda operation, by, _: store.save_feedback(
                by.owner, operation.message_id, None
            ),
        }

    async def _set_feedback(
        self, operation: operations.SetFeedback, by: Principal, _: IdempotencyKey | None
    ) -> Message:
        message = await self._store.get(Message, by.owner, operation.message_id)
        if message.role != "assistant":
            raise InvalidRequest(
                f"Message {message.id} cannot be rated.",
                expected="a message of role `assistant`",
                received=f"one of role `{message.role}`",
                param="message_id",
            )
        comment = operation.comment.strip()
        before = message.feedback
        if before is not None and (before.rating, before.comment) == (operation.rating, comment):
            return message
        feedback = Feedback(
            rating=operation.rating, comment=comment, created_at=await self._store.now()
        )
        rated = await self._store.save_feedback(by.owner, message.id, feedback)
        self._metrics.add(FEEDBACK, feedback.rating)
        await self._trace(rated, feedback)
        return rated

    async def _trace(self, message: Message, feedback: Feedback) -> None:
        """Add the rating to the trace of the reply's run, as a span without a duration."""
        if self._tracer is NO_TRACES:
            return
        parent = None
        if message.run_id is not None:
            try:
                parent = (await self._store.run_lease(message.run_id)).trace
            except NotFound:  # the run was deleted
                parent = None
        facts = genai.feedback_attributes(message, feedback, content=self._tracer.content)
        self._tracer.start_span("gen_ai.evaluation.result", parent=parent, facts=facts).end()
