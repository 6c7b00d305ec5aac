"""Causes that change so much around them that others would follow from them: each is told by itself.

Rules:
- As in the catalogue: the name of a case is the id of the cause, and nothing else may be given.
"""

from __future__ import annotations

from .catalogue import text
from .world import Case, World


def _other_links(world: World) -> None:
    world.initrd_cpio = ["-R", "0:0"] if world.side else ["--reproducible", "-R", "0:0"]


def _sorted_otherwise(world: World) -> None:
    world.put("/usr/bin/other-tool", bytes(reversed(range(256))) * 900)
    order = world.folder / "sort"
    order.write_text("usr/bin/tool 100\n" if world.side else "usr/bin/tool -100\n")
    world.squash_args += ["-sort", str(order)]


def _placed_otherwise(world: World) -> None:
    if world.side:
        world.xorriso += ["-find", "/live/vmlinuz", "-exec", "sort_weight", "9", "--"]


ALONE: dict[str, Case] = {
    "initrd-inodes": _other_links,
    "initrd-compression": lambda w: setattr(w, "initrd_packer", ["xz", "--check=crc32", "-c"]) if w.side else None,
    "squashfs-order": _sorted_otherwise,
    "iso-file-order": _placed_otherwise,
    "iso-extra-tree": lambda w: w.xorriso.extend(["-joliet", "off"]) if w.side else None,
    "layer-kind": text("live/broken.squashfs", b"hsqs" + bytes(4000), b"hsqs" + b"\1" * 4000, "iso"),
}
