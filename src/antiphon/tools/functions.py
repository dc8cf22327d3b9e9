"""Python functions as tools: their specifications for models, and their calls.

    @tool
    def get_flight_times(departure: str, arrival: str) -> dict[str, str]:
        \"\"\"Flight times between two airports.

        Args:
            departure: IATA code of the airport of departure.
            arrival: IATA code of the airport of arrival.
        \"\"\"

A plain function does as well; `@tool` marks those that `--tools` finds, and can name them
differently.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, closing, contextmanager
from functools import partial
from typing import Any, TypeVar, cast, overload

import msgspec

from antiphon.ports import ProgressCallback, quiet
from antiphon.settings.settings import Settings
from antiphon.tools.deadlines import (
    TOOL_ERRORS,
    ThreadSafeProgress,
    is_task_cancelled,
    run_in_daemon_thread,
)
from antiphon.tools.docstrings import parse_docstring
from antiphon.tools.pydantic_types import dump_model
from antiphon.tools.schemas import InvalidArguments, Parameters, decode_arguments
from antiphon.types.errors import AntiphonError, BadSettings
from antiphon.types.messages import Hints, Progress, Tool, ToolCall, ToolResult, ToolSpec

Function = Callable[..., Any]
MAX_RETRIES = 10
FIRST_PAUSE, LAST_PAUSE = 0.5, 10.0
"""Seconds before the first retry of a tool, and the longest pause before a later one."""
F = TypeVar("F", bound=Function)


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    retries: int = 0,
    retry_on: tuple[type[Exception], ...] = (Exception,),
    consent: bool = False,
    read_only: bool = False,
) -> Callable[[F], F]: ...
def tool(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    retries: int = 0,
    retry_on: tuple[type[Exception], ...] = (Exception,),
    consent: bool = False,
    read_only: bool = False,
) -> F | Callable[[F], F]:
    """Mark a function, sync or async, as a tool; it stays the function that it is.

    Without `name` and `description` the model sees the function's name and docstring. `timeout` is
    the number of seconds that a call may take; without it the program's `tool_timeout` holds. A
    call that raises one of `retry_on` is repeated up to `retries` times, after 0.5, 1, 2, ...
    seconds; only then does the model read the error. With `consent` a person must allow each call,
    as for a tool of an MCP server. A `read_only` tool has no effects, and runs in plan mode too.
    """
    if timeout is not None and not timeout > 0:
        raise UnfitTool("A tool needs time.", expected="timeout above 0", received=str(timeout))
    if not 0 <= retries <= MAX_RETRIES:
        raise UnfitTool(
            "A tool is retried a few times.",
            expected=f"retries from 0 to {MAX_RETRIES}",
            received=str(retries),
        )

    def mark(function: F) -> F:
        given = _ToolOptions(name, description, timeout, retries, retry_on, consent, read_only)
        setattr(function, TOOL_MARK, given)
        return function

    return mark if function is None else mark(function)


def find_marked_methods(holder: object) -> list[Function]:
    """Return the methods that `@tool` marks, bound to this object, in their order."""
    kind = type(holder)
    names = dict.fromkeys(name for each in reversed(kind.__mro__) for name in vars(each))
    marked = [
        name for name in names if hasattr(inspect.getattr_static(kind, name, None), TOOL_MARK)
    ]
    return [getattr(holder, name) for name in marked]


Toolset = Callable[[Settings], Sequence[Function] | AbstractContextManager[Sequence[Function]]]


def toolset(
    function: Callable[[Settings], Sequence[Function] | Iterator[Sequence[Function]]],
) -> Toolset:
    """Mark a function that returns a module's tools for given settings; `--tools` calls it.

    A generator function yields them once. What it does afterwards is done when the program ends:

        @toolset
        def tools(settings: Settings) -> Iterator[Sequence[Function]]:
            with connect() as database:
                yield [Orders(database).find_order]
    """
    made: Any = contextmanager(function) if inspect.isgeneratorfunction(function) else function
    setattr(made, TOOLSET_MARK, True)
    return cast("Toolset", made)


class UnfitTool(BadSettings, TypeError):
    """The function cannot be a tool; the message has its name, file and line."""


class Functions:
    """Python functions as a toolbox.

    Sync functions run in threads, with the caller's context variables; async ones on the event
    loop. A string is returned as it is, a `ToolResult` too, anything else as JSON. Of a generator,
    sync or async, each `Progress` is reported, and the last other value is returned. An exception
    becomes a result with its type and message, without the traceback. A parameter annotated as
    `ToolContext` receives that of the call, in threads too.

    Raises `UnfitTool`, which is also a `TypeError`, for a function that cannot be a tool, for
    instance because JSON cannot express the type of a parameter.
    """

    def __init__(self, functions: Iterable[Function]) -> None:
        self._tools: dict[str, _FunctionTool] = {}
        for function in functions:
            made = _FunctionTool(function)
            if made.spec.name in self._tools:
                raise UnfitTool(
                    f"Two tools are named {made.spec.name}; use @tool(name=...).",
                    expected="a name of its own for each",
                    received=f"{_where(self._tools[made.spec.name].function)}, {_where(function)}",
                )
            self._tools[made.spec.name] = made

    def specs(self) -> tuple[ToolSpec, ...]:
        """Return the functions as a model sees them."""
        return tuple(each.spec for each in self._tools.values())

    def tools(self) -> tuple[Tool, ...]:
        """Return the functions as tools."""
        return tuple(
            Tool(
                spec=each.spec,
                timeout=each.mark.timeout,
                asks=each.mark.consent,
                hints=Hints(read_only=True) if each.mark.read_only else Hints(),
            )
            for each in self._tools.values()
        )

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        """Run the function that the call names."""
        wanted = self._tools.get(call.name)
        if wanted is None:
            names = ", ".join(self._tools) or "none"
            return ToolResult(
                f"There is no tool {call.name}. The tools are: {names}.",
                is_error=True,
                fault="unknown_tool",
            )
        with ThreadSafeProgress(tell) as report:
            try:
                arguments = wanted.parameters.arguments(call, report)
            except InvalidArguments as error:
                return ToolResult(str(error), is_error=True, fault="invalid_arguments")
            return await _run(wanted.function, arguments, wanted.mark, report)


class Handler:
    """Toolbox of one function that takes every call: `handler(name, arguments)`."""

    def __init__(self, handler: Callable[[str, dict[str, Any]], Any]) -> None:
        self._handler = handler

    def tools(self) -> tuple[Tool, ...]:
        """Return nothing: only the handler knows its tools."""
        return ()

    async def call(self, call: ToolCall, tell: ProgressCallback = quiet) -> ToolResult:
        """Run the handler."""
        try:
            arguments = decode_arguments(call.arguments)
        except InvalidArguments as error:
            return ToolResult(str(error), is_error=True, fault="invalid_arguments")
        with ThreadSafeProgress(tell) as report:
            handler = partial(self._handler, call.name, arguments)
            return await _run(handler, {}, _ToolOptions(), report)


TOOL_MARK = "__antiphon_tool__"
TOOLSET_MARK = "__antiphon_toolset__"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what every provider takes


class _ToolOptions(msgspec.Struct, frozen=True):
    name: str | None = None
    description: str | None = None
    timeout: float | None = None
    retries: int = 0
    retry_on: tuple[type[Exception], ...] = (Exception,)
    consent: bool = False
    read_only: bool = False


class _FunctionTool:
    """One function and its specification."""

    def __init__(self, function: Function) -> None:
        try:
            self._read(function)
        except (TypeError, ValueError, NameError, AttributeError) as error:
            # NameError and AttributeError: an annotation names something that does not exist.
            raise UnfitTool(
                f"{_where(function)} cannot be a tool: {error}",
                expected="a function whose parameters have names and types that JSON can bring",
            ) from None

    def _read(self, function: Function) -> None:
        if not callable(function):
            raise TypeError(f"A tool is a function, and {function!r} is none.")
        mark: _ToolOptions = getattr(function, TOOL_MARK, _ToolOptions())
        documentation = parse_docstring(
            inspect.getdoc(function) if inspect.isroutine(function) else None
        )
        own_name: str = getattr(function, "__name__", "")
        name = _check_name(mark.name or own_name)
        self.function = function
        self.mark = mark
        self.parameters = Parameters(function, documentation.parameters)
        self.spec = ToolSpec(
            name=name,
            description=documentation.text if mark.description is None else mark.description,
            parameters=self.parameters.schema(),
        )


def _where(function: object) -> str:
    """Return the function's name, file and line, as far as known."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    inner = inspect.unwrap(function) if callable(function) else None
    code = getattr(inner, "__code__", None)
    return f"{name} ({code.co_filename}, line {code.co_firstlineno})" if code else str(name)


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise TypeError(
            f"{name!r} is no name for a tool: up to 64 letters, digits, _ and - are. "
            "Name it with @tool(name=...)."
        )
    return name


async def _run(
    function: Function, arguments: dict[str, Any], mark: _ToolOptions, report: ThreadSafeProgress
) -> ToolResult:
    """Run the function, again after an error that its mark retries."""
    pause = FIRST_PAUSE
    attempt = 1
    while True:
        try:
            value = await _evaluate(function, arguments, report)
        except asyncio.CancelledError as error:
            if is_task_cancelled():
                raise
            return _failure(error)
        except TOOL_ERRORS as error:
            if attempt > mark.retries or not isinstance(error, mark.retry_on):
                return _failure(error)
            report(Progress(attempt, mark.retries + 1, f"{type(error).__name__}, trying again"))
        else:
            return _result(value)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LAST_PAUSE)
        attempt += 1


async def _evaluate(
    function: Function, arguments: dict[str, Any], report: ThreadSafeProgress
) -> Any:
    """Return the function's value: on the loop if it is async, else in a thread."""
    inner: Function = getattr(function, "func", function)  # that of a `partial`
    if inspect.isasyncgenfunction(inner):
        return await _exhaust_async(function(**arguments), report)
    if inspect.iscoroutinefunction(inner):
        return await function(**arguments)
    value: Any = await run_in_daemon_thread(_exhaust, function, arguments, report)
    if inspect.isawaitable(value):
        value = await value
    return value


async def _exhaust_async(generator: AsyncGenerator[Any], report: ThreadSafeProgress) -> Any:
    """Return the last value of a generator that is not progress."""
    last: Any = None
    async with aclosing(generator) as items:
        async for item in items:
            last = _report_or_keep(item, last, report)
            await asyncio.sleep(0)  # one that awaits nothing would never be cancelled
    return last


def _exhaust(function: Function, arguments: dict[str, Any], report: ThreadSafeProgress) -> Any:
    """Return the function's value, or the last one of its generator, closed if nobody waits."""
    if not inspect.isgeneratorfunction(function):
        return function(**arguments)
    last: Any = None
    with closing(function(**arguments)) as items:
        for item in items:
            if report.ended:
                break
            last = _report_or_keep(item, last, report)
    return last


def _report_or_keep(item: Any, last: Any, report: ThreadSafeProgress) -> Any:
    if isinstance(item, Progress):
        report(item)
        return last
    return item


def _result(value: Any) -> ToolResult:
    match value:
        case ToolResult():
            return value
        case str():
            return ToolResult(str.__str__(value))  # of a subclass only the text
        case _:
            try:
                return ToolResult(msgspec.json.encode(value, enc_hook=dump_model).decode())
            except Exception as error:  # noqa: BLE001 - the value's own code may run
                return _failure(error)


def _failure(error: BaseException) -> ToolResult:
    if isinstance(error, AntiphonError):  # written for people, and whole sentences
        return ToolResult(error.message, is_error=True, fault="failed")
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    return ToolResult(text, is_error=True, fault="failed")
