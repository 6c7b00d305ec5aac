"""Cells and their network on the real kernel: isolated while they live, gone without a trace however they ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from silvermetal_demo.cell import Cell, Isolation
from silvermetal_demo.errors import Interrupted, SetupFailed
from silvermetal_demo.interrupt import Interrupt
from silvermetal_demo.manifest import Manifest
from silvermetal_demo.progress import Progress
from silvermetal_demo.state import State

from tests.support.traces import left_since, traces

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces, bridges, iptables"),
]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = State(tmp_path / "state")
    yield made
    # Where the test failed half-way, too.
    with made.locked():
        made.sweep(Progress())


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "machine-id").write_text("0" * 32 + "\n")
    isolation = Isolation(network=True, host_name="host-x", covers={"/etc": str(etc)}, empty=("/run",))
    made = Cell("host-x", isolation, Manifest(tmp_path / "manifest.jsonl"), Interrupt())
    made.start()
    yield made
    made.stop()


def test_a_cell_has_its_own_name_identity_processes_network_and_run(cell: Cell) -> None:
    def inside(command: str) -> str:
        return cell.run(["sh", "-c", command], timeout=20).out.strip()

    assert inside("hostname") == "host-x"
    assert inside("cat /etc/machine-id") == "0" * 32
    assert inside("ls /run") == ""
    assert inside("ls -d /proc/1/") == "/proc/1/"
    assert "cell_init.py" in inside("tr '\\0' ' ' < /proc/1/cmdline")
    assert inside("ip -brief link").split()[0] == "lo"
    assert len(inside("ip -brief link").splitlines()) == 1
    # The same kernel: what the verdict must say too.
    assert inside("cat /proc/sys/kernel/random/boot_id") == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_ctrl_c_that_ends_a_cell_at_its_birth_is_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C goes to the whole group, and a child is in it until it has a session of its own."""
    interrupt = Interrupt()
    made = Cell("host-y", Isolation(), Manifest(tmp_path / "manifest.jsonl"), interrupt)

    def killed(self: Cell, timeout: float) -> str:
        interrupt.request()
        return ""

    monkeypatch.setattr(Cell, "_first_line", killed)
    with pytest.raises(Interrupted):
        made.start()
    assert not made.alive()


def test_writing_to_its_etc_and_run_reaches_nobody(cell: Cell) -> None:
    cell.run(["sh", "-c", "touch /etc/silvermetal-test /run/silvermetal-test"], timeout=20)
    assert not Path("/etc/silvermetal-test").exists()
    assert not Path("/run/silvermetal-test").exists()


def test_exit_codes_and_folders_come_through(cell: Cell, tmp_path: Path) -> None:
    assert cell.run(["sh", "-c", "exit 3"], timeout=20, expected=(3,)).code == 3
    assert cell.run(["pwd"], timeout=20, cwd=tmp_path).out.strip() == str(tmp_path)


def test_nothing_escapes_a_cell(cell: Cell, tmp_path: Path) -> None:
    # A daemon as they come: new session, double fork, deaf to TERM and HUP, with a mount of its own.
    daemon = f"mount -t tmpfs tmpfs {tmp_path}/etc; trap '' TERM HUP; echo $$ > {tmp_path}/started; sleep 1000"
    cell.run(["sh", "-c", f'setsid sh -c "{daemon}" >/dev/null 2>&1 &'], timeout=20)
    for _ in range(100):
        if (tmp_path / "started").exists():
            break
        time.sleep(0.05)
    marked = [line for line in subprocess.check_output(["ps", "ax"], text=True).splitlines() if "sleep 1000" in line]
    assert marked
    cell.stop()
    for _ in range(100):
        left = [line for line in marked if Path(f"/proc/{line.split()[0]}").exists()]
        if not left:
            break
        time.sleep(0.05)
    assert left == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def test_a_part_that_ended_is_told_with_the_end_of_its_log(cell: Cell, tmp_path: Path) -> None:
    part = cell.spawn("the engine", ["sh", "-c", "echo no space left; exit 4"], log=tmp_path / "log")
    for _ in range(100):
        if not part.alive():
            break
        time.sleep(0.05)
    with pytest.raises(SetupFailed, match=r"(?s)the engine ended with exit code 4.*no space left"):
        part.require()


# A demo in small: two hosts on a network, each with a daemon, and a server on the master's side.
SMALL_DEMO = """
import os, sys, time
from ipaddress import IPv4Interface
from pathlib import Path
from types import SimpleNamespace
from silvermetal_demo.cell import Cell, Isolation
from silvermetal_demo.interrupt import Interrupt
from silvermetal_demo.network import Network, attach
from silvermetal_demo.state import State, manifest_of

REACH = "import socket, sys; sys.exit(socket.socket().connect_ex((sys.argv[1], 9)) != 111)"
state = State(Path(sys.argv[1]))
with state.locked():
    run_dir = state.new_run()
    manifest, interrupt = manifest_of(run_dir), Interrupt()
    network = Network(run_dir.name, manifest)
    network.start()
    for number in (1, 2):
        name = f"host-{number}"
        cell = Cell(name, Isolation(network=True, host_name=name), manifest, interrupt)
        cell.start()
        plan = SimpleNamespace(
            bridge=network.bridge, address=network.address(number), mtu=network.mtu, gateway=network.gateway
        )
        attach(cell, plan, manifest)
        manifest.cgroup(f"silvermetal-{run_dir.name}-{name}")
        for top in Path("/sys/fs/cgroup").glob("*"):
            if (top / "tasks").exists():
                (top / f"silvermetal-{run_dir.name}-{name}" / "container").mkdir(parents=True)
        cell.spawn("daemon", ["setsid", "sleep", "1000"], log=run_dir / "log", env=dict(os.environ, STATE=sys.argv[1]))
        if number == 2:
            # Refused at once is reached: nobody listens there.
            for target in (network.address(1).ip, network.gateway):
                cell.run([sys.executable, "-c", REACH, str(target)], timeout=20)
    print("up", flush=True)
    time.sleep(1000)
"""


@contextmanager
def small_demo(state: State) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SMALL_DEMO, str(state.root)],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, PYTHONPATH=str(ROOT / "scripts")),
    )
    assert process.stdout is not None
    if process.stdout.readline() != "up\n":
        process.kill()
        pytest.fail("the small demo did not come up; its error is in the captured output")
    try:
        yield process
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()


def test_a_killed_demo_takes_its_processes_along_and_the_next_sweeps_the_rest(state: State) -> None:
    before = traces(state.root)
    with small_demo(state) as process:
        during = traces(state.root)
        assert len(during.links) > len(before.links)
        assert len(during.rules) >= len(before.rules) + 4
        assert sum("sleep 1000" in line for line in during.processes) >= 2
        process.send_signal(signal.SIGKILL)
    # The kernel ends the cells: nobody else is there to do it.
    for _ in range(100):
        if not (left := traces(state.root).processes):
            break
        time.sleep(0.05)
    assert left == ()
    with state.locked():
        state.sweep(Progress())
    assert left_since(before, state.root) == {}


def test_a_second_demo_on_the_same_state_is_refused(state: State) -> None:
    with small_demo(state) as process:
        with pytest.raises(SetupFailed, match=f"another demo \\(process {process.pid}\\)"), state.locked():
            pass
        process.send_signal(signal.SIGKILL)
