"""Keeping artefacts: the newest few builds' ISOs stay on the host, for the explanation and for the release.

Rules:

- Moved by rename, a folder a build, named by the build's id; the oldest beyond number, age and size go. The build that
  was just made stays: its ISO is asked for next.
- Nothing outside the worker's ``artefacts`` folder is ever removed.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from silvermetal_proof.retention import Kept, beyond

DAY_SECONDS = 86400
MIB = 2**20
_BUILD_ID = re.compile(r"\A[0-9a-f]{32}\Z")


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def keep(folder: Path, artefacts: Path, build: str, limit: int, *, days: int, mebibytes: int) -> Path:
    """Move ``folder`` to ``artefacts/<build>`` and return it; drop what is beyond number, age and size."""
    artefacts.mkdir(parents=True, exist_ok=True)
    target = artefacts / build
    if target.exists():
        shutil.rmtree(target)
    folder.rename(target)
    target.touch()
    kept = sorted(
        (p for p in artefacts.iterdir() if _BUILD_ID.match(p.name) and p.is_dir()),
        key=lambda p: p.stat().st_mtime_ns,
        reverse=True,
    )
    now = target.stat().st_mtime
    found = [Kept(p.name, _size(p), max(0.0, now - p.stat().st_mtime)) for p in kept[:limit]]
    gone = beyond(found, max_age=days * DAY_SECONDS, max_bytes=mebibytes * MIB, stays={build})
    for old in (*kept[limit:], *(artefacts / name for name in gone)):
        shutil.rmtree(old, ignore_errors=True)
    return target
