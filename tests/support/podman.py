"""Podman as the engine for a test: its service with Docker's API, on a socket of the test's own.

Rules:

- Its storage, run folder and settings lie in one folder; no network, bridge or firewall rule is touched.
- Whatever way the test ends, no process, mount or file of it is left.
- Where Podman is not installed or its service does not start the test is skipped, and the skip says why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.engine import START_SECONDS, Engine, _stop

# Events by file: by its default on a machine without journald, nobody who follows a container learns of its end.
_SETTINGS = '[engine]\nruntime = "{runtime}"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
_STORAGE = '[storage]\ndriver = "overlay"\nrunroot = "{folder}/run/"\ngraphroot = "{folder}/data/"\n'


@contextmanager
def podman() -> Iterator[Engine]:
    """A running service, in a mount namespace of its own."""
    for tool in ("podman", "docker", "unshare"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if os.geteuid() != 0:
        pytest.skip("Podman is tested as root's")
    # Not pytest's tmp_path: a socket's path may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="sm-podman-", dir="/var/tmp"))
    # Debian 12's crun refuses a machine with both kinds of control groups; runc, which Docker brings, does not.
    (folder / "containers.conf").write_text(_SETTINGS.format(runtime="runc" if shutil.which("runc") else "crun"))
    (folder / "storage.conf").write_text(_STORAGE.format(folder=folder))
    settings = {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
    }
    service = f"podman --tmpdir {folder}/tmp/ system service --time 0 unix://{folder}/s"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ("unshare", "--mount", "--propagation", "private", "sh", "-c", f"exec {service}"),
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        own = Engine(f"unix://{folder}/s")
        deadline = time.monotonic() + START_SECONDS
        while not own.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"Podman's service does not start: {(folder / 'log').read_text(errors='replace')[-600:]}")
            time.sleep(0.2)
        yield own
    finally:
        _stop(process, folder)
