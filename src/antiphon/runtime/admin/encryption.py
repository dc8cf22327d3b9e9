"""Encrypts what only this installation may read, such as owners' provider keys.

Ciphertext (AES-256-GCM) is bound to its context: moved to another owner or another provider, it
cannot be decrypted. The key is the setting `secret_key`; without it, an SQLite database has a key
in a file beside it, so that a copy of the database alone reveals nothing.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Sequence
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from antiphon.settings.private_files import BYTES, load_or_create_secret
from antiphon.settings.settings import Settings, database_file
from antiphon.types.errors import BadSettings

SUFFIX = ".key"  # of the file beside an SQLite database

# The format: a version byte, the key's fingerprint, the nonce, the ciphertext with its tag.
_FORM = b"\x01"
_MARK_BYTES = 8
_NONCE_BYTES = 12
_HEAD = len(_FORM) + _MARK_BYTES


class AesCipher:
    """Encrypts with the first of these keys, and decrypts with any of them."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._fingerprint = _fingerprint(keys[0])
        self._ciphers = {_fingerprint(key): AESGCM(key) for key in keys}

    def encrypt(self, plain: bytes, about: Sequence[str]) -> bytes:
        """Return the ciphertext, bound to its context."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        head = _FORM + self._fingerprint
        cipher = self._ciphers[self._fingerprint]
        return head + nonce + cipher.encrypt(nonce, plain, _build_aad(head, about))

    def decrypt(self, sealed: bytes, about: Sequence[str]) -> bytes:
        """Return the plaintext of this context. Raises `BadSettings` where decryption fails."""
        head, nonce = sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE_BYTES]
        cipher = self._ciphers.get(head[len(_FORM) :])
        if cipher is None or head[: len(_FORM)] != _FORM:
            raise BadSettings(
                "It was sealed with a key that is not here.",
                expected="the secret_key of that time, as secret_key or in old_secret_keys",
                received="another one",
            )
        try:
            return cipher.decrypt(nonce, sealed[_HEAD + _NONCE_BYTES :], _build_aad(head, about))
        except (InvalidTag, ValueError) as error:
            raise BadSettings(
                "What was sealed has been changed, or was sealed about something else.",
                hint="Give the key once more.",
            ) from error

    @property
    def fingerprints(self) -> Sequence[str]:
        """Fingerprints of the keys, the encrypting one first; they reveal nothing of the keys."""
        return [mark.hex() for mark in self._ciphers]

    def is_current(self, sealed: bytes) -> bool:
        """Return whether the ciphertext was made with the current key."""
        return sealed[:_HEAD] == _FORM + self._fingerprint


def create_cipher(settings: Settings) -> AesCipher:
    """Return an installation's cipher. Raises `BadSettings` where it has no usable key."""
    old = [_key(text, "old_secret_keys") for text in settings.old_secret_keys]
    return AesCipher([_load_key(settings), *old])


def new_key() -> str:
    """Return a new value for `secret_key`."""
    return base64.urlsafe_b64encode(secrets.token_bytes(BYTES)).decode()


def _load_key(settings: Settings) -> bytes:
    if settings.secret_key is not None:
        return _key(settings.secret_key, "secret_key")
    if settings.database == "memory:":
        return secrets.token_bytes(BYTES)  # lost together with the data that it encrypts
    database = database_file(settings)
    if database is None:
        raise BadSettings(
            "Provider keys and webhook secrets are stored encrypted, and no encryption key is set.",
            expected="the setting secret_key, the same for every process",
            received="nothing",
            hint="`antiphon provider-keys secret` prints a new one.",
        )
    return load_or_create_secret(
        database.with_name(database.name + SUFFIX),
        "key that seals",
        "Restore it from a backup; without it all keys at providers must be given once more.",
    )


def _key(text: str, setting: str) -> bytes:
    """Return the bytes of a key in either base64 alphabet, with or without padding."""
    plain = text.strip().rstrip("=").translate(_TO_URLSAFE)
    try:
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != BYTES:
        raise BadSettings(
            f"`{setting}` cannot be used.",
            expected=f"{BYTES} bytes in base64",
            received="something else",
            hint="`antiphon provider-keys secret` prints a new one.",
        )
    return key


def _fingerprint(key: bytes) -> bytes:
    """Return a key's fingerprint, which reveals nothing of the key."""
    return blake2b(b"antiphon seal", key=key, digest_size=_MARK_BYTES).digest()


def _build_aad(head: bytes, about: Sequence[str]) -> bytes:
    """Return the authenticated data: each text after its length, so that it is unambiguous."""
    texts = (text.encode() for text in about)
    return head + b"".join(len(text).to_bytes(4) + text for text in texts)


_TO_URLSAFE = str.maketrans("+/", "-_")
