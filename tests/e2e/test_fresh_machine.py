"""A stranger's first minutes: a fresh Debian 12 and 13, a clone, scripts/demo.sh, and nothing else.

- The fresh machine is a root file system that mmdebstrap has just made from Debian's minimal set (no git, no Python,
  no Docker, no iproute2), entered by pivot_root in a cell of its own: own processes, mounts, host name and network,
  so that what apt, the engines and iptables do there reaches nobody. Its kernel is this machine's.
- It is lent what leads this machine to its package sources (apt's Acquire settings, pip's index, the certificates),
  since that belongs to the place and not to the project.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from silvermetal_demo.cell import Cell

from tests.support.cells import networked_cell
from tests.support.lent import fresh_root, pip_settings

ROOT = Path(__file__).resolve().parents[2]
SUITES = ("bookworm", "trixie")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces and mmdebstrap"),
    pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="needs mmdebstrap (scripts/setup.sh test)"),
]

# Own /sys, since it shows the links of the network namespace that mounted it; the control groups are the kernel's.
ENTER = """
set -e
root=$1
shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
cd "$root"
mkdir -p old-root
pivot_root . old-root
umount --lazy /old-root
exec env --ignore-environment HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""


@pytest.fixture(params=SUITES)
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "machine"
    fresh_root(folder, request.param)
    subprocess.run(["git", "clone", "--quiet", ROOT, folder / "root" / "silvermetal"], check=True, timeout=300)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    with networked_cell(tmp_path / "outside", "fresh") as (made, _):
        yield made


def test_a_clone_on_a_fresh_machine_sets_itself_up_and_shows_the_demo(fresh: Path, cell: Cell) -> None:
    environment = os.environ | pip_settings()

    def on_it(script: str, timeout: float) -> str:
        settings = [f"{name}={value}" for name, value in environment.items() if name.startswith("PIP_")]
        entered = ["unshare", "--mount", "sh", "-c", ENTER, "enter", fresh, *settings]
        entered += ["bash", "-c", f"cd /root/silvermetal; {script}"]
        return cell.run(entered, timeout=timeout, expected=range(256)).out

    assert "none" in on_it("command -v git docker python3 ip iptables || echo none", 60)

    start = time.monotonic()
    said = on_it("scripts/demo.sh 2>&1; echo exit code $?", 1500)
    print(f"the first demo took {time.monotonic() - start:.0f} s:\n{said}")
    assert said.rstrip().endswith("exit code 0"), said
    assert said.index("setup: installing Debian packages:") < said.index("setup: installing Python packages")
    assert "REPRODUCED" in said
    # On this small machine the engines' data of the first run is there: the second finds nothing missing.
    again = on_it("time scripts/setup.sh 2>&1; scripts/setup.sh --check; echo check $?", 120)
    assert "installing" not in again
    assert "check 0" in again
    links = on_it("ls /sys/class/net", 60).split()
    assert not [link for link in links if link.startswith("smbr")]
    assert "silvermetal" not in on_it("iptables-save", 60)
