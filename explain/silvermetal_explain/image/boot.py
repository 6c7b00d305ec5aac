"""El Torito: the boot catalogue and what it points to.

Rules:
- The catalogue is read within one block; its checksum is checked and told, never trusted.
- Boot images are claimed by name of their file where a file covers them.
"""

from __future__ import annotations

import struct

from ..regions import Claim
from .descriptors import SECTOR, Descriptor
from .layer import FOLLOWS, Field, Layer

PLATFORMS = {0: "BIOS", 1: "PowerPC", 2: "Mac", 0xEF: "UEFI"}


def read_boot(iso: Layer, descriptors: list[Descriptor]) -> None:
    """Fields and claims of the catalogue, if the image has one."""
    record = next((d for d in descriptors if d.kind == 0 and d.data[7:30] == b"EL TORITO SPECIFICATION"), None)
    if record is None:
        return
    (block,) = struct.unpack_from("<I", record.data, 71)
    at = block * SECTOR
    if at + SECTOR > iso.source.size:
        iso.fields.append(
            Field("boot catalogue", record.block * SECTOR + 71, "text", f"outside the image (block {block})")
        )
        return
    data = iso.source.read(at, SECTOR)
    iso.claims.insert(0, Claim(at, SECTOR, "boot catalogue"))
    add = iso.fields.append
    checksum = sum(struct.unpack_from("<16H", data)) & 0xFFFF
    add(Field("boot catalogue: platform", at + 1, "text", PLATFORMS.get(data[1], str(data[1]))))
    add(Field("boot catalogue: identifier", at + 4, "bytes", data[4:28].rstrip(b"\0").hex()))
    add(
        Field(
            "boot catalogue: checksum",
            at + 28,
            "text",
            "good" if checksum == 0 else f"wrong, sums to {checksum:#x}",
            FOLLOWS,
        )
    )
    platform, number = data[1], 0
    for offset in range(32, SECTOR, 32):
        entry = data[offset : offset + 32]
        if not any(entry):
            break
        if entry[0] in (0x90, 0x91):
            platform = entry[1]
            continue
        number += 1
        label = f"boot catalogue: image {number} ({PLATFORMS.get(platform, str(platform))})"
        sectors, start = struct.unpack_from("<HI", entry, 6)
        add(Field(f"{label} indicator and media", at + offset, "bytes", entry[:6].hex()))
        add(Field(f"{label} sectors", at + offset + 6, "int", str(sectors), FOLLOWS))
        add(Field(f"{label} position", at + offset + 8, "int", str(start), FOLLOWS))
        add(Field(f"{label} selection criteria", at + offset + 12, "bytes", entry[12:].rstrip(b"\0").hex()))
        first = start * SECTOR
        length = min(sectors * 512, max(0, iso.source.size - first))
        iso.claims.append(Claim(first, length, f"boot image {number} (no file)", -4))
