"""Looking at the host: the evidence that goes into a statement.

Rules:

- Everything is read at the time of the build, nothing from a file of our own.
- What cannot be read is said to be unknown, never invented; machine-id and boot-id are required.
"""

from __future__ import annotations

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from silvermetal_proof.errors import printable
from silvermetal_proof.host.evidence import Cpu, Engine, HostEvidence, Kernel, application_hash
from silvermetal_proof.model import format_time

from silvermetal_worker.engine import EngineFacts
from silvermetal_worker.errors import EXIT_HOST_NOT_READY, WorkerError

_NO_UUID = re.compile(r"\A[0fF-]*\Z")


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _required(path: str, what: str) -> str:
    value = _read(path)
    if not value:
        raise WorkerError(f"{path}: expected {what}, got nothing", EXIT_HOST_NOT_READY)
    return value


def virtualisation() -> str:
    """Best guess at what this kernel runs on, without programs: ``none``, a hypervisor's name, or ``unknown``."""
    if _read("/run/systemd/container"):
        return printable(_read("/run/systemd/container"), 64)
    vendor = (_read("/sys/class/dmi/id/sys_vendor") or "") + " " + (_read("/sys/class/dmi/id/product_name") or "")
    names = {
        "qemu": "qemu",
        "kvm": "kvm",
        "vmware": "vmware",
        "virtualbox": "oracle",
        "xen": "xen",
        "microsoft": "microsoft",
    }
    for needle, name in names.items():
        if needle in vendor.lower():
            return name
    flags = re.search(r"^flags\s*:.*\bhypervisor\b", _read("/proc/cpuinfo") or "", re.MULTILINE)
    return "unknown" if flags else "none"


def _cpu_model() -> str:
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", _read("/proc/cpuinfo") or "", re.MULTILINE)
    return printable(match[1].strip(), 200) if match else "unknown"


def hardware() -> str | None:
    """Application hash of the DMI product UUID: what an operator signs; None where the machine tells none."""
    uuid = _read("/sys/class/dmi/id/product_uuid")
    return None if not uuid or _NO_UUID.match(uuid) else application_hash(uuid)


def _boot_time(now: datetime) -> str:
    """From ``btime``, the same for every reader on this kernel; never later than now."""
    match = re.search(r"^btime (\d+)$", _read("/proc/stat") or "", re.MULTILINE)
    moment = datetime.fromtimestamp(int(match[1]), UTC) if match else now
    return format_time(min(moment, now))


def gather(engine: EngineFacts, *, started: datetime, finished: datetime) -> HostEvidence:
    """Return the evidence of this host. :raises WorkerError: when the host has no machine-id or boot-id."""
    uname = platform.uname()
    return HostEvidence(
        machine_id=application_hash(_required("/etc/machine-id", "machine-id(5)")),
        boot_id=application_hash(_required("/proc/sys/kernel/random/boot_id", "the kernel's boot id")),
        kernel=Kernel(
            release=printable(uname.release, 200), version=printable(uname.version, 200), machine=uname.machine
        ),
        cpu=Cpu(model=_cpu_model(), count=len(os.sched_getaffinity(0))),
        virtualisation=virtualisation(),
        dmi=hardware(),
        engine=Engine(name=engine.name, version=engine.version, id=engine.id),
        boot_time=_boot_time(started),
        started=format_time(started),
        finished=format_time(finished),
    )
