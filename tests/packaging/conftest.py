"""Fixtures of the tests of packages."""

from __future__ import annotations

from tests.support.packaging.packages import packages as packages
