"""The shelf of guest disks: what takes long to make is made once and found again by the digest of its inputs.

    <state>/vm/<kind>-<32 hex>/    root, kernels, worker: each a folder that is complete or not there

- A thing appears by rename when it is whole; what a killed run left unfinished is removed before the next try.
- The key covers every input (package lock, recipe of the thing, this package's own code that makes it), so nothing on
  the shelf is ever stale. The two newest of a kind stay: two checkouts can take turns.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from silvermetal_demo.command import run
from silvermetal_demo.interrupt import Interrupt

KEPT = 2


def key_of(*parts: bytes | str) -> str:
    """One digest over all parts; each is hashed by itself first, so that no two lists of parts run together."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return total.hexdigest()[:32]


def digest_of_files(files: Iterable[Path]) -> str:
    """Names and contents."""
    return key_of(*(part for file in sorted(files) for part in (str(file), file.read_bytes())))


class Shelf:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def find(self, kind: str, key: str) -> Path | None:
        found = self.folder / f"{kind}-{key}"
        return found if found.is_dir() else None

    def provide(self, kind: str, key: str, make: Callable[[Path], None]) -> Path:
        """The folder `<kind>-<key>`; `make` fills a new one where there is none."""
        wanted = self.folder / f"{kind}-{key}"
        if not wanted.is_dir():
            growing = self.folder / f"{kind}.new"
            shutil.rmtree(growing, ignore_errors=True)
            growing.mkdir()
            make(growing)
            growing.rename(wanted)
        os.utime(wanted)
        of_kind = sorted(self.folder.glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in of_kind[KEPT:]:
            shutil.rmtree(old)
        return wanted


def pack_ext4(tree: Path | str, image: Path, *, room: int, interrupt: Interrupt) -> None:
    """The tree as an ext4 image with `room` bytes free, without a mount: no loop device, no trace on the machine.

    No journal: a guest's writes go to a throw-away overlay, or there are none.
    """
    used = int(run(["du", "--summarize", "--block-size=1", str(tree)], timeout=120, interrupt=interrupt).out.split()[0])
    # Inodes and bitmaps take a few per cent of the size, and small files round up to blocks.
    mebibytes = (used + used // 8 + room) // 2**20 + 48
    options = ["-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,root_owner=0:0"]
    run(["mke2fs", *options, "-d", str(tree), image, f"{mebibytes}M"], timeout=600, interrupt=interrupt)
