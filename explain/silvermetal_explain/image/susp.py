"""System use entries of a directory record: Rock Ridge names, owners, modes, times.

Rules:
- Continuation areas are followed a bounded number of times, within the image; each is claimed.
- Every byte of an entry ends up in a field, decoded where it is known and as hex where not.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from ..errors import Unreadable
from . import dates
from .layer import FOLLOWS, Field
from .source import Source

SLOTS = ("creation", "modification", "access", "attributes (ctime)", "backup", "expiration", "effective")
SECTOR = 2048
CONTINUATIONS = 64


@dataclass
class SystemUse:
    """What Rock Ridge says about one file."""

    name: bytes = b""
    mode: int | None = None
    links: int = 1
    uid: int = 0
    gid: int = 0
    link: bytes = b""
    rdev: int = 0
    relocated: int | None = None  # CL: the directory lies at this block
    hidden: bool = False  # RE: the directory is shown elsewhere
    mtime: str = ""
    fields: list[Field] = field(default_factory=list)
    areas: list[tuple[int, int]] = field(default_factory=list)
    skip: int = 0
    rock_ridge: bool = False


def parse(source: Source, data: bytes, at: int, base: int, skip: int = 0) -> SystemUse:
    """Read the entries in `data`, which lies at byte `at` of the image; `base` is the tree's block offset."""
    found = SystemUse()
    todo = [(data[skip:], at + skip)]
    link_parts: list[bytes] = []
    for _ in range(CONTINUATIONS):
        if not todo:
            break
        area, start = todo.pop(0)
        position = 0
        while position + 4 <= len(area):
            length = area[position + 2]
            if length < 4 or position + length > len(area):
                break
            signature, body = area[position : position + 2], area[position + 4 : position + length]
            where = start + position
            position += length
            if signature == b"ST":
                break
            if signature == b"CE" and len(body) >= 24:
                block, _, offset, _, size, _ = struct.unpack_from("<IIIIII", body)
                there = (block + base) * SECTOR + offset
                if there + size > source.size or size > 32 * SECTOR:
                    raise Unreadable(
                        f"got a continuation area at {there}+{size}, expected it within {source.size} bytes"
                    )
                todo.append((source.read(there, size), there))
                found.areas.append((there, size))
                found.fields.append(Field("continuation area", where, "int", str(there), FOLLOWS))
                continue
            _entry(found, signature, body, where, link_parts)
    found.link = b"".join(link_parts).replace(b"\0", b"")
    return found


def _entry(found: SystemUse, signature: bytes, body: bytes, where: int, link: list[bytes]) -> None:
    label = signature.decode("latin-1")
    if signature == b"TF" and body:
        _times(found, body, where)
    elif signature == b"PX" and len(body) >= 32:
        found.rock_ridge = True
        found.mode, found.links, found.uid, found.gid = (struct.unpack_from("<I", body, i)[0] for i in (0, 8, 16, 24))
        if len(body) >= 40:
            serial = struct.unpack_from("<I", body, 32)[0]
            found.fields.append(Field("Rock Ridge serial number", where + 36, "int", str(serial), FOLLOWS))
        found.fields.append(Field("Rock Ridge links", where + 12, "int", str(found.links), FOLLOWS))
    elif signature == b"NM" and body:
        found.rock_ridge = True
        if not body[0] & 6:
            found.name += body[1:]
    elif signature == b"SL" and body:
        _link(body[1:], link)
    elif signature == b"PN" and len(body) >= 16:
        found.rdev = struct.unpack_from("<I", body, 0)[0] << 32 | struct.unpack_from("<I", body, 8)[0]
    elif signature == b"CL" and len(body) >= 4:
        found.relocated = struct.unpack_from("<I", body)[0]
    elif signature == b"RE":
        found.hidden = True
    elif signature == b"SP" and len(body) >= 3:
        found.skip = body[2]
    elif signature in (b"PL", b"ZF"):
        found.fields.append(Field(f"Rock Ridge {label}", where, "bytes", body.hex(), FOLLOWS))
    elif signature in (b"RR", b"ER", b"PD"):
        found.fields.append(Field(f"system use {label}", where, "bytes", body.hex()[:256]))
    else:
        found.fields.append(Field(f"system use {label!r}", where, "bytes", body.hex()[:512]))


def _times(found: SystemUse, body: bytes, where: int) -> None:
    flags, at = body[0], 1
    width, decode = (17, dates.long) if flags & 0x80 else (7, dates.short)
    for bit, slot in enumerate(SLOTS):
        if flags >> bit & 1:
            raw = body[at : at + width]
            if len(raw) < width:
                return
            value = decode(raw)
            found.fields.append(Field(f"Rock Ridge {slot} time", where + 4 + at, "date", value))
            if slot == "modification":
                found.mtime = value
            at += width


def _link(components: bytes, link: list[bytes]) -> None:
    at = 0
    while at + 2 <= len(components):
        flags, length = components[at], components[at + 1]
        text = components[at + 2 : at + 2 + length]
        at += 2 + length
        text = {2: b".", 4: b"..", 8: b""}.get(flags & 14, text)
        if link and not link[-1].endswith(b"\0"):
            link.append(b"/")
        elif link:
            link[-1] = link[-1][:-1]
        elif flags & 8:
            text = b"/"
            link.append(text + b"\0")
            continue
        link.append(text + (b"\0" if flags & 1 else b""))
