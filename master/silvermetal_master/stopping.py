"""Stopping the master of a folder, and knowing that it has stopped.

Rules:

- Who runs there is what the folder's lock says: the lock is the process's own, so a stale number can hit nobody.
- ``clean`` lets every verification that runs come to its verdict, the builds that it waits for included; nothing new is
  begun. Without it, what runs is asked for again at the next start (H7).
- It returns when the process is gone, never before: whoever starts the next master then finds the folder free.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

from silvermetal_master.errors import SettingsError
from silvermetal_master.recovery import LOCK_FILE

POLL_SECONDS = 0.1


def running_in(basedir: Path) -> int | None:
    """The process id of the master that runs in ``basedir``; None where none does."""
    try:
        with (basedir / LOCK_FILE).open("r", encoding="ascii") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                number = stream.read().strip()
                return int(number) if number.isdecimal() else None
    except FileNotFoundError:
        pass
    return None


def stop(basedir: Path, *, clean: bool, timeout: float) -> bool:
    """Ask the master in ``basedir`` to stop, and wait up to ``timeout`` seconds; False where none ran.

    :raises SettingsError: when it still runs after that time.
    """
    process = running_in(basedir)
    if process is None:
        return False
    try:
        os.kill(process, signal.SIGUSR1 if clean else signal.SIGTERM)
    except ProcessLookupError:
        return True
    end = time.monotonic() + timeout
    while running_in(basedir) is not None:
        if time.monotonic() >= end:
            still = "a verification still runs" if clean else "it does not end"
            raise SettingsError(
                f"{basedir}: expected the master (process {process}) to stop within {timeout:g} s, but {still}"
            )
        time.sleep(POLL_SECONDS)
    return True
