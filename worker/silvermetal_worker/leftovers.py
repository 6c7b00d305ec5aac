"""What builds of this worker left behind that were killed with it: containers, and the folders that they wrote into.

Rules:

- Swept when the worker's process starts: then none of its builds runs. An engine may be another worker's too, so only
  what has a folder of this worker's builds mounted is touched, and only what ``scripts/build.sh`` labelled.
- An engine that does not answer keeps nobody from starting: the preflight of the next build tells of it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from silvermetal_worker.engine import ContainerEngine
from silvermetal_worker.settings import WorkerDirectory

LABEL = "silvermetal.build"
# As `mktemp -d "$output.XXXXXX"` of scripts/build.sh makes them; a builder's folder is one level below `builds`.
_WORK = re.compile(r"\A[A-Za-z0-9_-]+\.[A-Za-z0-9]{6}\Z")


def _folders(builds: Path) -> Iterator[Path]:
    for builder in builds.iterdir():
        if builder.is_dir() and not builder.is_symlink():
            yield from (p for p in builder.iterdir() if _WORK.match(p.name) and p.is_dir() and not p.is_symlink())


def sweep(directory: WorkerDirectory, engine: ContainerEngine) -> list[str]:
    """Remove what is left; return what it was, one line each. :raises WorkerError: when the engine does not answer."""
    builds = directory.path.resolve() / "builds"
    gone = [f"container {name}" for name in engine.remove_of(LABEL, below=builds)]
    for folder in _folders(builds):
        shutil.rmtree(folder, ignore_errors=True)
        gone.append(f"folder {folder.relative_to(builds)}")
    return gone
