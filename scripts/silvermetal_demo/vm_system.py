"""The guests' system: one root disk for all, and two kernels of two binaries, made from Debian packages.

- Every package comes by a package lock, resolved from the Debian sources that this machine is configured with and
  verified by digest: no archive is named here, and no package's maintainer script ran anywhere but in the new root.
- Two kernels: Debian's for clouds and Debian's for any machine. Each has an initrd of its own with all modules that a
  guest loads, so the root disk needs none and fits both.
- The root is made in memory, in a cell that ends with the demo; what stays is on the shelf.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from silvermetal_demo.cell import Cell, Isolation
from silvermetal_demo.command import run
from silvermetal_demo.environment import SYSTEM_PATH
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.hosts import HostPlan, Workbench
from silvermetal_demo.vm_kernel import make_kernel
from silvermetal_demo.vm_shelf import Shelf, digest_of_files, key_of, pack_ext4

GUEST = Path(__file__).with_name("vm_guest")
KERNELS = ("linux-image-cloud-amd64", "linux-image-amd64")
# For what a guest writes: the builder image in its engine, the build, three ISOs. Sparse: only what is written counts.
ROOM = 6 * 2**30
NOT_NEEDED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")


@dataclass(frozen=True)
class Kernel:
    release: str
    image: Path
    initrd: Path


@dataclass(frozen=True)
class System:
    root: Path
    kernels: tuple[Kernel, ...]
    python: str
    """Version of the root's Python, `3.11`: the worker's packages are made for it."""


class PackageLock:
    """Which packages, by digest, and where they lie in the store."""

    def __init__(self, text: bytes, store: Path) -> None:
        self.text = text
        document = json.loads(text)
        self.suite = str(document["suite"])
        self._store = store
        self._packages = {str(entry["name"]): entry for entry in document["packages"]}

    def file(self, name: str) -> Path:
        return self._store / "sha256" / str(self._packages[name]["sha256"])

    def digests(self) -> list[str]:
        return [str(entry["sha256"]) for entry in self._packages.values()]

    def version(self, name: str) -> str:
        return str(self._packages[name]["version"])

    def digest(self, name: str) -> str:
        return str(self._packages[name]["sha256"])


def provide_system(plan: HostPlan, bench: Workbench, shelf: Shelf) -> System:
    wanted = _names(GUEST / "packages.list")
    # Debian 13 moved the docker command out of docker.io; Debian 12 has no docker-cli.
    if run(["apt-cache", "search", "--names-only", "^docker-cli$"], timeout=60).out.strip():
        wanted.append("docker-cli")
    lock = resolve(plan, bench, [*wanted, *KERNELS])
    code = digest_of_files([GUEST / "guest-init", GUEST / "packages.list", Path(__file__)])
    root_key = key_of(lock.text, code)
    code = digest_of_files([GUEST / "initrd-init", GUEST / "modules.list", Path(__file__).with_name("vm_kernel.py")])
    kernels = [_concrete_kernel(lock, name) for name in KERNELS]
    kernel_key = key_of(*(lock.digest(name) for name in (*kernels, "busybox-static")), code)
    if shelf.find("root", root_key) is None:
        bench.progress.say("making the guests' root disk from Debian packages; this takes a minute, once ...")

    def make_kernels(folder: Path) -> None:
        for name in kernels:
            make_kernel(lock.file(name), lock.file("busybox-static"), GUEST, folder, bench.interrupt)

    made = shelf.provide("kernels", kernel_key, make_kernels)
    root = shelf.provide("root", root_key, lambda folder: _make_root(plan, bench, lock, wanted, folder))
    releases = [name.removeprefix("linux-image-") for name in kernels]
    return System(
        root=root / "root.ext4",
        kernels=tuple(Kernel(release, made / f"vmlinuz-{release}", made / f"initrd-{release}") for release in releases),
        python=".".join(re.split(r"[.+-]", lock.version("python3"))[:2]),
    )


def resolve(plan: HostPlan, bench: Workbench, names: list[str]) -> PackageLock:
    """A package lock for these names, with every package in the machine's store."""
    with tempfile.TemporaryDirectory(dir=plan.run_dir) as folder:
        file = Path(folder) / "lock"
        scripts = plan.checkout / "scripts"
        asked = ["--package", " ".join(names), "-o", str(file)]
        run([scripts / "silvermetal-resolve-lock", *asked], timeout=400, interrupt=bench.interrupt)
        fetch = [scripts / "silvermetal-fetch", file, "--store", plan.store]
        run(fetch, timeout=1200, interrupt=bench.interrupt)
        return PackageLock(file.read_bytes(), plan.store.absolute())


def _names(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line and not line.startswith("#")]


def _concrete_kernel(lock: PackageLock, name: str) -> str:
    """`linux-image-amd64` is an empty package that needs the newest kernel's."""
    depends = run(["dpkg-deb", "-f", lock.file(name), "Depends"], timeout=60).out
    found = re.search(r"\blinux-image-[0-9][^\s,]*", depends)
    if found is None:
        raise SetupFailed(f"{name}: got the dependencies {depends.strip()!r}, expected a linux-image-<version> in them")
    return found[0]


def _make_root(plan: HostPlan, bench: Workbench, lock: PackageLock, wanted: list[str], folder: Path) -> None:
    work = folder / "work"
    work.mkdir()
    lock_file = folder / "lock"
    lock_file.write_bytes(lock.text)
    # In memory (dpkg on a disk takes twice as long), in a mount namespace that ends with us.
    cell = Cell("the guests' root disk", Isolation(empty=(str(work),)), bench.manifest, bench.interrupt)
    cell.start()
    try:
        environment = {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8", "TZ": "UTC", "TMPDIR": str(work), "HOME": "/root"}
        repository = work / "repository"
        flat = plan.checkout / "scripts" / "recipes" / "flat-repository"
        cell.run([flat, lock_file, plan.store.absolute(), repository], timeout=120, env=environment)
        root = work / "root"
        cell.run(
            [
                *("mmdebstrap", "--mode=root", "--format=directory", "--variant=essential"),
                *(f"--dpkgopt=path-exclude={pattern}" for pattern in NOT_NEEDED),
                *(f"--include={','.join(wanted)}", lock.suite, root, f"deb [trusted=yes] copy:{repository} ./"),
            ],
            timeout=1200,
            env=environment,
        )
        # As seen from outside the cell.
        tree = Path(f"/proc/{cell.pid}/root{root}")
        shutil.copyfile(GUEST / "guest-init", tree / "usr/sbin/silvermetal-guest")
        (tree / "usr/sbin/silvermetal-guest").chmod(0o755)
        # Each guest brings its own: nothing of an identity is in the shared root.
        for name in ("etc/machine-id", "etc/hostname", "etc/resolv.conf", "etc/apt/sources.list"):
            (tree / name).unlink(missing_ok=True)
        for name in ("var/lib/apt/lists", "var/cache/apt", "etc/docker"):
            shutil.rmtree(tree / name, ignore_errors=True)
        (tree / "var/lib/apt/lists/partial").mkdir(parents=True)
        (tree / "var/cache/apt/archives/partial").mkdir(parents=True)
        pack_ext4(tree, folder / "root.ext4", room=ROOM, interrupt=bench.interrupt)
    finally:
        cell.stop()
    work.rmdir()
    os.sync()
