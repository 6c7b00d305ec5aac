"""What is known of each tag of derivative-maker that may be pinned. Read in upstream's source, at that tag.

Rules:

- A tag that is not here is refused: its call, its place for excludes and its ways of failing have been read by nobody.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tag:
    """One tag. Paths are below the folder of one version's output."""

    freshness: str
    """``current``, because the sources file is ours: upstream's ``frozen`` brings its own, or is not there."""
    excludes: str | None
    """Where a list of what mksquashfs leaves out arrives without a change of the signed tree; None: nowhere."""
    systemd: bool
    """Whether the build needs systemd as PID 1 once the package cache is ours and not upstream's."""


TAGS = {
    # build-steps.d/2800_create-lb-iso makes live-build's folder only where there is none, `lb clean` and `lb config`
    # leave config/rootfs alone, and scripts/build/binary_rootfs hands config/rootfs/excludes to mksquashfs.
    # 1200_prepare-build-machine calls systemctl for the package cache alone (APPROX_PROXY_ENABLE=yes).
    "18.2.1.9-developers-only": Tag("current", "live-build/config/rootfs/excludes", systemd=False),
    # build-steps.d/3600_convert-raw-to-iso copies live-build-data/live-build-config/rootfs-excludes over it.
    "18.2.2.1-developers-only": Tag("current", None, systemd=False),
}

EXCLUDES = (
    "etc/nvme/hostid",
    "etc/nvme/hostnqn",
    "var/lib/dkms/*/*/*/*/log",
)
"""What upstream leaves in the root file system that no two builds have alike: two random numbers of nvme-cli's
installation, and the logs of kernel modules that were compiled (date, time taken, order of lines). For mksquashfs'
``-wildcards -ef``."""
