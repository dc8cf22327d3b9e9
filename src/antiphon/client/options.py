"""Options of a client, of its requests, and of its conversations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from antiphon.api.operations import CreateRun, Operation, Options, Process
from antiphon.ports import Toolbox
from antiphon.tools.consent import Consent
from antiphon.tools.hooks import ToolHooks
from antiphon.tools.questions import AskUser
from antiphon.tools.tool_events import OnToolEvent
from antiphon.tools.tool_sources import ToolSource
from antiphon.types.errors import BadSettings, InvalidRequest


class ConversationOptions(Options, total=False):
    """Keyword options of `ask` besides its own: those of the run and of its tools."""

    tools: Iterable[ToolSource]
    toolbox: Toolbox | None
    consent: Consent | None
    hooks: ToolHooks | None
    ask_user: AskUser | None
    on_tool_event: OnToolEvent
    max_tools: int
    tool_timeout: float


O_ = TypeVar("O_", bound=Operation[Any])

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")  # RFC 9110, token
_HEADER_VALUE = re.compile(r"[ -~\t]{0,8192}")
_OURS = frozenset(
    {
        *("accept", "accept-encoding", "connection", "content-length", "content-type", "host"),
        *("idempotency-key", "last-event-id", "transfer-encoding"),
    }
)
"""Headers that each request sets itself."""


class ClientOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the requests to a server; a runtime in this process has none of these.

    `timeout` is how many seconds a request may wait for its answer, and `max_retries` how often it
    is repeated after a failure that may pass; None is the default. `headers` are sent with each
    request. `model` is that of new runs without a model, an assistant or an earlier run.

    Raises `BadSettings`.
    """

    timeout: float | None = None
    max_retries: int | None = None
    headers: Mapping[str, str] = {}
    model: str | None = None

    def __post_init__(self) -> None:
        if self.timeout is not None and not self.timeout > 0:
            raise BadSettings(
                "A request needs time for its answer.",
                expected="timeout above 0, in seconds",
                received=str(self.timeout),
            )
        if self.max_retries is not None and self.max_retries < 0:
            raise BadSettings(
                "A request cannot be repeated so often.",
                expected="max_retries of 0 or more",
                received=str(self.max_retries),
            )
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise BadSettings(
                    f"The header {name!r} cannot be sent.",
                    expected="a name without spaces and a value of printable ASCII characters",
                )
            if name.lower() in _OURS:
                raise BadSettings(f"The header {name} is set by each request itself.")

    def change(
        self, changes: Mapping[str, str | float | None], headers: Mapping[str, str]
    ) -> ClientOptions:
        """Return the options with these changes, None for none, and these headers added."""
        given = {name: value for name, value in changes.items() if value is not None}
        return replace(self, **given, headers={**self.headers, **headers})

    def with_model(self, operation: O_) -> O_:
        """Return the operation with the default model, if it begins a run and names none."""
        if self.model is None or not isinstance(operation, CreateRun | Process):
            return operation
        begun = isinstance(operation, Process) and operation.run_id is not None
        if begun or operation.model is not None or operation.assistant_id is not None:
            return operation
        return replace(operation, model=self.model)


def check_embedded(options: ClientOptions, http_client: object = None) -> None:
    """Raise `BadSettings` for options of requests, if there is no server to send them to."""
    given = {
        "timeout": options.timeout,
        "max_retries": options.max_retries,
        "headers": options.headers or None,
        "http_client": http_client,
    }
    if names := [name for name, value in given.items() if value is not None]:
        raise BadSettings(
            "These options are about a server, and the runtime is in this process.",
            expected="a server, or ANTIPHON_SERVER",
            received=", ".join(names),
        )


def client_closed_error() -> InvalidRequest:
    """Return the error of a client that is used after its end."""
    return InvalidRequest(
        "This client is closed.", hint="Use it within its `with` block, or create another one."
    )
