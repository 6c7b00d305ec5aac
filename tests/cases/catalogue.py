"""Every planned difference: which cause of the catalogue it is, and how it is made.

Rules:
- The name of a case is the id of the cause that `silvermetal diff` must give it, and nothing else may be given.
- Cases keep out of each other's way, so that all of them can be in one pair.
"""

from __future__ import annotations

import os
import random
import struct
import uuid
from pathlib import Path

from .made import ar_, elf_, gz_, pe_, tar_, zip_
from .world import EPOCH, HOSTS, Case, World

LATER = (EPOCH + 3600, EPOCH + 7260)


def text(path: str, a: str | bytes, b: str | bytes, tree: str = "root") -> Case:
    """A file with another content on either side."""

    def apply(world: World) -> None:
        world.put(path, (a, b)[world.side], tree)

    return apply


def only_b(path: str, data: str = "x\n", tree: str = "root") -> Case:
    """A file that B alone has."""

    def apply(world: World) -> None:
        if world.side:
            world.put(path, data, tree)

    return apply


def _uuid(side: int, name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}{side}"))


def _noise(side: int, size: int = 64) -> bytes:
    return random.Random(side).randbytes(size)


def _both(world: World, *cases: Case) -> None:
    for case in cases:
        case(world)


# facts/SILVERMETAL §2, 1 to 5: the root file system
def nvme(world: World) -> None:
    """1: hostid, with its sibling."""
    world.put("/etc/nvme/hostid", _uuid(world.side, "id") + "\n")
    world.put("/etc/nvme/hostnqn", f"nqn.2014-08.org.nvmexpress:uuid:{_uuid(world.side, 'nqn')}\n")


def make_log(world: World) -> None:
    """2: date, elapsed time, and the line order of make -j."""
    lines = ["  CC [M] a.o", "  CC [M] b.o", "  LD [M] tirdad.ko"]
    lines[:2] = lines[:2][:: 1 - 2 * world.side]
    body = f"DKMS make.log for tirdad-0.1\nThu May  7 21:{27 + world.side}:42 UTC 2026\n" + "\n".join(lines)
    world.put(
        "/var/lib/dkms/tirdad/0.1/6.1.0-31-amd64/x86_64/log/make.log", body + f"\n# elapsed time: 00:00:0{world.side}\n"
    )


def squash_times(world: World) -> None:
    """5: the superblock's time and one file's, without an epoch."""
    world.squash_epoch = False
    world.squash_args += ["-mkfs-time", str(EPOCH + world.side)]


def file_time(world: World) -> None:
    """5: a file written during the build; both are older than the epoch, so clamping does not reach them."""
    world.times[world.put("/etc/motd", "welcome\n")] = EPOCH - 5000 + 60 * world.side


def capability(world: World) -> None:
    """§2, 5: attributes that `-no-xattrs` or a copy loses; another file keeps its own, so the tables stay."""
    raw = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(world.put("/usr/bin/kept", b"\x7fELF1"), "security.capability", raw)
    lost = world.put("/usr/bin/ping", b"\x7fELF2")
    if not world.side:
        os.setxattr(lost, "security.capability", raw)


# §2, 6 to 11: the ISO
def _alter(kind: str, path: str) -> Case:
    def apply(world: World) -> None:
        world.after.append(_patch_slot(kind, path, LATER[world.side]))

    return apply


def _patch_slot(kind: str, path: str, when: int) -> object:
    """Put another moment into one date of one record in every tree, as the tools would have with another clock."""
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(when, UTC)
    raw = bytes([moment.year - 1900, moment.month, moment.day, moment.hour, moment.minute, moment.second, 0])

    def patch(image: Path) -> None:
        from silvermetal_explain.image.opening import open_iso
        from silvermetal_explain.image.source import FileSource
        from silvermetal_explain.limits import Limits

        iso = open_iso(FileSource(image), Limits())
        with image.open("r+b") as file:
            for tree in (iso, *iso.trees):
                entry = tree.entries.get(path)
                for field in entry.fields if entry else ():
                    if field.name == kind:
                        file.seek(field.offset)
                        file.write(raw)

    return patch


def volume_dates(world: World) -> None:
    """7: creation and modification date of every descriptor."""
    world.volume_date = f"2026050721{27 + world.side}4200"
    for kind in ("record date", *(f"Rock Ridge {k} time" for k in ("modification", "access", "attributes (ctime)"))):
        world.after.insert(0, _patch_slot(kind, "/boot/boot.cat", EPOCH))  # the catalogue would follow: another case


def guid(world: World) -> None:
    """11: the disk GUID."""
    world.guid = ("2" if world.side else "3") * 32


def mbr_id(world: World) -> None:
    """11: the isohybrid id."""

    def patch(image: Path) -> None:
        with image.open("r+b") as file:
            file.seek(440)
            file.write(struct.pack("<I", 0x1000 + world.side))

    world.after.append(patch)


SILVERMETAL: dict[str, Case] = {
    "nvme-hostid": nvme,
    "dkms-make-log": make_log,
    "apt-pkgcache": lambda w: _both(
        w,
        text("/var/cache/apt/pkgcache.bin", _noise(1), _noise(2)),
        text("/var/cache/apt/srcpkgcache.bin", _noise(3), _noise(4)),
    ),
    "ldconfig-aux-cache": text(
        "/var/cache/ldconfig/aux-cache", b"glibc-ld.so.cache" + _noise(5), b"glibc-ld.so.cache" + _noise(6)
    ),
    "squashfs-mkfs-time": squash_times,
    "squashfs-inode-times": file_time,
    "iso-boot-catalogue-date": _alter("record date", "/boot/boot.cat"),
    "iso-swapped-file-date": _alter("record date", "/live/filesystem.squashfs"),
    "iso-volume-dates": volume_dates,
    "iso-record-dates": _alter("record date", "/live/vmlinuz"),
    "iso-rock-ridge-atime-ctime": lambda w: _both(
        w,
        _alter("Rock Ridge access time", "/live/filesystem.squashfs"),
        _alter("Rock Ridge attributes (ctime) time", "/live/filesystem.squashfs"),
    ),
    "gpt-guid": guid,
    "mbr-disk-signature": mbr_id,
    "xattrs": capability,
}


# facts/DERIVATIVE-MAKER §5: what it adds to the above
def vfat_id(world: World) -> None:
    """15: the volume id."""
    world.vfat_id = f"0000000{world.side + 1}"


def vfat_times(world: World) -> None:
    """15: file times."""
    world.vfat_times = LATER[world.side]


def vfat_order(world: World) -> None:
    """15: the order in which files were copied."""
    world.vfat_reversed = bool(world.side)


def initrd_time(world: World) -> None:
    """19: a time in the cpio."""
    world.times[world.initrd / "init"] = EPOCH - 100 - world.side


def initrd_order(world: World) -> None:
    """19: directory order."""
    world.initrd_order = (lambda names: sorted(names, reverse=True)) if world.side else sorted


def level(world: World) -> None:
    """8: the same files stored in another way."""
    world.other_level = "0" if world.side else "9"


def squash_options(world: World) -> None:
    """derivative-maker drops MKSQUASHFS_OPTIONS."""
    world.squash_args[:4] = ["-comp", "zstd", "-b", "64K" if world.side else "128K"]


def mode(world: World) -> None:
    """5: umask."""
    world.put("/etc/app.conf", "setting=1\n").chmod(0o600 if world.side else 0o644)


def owner(world: World) -> None:
    """6: the builder's uid."""
    os.chown(world.put("/srv/owned", "x\n"), 1000 + world.side, 1000)


def shadow(world: World) -> None:
    """34: the day of the last change."""
    world.put("/etc/shadow", f"root:*:{20460 + world.side}:0:99999:7:::\n")


def passwd(world: World) -> None:
    """34: users in another order."""
    names = ["messagebus:x:100:101::/:/bin/false", "sshd:x:101:102::/:/bin/false"]
    world.put("/etc/passwd", "root:x:0:0::/root:/bin/sh\n" + "\n".join(names[:: 1 - 2 * world.side]) + "\n")


DERIVATIVE_MAKER: dict[str, Case] = {
    "package-status": text(
        "/var/lib/dpkg/status", "Package: tor\nVersion: 0.4.8.1\n", "Package: tor\nVersion: 0.4.8.2\n"
    ),
    "apt-sources": text("/etc/apt/sources.list", "deb file:/a bookworm main\n", "deb file:/b bookworm main\n"),
    "build-info-version": text("/etc/os-release", "VERSION_ID=18.1-3-gabc\n", "VERSION_ID=18.1-4-gabd\n"),
    "resolv-conf": text("/etc/resolv.conf", "nameserver 10.0.0.1\n", "nameserver 10.0.1.1\n"),
    "squashfs-stored": level,
    "squashfs-options": squash_options,
    "umask": mode,
    "owner": owner,
    "iso-volume-id": lambda w: w.xorriso.extend(["-volid", f"LIVE_{w.side}"]),
    "fat-volume-id": vfat_id,
    "fat-times": vfat_times,
    "fat-order": vfat_order,
    "grub-memdisk": text("boot/grub/i386-pc/core.img", b"\x52" + _noise(7, 300), b"\x52" + _noise(8, 300), "iso"),
    "implanted-md5": lambda w: w.after.append(_application_use(w.side)),
    "disk-info": text(".disk/info", "Live 20260507-21:27\n", "Live 20260507-21:44\n", "iso"),
    "initrd-times": initrd_time,
    "initrd-order": initrd_order,
    "initrd-gzip-date": lambda w: w.gzip_args.clear(),
    "machine-id": text("/etc/machine-id", "a" * 31 + "1\n", "b" * 31 + "2\n"),
    "random-seed": text("/var/lib/systemd/random-seed", _noise(9, 512), _noise(10, 512)),
    "ssh-host-keys": text("/etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA1\n", "ssh-ed25519 AAAA2\n"),
    "mok-key": text("/var/lib/dkms/mok.key", _noise(11), _noise(12)),
    "log-files": text("/var/log/dpkg.log", "2026-05-07 21:27:00 startup\n", "2026-05-07 21:44:00 startup\n"),
    "dpkg-old": text("/var/lib/dpkg/status-old", "a\n", "b\n"),
    "locale-conf": text("/etc/locale.conf", "LANG=C\nLC_ALL=C\n", "LC_ALL=C\nLANG=C\n"),
    "locale-archive": text("/usr/lib/locale/locale-archive", _noise(13), _noise(14)),
    "fontconfig-cache": text("/var/cache/fontconfig/a.cache-7", _noise(15), _noise(16)),
    "generated-indexes": text("/usr/share/applications/mimeinfo.cache", "a=1;2\n", "a=2;1\n"),
    "man-db": text("/var/cache/man/index.db", _noise(17), _noise(18)),
    "pyc-cache": text(
        "/usr/lib/python3/__pycache__/m.pyc", b"\xa7\r\r\n" + bytes(12) + b"c1", b"\xa7\r\r\n" + bytes(12) + b"c2"
    ),
    "shadow-lastchange": shadow,
    "passwd-order": passwd,
    "blkid-cache": text("/run/blkid/blkid.tab", "<a>\n", "<b>\n"),
    "kernel-module": text("/lib/modules/6.1/t.ko", b"\x7fELF" + _noise(19), b"\x7fELF" + _noise(20)),
    "signing-key-id": text("/etc/apt/keyrings/worker.gpg", _noise(21), _noise(22)),
    "apt-lists": only_b("/var/lib/apt/lists/_work_repo_Packages"),
    "icon-cache": text("/usr/share/icons/x/icon-theme.cache", _noise(23), _noise(24)),
    "iso-md5sums": text("md5sum.txt", "11  ./a\n", "22  ./a\n", "iso"),
    "stale-live-build": only_b("boot/grub/kb_layouts/kb_layouts/de.gkb", tree="iso"),
    "initrd-mount-uuid": text(
        "/conf/conf.d/resume", f"RESUME=UUID={_uuid(0, 'm')}\n", f"RESUME=UUID={_uuid(1, 'm')}\n", "initrd"
    ),
}


def _application_use(side: int) -> object:
    def patch(image: Path) -> None:
        with image.open("r+b") as file:
            file.seek(32768 + 883)
            file.write(f"ISO MD5SUM = {side}".encode())

    return patch


# reproducible-builds.org: further classes, each in a place that no catalogue path knows
OPT = "/opt/app"
LONG = b"".join(b"row %d of many\n" % (i * i) for i in range(3000))
FURTHER: dict[str, Case] = {
    "host-name": text("/etc/issue", f"Built on {HOSTS[0]}\n", f"Built on {HOSTS[1]}\n"),
    "gzip-header": text(f"{OPT}/a.gz", gz_(b"same\n", EPOCH), gz_(b"same\n", EPOCH + 5)),
    "compressor-level": text(f"{OPT}/b.gz", gz_(LONG, 0, 1), gz_(LONG, 0, 9)),
    "zip-dates": text(f"{OPT}/a.jar", zip_(2, ("m", "n")), zip_(4, ("m", "n"))),
    "archive-order": text(f"{OPT}/b.zip", zip_(2, ("m", "n")), zip_(2, ("n", "m"))),
    "tar-dates": text(f"{OPT}/a.tar", tar_(EPOCH), tar_(EPOCH + 9)),
    "ar-dates": text(f"{OPT}/liba.a", ar_(EPOCH), ar_(EPOCH + 9)),
    "pyc-header": text(
        f"{OPT}/m.pyc",
        b"\xa7\r\r\n\0\0\0\0" + struct.pack("<II", EPOCH, 9) + b"code",
        b"\xa7\r\r\n\0\0\0\0" + struct.pack("<II", EPOCH + 3, 9) + b"code",
    ),
    "elf-build-id": text(f"{OPT}/prog", elf_(_noise(31, 20)), elf_(_noise(32, 20))),
    "elf-code": text(f"{OPT}/prog2", elf_(bytes(20), _noise(33, 400)), elf_(bytes(20), _noise(34, 400))),
    "pe-date": text("EFI/tool.bin", pe_(EPOCH), pe_(EPOCH + 77), "efi"),
    "build-path": text(f"{OPT}/config.h", '#define SRC "/build/app-Xa1/src"\n', '#define SRC "/build/app-Yb2/src"\n'),
    "kernel-release": text(f"{OPT}/uname", "built under 6.1.0-31-amd64\n", "built under 6.12.9-1-cloud-amd64\n"),
    "elapsed": text(f"{OPT}/report", "done in 12 seconds\n", "done in 15 seconds\n"),
    "embedded-date": text(
        f"{OPT}/version.txt", "Built Thu May  7 21:27:42 UTC 2026\n", "Built Thu May  7 21:44:01 UTC 2026\n"
    ),
    "embedded-uuid": text(f"{OPT}/instance", f"id={_uuid(0, 'i')}\n", f"id={_uuid(1, 'i')}\n"),
    "random-data": text(
        f"{OPT}/salt", "salt: 0f1e2d3c4b5a69788796a5b4c3d2e1f0\n", "salt: ff1e2d3c4b5a69788796a5b4c3d2e1aa\n"
    ),
    "line-order": text(f"{OPT}/names", "alpha\nbeta\ngamma\n", "gamma\nalpha\nbeta\n"),
    "line-order-parallel": text(f"{OPT}/jobs", "09:00:01 alpha\n09:00:02 beta\n", "09:10:01 beta\n09:10:03 alpha\n"),
    "locale-text": text(f"{OPT}/env", "lang=C.UTF-8\n", "lang=de_DE.UTF-8\n"),
    "network-address": text(f"{OPT}/mirror", "from 192.0.2.10 port\n", "from 192.0.2.77 port\n"),
    "job-count": text(f"{OPT}/nproc", "jobs 2\n", "jobs 8\n"),
    "more-lines": text(f"{OPT}/appended", "one\n", "one\none more step\n"),
    "sqlite-or-db": text(f"{OPT}/x.sqlite", b"SQLite format 3\0" + _noise(35), b"SQLite format 3\0" + _noise(36)),
    "random-file-name": lambda w: w.put(f"{OPT}/{_uuid(w.side, 'n')}", "x\n") and None,
    "missing-file": only_b(f"{OPT}/extra"),
    "tmp-leftover": only_b("/var/tmp/ab"),
    "user-cache": text("/root/.cache/x", "1\n", "2\n"),
    "cloned-git": text("/usr/src/t/.git/index", _noise(37), _noise(38)),
    "systemd-catalog": text("/var/lib/systemd/catalog/database", _noise(39), _noise(40)),
    "link-or-device": lambda w: (w.root / "etc/alternatives-x").symlink_to(("vim", "nano")[w.side]),
    "kernel-banner": text(
        "live/vmlinuz-extra",
        b"\0Linux version 6.1 (root@a) Thu May 7 2026" + bytes(99),
        b"\0Linux version 6.1 (root@b) Thu May 7 2027" + bytes(99),
        "iso",
    ),
    "grub-uuid": text(
        "boot/grub/load.cfg", f"search --fs-uuid {_uuid(0, 'g')}\n", f"search --fs-uuid {_uuid(1, 'g')}\n", "iso"
    ),
    "iso-owner-mode": lambda w: w.put("README", "read me\n", "iso").chmod(0o600 if w.side else 0o644),
    "initrd-hostonly": only_b("/lib/hardware.ko", tree="initrd"),
    "initrd-owner-mode": lambda w: w.put("/bin/helper", "h\n", "initrd").chmod(0o700 if w.side else 0o755),
    "iso-application-id": lambda w: w.xorriso.extend(["-application_id", f"XORRISO-1.5.{w.side}"]),
    "archive-member": text(f"{OPT}/c.tar", tar_(EPOCH, ("m", "n")), tar_(EPOCH, ("m", "o"))),
}


def _write(at: int, data: bytes) -> object:
    def patch(image: Path) -> None:
        with image.open("r+b") as file:
            file.seek(at)
            file.write(data)

    return patch


def _write_at_field(name: str, data: bytes) -> object:
    def patch(image: Path) -> None:
        from silvermetal_explain.image.opening import open_iso
        from silvermetal_explain.image.source import FileSource
        from silvermetal_explain.limits import Limits

        field = next(f for f in open_iso(FileSource(image), Limits()).fields if f.name == name)
        _write(field.offset, data)(image)  # type: ignore[operator]

    return patch


# What a tool or a hand left in the wrapper, outside of all files
FURTHER |= {
    "mbr-boot-code": lambda w: w.after.append(_write(300, bytes([0x90 + w.side]))),
    "iso-system-area": lambda w: w.after.append(_write(41_000, b"left over %d" % w.side)),
    "boot-catalogue": lambda w: w.after.append(_write_at_field("boot catalogue: identifier", b"tool %d" % w.side)),
    "iso-descriptor-other": lambda w: w.after.append(_write(32768 + 7, bytes([w.side]))),  # volume flags
    "grub-marker": lambda w: w.put(f".disk/{_uuid(w.side, 'd')}.uuid", "x\n", "iso") and None,
    "fat-other": lambda w: w.fat_after.append(_write(100, bytes([0x90 + w.side]))),  # boot code
}

ALL: dict[str, Case] = {**SILVERMETAL, **DERIVATIVE_MAKER, **FURTHER}
