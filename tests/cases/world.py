"""A small live system that the real tools build twice, with one planned difference or many.

Rules:
- Without a planned difference the two images are the same to the byte; a test holds that.
- A case touches only what it is about; `side` is 0 for A and 1 for B.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

EPOCH = 1_767_225_600  # 2026-01-01
DATE = "2026010100000000"
TOOLS = ("mksquashfs", "xorriso", "mkfs.vfat", "mcopy", "mmd", "cpio", "gzip")
HOSTS = ("wilma-builder", "fred-builder")


def missing() -> list[str]:
    """Tools that this machine lacks."""
    return [t for t in TOOLS if shutil.which(t) is None]


@dataclass
class World:
    """What is packed, and how; cases change it."""

    folder: Path
    side: int
    squash_args: list[str] = field(default_factory=lambda: ["-comp", "zstd", "-b", "128K"])
    squash_epoch: bool = True
    other_level: str = "3"
    vfat_id: str = "12345678"
    vfat_times: int = EPOCH
    vfat_reversed: bool = False
    initrd_order: Callable[[list[str]], list[str]] = sorted
    initrd_cpio: list[str] = field(default_factory=lambda: ["--reproducible", "-R", "0:0"])
    gzip_args: list[str] = field(default_factory=lambda: ["-n"])
    initrd_packer: list[str] | None = None  # instead of gzip
    fat_after: list[Callable[[Path], None]] = field(default_factory=list)
    xorriso: list[str] = field(default_factory=list)
    xorriso_first: list[str] = field(default_factory=list)  # what must be said before a tree is mapped
    volume_date: str = DATE
    guid: str = "11111111222233334444555555555555"
    times: dict[Path, int] = field(default_factory=dict)  # files that keep a time of their own
    after: list[Callable[[Path], None]] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The root file system."""
        return self.folder / "root"

    @property
    def iso(self) -> Path:
        """The ISO's own tree."""
        return self.folder / "iso"

    @property
    def initrd(self) -> Path:
        """The initramfs' tree."""
        return self.folder / "initrd"

    @property
    def efi(self) -> Path:
        """Files of the EFI system partition."""
        return self.folder / "efi"

    def put(self, path: str, data: str | bytes, tree: str = "root") -> Path:
        """Write a file into a tree."""
        target = self.folder / tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
        return target


Case = Callable[[World], None]


def run(*argv: str, cwd: Path | None = None, env: dict[str, str] | None = None, data: bytes = b"") -> bytes:
    """One tool: bounded, checked, in a plain environment."""
    clean = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TZ": "UTC", **(env or {})}
    done = subprocess.run(argv, cwd=cwd, env=clean, input=data, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr.decode(errors='replace')[-2000:]}"
    assert b"SORRY" not in done.stderr, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout


def build(folder: Path, side: int, cases: Iterable[Case]) -> Path:
    """Make one of the two images."""
    os.umask(0o022)
    world = World(folder, side)
    for tree in (world.root, world.iso / "live", world.iso / "boot/grub", world.initrd, world.efi):
        tree.mkdir(parents=True)
    _base(world)
    for case in cases:
        case(world)
    _clamp(world)
    _initrd(world)
    _fat(world)
    _squashfs(world)
    return _iso(world)


def _base(world: World) -> None:
    for number in range(40):
        world.put(f"/usr/share/doc/p{number:02}/copyright", f"Text of package {number}\n" * (number + 1))
    world.put("/etc/hostname", "live\n")
    world.put("/usr/bin/tool", bytes(range(256)) * 600)
    world.put("/init", "#!/bin/sh\nexec /sbin/init\n", "initrd").chmod(0o755)
    for number in range(6):
        world.put(f"/lib/m{number}.ko", f"module {number}\n" * 50, "initrd")
    world.put("EFI/BOOT/a.cfg", "a\n" * 20, "efi")
    world.put("EFI/BOOT/b.cfg", "b\n" * 30, "efi")
    world.put("live/vmlinuz", b"kernel" * 1000, "iso")
    world.put("boot/bios.img", b"\xfa" * 2048, "iso")
    world.put("boot/grub/grub.cfg", "set timeout=1\n", "iso")
    small = world.folder / "small"
    small.mkdir()
    (small / "readme").write_text("the same content\n" * 4000)


def _clamp(world: World) -> None:
    for path in sorted(world.folder.rglob("*"), reverse=True):
        if not path.is_symlink():
            when = world.times.get(path, EPOCH)
            os.utime(path, (when, when))


def _initrd(world: World) -> None:
    names = world.initrd_order([str(p.relative_to(world.initrd)) for p in world.initrd.rglob("*")])
    packed = run(
        "cpio", "-o", "-H", "newc", "--quiet", *world.initrd_cpio, cwd=world.initrd, data="\n".join(names).encode()
    )
    plain = world.folder / "initrd.cpio"
    plain.write_bytes(packed)
    os.utime(plain, (EPOCH + 60 * world.side,) * 2)
    (world.iso / "live/initrd.img").write_bytes(
        run(*(world.initrd_packer or ["gzip", "-9", "-c", *world.gzip_args]), str(plain))
    )


def _fat(world: World) -> None:
    image = world.folder / "efi.img"
    image.write_bytes(bytes(1440 * 1024))
    run("mkfs.vfat", "--invariant", "-i", world.vfat_id, str(image))
    env = {"SOURCE_DATE_EPOCH": str(world.vfat_times)}
    for folder in ("EFI", "EFI/BOOT"):
        run("mmd", "-i", str(image), f"::/{folder}", env=env)
    for name in sorted((str(p.relative_to(world.efi)) for p in world.efi.rglob("*.*")), reverse=world.vfat_reversed):
        run("mcopy", "-m", "-i", str(image), str(world.efi / name), f"::/{name}", env=env)
    for hook in world.fat_after:
        hook(image)


def _squashfs(world: World) -> None:
    env = {"SOURCE_DATE_EPOCH": str(EPOCH)} if world.squash_epoch else {}
    target = world.iso / "live/filesystem.squashfs"
    common = ["-noappend", "-quiet", "-no-progress"]
    run("mksquashfs", str(world.root), str(target), *common, *world.squash_args, env=env)
    # without padding the same files are stored in fewer bytes, and no option tells it
    other = world.iso / "live/modules.squashfs"
    run(
        "mksquashfs",
        str(world.folder / "small"),
        str(other),
        *common,
        "-comp",
        "gzip",
        *(["-nopad"] if world.other_level == "0" else []),
        env={"SOURCE_DATE_EPOCH": str(EPOCH)},
    )


def _iso(world: World) -> Path:
    for path in world.iso.rglob("*"):
        when = world.times.get(path, EPOCH)
        os.utime(path, (when, when))
    out = world.folder / "out.iso"
    epoch = f"={EPOCH}"
    run(
        "xorriso",
        *world.xorriso_first,
        "-outdev",
        str(out),
        "-volid",
        "SMALL",
        "-joliet",
        "on",
        "-map",
        str(world.iso),
        "/",
        "-boot_image",
        "any",
        "cat_path=/boot/boot.cat",
        "-boot_image",
        "any",
        "bin_path=/boot/bios.img",
        "-boot_image",
        "any",
        "emul_type=no_emulation",
        "-boot_image",
        "any",
        "load_size=2048",
        "-boot_image",
        "any",
        "next",
        "-boot_image",
        "any",
        "efi_path=--interval:appended_partition_2:all::",
        "-boot_image",
        "any",
        "emul_type=no_emulation",
        "-append_partition",
        "2",
        "0xef",
        str(world.folder / "efi.img"),
        "-boot_image",
        "any",
        "appended_part_as=gpt",
        "-boot_image",
        "any",
        f"gpt_disk_guid={world.guid}",
        "-boot_image",
        "any",
        "partition_offset=16",
        "-volume_date",
        "uuid",
        world.volume_date,
        "-volume_date",
        "all_file_dates",
        epoch,
        *world.xorriso,
        "-commit",
        "-end",
    )
    for hook in world.after:
        hook(out)
    return out
