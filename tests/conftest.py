"""Load the fixtures and hooks of all tests; assertions in helpers are rewritten as in tests."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.support")

pytest_plugins = ("tests.support.fixtures", "tests.support.forks")
