"""The image boots: by BIOS and by UEFI, from a drive and from a disk, to systemd's marker on the serial console.

KVM is used where it really works: /dev/kvm may exist, in a virtual machine, and every guest on it stands still.
QEMU is killed on every way out.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.live import Build

pytestmark = pytest.mark.e2e
READY, FAILED = b"SILVERMETAL-LIVE-READY Debian GNU/Linux", b"SILVERMETAL-LIVE-FAILED"
BOOT_SECONDS, LOADER_SECONDS, PROBE_SECONDS = 180, 8, 25
QEMU = "qemu-system-x86_64"
OVMF = (
    (Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")),
    (Path("/usr/share/OVMF/OVMF_CODE.fd"), Path("/usr/share/OVMF/OVMF_VARS.fd")),
)
BOOT_LOADER = b"SilverMetal minimal live"


@contextmanager
def machine(console: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A headless guest whose serial console is written to a file."""
    command = (QEMU, "-m", "1024", "-smp", "2", "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot")
    process = subprocess.Popen(
        (*command, "-serial", f"file:{console}", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[bytes], console: Path, marks: tuple[bytes, ...], seconds: float) -> bytes | None:
    """The first of the marks to appear, or None at the deadline or when the machine is gone."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        said = console.read_bytes() if console.exists() else b""
        for mark in marks:
            if mark in said:
                return mark
        if process.poll() is not None:
            return None
        time.sleep(0.1)
    return None


@pytest.fixture(scope="module")
def accelerator(reference: Build, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    if shutil.which(QEMU) is None:
        pytest.skip(f"{QEMU} is missing (package qemu-system-x86)")
    kvm = ("-accel", "kvm", "-cpu", "host")
    console = tmp_path_factory.mktemp("probe") / "console"
    if Path("/dev/kvm").exists():
        # By really booting: first the boot loader, because a machine that stands still does so at once.
        with machine(console, *kvm, "-cdrom", str(reference.iso)) as process:
            if wait_for(process, console, (BOOT_LOADER,), LOADER_SECONDS) and wait_for(
                process, console, (READY,), PROBE_SECONDS
            ):
                return kvm
    return ("-accel", "tcg,thread=multi")


def boots(iso: Path, folder: Path, *arguments: str) -> None:
    console = folder / "console"
    began = time.monotonic()
    with machine(console, *arguments) as process:
        mark = wait_for(process, console, (READY, FAILED, b"Kernel panic"), BOOT_SECONDS)
        last = console.read_bytes()[-2000:].decode(errors="replace") if console.exists() else ""
        if mark is None and process.poll() is not None and process.stderr:
            last += process.stderr.read(2000).decode(errors="replace")
    assert mark == READY, f"got {mark!r} in {BOOT_SECONDS} s, expected {READY!r}; the console's end:\n{last}"
    print(f"{iso.name}: {time.monotonic() - began:.1f} s")


def test_boots_by_bios_from_a_drive(reference: Build, accelerator: tuple[str, ...], tmp_path: Path) -> None:
    boots(reference.iso, tmp_path, *accelerator, "-cdrom", str(reference.iso))


def test_boots_by_uefi_from_a_drive(reference: Build, accelerator: tuple[str, ...], tmp_path: Path) -> None:
    boots(reference.iso, tmp_path, *accelerator, *_uefi(tmp_path), "-cdrom", str(reference.iso))


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_boots_as_a_disk(reference: Build, accelerator: tuple[str, ...], tmp_path: Path, firmware: str) -> None:
    """The isohybrid: what a USB stick is, with MBR and GPT instead of El Torito."""
    disk = ("-drive", f"file={reference.iso},format=raw,if=virtio,readonly=on")
    boots(reference.iso, tmp_path, *accelerator, *(_uefi(tmp_path) if firmware == "uefi" else ()), *disk)


def _uefi(folder: Path) -> tuple[str, ...]:
    for code, variables in OVMF:
        if code.exists() and variables.exists():
            own = folder / "variables.fd"
            shutil.copyfile(variables, own)
            flash = "if=pflash,format=raw"
            return "-drive", f"{flash},readonly=on,file={code}", "-drive", f"{flash},file={own}"
    pytest.skip(f"{OVMF[0][0]} is missing (package ovmf)")
