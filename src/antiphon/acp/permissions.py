"""Permission for tool calls: modes of a session, and questions to the person at the editor."""

from __future__ import annotations

from secrets import token_hex

from acp.interfaces import Client
from acp.schema import AllowedOutcome, PermissionOption, SessionMode, ToolCallUpdate

from antiphon.acp import tool_views
from antiphon.tools.permission_modes import MODES
from antiphon.tools.questions import ConsentAnswer, ConsentRequest, command_line
from antiphon.types.terminal_safe import clean

SESSION_MODES = tuple(
    SessionMode(id=mode, name=mode.capitalize(), description=meaning.capitalize())
    for mode, meaning in MODES.items()
)


class PermissionAsker:
    """Asks the person at the editor about one call, with exactly these arguments."""

    def __init__(self, client: Client, session_id: str, folder: str) -> None:
        self._client = client
        self._session_id = session_id
        self._folder = folder

    async def __call__(self, question: ConsentRequest) -> ConsentAnswer:
        """Return the answer: no, unless an option of this very question was selected."""
        once, session, always, reject = (f"{name}-{token_hex(8)}" for name in _OPTION_NAMES)
        answers = {
            once: ConsentAnswer(allowed=True),
            session: ConsentAnswer(allowed=True, keep="session"),
            always: ConsentAnswer(allowed=True, keep="always"),
        }
        by = f" for {question.asked_by}" if question.asked_by else ""
        options = [
            PermissionOption(option_id=once, name="Allow", kind="allow_once"),
            PermissionOption(option_id=session, name="Allow in this session", kind="allow_always"),
            PermissionOption(option_id=always, name=f"Always allow{by}", kind="allow_always"),
            PermissionOption(option_id=reject, name="Reject", kind="reject_once"),
        ]
        if question.tool.server is None or question.asks_each_time:  # no answer lasts
            options = [options[0], options[-1]]
        offered = {option.option_id for option in options}
        response = await self._client.request_permission(
            session_id=self._session_id, tool_call=self._show(question), options=options
        )
        match response.outcome:
            case AllowedOutcome(option_id=chosen) if chosen in offered:
                return answers.get(chosen, ConsentAnswer())
            case _:
                return ConsentAnswer()

    def _show(self, question: ConsentRequest) -> ToolCallUpdate:
        kind = tool_views.tool_kind(question.tool)
        arguments = tool_views.parse_arguments(question.call.arguments)
        content = tool_views.changes(kind, arguments, self._folder)
        warnings = [question.elsewhere] if question.elsewhere else []
        if question.reason:
            warnings.append(f"A hook wants you to decide: {clean(question.reason, 'approval')}")
        if command := command_line(question.tool, question.call.arguments):
            warnings.append(f"It starts: {clean(command, 'approval')}")
        if question.before is not None:
            warnings.append("This tool has changed since you allowed it.")
        return ToolCallUpdate(
            tool_call_id=question.call.id,
            title=tool_views.tool_title(question.tool),
            kind=kind,
            status="pending",
            raw_input=arguments,
            locations=tool_views.locations(arguments, self._folder),
            content=[
                *map(tool_views.text_content, warnings),
                tool_views.arguments_content(question.call.arguments),
                *content,
            ],
        )


_OPTION_NAMES = ("allow", "session", "always", "reject")
