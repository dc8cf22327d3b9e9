"""What a person in a browser is told of a call that may run only if they agree."""

from __future__ import annotations

from antiphon.clean import clean
from antiphon.tools.questions import Question
from antiphon.wires import ui_parts as ui

MOST_OTHERS = 50
"""Tools of the same server that are named; an answer for the server is for all of them."""


def about(question: Question) -> ui.About:
    """What the person should know before they answer."""
    tool = question.tool
    return ui.About(
        args_hash=question.digest,
        arguments=question.call.arguments,
        description=clean(tool.spec.description),
        server=clean(tool.server or ""),
        others=tuple(clean(each.own_name) for each in question.others[:MOST_OTHERS]),
        changed=question.before is not None,
        elsewhere=bool(question.elsewhere),
        asked_by=clean(str(question.asked_by)) if question.asked_by else "",
        destructive=tool.hints.destructive is True,
        read_only=tool.hints.read_only is True,
    )
