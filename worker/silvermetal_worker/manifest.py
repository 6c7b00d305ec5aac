"""The manifest of a kept artefact: made by ``silvermetal manifest``, a process of its own (house rule 8).

Rules:

- The build is named by its id and nothing else; an id that is not one, or a build that is gone, is an error.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from silvermetal_worker.errors import EXIT_HOST_NOT_READY, EXIT_USAGE, WorkerError
from silvermetal_worker.process import output_of

TIMEOUT_SECONDS = 900


def write_manifest(artefacts: Path, build: str, output: Path) -> None:
    """Write the manifest of ``build``'s ISO to ``output``. :raises WorkerError: when it is gone or cannot be read."""
    if not re.fullmatch(r"[0-9a-f]{32}", build):
        raise WorkerError(f"expected a build's id (32 hex digits), got {build[:64]!r}", EXIT_USAGE)
    isos = sorted((artefacts / build).glob("*.iso"))
    if len(isos) != 1:
        raise WorkerError(f"build {build}: expected its ISO kept on this host, got {len(isos)}", EXIT_HOST_NOT_READY)
    program = Path(sys.executable).with_name("silvermetal")
    output_of([str(program), "manifest", str(isos[0]), "-o", str(output)], timeout=TIMEOUT_SECONDS)
