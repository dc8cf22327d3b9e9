"""Passwords as they are stored: slow to guess, and hashed again where they were not."""

from __future__ import annotations

import pytest

from antiphon.runtime.admin.accounts import PasswordCheck, PasswordHasher


async def test_a_password_is_hashed_with_the_cost_that_the_standard_advises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cheap_hash = await PasswordHasher().hash("correct horse battery")
    monkeypatch.setattr(PasswordHasher, "cost", {})  # tests of other things lower it

    stored_hash = await PasswordHasher().hash("correct horse battery")

    assert stored_hash.startswith("$argon2id$v=19$m=65536,t=3,p=4$")  # RFC 9106, section 4
    assert await PasswordHasher().verify("correct horse battery", stored_hash) == PasswordCheck(
        fits=True
    )
    assert await PasswordHasher().verify("wrong", stored_hash) == PasswordCheck(fits=False)
    assert await PasswordHasher().verify("correct horse battery", cheap_hash) == PasswordCheck(
        True, outdated=True
    )
