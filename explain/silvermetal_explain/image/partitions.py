"""The system area: MBR with its isohybrid marks, GPT, Apple partition map.

Rules:
- Every byte of the tables is a field or a region; partition numbers keep the order of the table.
- UUIDs are printed as GPT means them (mixed endian); a table that points outside the image is told, not followed.
"""

from __future__ import annotations

import struct
import uuid
import zlib

from ..limits import Limits
from ..regions import Claim
from .layer import CAUSE, FOLLOWS, Entry, Field, Layer
from .source import Source, Window

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


def read_system_area(iso: Layer, start: int = 0, suffix: str = "") -> None:
    """MBR, then whichever of GPT and APM is there; `start` is that of a session's copy."""
    if iso.source.size < start + 4 * LBA:
        return
    _mbr(iso, start, suffix)
    alternate = _gpt(iso, start + LBA, start, f"GPT{suffix}")
    if start:
        return
    _apm(iso)
    last = iso.source.size // LBA - 1
    for block in dict.fromkeys((alternate, last)):
        if 34 <= block <= last and _gpt(iso, block * LBA, 0, "backup GPT"):
            return


def _mbr(iso: Layer, start: int, suffix: str) -> None:
    data = iso.source.read(start, LBA)
    add = iso.fields.append
    if data[510:] != b"\x55\xaa":
        return
    name = f"MBR{suffix}"
    iso.claims.append(Claim(start, LBA, name))
    add(Field(f"{name}: boot code", start, "bytes", _digest(data[:440])))
    add(Field(f"{name}: disk signature (isohybrid id)", start + 440, "bytes", data[440:444].hex()))
    add(Field(f"{name}: copy protection", start + 444, "bytes", data[444:446].hex()))
    for number in range(4):
        at = 446 + 16 * number
        entry = data[at : at + 16]
        label, where = f"{name}: partition {number + 1}", start + at
        add(Field(f"{label} status", where, "int", f"{entry[0]:#04x}"))
        add(Field(f"{label} type", where + 4, "int", f"{entry[4]:#04x}"))
        first, size = struct.unpack_from("<II", entry, 8)
        add(Field(f"{label} position", where + 8, "int", str(first), FOLLOWS))
        add(Field(f"{label} sectors", where + 12, "int", str(size), FOLLOWS))
        add(Field(f"{label} CHS", where + 1, "bytes", (entry[1:4] + entry[5:8]).hex(), FOLLOWS))
        if entry[4] and entry[4] != 0xEE and first and size and not start:
            part = f"MBR partition {number + 1} (type {entry[4]:#04x}), no file"
            iso.claims.append(Claim(first * LBA, size * LBA, part, -3))


def _digest(data: bytes) -> str:
    return f"crc32 {zlib.crc32(data):08x}, first bytes {data[:8].hex()}"


def guid(data: bytes) -> str:
    """As GPT prints it."""
    return str(uuid.UUID(bytes_le=data))


def _gpt(iso: Layer, at: int, base: int, label: str) -> int:
    """Header and table; the block of the other header, or 0 where there is none here."""
    data = iso.source.read(at, LBA)
    if data[:8] != b"EFI PART":
        return 0
    add = iso.fields.append
    iso.claims.append(Claim(at, LBA, f"{label}: header"))
    (size, crc, _, _mine, other, first, last) = struct.unpack_from("<IIIQQQQ", data, 12)
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
    if not 128 <= width <= 4096 or count > 1024 or base + table * LBA + width * count > iso.source.size:
        add(
            Field(f"{label}: table", at + 72, "text", f"outside the image: {count} entries of {width} at block {table}")
        )
        return 0
    start = base + table * LBA
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
        if high >= low and not base:
            iso.claims.append(
                Claim(low * LBA, (high - low + 1) * LBA, f"GPT partition {number + 1} {name!r}, no file", -2)
            )
    return int(other)


def _apm(iso: Layer) -> None:
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
