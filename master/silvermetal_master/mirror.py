"""The master's own copy of a repository, and the refs of the original: for reading at a commit, never for running.

Rules:

- The tag is resolved and peeled by the master itself (``git ls-remote``); what an event said is a hint that must agree
  (H9, H10). A tag that moved meanwhile is refused.
- Files are read by ``git show`` from a bare copy: no code of a tag runs here.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from silvermetal_proof.errors import printable

from silvermetal_master.errors import PinningError

_COMMIT = re.compile(r"\A[0-9a-f]{40}\Z")
_REF = re.compile(r"\Arefs/(tags|heads)/[A-Za-z0-9][A-Za-z0-9._/+-]{0,200}\Z")
_MAX_FILE = 4 * 1024 * 1024
GIT_TIMEOUT = 300


def output_of(argv: Sequence[str], *, timeout: float, limit: int = _MAX_FILE, cwd: Path | None = None) -> bytes:
    """Standard output of ``argv``, within ``timeout`` seconds and ``limit`` bytes.

    :raises PinningError: when it fails, takes too long or says too much.
    """
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
    """Return the commit alone that :func:`resolve` finds."""
    return resolve(url, ref, hint)[1]


def resolve(url: str, ref: str, hint: str | None) -> tuple[str, str]:
    """Return the object that ``ref`` names now, and the commit that it peels to.

    ``hint`` is what an event or a person said, or None.

    :raises PinningError: when there is no such ref, or the hint names neither the ref's object nor its commit.
    """
    if not _REF.match(ref):
        raise PinningError(f"ref: expected refs/tags/<name> or refs/heads/<name>, got {ref[:80]!r}")
    if hint and not _COMMIT.match(hint):
        raise PinningError(f"revision: expected a full commit (40 hex), got {printable(hint, 80)}")
    listed = output_of(["git", "ls-remote", "--", url, ref, f"{ref}^{{}}"], timeout=GIT_TIMEOUT).decode(
        errors="replace"
    )
    found = {name: commit for commit, name in (line.split("\t", 1) for line in listed.splitlines() if "\t" in line)}
    direct, peeled = found.get(ref), found.get(f"{ref}^{{}}")
    commit = peeled or direct
    if commit is None or not _COMMIT.match(commit):
        raise PinningError(f"{ref}: expected it in {url}, got no such ref; it may have been deleted")
    if hint and ref.startswith("refs/tags/") and hint not in (direct, peeled):
        raise PinningError(f"{ref}: expected {hint} (which the event named), got {commit}: the tag was moved")
    return direct or commit, commit


class Mirror:
    """The master's own bare copy of the repository, for reading ``config/`` at a commit."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path
        self.url = url

    def _git(self, *argv: str, limit: int = _MAX_FILE) -> bytes:
        return output_of(["git", f"--git-dir={self.path}", *argv], timeout=GIT_TIMEOUT, limit=limit)

    def fetch(self, ref: str, commit: str) -> None:
        """Bring ``ref`` here and check that ``commit`` is in it. :raises PinningError: when it is not."""
        if not (self.path / "HEAD").exists():
            output_of(["git", "init", "--quiet", "--bare", str(self.path)], timeout=GIT_TIMEOUT)
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

    def parent(self, commit: str) -> str | None:
        """The commit's first parent; None for one without."""
        line = self._git("rev-list", "--parents", "--max-count=1", commit).decode().split()
        return line[1] if len(line) > 1 else None

    def objects(self, commit: str, paths: Sequence[str]) -> dict[str, str]:
        """Git's object ids of files, folders and submodules at a commit, by path; without those that are not there."""
        listed = self._git("ls-tree", "-z", "--full-tree", commit, "--", *paths).decode(errors="replace")
        entries = (line.partition("\t") for line in listed.split("\0") if line)
        return {path: about.split(" ")[2] for about, _, path in entries}

    def commit_time(self, commit: str) -> int:
        """The committer's time, in seconds since 1970."""
        return int(self._git("show", "--no-patch", "--format=%ct", commit).strip())

    def listing(self, commit: str) -> bytes:
        """Every entry of the tree at a commit (``git ls-tree -r -z``)."""
        return self._git("ls-tree", "-r", "-z", commit)

    def settings_of(self, commit: str, path: str) -> bytes:
        """A file in Git's own form of settings, at a commit, by ``git config --list``; nothing when there is none."""
        if self.file(commit, path) is None:
            return b""
        return self._git("config", "--blob", f"{commit}:{path}", "--null", "--list")

    def object_of(self, ref: str) -> str:
        """The object that ``ref`` names here: of an annotated tag, the tag itself."""
        return self._git("rev-parse", "--verify", f"refs/silvermetal/{ref}").decode().strip()
