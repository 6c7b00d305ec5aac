"""One QEMU guest: its command line, its console, its artefacts, its power button.

- It lives in a cell, so it ends with the demo however that ends; its tap is in the manifest before it is made. Writes
  go to an overlay in a file without a name (QEMU's `snapshot`): nothing to remove.
- No default devices: a serial console, virtio disks and one virtio network card with an address of its own.
- What the guest built comes out by a virtio port that only the demo holds: never by the network, where the other guest
  could see it before the verdict.
- Ending is asked for by the power button (QMP), then taken.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tarfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from silvermetal_demo.cell import Cell, Isolation, Part
from silvermetal_demo.command import run
from silvermetal_demo.environment import SYSTEM_PATH
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.hosts import HostPlan, Workbench
from silvermetal_demo.manifest import undo_link
from silvermetal_demo.vm_acceleration import Acceleration
from silvermetal_demo.vm_system import Kernel

MEBIBYTES = 2304
MARK = "SILVERMETAL "
QMP = "qmp.sock"
ARTEFACTS = "artefacts.sock"
# Three times what a Debian live ISO of today has.
MAX_ARTEFACT_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Disk:
    name: str
    """By which the guest finds it."""
    file: Path
    writable: bool = False


class Machine:
    def __init__(self, plan: HostPlan, bench: Workbench) -> None:
        self._plan = plan
        self._bench = bench
        self._cell = Cell(plan.name, Isolation(), bench.manifest, bench.interrupt)
        self._part: Part | None = None
        self._read = 0
        number = int(plan.address.ip) & 0xFF
        self.tap = f"{plan.bridge}t{number}"
        # Locally administered, and unique on the bridge as the address is.
        self.mac = "52:54:00:" + ":".join(f"{byte:02x}" for byte in plan.address.ip.packed[1:])
        self.console = plan.log_dir / f"{plan.name}-console.log"

    def start(self, kernel: Kernel, disks: list[Disk], acceleration: Acceleration) -> None:
        plan = self._plan
        self._cell.start()
        self._bench.manifest.link(self.tap)
        lines = (
            f"tuntap add dev {self.tap} mode tap",
            f"link set {self.tap} alias {self._bench.manifest.mark}",
            f"link set {self.tap} mtu {plan.mtu} master {plan.bridge}",
            f"link set {self.tap} up",
        )
        run(["ip", "-batch", "-"], input_text="\n".join(lines) + "\n", timeout=20)
        self.console.touch()
        self._read = self.console.stat().st_size
        self._part = self._cell.spawn(
            f"QEMU of {plan.name}",
            self._command(kernel, disks, acceleration),
            log=plan.log_dir / f"{plan.name}-qemu.log",
            cwd=plan.run_dir,
            env={"PATH": SYSTEM_PATH, "TMPDIR": str(plan.run_dir), "HOME": str(plan.run_dir)},
        )

    def _command(self, kernel: Kernel, disks: list[Disk], acceleration: Acceleration) -> list[str]:
        command = ["qemu-system-x86_64", "-name", self._plan.name, "-machine", "pc", *acceleration.options]
        command += ["-smp", "1", "-m", str(MEBIBYTES), "-uuid", str(uuid.uuid4())]
        command += ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
        command += ["-chardev", f"file,id=console,append=on,path={_quoted(self.console)}", "-serial", "chardev:console"]
        # By a relative name: a socket's path may have 107 bytes and no more.
        command += ["-qmp", f"unix:{QMP},server=on,wait=off"]
        command += ["-kernel", str(kernel.image), "-initrd", str(kernel.initrd)]
        command += ["-append", f"console=ttyS0 panic=-1 quiet {acceleration.kernel_options}"]
        for number, disk in enumerate(disks):
            # Nothing outlives the guest, so nothing needs to reach a disk.
            access = "snapshot=on,cache=unsafe" if disk.writable else "readonly=on"
            command += ["-drive", f"if=none,id=disk{number},format=raw,{access},file={_quoted(disk.file)}"]
            command += ["-device", f"virtio-blk-pci,drive=disk{number},serial={disk.name}"]
        command += ["-netdev", f"tap,id=net,ifname={self.tap},script=no,downscript=no"]
        command += ["-device", f"virtio-net-pci,netdev=net,mac={self.mac},romfile="]
        command += ["-device", "virtio-serial-pci"]
        command += ["-chardev", f"socket,id=artefacts,path={ARTEFACTS},server=on,wait=off"]
        command += ["-device", "virtserialport,chardev=artefacts,nr=1"]
        return command

    def marks(self) -> Iterator[str]:
        """New lines of the console that are meant for the demo."""
        if not self.console.exists():
            return
        with self.console.open("rb") as stream:
            stream.seek(self._read)
            new = stream.read()
        complete = new[: new.rfind(b"\n") + 1]
        self._read += len(complete)
        for line in complete.decode(errors="replace").splitlines():
            # The firmware leaves control characters before the first line.
            _, mark, text = line.rpartition(MARK)
            if mark:
                yield text.strip()

    def alive(self) -> bool:
        return self._part is not None and self._part.alive()

    def require(self) -> None:
        """SetupFailed when the guest has ended."""
        if not self.alive():
            said = (self._plan.log_dir / f"{self._plan.name}-qemu.log").read_bytes()[-1000:].decode(errors="replace")
            raise SetupFailed(f"{self._plan.name}: the guest has ended; its console: {self.console}\n{said}".strip())

    def stop(self, patience: float) -> None:
        """Power button, at most `patience` seconds, then the plug. Idempotent."""
        if self.alive() and patience > 0:
            self._press_power_button()
            end = time.monotonic() + patience
            while self.alive() and time.monotonic() < end:
                time.sleep(0.05)
        if self._part is not None:
            self._part.stop(grace=1)
        self._cell.stop()
        undo_link(self.tap, self._bench.manifest.mark)
        for name in (QMP, ARTEFACTS):
            (self._plan.run_dir / name).unlink(missing_ok=True)

    def fetch_artefacts(self, folder: Path) -> bool:
        """The files that the newest build left in the guest; False when it has none."""
        found = False
        try:
            with _connected(self._plan.run_dir, ARTEFACTS) as port:
                # Under emulation it starts a shell's children before the first byte comes.
                port.settimeout(60)
                port.sendall(b"artefacts\n")
                with port.makefile("rb") as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
                    left = MAX_ARTEFACT_BYTES
                    for entry in archive:
                        name = Path(entry.name).name
                        content = archive.extractfile(entry)
                        left -= entry.size
                        if not entry.isfile() or content is None or name.startswith(".") or left < 0:
                            continue
                        folder.mkdir(parents=True, exist_ok=True)
                        with (folder / name).open("wb") as target:
                            shutil.copyfileobj(content, target)
                        found = True
        except (OSError, tarfile.TarError) as error:
            raise SetupFailed(f"{self._plan.name} did not hand out its newest build: {error}") from None
        return found

    def _press_power_button(self) -> None:
        try:
            with _connected(self._plan.run_dir, QMP) as qmp:
                qmp.settimeout(3)
                for command in ("qmp_capabilities", "system_powerdown"):
                    qmp.recv(65536)
                    qmp.sendall(json.dumps({"execute": command}).encode() + b"\n")
                qmp.recv(65536)
        except OSError:
            # It is not listening yet, or no more: then there is nobody to ask.
            return


@contextmanager
def _connected(folder: Path, name: str) -> Iterator[socket.socket]:
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(3)
            connection.connect(f"/proc/self/fd/{descriptor}/{name}")
            yield connection
    finally:
        os.close(descriptor)


def _quoted(path: Path) -> str:
    """A comma ends a value in QEMU's options, two are one."""
    return str(path).replace(",", ",,")
