"""Keeping artefacts: the newest few builds' ISOs stay on the host, for the explanation and for the release.

Rules:

- Moved by rename, a folder a build, named by the build's id; the oldest beyond the limit go.
- Nothing outside the worker's ``artefacts`` folder is ever removed.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

_BUILD_ID = re.compile(r"\A[0-9a-f]{32}\Z")


def keep(folder: Path, artefacts: Path, build: str, limit: int) -> Path:
    """Move ``folder`` to ``artefacts/<build>`` and return it; drop all but the ``limit`` newest."""
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
    for old in kept[limit:]:
        shutil.rmtree(old, ignore_errors=True)
    return target
