"""Files that only their owner can read: secrets, records, exports."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from antiphon.types.errors import BadSettings, InvalidRequest

BYTES = 32
CLAIM_SECONDS = 1.0  # where there are no hard links, a file is empty for a moment


def load_or_create_secret(file: Path, name: str, lost: str) -> bytes:
    """Return the secret in the file; create it where there is none, readable by the owner alone.

    Errors use the secret's `name`, and `lost` as the hint of what to do without it. Of several
    processes that start together one creates the file; all read what it holds. Raises
    `BadSettings`.
    """
    made = file.with_name(f".{file.name}-{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.exists():
            descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as written:
                written.write(secrets.token_bytes(BYTES))
                written.flush()
                os.fsync(descriptor)  # or a crash may leave an empty file under the name
            with suppress(FileExistsError):  # another process was first
                put_in_place(made, file)
        # Another process may have created the file and not yet written to it.
        deadline = time.monotonic() + CLAIM_SECONDS
        while not (secret := file.read_bytes()) and time.monotonic() < deadline:
            time.sleep(0.01)
    except OSError as error:
        raise BadSettings(
            f"The {name} cannot be saved: {error.strerror or error}.",
            expected=f"a file at {file} that this user can read and write",
        ) from error
    finally:
        made.unlink(missing_ok=True)
    if len(secret) != BYTES:
        raise BadSettings(
            f"What is in {file} is no {name}.",
            expected=f"{BYTES} bytes",
            received=f"{len(secret)} bytes",
            hint=lost,
        )
    return secret


def put_in_place(made: Path, target: Path) -> None:
    """Rename a finished file into place. Raises `FileExistsError` where something has that name.

    A hard link does so in one step. A file system without hard links, such as FAT, takes two: an
    empty file claims the name, and is replaced; no other file ever is.
    """
    try:
        os.link(made, target)
    except FileExistsError:
        raise
    except OSError:  # which one differs: EPERM, EOPNOTSUPP, ENOSYS, EINVAL
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            os.replace(made, target)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


# A small file of the user's own: for nobody else's eyes, and written whole or not at all.


try:
    import fcntl
except ImportError:  # Windows, where of two programs that change a file at once one may lose
    fcntl = None  # type: ignore[assignment]


@contextmanager
def lock_file(file: Path) -> Generator[None]:
    """Lock the file, which need not exist: other programs that change it wait meanwhile."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_private_file(file: Path, content: bytes) -> None:
    """Write the file atomically, readable by the owner alone. A link is followed, not replaced."""
    place = file.resolve()
    descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=place.name)  # made 0600
    try:
        with os.fdopen(descriptor, "wb") as written:
            written.write(content)
            written.flush()
            os.fsync(descriptor)  # or a crash may leave an empty file under the name
        os.replace(name, place)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


# A file that is made for its owner's eyes, and takes no other's place unless it is told to.


@contextmanager
def create_private_file(
    place: Path, *, over: bool = False, hint: str = "Name another file."
) -> Generator[TextIO]:
    """Create a file that stays only if the block does not raise.

    With `over` it replaces an existing file, atomically at the end of the block; a link is
    followed. Raises `InvalidRequest` where there is a file already, or none can be created.
    """
    try:
        target = place.resolve() if over else place
        if over:
            descriptor, name = _open_beside(target)
        else:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            name = str(target)
    except FileExistsError as error:
        raise InvalidRequest(
            f"{place} is there already", expected="a name that is free", hint=hint
        ) from error
    except OSError as error:
        raise InvalidRequest(f"{place} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        if over:
            os.replace(name, target)
    except BaseException:  # whatever it is: half a file does not stay
        with suppress(OSError):
            os.unlink(name)
        raise


def _open_beside(target: Path) -> tuple[int, str]:
    """Create a file beside the target. Raises `FileExistsError` for a device or the like."""
    if target.exists() and not target.is_file():
        raise FileExistsError(target)
    return tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # made 0600
