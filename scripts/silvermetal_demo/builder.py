"""The builder image that both hosts are to use: made once, by scripts/bootstrap-builder.sh, handed to each as one
archive.

- One archive for all hosts: an image imported twice gets two ids (its creation time), and the hosts would not have
  built with the same thing. The script's archive carries fixed dates.
- The script keeps what it has made under the digest of its inputs, so a second run only asks whether anything has
  changed.
"""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path

from silvermetal_demo.cell import Cell
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.progress import Progress
from silvermetal_demo.state import State

IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Builder:
    image: str
    archive: Path


def provide_builder(
    checkout: Path, state: State, cell: Cell, environment: dict[str, str], log_dir: Path, progress: Progress
) -> Builder:
    script = checkout / "scripts" / "bootstrap-builder.sh"
    environment = environment | {"SILVERMETAL_STATE": str(state.root)}

    def bootstrap(*arguments: str | Path) -> str:
        log = log_dir / "builder-image.log"
        done = cell.run(["bash", script, *arguments], timeout=1800, cwd=checkout, env=environment, log=log)
        image = done.out.strip()
        if not IMAGE_ID.fullmatch(image):
            raise SetupFailed(f"{script.name}: got {image!r}, expected sha256:<64 hex>; its log: {log}")
        return image

    # Looking up takes a few seconds; who waits longer should know for what.
    hint = threading.Timer(
        8, progress.say, ["the builder image is being looked up, or made anew: that takes up to a minute ..."]
    )
    hint.daemon = True
    hint.start()
    try:
        image = bootstrap()
    finally:
        hint.cancel()
    archive = _archive_of(state, image)
    if archive is None:
        # The script keeps its archives in another way than this module knows: ask for a copy.
        archive = state.images / "demo-builder.tar"
        image = bootstrap("--archive", archive)
    _remove_older(state, archive)
    progress.say(f"builder image {image[:19]}...")
    return Builder(image, archive)


def _archive_of(state: State, image: str) -> Path | None:
    """The kept archive that loads as `image`."""
    for id_file in state.images.glob("*.id"):
        archive = id_file.with_suffix(".tar")
        if archive.exists() and id_file.read_text().strip() == image:
            return archive
    return None


def _remove_older(state: State, archive: Path, keep: int = 2) -> None:
    """Each security update of a tool makes a new image of 200 MB: the last ones are enough."""
    os.utime(archive)
    archives = sorted(state.images.glob("*.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in archives[keep:]:
        old.with_suffix(".id").unlink(missing_ok=True)
        old.unlink()
