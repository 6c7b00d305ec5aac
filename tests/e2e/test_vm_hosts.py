"""Hosts that are virtual machines: two guests on two kernels, and the whole demo on them, to REPRODUCED at level I2.

One state folder for the module, so that the guests' disks are made once. Under emulation the demo takes minutes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from silvermetal_demo import vm_host
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.hosts import HostPlan, Workbench
from silvermetal_demo.interrupt import Interrupt
from silvermetal_demo.network import Network
from silvermetal_demo.progress import Progress
from silvermetal_demo.state import State, manifest_of
from silvermetal_demo.vm_host import VmHost

from tests.e2e.test_demo import OUTPUT, ROOT, Demo
from tests.support.traces import left_since, traces

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
NAMES = ("host-a", "host-b")
MACHINE_ID = Path("/etc/machine-id")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("vm") / "state"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SILVERMETAL_STATE", str(folder))
        try:
            vm_host.check()
        except SetupFailed as missing:
            pytest.skip(f"no virtual machines here: {missing}")
        yield folder
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(OUTPUT, ignore_errors=True)


@dataclass(frozen=True)
class Guests:
    hosts: list[VmHost]
    plans: list[HostPlan]
    peers: set[str]
    """Who came to the master's address."""


class Door:
    """Stands where the master would: notes who comes."""

    def __init__(self, address: str) -> None:
        self.peers: set[str] = set()
        self._listener = socket.create_server((address, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self._listener.accept()
                self.peers.add(peer[0])
                connection.close()

    def close(self) -> None:
        self._listener.close()


def enrol(plan: HostPlan, port: int) -> None:
    paths = vm_host.paths_on_host(plan)
    plan.run_dir.mkdir(parents=True)
    command = [plan.venv / "bin/silvermetal-worker", "init", plan.worker_dir, "--name", plan.name, "--host", plan.name]
    command += ["--master", f"{plan.gateway}:{port}", "--store", paths.store, "--docker-host", paths.docker_host]
    subprocess.run(command, input=b"a password\n", check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="class")
def guests(state: Path) -> Iterator[Guests]:
    script = [ROOT / "scripts/bootstrap-builder.sh", "--archive", state / "builder.tar"]
    state.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(script, capture_output=True, text=True, timeout=900, check=False)
    assert made.returncode == 0, made.stderr
    before = traces(state)
    places = State(state)
    run_dir = places.new_run()
    logs = run_dir / "logs"
    logs.mkdir()
    bench = Workbench(Progress(), Interrupt(), manifest_of(run_dir))
    network = Network(run_dir.name, bench.manifest)
    hosts: list[VmHost] = []
    door: Door | None = None
    try:
        network.start()
        door = Door(str(network.gateway))
        plans = [
            HostPlan(
                name=name,
                run_name=run_dir.name,
                address=network.address(number),
                gateway=network.gateway,
                bridge=network.bridge,
                mtu=network.mtu,
                nameservers=network.nameservers,
                worker_dir=run_dir / name / "worker",
                builder_archive=state / "builder.tar",
                builder_image=made.stdout.strip(),
                store=places.store,
                run_dir=run_dir / name,
                keep_dir=places.hosts / name,
                log_dir=logs,
                checkout=ROOT,
                venv=Path(sys.prefix),
            )
            for number, name in enumerate(NAMES, 1)
        ]
        for plan in plans:
            enrol(plan, door.port)
        hosts = [vm_host.create(plan, bench) for plan in plans]
        with ThreadPoolExecutor() as threads:
            list(threads.map(VmHost.start, hosts))
        end = time.monotonic() + 120
        while len(door.peers) < len(hosts) and time.monotonic() < end:
            time.sleep(0.2)
        yield Guests(hosts, plans, door.peers)
    finally:
        for host in hosts:
            host.stop()
        for host in hosts:
            host.stop()  # idempotent
        assert not any(host.alive() for host in hosts)
        if door is not None:
            door.close()
        left = [file.name for name in NAMES for file in (run_dir / name).glob("*") if file.name != "worker"]
        assert bench.manifest.undo_all() == []
        shutil.rmtree(run_dir)
        assert left == []
        assert left_since(before, state) == {}


def said(guests: Guests, what: str) -> list[str]:
    """What each guest said of itself at its start: `<release> boot-id <id> machine-id <id>`."""
    words = [["release", *host.facts["kernel"].split()] for host in guests.hosts]
    return [word[word.index(what) + 1] for word in words]


class TestTwoGuests:
    """They end before the demos of this module begin."""

    def test_two_guests_are_two_kernels(self, guests: Guests) -> None:
        releases = {*said(guests, "release"), os.uname().release}
        assert len(releases) == 3, "one kernel for each guest, and neither is this machine's"

    def test_two_guests_booted_apart(self, guests: Guests) -> None:
        ids = {*said(guests, "boot-id"), Path("/proc/sys/kernel/random/boot_id").read_text().strip()}
        assert len(ids) == 3

    def test_two_guests_have_machine_ids_of_their_own(self, guests: Guests) -> None:
        ids = {*said(guests, "machine-id"), MACHINE_ID.read_text().strip() if MACHINE_ID.exists() else ""}
        assert len(ids) == 3

    def test_each_guest_has_its_own_engine_with_the_pinned_image(self, guests: Guests) -> None:
        engines = {host.facts["engine"].split()[-1] for host in guests.hosts}
        assert len(engines) == 2
        for host, plan in zip(guests.hosts, guests.plans, strict=True):
            assert host.facts["image"] == plan.builder_image
            assert host.facts["engine"].split()[1] == "overlay2"

    def test_each_guest_reaches_the_masters_address_as_itself(self, guests: Guests) -> None:
        assert guests.peers == {str(plan.address.ip) for plan in guests.plans}

    def test_guests_that_built_nothing_hand_out_nothing(self, guests: Guests, tmp_path: Path) -> None:
        for host in guests.hosts:
            assert host.alive()
            assert not host.fetch_artefacts(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_a_killed_demo_takes_its_guests_along_and_ctrl_c_ends_them(state: Path) -> None:
    before = traces(state)
    with Demo(state, "--hosts=vm") as killed:
        killed.read_until("guest is up at")
        killed.process.kill()
        killed.end(timeout=60)
    for _ in range(200):
        if not (left := traces(state).processes):
            break
        time.sleep(0.1)
    assert left == ()
    with Demo(state, "--hosts=vm") as following:
        following.read_until("did not end cleanly: removing what it left")
        following.read_until("guest with kernel .* boots")
        following.ctrl_c()
        asked = time.monotonic()
        assert following.end(timeout=60) == 130, following.text
        assert time.monotonic() - asked < 30
    assert left_since(before, state) == {}


def test_the_demo_on_two_guests_reproduces_at_level_i2(state: Path) -> None:
    before = traces(state)
    start = time.monotonic()
    with Demo(state, "--hosts=vm") as demo:
        assert demo.end(timeout=1700) == 0, demo.text
    print(f"demo.sh --hosts=vm: {time.monotonic() - start:.0f} s\n{demo.text}")
    verdict = demo.text[demo.text.index("REPRODUCED") :]
    assert "I2" in verdict
    assert len(list(OUTPUT.glob("*.iso"))) == 1
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=OUTPUT, check=True, timeout=60)
    assert (OUTPUT / "SHA256SUMS").read_text().split()[0] in verdict
    assert left_since(before, state) == {}
