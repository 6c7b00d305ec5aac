"""The system area: MBR with its isohybrid marks, GPT, Apple partition map.

Rules:
- Every byte of the tables is a field or a region; partition numbers keep the order of the table.
- UUIDs are printed as GPT means them (mixed endian); a table that points outside the image is told, not followed.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from typing import TYPE_CHECKING

from ..limits import Limits
from ..regions import Claim
from .layer import CAUSE, FOLLOWS, Entry, Field, Layer
from .source import Source, Window

if TYPE_CHECKING:
    from .iso9660 import Iso

LBA = 512
ZERO16 = bytes(16)


class Partitions(Layer):
    """Partitions whose bytes no file of the ISO covers: appended images."""

    format = "partitions"

    def __init__(self, source: Source, limits: Limits, claims: list[Claim], covered: set[int]) -> None:
        super().__init__("partitions", source, limits)
        for claim in claims:
            if "partition" not in claim.name or not claim.name.endswith(", no file"):
                continue
            outside = claim.start + claim.length > source.size or claim.start <= 32768 < claim.start + claim.length
            if not outside and claim.start not in covered:
                covered.add(claim.start)
                path = claim.name.removesuffix(", no file")
                self.add(Entry(path, "f", 0, 0, 0, claim.length, None, where=(claim.start, claim.length)))

    def open(self, entry: Entry) -> Source:
        """A window."""
        return Window(self.source, *entry.where)  # type: ignore[misc, arg-type]

    def order(self) -> list[str]:
        """The table's order says nothing about bytes."""
        return sorted(self.entries)


def read_system_area(iso: Iso) -> None:
    """MBR, then whichever of GPT and APM is there."""
    if iso.source.size < LBA:
        return
    _mbr(iso, iso.source.read(0, LBA))
    if iso.source.size >= 3 * LBA:
        _gpt(iso, 1, "GPT")
        _apm(iso)
    if iso.source.size >= 4 * LBA and iso.source.size % LBA == 0:
        _gpt(iso, iso.source.size // LBA - 1, "backup GPT")


def _mbr(iso: Iso, data: bytes) -> None:
    add = iso.fields.append
    if data[510:] != b"\x55\xaa":
        return
    iso.claims.append(Claim(0, LBA, "MBR"))
    add(Field("MBR: boot code", 0, "bytes", _digest(data[:440])))
    add(Field("MBR: disk signature (isohybrid id)", 440, "bytes", data[440:444].hex()))
    add(Field("MBR: copy protection", 444, "bytes", data[444:446].hex()))
    for number in range(4):
        at = 446 + 16 * number
        entry = data[at : at + 16]
        add(Field(f"MBR: partition {number + 1} status", at, "int", f"{entry[0]:#04x}"))
        add(Field(f"MBR: partition {number + 1} type", at + 4, "int", f"{entry[4]:#04x}"))
        start, size = struct.unpack_from("<II", entry, 8)
        add(Field(f"MBR: partition {number + 1} position", at + 8, "int", str(start), FOLLOWS))
        add(Field(f"MBR: partition {number + 1} sectors", at + 12, "int", str(size), FOLLOWS))
        add(Field(f"MBR: partition {number + 1} CHS", at + 1, "bytes", (entry[1:4] + entry[5:8]).hex(), FOLLOWS))
        if entry[4] and entry[4] != 0xEE and start and size:
            iso.claims.append(
                Claim(start * LBA, size * LBA, f"MBR partition {number + 1} (type {entry[4]:#04x}), no file", -3)
            )


def _digest(data: bytes) -> str:
    return f"crc32 {zlib.crc32(data):08x}, first bytes {data[:8].hex()}"


def guid(data: bytes) -> str:
    """As GPT prints it."""
    return str(uuid.UUID(bytes_le=data))


def _gpt(iso: Iso, block: int, label: str) -> None:
    at = block * LBA
    data = iso.source.read(at, LBA)
    if data[:8] != b"EFI PART":
        return
    add = iso.fields.append
    iso.claims.append(Claim(at, LBA, f"{label}: header"))
    (size, crc, _, _mine, _other, first, last) = struct.unpack_from("<IIIQQQQ", data, 12)
    table, count, width, table_crc = struct.unpack_from("<QIII", data, 72)
    add(Field(f"{label}: revision", at + 8, "bytes", data[8:12].hex()))
    zeroed = data[:16] + bytes(4) + data[20 : max(92, min(size, LBA))]
    state = "good" if zlib.crc32(zeroed) == crc else "wrong"
    add(Field(f"{label}: header checksum", at + 16, "text", f"{crc:08x} ({state})", FOLLOWS))
    add(Field(f"{label}: usable blocks", at + 40, "text", f"{first}..{last}", FOLLOWS))
    add(Field(f"{label}: disk GUID", at + 56, "uuid", guid(data[56:72])))
    add(Field(f"{label}: position of the table", at + 72, "int", str(table), FOLLOWS))
    add(Field(f"{label}: table checksum", at + 88, "text", f"{table_crc:08x}", FOLLOWS))
    tail = data[92:].rstrip(b"\0")
    add(Field(f"{label}: reserved", at + 92, "bytes", tail.hex() or "zeros"))
    if not 128 <= width <= 4096 or count > 1024 or table * LBA + width * count > iso.source.size:
        add(
            Field(f"{label}: table", at + 72, "text", f"outside the image: {count} entries of {width} at block {table}")
        )
        return
    start = table * LBA
    iso.claims.append(Claim(start, width * count, f"{label}: partition table"))
    entries = iso.source.read(start, width * count)
    for number in range(count):
        entry, where = entries[number * width : (number + 1) * width], start + number * width
        if entry[:16] == ZERO16:
            continue
        name = entry[56:128].decode("utf-16-le", "backslashreplace").rstrip("\0")
        low, high, flags = struct.unpack_from("<QQQ", entry, 32)
        part = f"{label}: partition {number + 1}"
        add(Field(f"{part} type GUID", where, "uuid", guid(entry[:16])))
        add(Field(f"{part} GUID", where + 16, "uuid", guid(entry[16:32])))
        add(Field(f"{part} blocks", where + 32, "text", f"{low}..{high}", FOLLOWS))
        add(Field(f"{part} flags", where + 48, "int", f"{flags:#x}"))
        add(Field(f"{part} name", where + 56, "text", name))
        if high >= low:
            iso.claims.append(
                Claim(low * LBA, (high - low + 1) * LBA, f"GPT partition {number + 1} {name!r}, no file", -2)
            )


def _apm(iso: Iso) -> None:
    """Apple's map, as grub-mkrescue writes it: block size 512 or 2048, entries `PM`."""
    for width in (512, 2048):
        if iso.source.size < 2 * width or iso.source.read(width, 2) != b"PM":
            continue
        (count,) = struct.unpack(">I", iso.source.read(width + 4, 4))
        for number in range(1, min(count, 62) + 1):
            at = number * width
            if at + 512 > iso.source.size:
                return
            data = iso.source.read(at, 512)
            if data[:2] != b"PM":
                return
            start, size = struct.unpack_from(">II", data, 8)
            name, kind = (data[a : a + 32].split(b"\0")[0].decode("latin-1") for a in (16, 48))
            label = f"APM: partition {number}"
            iso.claims.append(Claim(at, 512, label, -1))
            iso.fields.append(Field(f"{label} name and type", at + 16, "text", f"{name} {kind}"))
            iso.fields.append(Field(f"{label} blocks", at + 8, "text", f"{start}+{size}", FOLLOWS))
            iso.fields.append(Field(f"{label} rest", at + 80, "bytes", data[80:].rstrip(b"\0").hex(), CAUSE))
            if kind != "Apple_partition_map":
                iso.claims.append(
                    Claim(start * width, size * width, f"APM partition {number} {name!r} ({kind}), no file", -2)
                )
        return
