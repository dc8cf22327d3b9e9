"""For all tests: an example of Hypothesis may take its time, for the machine may be busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("patient", settings.default, deadline=None)
settings.load_profile("patient")
