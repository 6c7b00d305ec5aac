"""Each lever by itself: where it is broken its check fails, and no other does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from silvermetal_explain.errors import Unreadable
from silvermetal_explain.image.opening import layers_within, open_iso
from silvermetal_explain.image.source import FileSource
from silvermetal_explain.levers import Check, audit, read_build_info
from silvermetal_explain.limits import Limits

from tests.cases.catalogue import ALL, text
from tests.cases.world import EPOCH, Case, World, build, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"not installed: {', '.join(missing())}")
OPTIONS = "-comp zstd -b 128K"
LATE = EPOCH + 86_400
STATUS = "Package: tool\nStatus: install ok installed\nVersion: 1.2\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 9\n"


def packed(*options: str) -> Case:
    """The root file system is packed with other options than BUILD_INFO says."""

    def apply(world: World) -> None:
        world.squash_args = list(options)

    return apply


def late_inode(world: World) -> None:
    """A file newer than the epoch, and a tool that does not know the epoch."""
    world.squash_epoch = False
    world.squash_args += ["-mkfs-time", str(EPOCH)]
    world.times[world.put("/etc/late", "x\n")] = LATE


def late_initrd(world: World) -> None:
    """A file newer than the epoch in the initramfs."""
    world.times[world.initrd / "init"] = LATE


def late_record(world: World) -> None:
    """A record's date after the epoch."""
    ALL["iso-swapped-file-date"](world)


def b_side(name: str) -> Case:
    """A case of the catalogue, as B shows it."""
    return ALL[name]


BROKEN: dict[str, tuple[Case, set[str]]] = {
    "mkfs time": (b_side("squashfs-mkfs-time"), {"squashfs mkfs time"}),
    "inode times": (late_inode, {"squashfs inode times"}),
    "initramfs times": (late_initrd, {"file times in live/initrd.img"}),
    "compressor": (packed("-comp", "gzip", "-b", "128K"), {"MKSQUASHFS_OPTIONS -comp"}),
    "block size": (packed("-comp", "zstd", "-b", "64K"), {"MKSQUASHFS_OPTIONS -b"}),
    "level": (packed("-comp", "zstd", "-b", "128K", "-Xcompression-level", "3"), {"MKSQUASHFS_OPTIONS -Xcompression-level"}),
    "volume dates": (b_side("iso-volume-dates"), {"ISO volume dates"}),
    "record dates": (late_record, {"ISO record dates"}),
    "FAT times": (b_side("fat-times"), {"FAT file times"}),
    "apt sources": (b_side("apt-sources"), {"apt sources are public ones"}),
    "apt proxy": (text("/etc/apt/apt.conf.d/01proxy", "x", 'Acquire::http::Proxy "http://127.0.0.1:3142";\n'), {"apt sources are public ones"}),
    "package set": (text("/var/lib/dpkg/status", "x", STATUS.replace("1.2", "1.3")), {"package set is the lock"}),
    "locale": (text("/etc/default/locale", "x", "LANG=de_DE.UTF-8\n"), {"locale"}),
    "machine-id": (b_side("machine-id"), {"no machine-id"}),
    "host keys": (b_side("ssh-host-keys"), {"no host keys"}),
    "snakeoil": (text("/etc/ssl/private/ssl-cert-snakeoil.key", "x", "key\n"), {"no host keys"}),
    "random seed": (b_side("random-seed"), {"no random seed"}),
    "NVMe": (b_side("nvme-hostid"), {"no NVMe host identity"}),
    "logs": (b_side("log-files"), {"no logs"}),
    "build logs": (b_side("dkms-make-log"), {"no build logs"}),
    "apt caches": (b_side("apt-pkgcache"), {"no caches"}),
    "apt lists": (b_side("apt-lists"), {"no caches"}),
    "aux-cache": (b_side("ldconfig-aux-cache"), {"no caches"}),
    "dpkg backups": (b_side("dpkg-old"), {"no dpkg or debconf backups"}),
    "last change": (text("/etc/shadow", "x", f"root:*:{EPOCH // 86400 + 1}:0:99999:7:::\n"), {"last change in /etc/shadow"}),
}  # fmt: skip


def honest(world: World) -> None:
    """What a root file system holds that keeps every lever."""
    world.put("/etc/shadow", f"root:*:{EPOCH // 86400}:0:99999:7:::\n")
    world.put("/etc/machine-id", "uninitialized\n")
    world.put("/etc/default/locale", "LANG=C.UTF-8\n")
    world.put("/etc/apt/sources.list", "deb https://archive.example/debian bookworm main\n")
    world.put("/var/lib/dpkg/status", STATUS)
    world.put("/var/log/dpkg.log", "")


def audited(folder: Path, *cases: Case, options: str = OPTIONS, side: int = 1) -> list[Check]:
    """What the audit says of an image with a lock of one package."""
    image, info, lock = build(folder / "image", side, [honest, *cases]), folder / "BUILD_INFO", folder / "packages.lock"
    info.write_text(f"EFFECTIVE_SOURCE_DATE_EPOCH={EPOCH}\nMKSQUASHFS_OPTIONS={options}\nLC_ALL=C.UTF-8\n")
    lock.write_text(json.dumps({"packages": [{"name": "tool", "version": "1.2"}]}))
    layers = list(layers_within(open_iso(FileSource(image), Limits())))
    return list(audit(layers, read_build_info(info), lock))


def failed(checks: list[Check]) -> set[str]:
    """Levers whose check failed."""
    return {c.lever for c in checks if not c.ok}


def test_an_image_that_keeps_every_lever_passes_every_check(tmp_path: Path) -> None:
    checks = audited(tmp_path)
    assert failed(checks) == set()
    assert {lever for _, levers in BROKEN.values() for lever in levers} <= {c.lever for c in checks}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_lever_fails_its_check_and_no_other(name: str, tmp_path: Path) -> None:
    case, expected = BROKEN[name]
    assert failed(audited(tmp_path, case)) == expected


@pytest.mark.parametrize(
    ("made", "said", "fails"),
    [
        ("-comp xz -b 128K -Xdict-size 50%", "-comp xz -b 128K -Xdict-size 50%", set()),
        ("-comp xz -b 128K", "-comp xz -b 128K -Xdict-size 50%", {"MKSQUASHFS_OPTIONS -Xdict-size"}),
        ("-comp xz -b 128K -Xdict-size 64K", "-comp xz -b 128K -Xdict-size 100%", {"MKSQUASHFS_OPTIONS -Xdict-size"}),
        ("-comp zstd -b 128K -no-xattrs", "-comp zstd -b 128K -no-xattrs", set()),
        ("-comp zstd -b 128K", "-comp zstd -b 128K -no-xattrs", {"MKSQUASHFS_OPTIONS -no-xattrs"}),
        ("-comp zstd -b 128K", "-comp zstd -b 128K -no-fragments", {"MKSQUASHFS_OPTIONS -no-fragments"}),
        ("-comp zstd -b 128K", "-comp zstd -b 128K -no-exports", {"MKSQUASHFS_OPTIONS -no-exports"}),
    ],
)
def test_options_of_mksquashfs_that_were_dropped_on_the_way_are_found_in_the_artefact(
    made: str, said: str, fails: set[str], tmp_path: Path
) -> None:
    found = audited(tmp_path, packed(*made.split()), options=said)
    assert failed(found) == fails


def test_the_effective_epoch_counts_where_the_build_had_another(tmp_path: Path) -> None:
    """derivative-maker overrides SOURCE_DATE_EPOCH: what was meant is not what is."""
    image, info = build(tmp_path / "image", 0, [honest]), tmp_path / "BUILD_INFO"
    layers = list(layers_within(open_iso(FileSource(image), Limits())))
    info.write_text(f"EFFECTIVE_SOURCE_DATE_EPOCH={EPOCH + 60}\nSOURCE_DATE_EPOCH={EPOCH}\n")
    assert failed(list(audit(layers, read_build_info(info), None))) == {"squashfs mkfs time", "ISO volume dates"}


@pytest.mark.parametrize("text_", ["", "SOURCE_DATE_EPOCH=soon\n", "no equals sign\n", "A B=1\n"])
def test_a_build_info_that_is_none_is_refused(text_: str, tmp_path: Path) -> None:
    (tmp_path / "BUILD_INFO").write_text(text_)
    with pytest.raises(Unreadable, match="expected"):
        read_build_info(tmp_path / "BUILD_INFO")
