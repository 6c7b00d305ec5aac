"""Volume descriptors of an ISO 9660 image, every byte of them as a field.

Rules:
- The descriptor set is read until its terminator, at most 64 blocks.
- A field's name is the standard's; dates are decoded; whatever the standard leaves to applications is kept as hex.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ..errors import Unreadable
from . import dates
from .layer import CAUSE, FOLLOWS, Field
from .source import Source

SECTOR = 2048
NAMES = {0: "boot record", 1: "primary volume descriptor", 2: "supplementary volume descriptor", 255: "terminator"}
# name, offset, length, kind, role
VOLUME = (
    ("version", 6, 1, "int", CAUSE),
    ("volume flags", 7, 1, "int", CAUSE),
    ("system identifier", 8, 32, "text", CAUSE),
    ("volume identifier", 40, 32, "text", CAUSE),
    ("unused field", 72, 8, "bytes", CAUSE),
    ("volume space size", 80, 8, "both32", FOLLOWS),
    ("escape sequences", 88, 32, "bytes", CAUSE),
    ("volume set size", 120, 4, "both16", CAUSE),
    ("volume sequence number", 124, 4, "both16", CAUSE),
    ("logical block size", 128, 4, "both16", CAUSE),
    ("path table size", 132, 8, "both32", FOLLOWS),
    ("position of the little-endian path table", 140, 4, "int", FOLLOWS),
    ("position of the optional little-endian path table", 144, 4, "int", FOLLOWS),
    ("position of the big-endian path table", 148, 4, "big", FOLLOWS),
    ("position of the optional big-endian path table", 152, 4, "big", FOLLOWS),
    ("position of the root directory", 158, 8, "both32", FOLLOWS),
    ("size of the root directory", 166, 8, "both32", FOLLOWS),
    ("root directory date", 174, 7, "short", CAUSE),
    ("root directory record, rest", 181, 9, "bytes", CAUSE),
    ("volume set identifier", 190, 128, "text", CAUSE),
    ("publisher identifier", 318, 128, "text", CAUSE),
    ("data preparer identifier", 446, 128, "text", CAUSE),
    ("application identifier", 574, 128, "text", CAUSE),
    ("copyright file identifier", 702, 37, "text", CAUSE),
    ("abstract file identifier", 739, 37, "text", CAUSE),
    ("bibliographic file identifier", 776, 37, "text", CAUSE),
    ("creation date", 813, 17, "long", CAUSE),
    ("modification date", 830, 17, "long", CAUSE),
    ("expiration date", 847, 17, "long", CAUSE),
    ("effective date", 864, 17, "long", CAUSE),
    ("file structure version", 881, 2, "int", CAUSE),
    ("application use", 883, 512, "bytes", CAUSE),
    ("reserved", 1395, 653, "bytes", CAUSE),
)
BOOT = (
    ("boot system identifier", 7, 32, "text", CAUSE),
    ("boot identifier", 39, 32, "text", CAUSE),
    ("position of the boot catalogue", 71, 4, "int", FOLLOWS),
    ("boot system use", 75, 1973, "bytes", CAUSE),
)


class Descriptor(NamedTuple):
    """One 2048-byte volume descriptor."""

    block: int
    kind: int
    name: str
    data: bytes
    joliet: bool


def decode(data: bytes, layout: tuple[tuple[str, int, int, str, str], ...], at: int, wide: bool = False) -> list[Field]:
    """Fields of a fixed layout; `at` is where `data` lies in the image."""
    fields = []
    for name, offset, length, kind, role in layout:
        raw = data[offset : offset + length]
        shown, value = kind, ""
        if kind == "text":
            value = raw.decode("utf-16-be" if wide else "utf-8", "backslashreplace").rstrip(" \0")
        elif kind in ("long", "short"):
            shown, value = "date", dates.long(raw) if kind == "long" else dates.short(raw)
        elif kind in ("int", "big", "both32", "both16"):
            half = raw[: len(raw) // 2] if kind.startswith("both") else raw
            value, shown = str(int.from_bytes(half, "big" if kind == "big" else "little")), "int"
            if kind.startswith("both") and half != raw[len(raw) // 2 :][::-1]:
                value += f" (big-endian half differs: {raw.hex()})"
        else:
            value = _filled(raw)
        fields.append(Field(name, at + offset, shown, value, role))
    return fields


def _filled(raw: bytes) -> str:
    """Bytes that were filled up to a fixed length: text as text, the rest as hex, the filling counted."""
    body = raw.rstrip(raw[-1:]) if raw[-1:] in (b"\0", b" ") else raw
    filling = f"{len(raw) - len(body)} {'zeros' if raw[-1:] == bytes(1) else 'spaces'}" if len(body) < len(raw) else ""
    text = body.decode("ascii", "replace")
    shown = repr(text) if len(body) > 3 and text.isascii() and text.isprintable() else body.hex()
    return f"{shown} and {filling}" if shown and filling else shown or filling


def read_set(source: Source, block: int) -> list[Descriptor]:
    """The descriptors from `block` to the terminator."""
    found = []
    for number in range(block, block + 64):
        if (number + 1) * SECTOR > source.size:
            break
        data = source.read(number * SECTOR, SECTOR)
        if data[1:6] != b"CD001":
            break
        joliet = data[0] == 2 and data[88:91] in (b"%/@", b"%/C", b"%/E")
        name = "Joliet volume descriptor" if joliet else NAMES.get(data[0], f"volume descriptor of type {data[0]}")
        found.append(Descriptor(number, data[0], name, data, joliet))
        if data[0] == 255:
            break
    if not found:
        head = source.read(block * SECTOR, 8) if (block + 1) * SECTOR <= source.size else b""
        raise Unreadable(
            f"at byte {block * SECTOR}: got {head!r}, expected the volume descriptor of an ISO 9660 image (CD001)"
        )
    return found


def fields_of(descriptor: Descriptor) -> list[Field]:
    """Its fields, by type."""
    at = descriptor.block * SECTOR
    if descriptor.kind in (1, 2):
        return decode(descriptor.data, VOLUME, at, descriptor.joliet)
    if descriptor.kind == 0:
        return decode(descriptor.data, BOOT, at)
    return decode(descriptor.data, (("reserved bytes", 6, 2042, "bytes", CAUSE),), at)


def root_of(descriptor: Descriptor) -> tuple[int, int]:
    """Block and size of the root directory."""
    block, size = struct.unpack_from("<I4xI", descriptor.data, 158)
    return block, size
