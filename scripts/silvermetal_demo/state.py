"""Where the demo keeps things: what lasts from run to run, and what belongs to one run.

    <state>/store/              verified packages, shared by every build
    <state>/images/             builder images as archives
    <state>/hosts/<name>/       engine data of a host, so that the builder image stays loaded
    <state>/vm/                 guest disks
    <state>/run/<run>/          of one run: manifest, master, repository, worker directories; gone at its end

- One demo at a time for each state folder: two would share engine data, which no engine stands. The lock is the
  kernel's (flock), so it ends with the process, however that ended.
- What an earlier run left, killed without a chance to clean up, is swept before a new one starts.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.manifest import Manifest
from silvermetal_demo.progress import Progress

FREE_BYTES = 3 * 1024**3


def state_dir() -> Path:
    if chosen := os.environ.get("SILVERMETAL_STATE"):
        return Path(chosen).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache).absolute() / "silvermetal"


class State:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = root / "store"
        self.images = root / "images"
        self.hosts = root / "hosts"
        self.runs = root / "run"
        for folder in (self.store, self.images, self.hosts, self.runs):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        with (self.root / "lock").open("a+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.seek(0)
                owner = stream.read().strip() or "unknown"
                raise SetupFailed(
                    f"another demo (process {owner}) uses {self.root}; wait for it, or set SILVERMETAL_STATE elsewhere"
                ) from None
            stream.truncate(0)
            stream.write(f"{os.getpid()}\n")
            stream.flush()
            yield

    def sweep(self, progress: Progress) -> None:
        """Undo what killed runs left. Only under the lock."""
        for folder in sorted(self.runs.iterdir()):
            progress.say(f"an earlier run ({folder.name}) did not end cleanly: removing what it left")
            if problems := end_run(folder):
                raise SetupFailed(f"cannot remove what run {folder.name} left:\n" + "\n".join(problems))

    def new_run(self) -> Path:
        free = shutil.disk_usage(self.root).free
        if free < FREE_BYTES:
            raise SetupFailed(
                f"got {free / 1024**3:.1f} GiB free at {self.root}, expected {FREE_BYTES / 1024**3:.0f}; "
                "free some, or set SILVERMETAL_STATE to a folder with room"
            )
        folder = self.runs / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}"
        folder.mkdir(mode=0o700)
        return folder


def manifest_of(run_dir: Path) -> Manifest:
    return Manifest(run_dir / "manifest.jsonl")


def end_run(run_dir: Path) -> list[str]:
    """Undo the run's manifest and remove its folder; what could not be undone keeps both for the next sweep."""
    problems = manifest_of(run_dir).undo_all()
    if not problems:
        shutil.rmtree(run_dir)
    return problems
