"""Which way QEMU runs a guest here: by the processor (KVM) where that really works, else by emulation (TCG).

- /dev/kvm proves nothing: in a nested machine it may exist while a guest dies at once or stands still. So a kernel is
  booted to a line on its console, with a short deadline; only that counts.
- The answer is remembered in the state folder for this processor, kernel and QEMU.
- SILVERMETAL_VM_ACCELERATION=kvm|tcg overrides: what a user says is not tried out.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from silvermetal_demo.command import run
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.interrupt import Interrupt
from silvermetal_demo.vm_shelf import key_of

KVM = Path("/dev/kvm")
OVERRIDE = "SILVERMETAL_VM_ACCELERATION"
PROBE_SECONDS = 20
PROBE_MARK = "SILVERMETAL probe"


@dataclass(frozen=True)
class Acceleration:
    name: str
    options: tuple[str, ...]
    kernel_options: str
    start_deadline: int
    """Seconds until a guest's worker must run."""


# What protects a kernel from its programs protects nobody in a throw-away guest, and costs most under emulation.
QUICK = (
    "mitigations=off audit=0 apparmor=0 init_on_alloc=0 hardened_usercopy=off randomize_kstack_offset=off "
    "rcupdate.rcu_expedited=1"
)
BY_PROCESSOR = Acceleration("KVM", ("-accel", "kvm", "-cpu", "host"), QUICK, 180)
# Each feature of the processor left out is one thing less to look up at every address, switch or page: 10 % together.
EMULATED = "max,la57=off,smap=off,smep=off,pku=off,xsave=off"
BY_EMULATION = Acceleration(
    "emulation",
    ("-accel", "tcg,thread=multi,tb-size=512", "-cpu", EMULATED),
    # Not the emulated TSC: on a busy machine its calibration can be wrong by ten times, and then every timeout is.
    f"{QUICK} no_timer_check clocksource=hpet transparent_hugepage=never",
    600,
)


def remembered(folder: Path) -> Acceleration | None:
    """What the user says, or what an earlier run found; nothing where no kernel was booted yet."""
    match os.environ.get(OVERRIDE, ""):
        case "kvm":
            return BY_PROCESSOR
        case "tcg":
            return BY_EMULATION
        case "":
            pass
        case other:
            raise SetupFailed(f"{OVERRIDE}: got {other!r}, expected kvm, tcg or nothing")
    if not KVM.exists():
        return BY_EMULATION
    try:
        known = json.loads((folder / "acceleration.json").read_text())
    except (OSError, ValueError):
        return None
    if known.get("machine") != _machine():
        return None
    return BY_PROCESSOR if known.get("kvm") is True else BY_EMULATION


def find_acceleration(folder: Path, kernel: Path, initrd: Path, interrupt: Interrupt) -> Acceleration:
    """As remembered, or tried out by booting this kernel."""
    if (known := remembered(folder)) is not None:
        return known
    works = kvm_boots(kernel, initrd, interrupt)
    target = folder / "acceleration.json"
    target.with_suffix(".new").write_text(json.dumps({"machine": _machine(), "kvm": works}))
    target.with_suffix(".new").replace(target)
    return BY_PROCESSOR if works else BY_EMULATION


def kvm_boots(kernel: Path, initrd: Path, interrupt: Interrupt) -> bool:
    command = ["qemu-system-x86_64", *BY_PROCESSOR.options, "-m", "512", "-nodefaults", "-no-user-config", "-no-reboot"]
    command += ["-display", "none", "-serial", "stdio", "-kernel", str(kernel), "-initrd", str(initrd)]
    command += ["-append", "console=ttyS0 panic=-1 quiet silvermetal.probe"]
    try:
        # Any code: a QEMU that dies (an MSR that the outer hypervisor refuses) says the same as one that stands still.
        done = run(command, timeout=PROBE_SECONDS, interrupt=interrupt, expected=tuple(range(-64, 256)))
    except SetupFailed:
        return False
    return PROBE_MARK in done.out


def _machine() -> str:
    """The processor and the kernel under /dev/kvm."""
    processor = re.search(r"^model name\s*:.*$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return key_of(processor[0] if processor else "", os.uname().release, os.uname().version)
