"""Which case shows which entry of the two lists that the catalogue of causes comes from.

Rules:
- Every entry has a case. Entries 2 and 39 of the second list are causes of the others, and have no shape of their own.
"""

from __future__ import annotations

SILVERMETAL_2: dict[int, tuple[str, ...]] = {
    1: ("nvme-hostid",), 2: ("dkms-make-log",), 3: ("apt-pkgcache",), 4: ("ldconfig-aux-cache",),
    5: ("squashfs-mkfs-time", "squashfs-inode-times", "squashfs-options", "owner", "xattrs"),
    6: ("iso-boot-catalogue-date", "iso-swapped-file-date"), 7: ("iso-volume-dates",), 8: ("iso-record-dates",),
    9: ("iso-rock-ridge-atime-ctime",), 10: ("iso-rock-ridge-atime-ctime",),
    11: ("gpt-guid", "mbr-disk-signature", "iso-volume-id"),
    12: ("kernel-release", "locale-text", "fat-times", "initrd-mount-uuid", "passwd-order"),  # named for audit there
}  # fmt: skip
DERIVATIVE_MAKER_5: dict[int, tuple[str, ...]] = {
    1: ("package-status",), 2: ("package-status",), 3: ("squashfs-mkfs-time", "iso-volume-dates"),
    4: ("build-info-version",), 5: ("umask", "locale-text", "fat-times"),
    6: ("build-path", "owner", "host-name", "resolv-conf"), 7: ("squashfs-mkfs-time", "squashfs-inode-times"),
    8: ("squashfs-stored", "squashfs-order"), 9: ("tmp-leftover", "blkid-cache"),
    10: ("iso-volume-dates", "iso-record-dates", "iso-rock-ridge-atime-ctime"), 11: ("iso-swapped-file-date",),
    12: ("gpt-guid", "iso-volume-id"), 13: ("mbr-disk-signature", "mbr-boot-code"), 14: ("iso-boot-catalogue-date",),
    15: ("fat-volume-id", "fat-times", "fat-order"), 16: ("grub-memdisk",), 17: ("implanted-md5",), 18: ("disk-info",),
    19: ("initrd-times", "initrd-order", "initrd-gzip-date", "initrd-inodes"), 20: ("machine-id",),
    21: ("random-seed",), 22: ("ssh-host-keys",), 23: ("nvme-hostid",), 24: ("dkms-make-log", "kernel-module", "mok-key"),
    25: ("apt-pkgcache", "apt-lists", "stale-live-build"), 26: ("ldconfig-aux-cache",), 27: ("log-files",),
    28: ("dpkg-old",), 29: ("locale-conf",), 30: ("locale-archive",), 31: ("fontconfig-cache",),
    32: ("generated-indexes", "systemd-catalog"), 33: ("man-db", "pyc-cache", "icon-cache"),
    34: ("shadow-lastchange", "passwd-order"), 35: ("blkid-cache",), 36: ("squashfs-inode-times",),
    37: ("initrd-hostonly", "elf-code", "job-count"), 38: ("signing-key-id",),
    39: ("embedded-date", "elapsed", "kernel-release", "host-name"),
}  # fmt: skip
