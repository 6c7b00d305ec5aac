"""Pinning: from a tag or a commit to everything that decides bytes. Called on a thread; never in the reactor's.

Rules:

- The tag is resolved and peeled by the master itself (``git ls-remote``); what an event said is a hint that must agree
  (H9, H10). A tag that moved meanwhile is refused.
- ``config/`` is read at the commit, from the master's own mirror, by ``git show``: no code of the tag runs here.
- The package lock is resolved once, here, unless one is committed and its files can still be had.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from silvermetal_proof import ProofError
from silvermetal_proof.digest import sha256
from silvermetal_proof.errors import printable
from silvermetal_proof.pins import PackageLock, Pins, Recipe, make_pins, parse_recipe
from silvermetal_proof.pins.lock import MAX_LOCK_BYTES
from silvermetal_proof.pins.pins import is_from_docker

from silvermetal_master.errors import PinningError

_COMMIT = re.compile(r"\A[0-9a-f]{40}\Z")
_REF = re.compile(r"\Arefs/(tags|heads)/[A-Za-z0-9][A-Za-z0-9._/+-]{0,200}\Z")
_MAX_FILE = 4 * 1024 * 1024
GIT_TIMEOUT = 300
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
    """``committed`` or ``resolved``."""

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
        for package in PackageLock.read(self.lock).packages:
            expected[f"package {package.name}:{package.architecture}"] = f"{package.version} sha256:{package.sha256}"
        return expected


def _run(argv: Sequence[str], *, timeout: float, limit: int = _MAX_FILE, cwd: Path | None = None) -> bytes:
    """Standard output of ``argv``. :raises PinningError: when it fails, takes too long or says too much."""
    env = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR")}
    # No prompt may hold the master: an unknown host or a missing credential is an error at once.
    env |= {"LC_ALL": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes"}
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise PinningError(f"expected the program {argv[0]} on the master, got none") from None
    except subprocess.TimeoutExpired:
        raise PinningError(f"{Path(argv[0]).name} {argv[1]}: expected an end within {timeout:g} s, got none") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-600:]
        raise PinningError(f"{Path(argv[0]).name} {argv[1]}: expected exit code 0, got {done.returncode}: {said}")
    if len(done.stdout) > limit:
        raise PinningError(f"{Path(argv[0]).name} {argv[1]}: expected at most {limit} bytes, got {len(done.stdout)}")
    return done.stdout


def resolve_ref(url: str, ref: str, hint: str | None) -> str:
    """Return the commit that ``ref`` names now, peeled. ``hint`` is what an event or a person said, or None.

    :raises PinningError: when there is no such ref, or the hint names neither the ref's object nor its commit.
    """
    if not _REF.match(ref):
        raise PinningError(f"ref: expected refs/tags/<name> or refs/heads/<name>, got {ref[:80]!r}")
    if hint and not _COMMIT.match(hint):
        raise PinningError(f"revision: expected a full commit (40 hex), got {printable(hint, 80)}")
    listed = _run(["git", "ls-remote", "--", url, ref, f"{ref}^{{}}"], timeout=GIT_TIMEOUT).decode(errors="replace")
    found = {name: commit for commit, name in (line.split("\t", 1) for line in listed.splitlines() if "\t" in line)}
    direct, peeled = found.get(ref), found.get(f"{ref}^{{}}")
    commit = peeled or direct
    if commit is None or not _COMMIT.match(commit):
        raise PinningError(f"{ref}: expected it in {url}, got no such ref; it may have been deleted")
    if hint and ref.startswith("refs/tags/") and hint not in (direct, peeled):
        raise PinningError(f"{ref}: expected {hint} (which the event named), got {commit}: the tag was moved")
    return commit


class Mirror:
    """The master's own bare copy of the repository, for reading ``config/`` at a commit."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url

    def _git(self, *argv: str, limit: int = _MAX_FILE) -> bytes:
        return _run(["git", f"--git-dir={self.path}", *argv], timeout=GIT_TIMEOUT, limit=limit)

    def fetch(self, ref: str, commit: str) -> None:
        """Bring ``ref`` here and check that ``commit`` is in it. :raises PinningError: when it is not."""
        if not (self.path / "HEAD").exists():
            _run(["git", "init", "--quiet", "--bare", str(self.path)], timeout=GIT_TIMEOUT)
        self._git("fetch", "--quiet", "--no-tags", "--force", "--", self.url, f"+{ref}:refs/silvermetal/{ref}")
        try:
            self._git("merge-base", "--is-ancestor", commit, f"refs/silvermetal/{ref}")
        except PinningError:
            raise PinningError(
                f"commit {commit}: expected it in {ref} of {self.url}, got no such commit there"
            ) from None

    def file(self, commit: str, path: str) -> bytes | None:
        """A file at a commit; None when the commit has none."""
        if not self._git("ls-tree", "--name-only", commit, "--", path).strip():
            return None
        return self._git("show", f"{commit}:{path}")

    def objects(self, commit: str, paths: Sequence[str]) -> dict[str, str]:
        """Git's object ids of files, folders and submodules at a commit, by path; without those that are not there."""
        listed = self._git("ls-tree", "-z", "--full-tree", commit, "--", *paths).decode(errors="replace")
        entries = (line.partition("\t") for line in listed.split("\0") if line)
        return {path: about.split(" ")[2] for about, _, path in entries}

    def commit_time(self, commit: str) -> int:
        """The committer's time, in seconds since 1970."""
        return int(self._git("show", "--no-patch", "--format=%ct", commit).strip())


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
            _run([_tool("silvermetal-fetch"), str(target), "--store", str(folder), "--check"], timeout=LOCK_TIMEOUT)
        except PinningError:
            pass
        else:
            return committed, "committed"
    argv = [_tool("silvermetal-resolve-lock"), "--architecture", recipe.architecture, "-o", str(target)]
    for package in recipe.packages:
        argv += ["--package", package]
    _run(argv, timeout=LOCK_TIMEOUT)
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
        # The pins that cost nothing to check are checked before the lock, which takes seconds.
        make_pins(recipe=recipe, lock=sha256(b""), **files)
        lock, origin = _lock(mirror, commit, recipe, folder)
        pins = make_pins(recipe=recipe, lock=sha256(lock), **files)
    except ProofError as error:
        raise PinningError(str(error)) from None
    return Pinned(ref, commit, recipe, pins, lock, origin)
