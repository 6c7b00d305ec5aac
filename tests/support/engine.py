"""A container engine for a test: DOCKER_HOST's where it answers, else a private dockerd that dies with the test.

Rules of this module:
- A private engine has its own data root, exec root, socket and containerd; no bridge and no firewall rule is touched.
- Whatever way the test ends, no process, mount or file of the private engine is left.
- Where no engine can be had the test is skipped, and the skip names what is missing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

START_SECONDS = 60
STOP_SECONDS = 30


@dataclass(frozen=True)
class Engine:
    """Where an engine listens, and how docker's client is called on it."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": self.url}

    def docker(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ("docker", *arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def answers(self) -> bool:
        return self.docker("version", timeout=20).returncode == 0

    def containers(self) -> list[str]:
        return self.docker("ps", "--all", "--quiet", "--no-trunc").stdout.split()

    def image_id(self, reference: str) -> str:
        return self.docker("image", "inspect", "--format", "{{.Id}}", reference).stdout.strip()


@contextmanager
def engine() -> Iterator[Engine]:
    """The engine of the environment, else a private one."""
    if shutil.which("docker") is None:
        pytest.skip("docker's client is not installed (package docker.io)")
    given = Engine(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    if given.answers():
        yield given
    else:
        with private_engine() as own:
            yield own


@contextmanager
def private_engine(before: str = ":") -> Iterator[Engine]:
    """A dockerd of its own in a mount namespace of its own; `before` is a shell command run in there first."""
    for tool in ("docker", "dockerd", "unshare"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if os.geteuid() != 0:
        pytest.skip("a private dockerd needs root")
    # Not pytest's tmp_path: a socket's path may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="sm-engine-", dir="/var/tmp"))
    url = f"unix://{folder}/s"
    dockerd = (
        f"dockerd --data-root {folder}/data --exec-root {folder}/exec --pidfile {folder}/pid --host {url} "
        "--bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            # The mount namespace takes the engine's mounts with it when the last process of it is gone. Slave, not
            # private: what a test mounts is seen by the engine, and nothing that the engine mounts by anybody else.
            ("unshare", "--mount", "--propagation", "slave", "sh", "-c", f"{before} && exec {dockerd}"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        own = Engine(url)
        deadline = time.monotonic() + START_SECONDS
        while not own.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                last = (folder / "log").read_text(errors="replace")[-600:]
                pytest.skip(f"dockerd does not start on this machine: {last}")
            time.sleep(0.2)
        yield own
    finally:
        _stop(process, folder)


def _stop(process: subprocess.Popen[bytes], folder: Path) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # containerd and the shims have sessions of their own; their command lines name the folder, which is only ours
    for pid in _processes_of(folder):
        os.kill(pid, signal.SIGKILL)
    for _ in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{folder} cannot be removed: {_processes_of(folder)} still use it")


def _processes_of(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if f"{folder}/".encode() in line:
                found.append(int(entry.name))
    return found
