"""The bootstrapped builder image is the same wherever it is made: another folder, umask, time zone, and no tmpfs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.live import Workshop

pytestmark = pytest.mark.e2e

# An `unshare` that may not: as in a chroot or a container, where the image is made on the disk.
REFUSING = "#!/bin/sh\necho 'unshare: Operation not permitted' >&2\nexit 1\n"


def test_made_again_under_other_conditions(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "unshare").write_text(REFUSING)
    (tmp_path / "unshare").chmod(0o755)
    archive = tmp_path / "builder.tar"
    state = tmp_path / "state"
    other = {"SILVERMETAL_STATE": str(state), "TZ": "Asia/Kathmandu", "LANG": "de_DE.UTF-8"}
    made = subprocess.run(
        (workshop.origin / "scripts/bootstrap-builder.sh", "--archive", archive),
        env={**os.environ, **other, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        umask=0o077,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    assert made.stdout == workshop.image + "\n"
    # Nothing is asked of the archives twice: the second call answers from what the first one kept.
    (kept,) = (state / "images").glob("*.tar")
    before = kept.stat().st_mtime_ns
    again = subprocess.run(
        (workshop.origin / "scripts/bootstrap-builder.sh",),
        env={**os.environ, "SILVERMETAL_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (again.stdout, kept.stat().st_mtime_ns) == (made.stdout, before)
