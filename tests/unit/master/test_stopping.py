"""`silvermetal-master stop`: who holds the folder's lock is asked, and it returns when that process is gone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from silvermetal_master.errors import SettingsError
from silvermetal_master.stopping import running_in, stop

# Holds the lock as a master does; on a clean stop it "finishes its builds" first.
MASTER = """
import signal, sys, time
from pathlib import Path
from silvermetal_master.recovery import hold_alone
base = Path(sys.argv[1])
def clean(*_):
    (base / "clean").touch()
    sys.exit(0)
signal.signal(signal.SIGUSR1, clean if sys.argv[2] == "ends" else lambda *_: None)
hold_alone(base)
(base / "up").touch()
time.sleep(300)
"""


@pytest.fixture(params=["ends", "stays"])
def master(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", MASTER, str(tmp_path), request.param])
    end = time.monotonic() + 60
    while not (tmp_path / "up").exists():
        assert time.monotonic() < end, "the stand-in for the master did not start"
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait()


def test_nobody_runs(tmp_path: Path) -> None:
    assert not stop(tmp_path, clean=False, timeout=1)
    # A lock file that a dead master left names a process that may be anybody's by now.
    (tmp_path / ".lock").write_text("1\n")
    assert running_in(tmp_path) is None
    assert not stop(tmp_path, clean=False, timeout=1)


@pytest.mark.parametrize("master", ["ends"], indirect=True)
@pytest.mark.parametrize("clean", [True, False])
def test_it_is_asked_and_gone(master: subprocess.Popen[bytes], tmp_path: Path, clean: bool) -> None:
    assert running_in(tmp_path) == master.pid
    assert stop(tmp_path, clean=clean, timeout=60)
    assert running_in(tmp_path) is None
    assert (tmp_path / "clean").exists() is clean


@pytest.mark.parametrize("master", ["stays"], indirect=True)
def test_it_says_when_something_still_runs(master: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=rf"process {master.pid}\) to stop within 0.3 s, but a verification still"):
        stop(tmp_path, clean=True, timeout=0.3)
    assert master.poll() is None
