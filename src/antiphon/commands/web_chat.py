"""The web chat, loaded when it is wanted: what it needs is an extra."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from antiphon.errors import BadSettings, install_hint

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from antiphon.web.bridge import Bridge

    Chat = Callable[..., AbstractAsyncContextManager[Bridge]]


def web_chat() -> Chat:
    """`antiphon.web.asgi.chat`. Raises `BadSettings` where the extra is not installed."""
    try:
        return cast("Chat", import_module("antiphon.web.asgi").chat)
    except ModuleNotFoundError as missing:
        raise BadSettings(
            f"the web chat needs {missing.name}, which is not installed",
            expected="the extra `web`",
            hint=install_hint("web"),
        ) from missing
