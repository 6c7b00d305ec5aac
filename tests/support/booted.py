"""A machine of its own: a Debian root file system with systemd as process 1, in a cell with its own network.

Rules:

- Its file system is an overlay over a root that several machines share, so that what is installed once is installed on all.
- Its kernel is this machine's. Its control groups are below one name of systemd's own hierarchy, which goes with it.
- Whatever way the test ends, the cell takes the machine's processes and mounts along.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from silvermetal_demo.cell import Cell, Isolation
from silvermetal_demo.interrupt import Interrupt
from silvermetal_demo.manifest import Manifest
from silvermetal_demo.network import Network, attach

HIERARCHY = Path("/sys/fs/cgroup/systemd")
START_SECONDS = 120

# systemd wants its hierarchy, /run and /proc of its own; the kernel's other control groups are as they are.
BOOT = """
set -e
root=$1 lower=$2 upper=$3 group=$4 name=$5
if [ -d /sys/fs/cgroup/systemd ]; then
    mkdir -p "/sys/fs/cgroup/systemd/$group"
    echo $$ >"/sys/fs/cgroup/systemd/$group/cgroup.procs"
else
    mkdir -p "/sys/fs/cgroup/$group"
    echo $$ >"/sys/fs/cgroup/$group/cgroup.procs"
fi
exec unshare --mount --pid --ipc --cgroup --fork --kill-child sh -ec '
    root=$1 lower=$2 upper=$3
    mkdir -p "$root" "$upper/files" "$upper/work"
    mount -t overlay -o "lowerdir=$lower,upperdir=$upper/files,workdir=$upper/work" machine "$root"
    # What a copy of a disk would share: its name and its identity are made anew at the first start.
    echo "$4" >"$root/etc/hostname"
    : >"$root/etc/machine-id"
    # The data of an engine cannot lie on an overlay.
    mkdir -p "$upper/docker" "$root/var/lib/docker"
    mount --bind "$upper/docker" "$root/var/lib/docker"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    if [ -d /sys/fs/cgroup/systemd ]; then
        mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
        mkdir "$root/sys/fs/cgroup/systemd"
        mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
        for controller in /sys/fs/cgroup/*/; do
            name=$(basename "$controller")
            case $name in systemd|unified) continue ;; esac
            mkdir -p "$root/sys/fs/cgroup/$name"
            mount --bind "$controller" "$root/sys/fs/cgroup/$name"
        done
    else
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    fi
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    cd "$root"
    mkdir -p old-root
    pivot_root . old-root
    umount --lazy /old-root
    exec env --ignore-environment container=test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --log-target=console
' boot "$root" "$lower" "$upper" "$name"
"""


def _child(process: int, command: str = "") -> int:
    """The child of a process, once it runs ``command``."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            if not command or Path(f"/proc/{child}/comm").read_text().strip() == command:
                return int(child)
        time.sleep(0.05)
    raise AssertionError(f"expected process {process} to begin {command or 'another'}, but it did not")


@dataclass
class Machine:
    """One machine, by its process 1."""

    name: str
    address: str
    pid: int
    log: Path

    def run(
        self,
        script: str,
        *,
        timeout: float = 120,
        stdin: str = "",
        env: dict[str, str] | None = None,
        good: bool = True,
    ) -> str:
        """Run a shell script as root on it; return what it said. Fails where its exit code is not 0 and ``good``."""
        settings = [f"{key}={value}" for key, value in (env or {}).items()]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        namespaces = ["--mount", "--pid", "--ipc", "--net", "--uts", "--cgroup"]
        argv = ["nsenter", f"--target={self.pid}", *namespaces, "env", "--ignore-environment", "HOME=/root", path]
        done = subprocess.run(
            [*argv, *settings, "bash", "-ec", f"cd /root; {script}"],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0 or not good, (
            f"{self.name}: {script}\ngot exit code {done.returncode}, expected 0\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
        )
        return done.stdout

    def wait_for(self, script: str, what: str, timeout: float = 120) -> None:
        """Until the script ends with 0."""
        end = time.monotonic() + timeout
        while self.run(f"if {script}; then echo it-is; fi", good=False).strip()[-5:] != "it-is":
            if time.monotonic() >= end:
                journal = self.run("journalctl --no-pager --lines=60", good=False)
                raise AssertionError(f"{self.name}: expected {what} within {timeout:g} s: {script}\n{journal}")
            time.sleep(0.5)


@contextmanager
def machine(
    name: str, number: int, lower: Path, folder: Path, network: Network, manifest: Manifest
) -> Iterator[Machine]:
    """A running machine over the root file system ``lower``; what it writes is in ``folder``."""
    folder.mkdir(parents=True)
    cell = Cell(name, Isolation(network=True, host_name=name), manifest, Interrupt())
    group = f"silvermetal-test-{folder.parent.name}-{name}"
    address = network.address(number)
    card = SimpleNamespace(bridge=network.bridge, address=address, mtu=network.mtu, gateway=network.gateway)
    log = folder / "boot.log"
    try:
        cell.start()
        attach(cell, card, manifest)  # type: ignore[arg-type]
        manifest.cgroup(group)
        arguments: list[str | Path] = [
            "bash",
            "-c",
            BOOT,
            "boot",
            folder / "root",
            lower,
            folder / "upper",
            group,
            name,
        ]
        part = cell.spawn(f"systemd of {name}", arguments, log=log)
        made = Machine(name, str(address.ip), _child(_child(part._process.pid), "systemd"), log)
        end = time.monotonic() + START_SECONDS
        while made.run("systemctl is-system-running --wait || true", good=False).strip() not in ("running", "degraded"):
            part.require()
            assert time.monotonic() < end, f"{shlex.join(map(str, arguments[-4:]))}: {log.read_text()[-3000:]}"
            time.sleep(0.5)
        yield made
    finally:
        cell.stop()
