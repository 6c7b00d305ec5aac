"""The manifest of a kept artefact: made by ``silvermetal manifest``, a process of its own (house rule 8).

Rules:

- The build is named by its id and nothing else; an id that is not one, or a build that is gone, is an error.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from silvermetal_worker.errors import EXIT_HOST_NOT_READY, EXIT_USAGE, WorkerError
from silvermetal_worker.process import output_of

TIMEOUT_SECONDS = 900
MAX_WANTED_BYTES = 1 << 20
MAX_TOGETHER = 4 << 20


def kept_iso(artefacts: Path, build: str) -> Path:
    """The ISO that ``build`` left on this host. :raises WorkerError: when it is gone."""
    if not re.fullmatch(r"[0-9a-f]{32}", build):
        raise WorkerError(f"expected a build's id (32 hex digits), got {build[:64]!r}", EXIT_USAGE)
    isos = sorted((artefacts / build).glob("*.iso"))
    if len(isos) != 1:
        raise WorkerError(f"build {build}: expected its ISO kept on this host, got {len(isos)}", EXIT_HOST_NOT_READY)
    return isos[0]


def write_manifest(artefacts: Path, build: str, output: Path) -> None:
    """Write the manifest of ``build``'s ISO to ``output``. :raises WorkerError: when it is gone or cannot be read."""
    iso = kept_iso(artefacts, build)
    program = Path(sys.executable).with_name("silvermetal")
    output_of([str(program), "manifest", str(iso), "-o", str(output)], timeout=TIMEOUT_SECONDS)


def write_excerpt(artefacts: Path, build: str, want: Path, output: Path) -> None:
    """Write the first bytes of the files that the master wants, within the budget that it names."""
    wanted = json.loads(want.read_bytes()[:MAX_WANTED_BYTES])
    together = wanted.get("together") if isinstance(wanted, dict) else None
    if not isinstance(together, int) or not 1 <= together <= MAX_TOGETHER:
        raise WorkerError(
            f"{want.name}: expected a budget of 1 to {MAX_TOGETHER} bytes, got {str(together)[:40]}", EXIT_USAGE
        )
    program = str(Path(sys.executable).with_name("silvermetal"))
    argv = [program, "excerpt", str(kept_iso(artefacts, build)), "--want", str(want), "-o", str(output)]
    output_of([*argv, "--together", str(together)], timeout=TIMEOUT_SECONDS)
