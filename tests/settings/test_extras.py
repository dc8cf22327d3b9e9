"""A missing extra is installed from where the package came from."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.settings.extras import install_hint, requirement


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, "'antiphon[web]'"),
        (
            {"url": "file:///srv/dist/antiphon-1-py3-none-any.whl", "archive_info": {}},
            "'/srv/dist/antiphon-1-py3-none-any.whl[web]'",
        ),
        ({"url": "file:///srv/my%20code", "dir_info": {}}, "'/srv/my code[web]'"),
        (
            {"url": "file:///srv/antiphon", "dir_info": {"editable": True}},
            "--editable '/srv/antiphon[web]'",
        ),
        (
            {"url": "https://forge.example/antiphon.git", "vcs_info": {"vcs": "git"}},
            "'antiphon[web] @ git+https://forge.example/antiphon.git'",
        ),
        (
            {"url": "https://files.example/antiphon-1-py3-none-any.whl", "archive_info": {}},
            "'antiphon[web] @ https://files.example/antiphon-1-py3-none-any.whl'",
        ),
        ({"url": "file:."}, "'.[web]'"),
    ],
)
def test_the_extra_comes_from_where_the_package_came_from(
    origin: dict[str, Any] | None, expected: str
) -> None:
    assert requirement(origin, "web") == expected


def test_the_hint_names_the_extra_and_a_command() -> None:
    assert install_hint("web").startswith("Install the extra `web`: pip install ")
