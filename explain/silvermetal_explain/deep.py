"""A closer look at the few binary files that differ, by diffoscope where it is installed.

Rules:
- Processes of their own, bounded in time, memory, depth and output, and ended together: diffoscope starts others.
- Whatever it cannot do is a note, never a failure.
- Only files whose shape told nothing are handed on, the first few, each at most `LARGEST` bytes.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from .compare import Difference
from .diagnosis import Diagnosis
from .errors import ExplainError
from .image.source import chunks

FILES = 5
LARGEST = 32 << 20
SECONDS = 60
MEMORY = 1 << 30
DISK = 256 << 20  # of one file that it writes
LINES = 40
OUTPUT = 64 << 10
VAGUE = ("binary", "elf: binary", "pyc code", "random bytes", "text", "beyond")


def vague(d: Difference) -> bool:
    """Whether its shape leaves the question open."""
    return d.entries is not None and any(v in d.shape for v in VAGUE) and max(e.size for e in d.entries) <= LARGEST


def look(diagnosis: Diagnosis) -> None:
    """Add diffoscope's words to the evidence of vague differences."""
    wanted = [d for d in diagnosis.comparison.differences if vague(d)]
    if not wanted:
        return
    tool = shutil.which("diffoscope")
    if tool is None:
        diagnosis.notes.append(f"{len(wanted)} binary files were not looked into: diffoscope is not installed.")
        return
    for d in wanted[:FILES]:
        d.evidence.extend(_run(tool, d))
    if len(wanted) > FILES:
        diagnosis.notes.append(f"diffoscope looked into the first {FILES} of {len(wanted)} binary files.")


def _run(tool: str, d: Difference) -> list[str]:
    assert d.layers is not None
    assert d.entries is not None
    with tempfile.TemporaryDirectory(prefix="silvermetal-deep-") as folder:
        paths = []
        try:
            for side, layer, entry in zip("ab", d.layers, d.entries, strict=True):
                # the same base name on both sides: diffoscope goes by it
                target = Path(folder) / side / "file"
                target.parent.mkdir()
                with target.open("wb") as file:
                    for chunk in chunks(layer.open(entry)):
                        file.write(chunk)
                paths.append(str(target))
        except ExplainError as error:
            return [f"diffoscope: not run, {error}"]
        argv = [
            tool,
            "--text",
            "-",
            "--max-text-report-size",
            "20000",
            "--max-container-depth",
            "3",
            "--no-progress",
            *paths,
        ]
        return _bounded(argv, Path(folder))


def _bounded(argv: list[str], folder: Path) -> list[str]:
    said, complaint = folder / "said", folder / "complaint"
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TMPDIR": str(folder)}
    with said.open("wb") as out, complaint.open("wb") as err:
        try:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment,
                                     preexec_fn=_limits, start_new_session=True)  # fmt: skip
        except OSError as error:
            return [f"diffoscope: not run, {error}"]
        try:
            code = child.wait(SECONDS)
        except subprocess.TimeoutExpired:
            return [f"diffoscope: stopped after {SECONDS} s"]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    lines = _begin(said).splitlines()
    if code not in (0, 1) or not lines:  # Python also ends with 1 when memory runs out
        return [f"diffoscope: exit code {code}: {_begin(complaint)[-200:]}"]
    return ["diffoscope says:", *(line[:300] for line in lines[:LINES]), *(["…"] if len(lines) > LINES else [])]


def _begin(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(OUTPUT).decode(errors="replace").strip()


def _limits() -> None:
    """Its own bounds, not ours: it needs more memory than reading does."""
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (MEMORY if hard in (-1, resource.RLIM_INFINITY) else min(MEMORY, hard), hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK, DISK))
