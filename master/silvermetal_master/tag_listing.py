"""The tags of a repository, by ``git ls-remote``. Called on a thread; never in the reactor's.

Rules:

- Git and whatever it starts end with the call: at its end, after ``seconds``, or when the answer is too long. There is
  no prompt and no standard input.
- Only names that a tag of ours can have are returned; the rest of the repository is nobody's business here.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
from typing import Any

from silvermetal_proof.errors import printable
from silvermetal_proof.tags import Tag

from silvermetal_master.errors import PinningError
from silvermetal_master.gitea.events import TAG_REF

SECONDS = 60
MAX_BYTES = 64 * 1024 * 1024
_LINE = re.compile(r"([0-9a-f]{40})\t(refs/tags/[^\s]+?)(\^\{\})?")


class Listing:
    """One call of git that can be ended from another thread."""

    def __init__(self, url: str, *, seconds: float = SECONDS, most: int = MAX_BYTES) -> None:
        self._argv = ["git", "ls-remote", "--tags", "--", url]
        self._seconds = seconds
        self._most = most
        self._group: int | None = None
        self._stopped = self._late = False

    def stop(self) -> None:
        """End it now, with everything that it started."""
        self._stopped = True
        if self._group is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)

    def _expire(self) -> None:
        self._late = True
        self.stop()

    def run(self, pattern: str) -> dict[str, Tag]:
        """Full refs to what they name, of the tags whose whole name matches. :raises PinningError: when git fails."""
        env = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR")}
        env |= {"LC_ALL": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes"}
        with tempfile.TemporaryFile() as said:
            # A session of its own: git's helpers (ssh, git-remote-https) end with it.
            options: dict[str, Any] = {"env": env, "stdin": subprocess.DEVNULL, "start_new_session": True}
            try:
                process = subprocess.Popen(self._argv, stdout=subprocess.PIPE, stderr=said, **options)
            except FileNotFoundError:
                raise PinningError("expected the program git on the master, got none") from None
            self._group = process.pid
            timer = threading.Timer(self._seconds, self._expire)
            timer.start()
            if self._stopped:
                self.stop()
            data = b""
            try:
                assert process.stdout is not None
                data = process.stdout.read(self._most + 1)
                code = process.wait() if len(data) <= self._most else 0
            finally:
                timer.cancel()
                self.stop()
                # Only now is the number free for another group.
                self._group = None
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()
            if self._late:
                raise PinningError(f"git ls-remote: expected an end within {self._seconds:g} s, got none")
            if len(data) > self._most:
                raise PinningError(f"git ls-remote: expected at most {self._most} bytes, got more")
            if code != 0:
                said.seek(0)
                why = printable(said.read(2000).decode(errors="replace").strip(), 400)
                raise PinningError(f"git ls-remote: expected exit code 0, got {code}: {why}")
        return tags_of(data.decode(errors="replace"), pattern)


def tags_of(text: str, pattern: str) -> dict[str, Tag]:
    """The tags in the output of ``git ls-remote``."""
    objects: dict[str, str] = {}
    commits: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        name = TAG_REF.match(match[2])
        if name is not None and re.fullmatch(pattern, name["name"]):
            (commits if match[3] else objects)[match[2]] = match[1]
    return {ref: Tag(object_, commits.get(ref, object_)) for ref, object_ in objects.items()}
