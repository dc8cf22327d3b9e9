"""The table of ways in which a run can end, with the words for each.

Errors, exports, the terminal, the web chat and the reference take their words from it. Tests check
that every status and reason has a row, and that page and reference know each row.
"""

from __future__ import annotations

import msgspec

from antiphon.types.runs import Reason, Status


class RunEnd(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which a run can end.

    `why` is the cause in words for people, `meaning` its explanation in `docs/reference/errors.md`,
    `hint` the terminal's advice. `limit_reached` is true if a limit of the run was reached: calls
    of its last reply, if it had any, were not carried out.
    """

    status: Status
    reason: Reason | None = None
    why: str = ""
    meaning: str = ""
    hint: str = ""
    limit_reached: bool = False

    @property
    def page(self) -> str:
        """The key of the web chat's sentence, "" for none."""
        if self.reason:
            return f"message.incomplete_{self.reason}"
        return _PAGE_KEYS.get(self.status, "")

    @property
    def export_note(self) -> str:
        """The note below a cut answer in exports; "" if there is nothing to add."""
        if self.status is Status.CANCELLED:
            return "stopped here"
        return f"cut off here: {self.why}" if self.why else ""


RUN_ENDS = (
    RunEnd(status=Status.COMPLETED),
    RunEnd(status=Status.CANCELLED),
    RunEnd(status=Status.EXPIRED),
    RunEnd(status=Status.FAILED, why="the run failed"),
    RunEnd(status=Status.INCOMPLETE, hint="/continue goes on."),
    RunEnd(
        status=Status.INCOMPLETE,
        reason="length",
        why="it became too long",
        meaning="the model reached its limit of tokens, or its reply the limit of bytes, "
        "`max_reply`",
        hint="/continue goes on.",
    ),
    RunEnd(
        status=Status.INCOMPLETE,
        reason="content_filter",
        why="the provider's filter stepped in",
        meaning="the provider's filter stopped it",
        hint="/continue goes on.",
    ),
    RunEnd(
        status=Status.INCOMPLETE,
        reason="stalled",
        why="nothing more came in time",
        meaning="nothing came for too long, or the turn took too long",
        hint="/continue continues it. --chunk-timeout and --turn-timeout set the limits.",
    ),
    RunEnd(
        status=Status.INCOMPLETE,
        reason="disconnected",
        why="the provider's answer broke off",
        meaning="the provider's stream closed without an end",
        hint="/continue goes on.",
    ),
    RunEnd(
        status=Status.INCOMPLETE,
        reason="worker_lost",
        why="what ran it is gone",
        meaning="each attempt lost its worker",
        hint="/continue goes on.",
    ),
    RunEnd(
        status=Status.INCOMPLETE,
        reason="max_turns",
        why="as many turns as were allowed were taken",
        meaning="the run reached its limit of turns",
        hint="/continue continues it. --max-turns limits the turns of a run.",
        limit_reached=True,
    ),
    RunEnd(
        status=Status.INCOMPLETE,
        reason="max_tool_calls",
        why="more tools were to be called than were allowed",
        meaning="the run reached its limit of tool calls",
        hint="/continue continues it. --max-tool-calls limits the tool calls of a run.",
        limit_reached=True,
    ),
    RunEnd(
        status=Status.INCOMPLETE,
        reason="max_total_tokens",
        why="as many tokens as were allowed were used",
        meaning="the run reached its limit of tokens over all turns",
        hint="/continue goes on.",
        limit_reached=True,
    ),
    RunEnd(
        status=Status.INCOMPLETE,
        reason="max_cost",
        why="as much money as was allowed was spent",
        meaning="the run reached its limit of money, or what it cost is not known",
        hint="/continue goes on.",
        limit_reached=True,
    ),
    RunEnd(
        status=Status.INCOMPLETE,
        reason="timeout",
        why="its time was over",
        meaning="the run reached its `timeout` during a turn; between turns it is `expired`",
        hint="/continue goes on.",
        limit_reached=True,
    ),
)

_PAGE_KEYS = {
    Status.CANCELLED: "message.stopped",
    Status.EXPIRED: "message.expired",
    Status.FAILED: "message.failed",
    Status.INCOMPLETE: "message.cut",
}
_ROWS = {(end.status, end.reason): end for end in RUN_ENDS}


def find_run_end(status: Status, reason: Reason | None = None) -> RunEnd:
    """Return the row of a run with this status; the row without a reason if the reason is unknown.

    A run that has not ended has an empty row.
    """
    return _ROWS.get((status, reason)) or _ROWS.get((status, None)) or RunEnd(status=status)
