"""A guest's kernel: the image out of its package, and an initrd with our first program and the modules it loads.

- Nothing is installed: no maintainer script runs, and the modules come out of the package's own files, in the order in
  which they need one another. (initramfs-tools would take longer to make and far longer to unpack under emulation.)
- Debian 13 has its modules below /usr/lib and packed by xz; they are unpacked here, as the initrd is packed whole.
"""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import tempfile
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

from silvermetal_demo.command import run
from silvermetal_demo.errors import SetupFailed
from silvermetal_demo.interrupt import Interrupt


def make_kernel(package: Path, busybox: Path, guest: Path, folder: Path, interrupt: Interrupt) -> None:
    """Writes `vmlinuz-<release>` and `initrd-<release>` into `folder`."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        tree, initrd = Path(temporary) / "package", Path(temporary) / "initrd"
        run(["dpkg-deb", "--extract", package, tree], timeout=120, interrupt=interrupt)
        modules = next(path for path in (tree / "usr/lib/modules", tree / "lib/modules") if path.is_dir())
        release = next(path.name for path in modules.iterdir())
        shutil.copyfile(tree / "boot" / f"vmlinuz-{release}", folder / f"vmlinuz-{release}")
        for name in ("bin", "dev", "proc", "root", "modules"):
            (initrd / name).mkdir(parents=True)
        copy_modules(modules / release, guest / "modules.list", initrd / "modules")
        _copy_program(busybox, Path(temporary) / "busybox", initrd / "bin/busybox", interrupt)
        shutil.copyfile(guest / "initrd-init", initrd / "init")
        (initrd / "init").chmod(0o755)
        names = "".join(f"{path.relative_to(initrd)}\n" for path in sorted(initrd.rglob("*")))
        archive = Path(temporary) / "initrd.cpio"
        pack = ["cpio", "--create", "--format=newc", "--owner=0:0", "--quiet", "--file", archive]
        run(pack, timeout=60, input_text=names, cwd=initrd, interrupt=interrupt)
        run(["zstd", "-q", "-o", folder / f"initrd-{release}", archive], timeout=60, interrupt=interrupt)


def _copy_program(package: Path, tree: Path, target: Path, interrupt: Interrupt) -> None:
    run(["dpkg-deb", "--extract", package, tree], timeout=60, interrupt=interrupt)
    # /bin before Debian merged it into /usr/bin.
    shutil.copy(next(path for path in (tree / "usr/bin/busybox", tree / "bin/busybox") if path.is_file()), target)


def copy_modules(modules: Path, wanted: Path, target: Path) -> None:
    files = {_name(path): path for path in modules.rglob("*.ko*")}
    needs = {name: _needs(_unpacked(files[name])) for name in _start(wanted, files)}
    # Only what is reached is read: the generic kernel has four thousand modules.
    todo = [need for found in needs.values() for need in found]
    while todo:
        name = todo.pop()
        if name not in needs and name in files:
            needs[name] = _needs(_unpacked(files[name]))
            todo += needs[name]
    # Each after all that it needs.
    order = [name for name in TopologicalSorter(needs).static_order() if name in needs]
    for name in order:
        (target / f"{name}.ko").write_bytes(_unpacked(files[name]))
    (target / "order").write_text("".join(f"{name}.ko\n" for name in order))


def _start(wanted: Path, files: Mapping[str, Path]) -> list[str]:
    names = (line.strip().replace("-", "_") for line in wanted.read_text().splitlines())
    return [name for name in names if name in files]


def _name(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")


def _unpacked(path: Path) -> bytes:
    packed = path.read_bytes()
    match path.suffix:
        case ".ko":
            return packed
        case ".xz":
            return lzma.decompress(packed)
        case ".gz":
            return gzip.decompress(packed)
    raise SetupFailed(f"{path.name}: got a kernel module packed by {path.suffix}, expected .ko, .xz or .gz")


def _needs(module: bytes) -> list[str]:
    """What the module says of itself. (What it asks for by an alias at run time is named in modules.list.)"""
    found = re.search(rb"depends=([A-Za-z0-9_,-]*)\0", module)
    return [name.replace("-", "_") for name in found[1].decode().split(",") if name] if found else []
