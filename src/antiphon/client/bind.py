"""A call becomes a method, its signature kept: now, later, or as a stream of events.

Each call of the API is stated once, in `antiphon.api.operations`, and bound once in each client:

    class Client:      create_run = now(calls.CreateRun)      # (thread_id: str, ...) -> Run
    class AsyncClient: create_run = later(calls.CreateRun)    # the same, to be awaited
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, get_type_hints

from antiphon.api.operations import Call
from antiphon.client.transport import AsyncLine, Line

P = ParamSpec("P")
A = TypeVar("A")
E = TypeVar("E")
L = TypeVar("L")
L_co = TypeVar("L_co", covariant=True)


class Has(Protocol[L_co]):
    """A client: what holds a line."""

    @property
    def line(self) -> L_co:
        """How it reaches a runtime."""
        ...


def now(call: Callable[P, Call[A]]) -> Callable[Concatenate[Has[Line], P], A]:
    """A method that makes this call and returns its answer."""

    def method(client: Has[Line], /, *args: P.args, **kwargs: P.kwargs) -> A:
        return client.line.send(call(*args, **kwargs))

    return _presented(method, call, _answer(call))


def later(
    call: Callable[P, Call[A]],
) -> Callable[Concatenate[Has[AsyncLine], P], Coroutine[Any, Any, A]]:
    """A coroutine method that makes this call and returns its answer."""

    async def method(client: Has[AsyncLine], /, *args: P.args, **kwargs: P.kwargs) -> A:
        return await client.line.send(call(*args, **kwargs))

    return _presented(method, call, _answer(call))


def streamed(
    call: Callable[P, Call[Any]], events: Callable[[L, Call[Any]], E]
) -> Callable[Concatenate[Has[L], P], E]:
    """A method that returns the events of this call, which is made when the first is asked for."""

    def method(client: Has[L], /, *args: P.args, **kwargs: P.kwargs) -> E:
        return events(client.line, call(*args, **kwargs))

    return _presented(method, call, get_type_hints(events)["return"])


M = TypeVar("M", bound=Callable[..., Any])


def _presented(method: M, call: Any, answer: Any) -> M:
    """The method as `help()` and editors shall see it: name, words and parameters of the call."""
    plain = get_type_hints(call)  # without the limits, which only the server needs
    client = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    asked = [
        parameter.replace(annotation=plain[parameter.name])
        for parameter in inspect.signature(call).parameters.values()
    ]
    method.__name__ = re.sub(r"(?<!^)(?=[A-Z])", "_", call.__name__).lower()
    method.__qualname__ = method.__name__
    method.__doc__ = call.__doc__
    method.__signature__ = inspect.Signature([client, *asked], return_annotation=answer)  # type: ignore[attr-defined]
    return method


def _answer(call: Any) -> Any:
    return call.answer
