"""Decoded JSON of which nothing is known yet, narrowed to objects and lists."""

from __future__ import annotations

from typing import Any, TypeGuard


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether a JSON value is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Return whether a JSON value is a list."""
    return isinstance(value, list)


def object_or_empty(value: object) -> dict[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if is_object(value) else {}


def list_or_empty(value: object) -> list[Any]:
    """Return the value if it is a list, else an empty one."""
    return value if is_list(value) else []
