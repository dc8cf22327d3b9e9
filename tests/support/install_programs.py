"""Installs third-party programs that tests drive, if apt-get may; `make test` runs it.

    python tests/support/install_programs.py

It reports what cannot be installed; the tests that need it are skipped with a message.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PACKAGES = {
    "chromium-headless-shell": "chromium-headless-shell",
    "nginx": "nginx-light",
    "zsh": "zsh",
    "fish": "fish",
    "pg_ctlcluster": "postgresql",  # a program of Debian's, for PostgreSQL's own are on no path
    "redis-server": "redis-server",
    "faketime": "faketime",
}
"""Debian's package for each program."""
INSTEAD = {"chromium-headless-shell": ("chromium", "chromium-browser", "google-chrome")}
"""Slower programs that serve as well where the package is unavailable."""
SECONDS = 600


def main() -> None:
    """Install what is missing, all at once."""
    missing = [program for program in PACKAGES if not shutil.which(program)]
    if missing and shutil.which("apt-get") and os.geteuid() == 0:
        print(f"installing {', '.join(missing)} for the tests ...", flush=True)
        _install([PACKAGES[program] for program in missing])
    for program in missing:
        if not any(map(shutil.which, (program, *INSTEAD.get(program, ())))):
            print(
                f"NOT TESTED: what needs {program}, which is not here"
                f" (apt-get install {PACKAGES[program]})",
                file=sys.stderr,
            )


def _install(packages: list[str]) -> None:
    """Install packages; if that fails, update the list of packages and try again."""
    install = ["install", "--yes", "--no-install-recommends", *packages]
    if not _apt_get(*install):
        _apt_get("update")
        _apt_get(*install)


def _apt_get(*arguments: str) -> bool:
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=120", *arguments]
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        process = subprocess.run(
            command, check=False, capture_output=True, timeout=SECONDS, env=environ
        )
    except subprocess.TimeoutExpired:
        return False
    return process.returncode == 0


if __name__ == "__main__":
    main()
