"""Tests of releases, their packages and workflows."""
