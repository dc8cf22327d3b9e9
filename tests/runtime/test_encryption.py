"""Encrypted data is readable for this installation alone, and only for what it is about."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.runtime.admin.encryption import AesCipher, create_cipher, new_key
from antiphon.settings.settings import Settings
from antiphon.types.errors import BadSettings

SECRET = b"sk-canary-7"
ABOUT = ("ada", "openai")
A, B = (bytes([number]) * 32 for number in (1, 2))


@given(plain=st.binary(max_size=200), context=st.lists(st.text(max_size=20), max_size=4))
def test_what_was_sealed_is_opened_again(plain: bytes, context: list[str]) -> None:
    assert AesCipher([A]).decrypt(AesCipher([A]).encrypt(plain, context), context) == plain


def test_nothing_of_it_is_seen_and_no_two_seals_are_alike() -> None:
    first, second = (AesCipher([A]).encrypt(SECRET, ABOUT) for _ in range(2))

    assert SECRET not in first
    assert A[:8] not in first
    assert first[20:] != second[20:]


@pytest.mark.parametrize(
    "context",
    [("bo", "openai"), ("ada", "mistral"), ("adao", "penai"), ("ada",), ("openai", "ada")],
)
def test_what_is_moved_to_another_owner_or_provider_cannot_be_opened(context: tuple[str]) -> None:
    ciphertext = AesCipher([A]).encrypt(SECRET, ABOUT)

    with pytest.raises(BadSettings, match="about something else"):
        AesCipher([A]).decrypt(ciphertext, context)


def test_what_was_changed_or_cut_anywhere_cannot_be_opened() -> None:
    ciphertext = AesCipher([A]).encrypt(SECRET, ABOUT)

    for index in range(len(ciphertext)):
        altered = ciphertext[:index] + bytes([ciphertext[index] ^ 1]) + ciphertext[index + 1 :]
        for damaged in (altered, ciphertext[:index]):
            with pytest.raises(BadSettings):
                AesCipher([A]).decrypt(damaged, ABOUT)


def test_another_key_opens_nothing_and_an_old_one_still_does() -> None:
    ciphertext = AesCipher([A]).encrypt(SECRET, ABOUT)
    rotated_cipher = AesCipher([B, A])

    with pytest.raises(BadSettings, match="a key that is not here"):
        AesCipher([B]).decrypt(ciphertext, ABOUT)
    assert rotated_cipher.decrypt(ciphertext, ABOUT) == SECRET
    assert not rotated_cipher.is_current(ciphertext)
    assert rotated_cipher.is_current(rotated_cipher.encrypt(SECRET, ABOUT))


def test_the_key_is_that_of_the_settings_in_any_spelling() -> None:
    key = base64.b64decode(new_key(), altchars=b"-_")
    spellings = {
        base64.b64encode(key).decode(),
        base64.urlsafe_b64encode(key).decode(),
        base64.b64encode(key).decode().rstrip("=") + "\n",
    }
    ciphertext = AesCipher([key]).encrypt(SECRET, ABOUT)

    for spelling in spellings:
        assert create_cipher(Settings(secret_key=spelling)).decrypt(ciphertext, ABOUT) == SECRET
        old_settings = Settings(secret_key=new_key(), old_secret_keys=(spelling,))
        assert create_cipher(old_settings).decrypt(ciphertext, ABOUT) == SECRET


@pytest.mark.parametrize("text", ["canary", "A" * 42, "A" * 45, "Ä" * 43, "A" * 43 + "!"])
def test_what_is_no_key_is_refused_without_being_told(text: str) -> None:
    for settings in (
        Settings(secret_key=text),
        Settings(database="memory:", old_secret_keys=(text,)),
    ):
        with pytest.raises(BadSettings) as excinfo:
            create_cipher(settings)
        assert text not in excinfo.value.full_message


def test_an_sqlite_database_has_its_key_in_a_file_beside_it(tmp_path: Path) -> None:
    settings = Settings(database=f"sqlite:///{tmp_path}/data/antiphon.db")
    ciphertext = create_cipher(settings).encrypt(SECRET, ABOUT)
    file = tmp_path / "data" / "antiphon.db.key"

    assert create_cipher(settings).decrypt(ciphertext, ABOUT) == SECRET
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_bytes()) == 32
    file.write_bytes(b"half")
    with pytest.raises(BadSettings, match=r"antiphon\.db\.key is no key"):
        create_cipher(settings)


def test_a_database_of_many_processes_wants_the_setting() -> None:
    with pytest.raises(BadSettings) as excinfo:
        create_cipher(Settings(database="postgresql://u:canary-3@db/antiphon"))

    assert "secret_key" in excinfo.value.full_message
    assert "canary-3" not in excinfo.value.full_message


def test_what_is_to_be_forgotten_has_a_key_that_is_forgotten_too() -> None:
    settings = Settings(database="memory:")
    ciphertext = create_cipher(settings).encrypt(SECRET, ABOUT)

    with pytest.raises(BadSettings):
        create_cipher(settings).decrypt(ciphertext, ABOUT)
