"""Cleaning derived files out of the records, by the plan of :mod:`silvermetal_proof.retention`.

Rules:

- What may go is decided there; here files are listed, removed one by one, and said.
- A build without its place in the ledger is unfinished, and nothing of it goes.
- A file that cannot be removed is said, and the next one is tried.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from silvermetal_proof.retention import Kept, is_derived, plan
from twisted.internet.threads import deferToThread
from twisted.python import log

from silvermetal_master.services.clockwork import Clockwork

DAY_SECONDS = 86400
MIB = 2**20


def derived_files(state: Path, now: float) -> list[Kept]:
    """What there is of derived files in the records in ``state``."""
    found = []
    for place, _, names in os.walk(state / "builds"):
        for name in names:
            path = Path(place, name)
            relative = path.relative_to(state).as_posix()
            if is_derived(relative) and not path.is_symlink():
                try:
                    facts = path.stat()
                except FileNotFoundError:
                    continue
                found.append(Kept(relative, facts.st_size, max(0.0, now - facts.st_mtime)))
    return found


def clean(state: Path, *, days: int, mebibytes: int, now: float, dry: bool = False) -> tuple[list[str], list[str]]:
    """Remove what the plan names; return what went (or would) and a sentence for each file that could not go."""
    files = derived_files(state, now)
    builds = {f.path.split("/")[1] for f in files}
    unfinished = {b for b in builds if not (state / "builds" / b / "ledger-index").exists()}
    gone, problems = [], []
    for path in plan(files, max_age=days * DAY_SECONDS, max_bytes=mebibytes * MIB, unfinished=unfinished):
        try:
            if not dry:
                (state / path).unlink(missing_ok=True)
            gone.append(path)
        except OSError as error:
            problems.append(f"{state / path}: expected to remove it, got {error.strerror}")
    return gone, problems


class Retention(Clockwork):
    """Cleans once an hour."""

    name = "retention"
    every = 3600.0

    def checkConfig(self, *, state: str, days: int, mebibytes: int) -> None:
        """Nothing to check."""
        super().checkConfig()

    def reconfigService(self, *, state: str, days: int, mebibytes: int) -> Any:
        """Take the bounds."""
        self._state, self._days, self._mebibytes = Path(state), days, mebibytes
        return super().reconfigService()

    async def round(self) -> None:
        """Clean, and say it."""
        gone, problems = await deferToThread(
            clean, self._state, days=self._days, mebibytes=self._mebibytes, now=time.time()
        )
        for sentence in problems:
            log.msg(f"{self.name}: {sentence}")
        if gone:
            log.msg(f"{self.name}: removed {len(gone)} derived files, the first {gone[0]}")
