"""Pinning: from a tag or a commit to everything that decides bytes. Called on a thread; never in the reactor's.

Rules:

- ``config/`` is read at the commit, from the master's own mirror: no code of the tag runs here.
- The package lock is resolved once, here, unless one is committed and its files can still be had. A recipe of
  derivative-maker has the snapshot in its place, and upstream's tree is read and checked before any host is asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from silvermetal_proof import ProofError
from silvermetal_proof.digest import sha256
from silvermetal_proof.pins import PackageLock, Pins, Recipe, SnapshotLock, make_pins, parse_recipe, read_lock
from silvermetal_proof.pins.lock import MAX_LOCK_BYTES
from silvermetal_proof.pins.pins import is_from_docker, snapshot_lock
from silvermetal_proof.pins.snapshot import DEPENDENCY

from silvermetal_master.errors import PinningError
from silvermetal_master.mirror import Mirror, output_of
from silvermetal_master.upstream import read_tree

LOCK_TIMEOUT = 300


@dataclass(frozen=True)
class Pinned:
    """One build's inputs: all that the master asks of every host."""

    ref: str
    commit: str
    recipe: Recipe
    pins: Pins
    lock: bytes
    lock_origin: str
    """``committed`` or ``resolved``; ``snapshot`` where a snapshot stands in its place."""
    submodules: Mapping[str, str] = field(default_factory=dict)
    """Commit by path of every submodule that the recipe is built from, as far as gitlinks name them."""

    @property
    def inputs(self) -> str:
        """What the packages come from, in a few words."""
        lock = read_lock(self.lock)
        if isinstance(lock, SnapshotLock):
            return f"packages of the snapshot {lock.value}"
        return f"{len(lock.packages)} packages locked ({self.lock_origin})"

    def expected_inputs(self) -> dict[str, str]:
        """Inputs by the names that the verdict compares, as far as the pins fix them."""
        expected = {
            "commit": self.commit,
            "package lock": self.pins.lock,
            "BUILD_INFO COMMIT": self.commit,
            "BUILD_INFO RECIPE": self.recipe.name,
            "BUILD_INFO SOURCE_DATE_EPOCH": str(self.pins.source_date_epoch),
        }
        # The one form is the image's id, the other the digest in a registry: a host signs both, each by its own name.
        _, at, digest = self.pins.builder_image.rpartition("@")
        expected["builder image digest" if at else "builder image"] = digest
        expected |= {f"submodule {path}": commit for path, commit in self.submodules.items()}
        lock = read_lock(self.lock)
        if isinstance(lock, SnapshotLock):
            expected[DEPENDENCY] = lock.value
            # Upstream decides it, so what took effect is asked for and not only what was said.
            expected["BUILD_INFO EFFECTIVE_SOURCE_DATE_EPOCH"] = str(self.pins.source_date_epoch)
            return expected
        for package in lock.packages:
            expected[f"package {package.name}:{package.architecture}"] = f"{package.version} sha256:{package.sha256}"
        return expected


def _tool(name: str) -> str:
    """A tool that the project installs beside the interpreter."""
    return str(Path(sys.executable).with_name(name))


def _lock(mirror: Mirror, commit: str, recipe: Recipe, folder: Path) -> tuple[bytes, str]:
    """The lock's bytes and where they come from."""
    committed = mirror.file(commit, f"config/{recipe.name}.lock")
    target = folder / "packages.lock"
    if committed is not None:
        PackageLock.read(committed, f"config/{recipe.name}.lock")
        target.write_bytes(committed)
        try:
            output_of(
                [_tool("silvermetal-fetch"), str(target), "--store", str(folder), "--check"], timeout=LOCK_TIMEOUT
            )
        except PinningError:
            pass
        else:
            return committed, "committed"
    argv = [_tool("silvermetal-resolve-lock"), "--architecture", recipe.architecture, "-o", str(target)]
    for package in recipe.packages:
        argv += ["--package", package]
    output_of(argv, timeout=LOCK_TIMEOUT)
    data = target.read_bytes()
    if len(data) > MAX_LOCK_BYTES:
        raise PinningError(f"package lock: expected at most {MAX_LOCK_BYTES} bytes, got {len(data)}")
    PackageLock.read(data)
    return data, "resolved"


def pin(
    *,
    mirror: Mirror,
    ref: str,
    commit: str,
    recipe_name: str,
    folder: Path,
    image_of: Callable[[Mirror, str], str] | None = None,
) -> Pinned:
    """Gather every pin at ``commit``; ``folder`` takes the lock. :raises PinningError: with got and expected.

    ``image_of`` knows the image that was made from ``docker/`` at a commit, for one that leaves it to that.
    """
    mirror.fetch(ref, commit)

    def required(path: str) -> bytes:
        data = mirror.file(commit, path)
        if data is None:
            raise PinningError(f"{path}: expected it at commit {commit}, got no such file")
        return data

    try:
        recipe = parse_recipe(required(f"config/{recipe_name}.conf"), recipe_name)
        image = required("config/builder-image.env")
        if image_of is not None and is_from_docker(image):
            image = f"BUILDER_IMAGE={image_of(mirror, commit)}\n".encode()
        files = {
            "epoch": required("config/source-date-epoch.env"),
            "image": image,
            "commit_time": mirror.commit_time(commit),
        }
        if recipe.base:
            snapshot = required("config/snapshot-pin.env")
            lock = snapshot_lock(recipe, snapshot).encode()
            tree = read_tree(mirror, commit, recipe.settings)
            pins = make_pins(recipe=recipe, lock=sha256(lock), snapshot=snapshot, upstream=tree.pins, **files)
            return Pinned(ref, commit, recipe, pins, lock, "snapshot", tree.submodules)
        # The pins that cost nothing to check are checked before the lock, which takes seconds.
        make_pins(recipe=recipe, lock=sha256(b""), **files)
        lock, origin = _lock(mirror, commit, recipe, folder)
        pins = make_pins(recipe=recipe, lock=sha256(lock), **files)
    except ProofError as error:
        raise PinningError(str(error)) from None
    return Pinned(ref, commit, recipe, pins, lock, origin)
