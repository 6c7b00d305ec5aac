"""A build host that is a virtual machine: a kernel of its own, machine-id, engine, worker, network card: level I2.

- The guests share a read-only root disk and differ in everything that says who they are; two neighbours run two
  different kernels.
- Shared things (root disk, programs, packages) are made once a run, by the first host that comes.
- What proves nothing is said too: two guests are one piece of hardware under one operator, so I2 is the best.
"""

from __future__ import annotations

import os
import platform
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.hosts import HostPlan, PathsOnHost, Workbench
from silvermetal_demo.state import state_dir
from silvermetal_demo.vm_acceleration import BY_EMULATION, Acceleration, find_acceleration, remembered
from silvermetal_demo.vm_engine import provide_engine_disk
from silvermetal_demo.vm_handover import STORE, provide_packages, provide_programs, write_own_files
from silvermetal_demo.vm_machine import MEBIBYTES, Disk, Machine
from silvermetal_demo.vm_shelf import Shelf
from silvermetal_demo.vm_system import System, provide_system

TOOLS = ("qemu-system-x86_64", "mke2fs", "mmdebstrap", "dpkg-deb", "cpio", "zstd", "ip")
FREE_BYTES = 6 * 2**30
GUESTS = 2

build_deadline = 2400
independence = 2


def notice() -> str:
    known = remembered(state_dir() / "vm")
    what = "two QEMU guests with a kernel, machine-id, engine and worker each: the verdict can reach level I2"
    if known is None:
        return f"{what}; slow where /dev/kvm does not really work, which is tried out first (see below)"
    return f"{what}; {_pace(known)}"


def _pace(acceleration: Acceleration) -> str:
    if acceleration is BY_EMULATION:
        return "by emulation, as KVM does not work here: some five to ten minutes on two cores"
    return f"by {acceleration.name}: about two minutes"


def check() -> None:
    if os.geteuid() != 0:
        raise SetupFailed(
            "got a plain user, expected root, for network links and namespaces; try: sudo scripts/demo.sh"
        )
    if platform.machine() != "x86_64":
        raise SetupFailed(f"got a {platform.machine()} machine, expected x86_64 for the guests; use --hosts=netns")
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise SetupFailed(f"got no {', '.join(missing)}; run: scripts/setup.sh vm")
    if not Path("/dev/net/tun").exists():
        raise SetupFailed("got no /dev/net/tun, expected it for the guests' network cards; try: modprobe tun")
    needed = GUESTS * (MEBIBYTES + 256)
    if (free := _available_mebibytes()) < needed:
        raise SetupFailed(f"got {free} MiB of free memory, expected {needed} for {GUESTS} guests; use --hosts=netns")
    folder = state_dir()
    folder.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < FREE_BYTES:
        raise SetupFailed(
            f"got {free / 2**30:.1f} GiB free at {folder}, expected {FREE_BYTES / 2**30:.0f} for the guests' disks; "
            "free some, or set SILVERMETAL_STATE to a folder with room"
        )


def _available_mebibytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0


def paths_on_host(plan: HostPlan) -> PathsOnHost:
    return PathsOnHost(store=STORE, docker_host="unix:///run/docker.sock")


@dataclass(frozen=True)
class Shared:
    """What all guests of a run start from."""

    system: System
    acceleration: Acceleration
    programs: Path
    packages: Path | None
    engine: Path | None


_making = threading.Lock()
_shared: dict[str, Shared] = {}


def provide_shared(plan: HostPlan, bench: Workbench) -> Shared:
    """Made by the first guest of a run, waited for by the others."""
    while not _making.acquire(timeout=0.05):
        bench.interrupt.check()
    try:
        if plan.run_name not in _shared:
            shelf = Shelf(state_dir() / "vm")
            system = provide_system(plan, bench, shelf)
            kernel = system.kernels[0]
            acceleration = find_acceleration(shelf.folder, kernel.image, kernel.initrd, bench.interrupt)
            programs = provide_programs(plan, bench, shelf, system)
            packages = provide_packages(plan, bench, shelf)
            engine = provide_engine_disk(plan, bench, shelf)
            bench.progress.say(f"guests run {_pace(acceleration)}")
            _shared[plan.run_name] = Shared(system, acceleration, programs, packages, engine)
        return _shared[plan.run_name]
    finally:
        _making.release()


class VmHost:
    kind = "vm"

    def __init__(self, plan: HostPlan, workbench: Workbench) -> None:
        self.name = plan.name
        self.address = str(plan.address.ip)
        self._plan = plan
        self._bench = workbench
        self._machine = Machine(plan, workbench)
        self._own_files = plan.run_dir / f"{plan.name}-own-files.tar"
        self._ended = False
        self._emulated = True
        self.facts: dict[str, str] = {}
        """What the guest said of itself on its console: kernel, engine, image, worker."""

    def start(self) -> None:
        shared = provide_shared(self._plan, self._bench)
        self._emulated = shared.acceleration is BY_EMULATION
        # Neighbours on the bridge get different kernels.
        kernel = shared.system.kernels[int(self._plan.address.ip) % len(shared.system.kernels)]
        write_own_files(self._plan, self._own_files)
        # The root disk first: it is found by its place.
        disks = [Disk("root", shared.system.root, writable=True), Disk("programs", shared.programs)]
        disks += [Disk("own", self._own_files), Disk("builder", self._plan.builder_archive)]
        disks += [Disk("packages", shared.packages)] if shared.packages else []
        disks += [Disk("engine", shared.engine, writable=True)] if shared.engine else []
        self._bench.progress.say(f"guest with kernel {kernel.release} boots ...", who=self.name)
        self._machine.start(kernel, disks, shared.acceleration)
        self._bench.interrupt.wait_until(
            lambda: self._look() and "worker" in self.facts,
            timeout=shared.acceleration.start_deadline,
            what=f"the guest {self.name} is not ready; its console: {self._machine.console}",
            step=0.2,
        )

    def _look(self) -> bool:
        """Read the console on. SetupFailed when the guest gave up."""
        for said in self._machine.marks():
            what, _, rest = said.partition(" ")
            self.facts[what] = rest
            match what:
                case "kernel":
                    self._bench.progress.say(f"guest is up at {self.address}: kernel {rest.split()[0]}", who=self.name)
                case "engine":
                    self._bench.progress.say("its engine answers", who=self.name)
                case "image":
                    self._bench.progress.say("it has the builder image", who=self.name)
                case "failed:":
                    raise SetupFailed(f"the guest {self.name}: {rest}; its console: {self._machine.console}")
                case "worker" if rest.startswith("ended"):
                    self._ended = True
        if self._ended:
            raise SetupFailed(f"the worker of {self.name} has ended; its console: {self._machine.console}")
        self._machine.require()
        return True

    def alive(self) -> bool:
        try:
            return self._look()
        except SetupFailed:
            return False

    def stop(self) -> None:
        # The worker needs a moment to say goodbye to its master; a guest that has none can be unplugged.
        self._machine.stop(patience=(15 if self._emulated else 8) if "worker" in self.facts and not self._ended else 0)
        self._own_files.unlink(missing_ok=True)

    def fetch_artefacts(self, folder: Path) -> bool:
        return self._machine.fetch_artefacts(folder)


def create(plan: HostPlan, workbench: Workbench) -> VmHost:
    return VmHost(plan, workbench)
