"""The ISO 9660 reader: descriptor sets, path tables, every directory tree, Rock Ridge, Joliet.

Rules:
- Each directory is read once, within depth, entry and size limits; a record that leaves its directory is Unreadable.
- The first primary tree tells the files; every other tree (Joliet, a partition's copy, an older session) is a layer of
  records over the same bytes, so that a date that differs in one tree only is still named.
"""

from __future__ import annotations

import struct
from datetime import datetime

from ..errors import Unreadable
from ..limits import Limits
from ..regions import Claim
from . import dates, susp
from .boot import read_boot
from .descriptors import SECTOR, Descriptor, fields_of, read_set, root_of
from .layer import FOLLOWS, Entry, Field, Layer
from .partitions import Partitions, read_system_area
from .source import Pieces, Source, Window

FIRST = 16
DIRECTORY_LIMIT = 16 << 20


class Tree(Layer):
    """One directory tree of the image."""

    format = "iso9660 tree"

    def __init__(
        self, path: str, source: Source, limits: Limits, root: tuple[int, int], base: int, joliet: bool
    ) -> None:
        super().__init__(path, source, limits)
        self._base, self._joliet = base, joliet
        self._skip = 0
        self._walk(root)

    def _walk(self, root: tuple[int, int]) -> None:
        stack = [("", root[0], root[1], 0)]
        seen: set[int] = set()
        while stack:
            path, block, size, depth = stack.pop()
            self.limits.check("ISO: directory depth", depth, self.limits.directory_depth)
            self.limits.check(f"ISO: size of directory {path or '/'}", size, DIRECTORY_LIMIT)
            if block in seen:
                raise Unreadable(
                    f"ISO: got directory {path or '/'} at block {block} for the second time, expected no loop"
                )
            seen.add(block)
            start = (block + self._base) * SECTOR
            data = self.source.read(start, size)
            self.claims.append(Claim(start, size, f"{self.path or 'primary tree'}: directory {path or '/'}"))
            stack.extend(self._records(path, data, start, depth))

    def _records(self, path: str, data: bytes, start: int, depth: int) -> list[tuple[str, int, int, int]]:
        inside: list[tuple[str, int, int, int]] = []
        at, number, extents = 0, 0, []
        while at + 33 <= len(data):
            length = data[at]
            if length == 0:
                at = (at // SECTOR + 1) * SECTOR
                continue
            record = data[at : at + length]
            if length < 34 or len(record) < length or 33 + record[32] > length:
                raise Unreadable(
                    f"ISO: got a directory record of {length} bytes at byte {start + at}, expected it whole"
                )
            block, size = struct.unpack_from("<I4xI", record, 2)
            flags = record[25]
            name, where, number, at = record[33 : 33 + record[32]], start + at, number + 1, at + length
            system = self._system_use(record, where, number, path)
            if name == b"\1" or (name == b"\0" and path):
                self._dots(path, name, record, where, system)
                continue
            extents.append((block, size))
            if flags & 0x80:  # further extents follow
                continue
            entry = self._entry(path, name, record, where, system, extents)
            extents = []
            if entry is None:
                continue
            self.add(entry)
            target = system.relocated if system.relocated is not None else block
            if name != b"\0" and system.relocated is not None:
                inside.append((entry.path, target, self._size_at(target), depth + 1))
            elif flags & 2 and name != b"\0":
                inside.append((entry.path, block, size, depth + 1))
        return inside

    def _size_at(self, block: int) -> int:
        size: int = struct.unpack("<I", self.source.read((block + self._base) * SECTOR + 10, 4))[0]
        return size

    def _system_use(self, record: bytes, where: int, number: int, path: str) -> susp.SystemUse:
        name_end = 33 + record[32] + (1 - record[32] % 2)
        system = susp.parse(self.source, record[name_end:], where + name_end, self._base, self._skip)
        if number == 1 and not path:
            self._skip = system.skip
        for start, size in system.areas:
            self.claims.append(Claim(start, size, f"{self.path or 'primary tree'}: continuation area"))
        return system

    def _own(self, record: bytes, where: int, system: susp.SystemUse) -> list[Field]:
        return [
            Field("record date", where + 18, "date", dates.short(record[18:25])),
            Field("record flags", where + 25, "int", str(record[25] & ~2)),
            Field("position", where + 2, "int", str(struct.unpack_from("<I", record, 2)[0]), FOLLOWS),
            *system.fields,
        ]

    def _dots(self, path: str, name: bytes, record: bytes, where: int, system: susp.SystemUse) -> None:
        """`.` and `..` carry dates too."""
        dot = "." if name == b"\0" else ".."
        for field in self._own(record, where, system):
            self.fields.append(field._replace(name=f"{path}/{dot}: {field.name}"))

    def _entry(
        self, parent: str, raw: bytes, record: bytes, where: int, system: susp.SystemUse, extents: list[tuple[int, int]]
    ) -> Entry | None:
        if raw == b"\0":
            path = "/"
        else:
            name = system.name or raw.split(b";")[0] if not self._joliet else raw
            text = name.decode("utf-16-be" if self._joliet else "utf-8", "backslashreplace")
            text = text.split(";")[0] if self._joliet else text
            path = f"{parent}/{text}"
            if "/" in text or text in ("", ".", ".."):
                raise Unreadable(f"ISO: got the file name {text!r} at byte {where}, expected a plain one")
        directory = record[25] & 2 or system.relocated is not None
        kind = "d" if directory else "l" if system.link else "f"
        mode = system.mode if system.mode is not None else 0
        if system.mode is not None and not directory:
            kind = {0xA: "l", 0x6: "b", 0x2: "c", 0x1: "p", 0xC: "s"}.get(system.mode >> 12, kind)
        size = sum(size for _, size in extents) if kind == "f" else 0
        mtime = _seconds(system.mtime or dates.short(record[18:25]))
        link = system.link.decode("utf-8", "backslashreplace")
        spans = [((block + self._base) * SECTOR, length) for block, length in extents]
        if kind == "f":
            for start, length in spans:
                if start + length > self.source.size:
                    raise Unreadable(
                        f"ISO: got {path} at bytes {start}..{start + length}, expected within {self.source.size}"
                    )
                self.claims.append(Claim(start, length, path.lstrip("/")))
                if length % SECTOR:
                    self.claims.append(
                        Claim(start + length, SECTOR - length % SECTOR, f"padding after {path.lstrip('/')}")
                    )
        if system.hidden:
            return None
        fields = tuple(self._own(record, where, system))
        return Entry(
            path, kind, mode & 0o7777, system.uid, system.gid, size, mtime, link, system.rdev, "", fields, spans
        )

    def open(self, entry: Entry) -> Source:
        """A window, or pieces of a file in several extents."""
        spans: list[tuple[int, int]] = entry.where  # type: ignore[assignment]
        if len(spans) == 1:
            return Window(self.source, *spans[0])
        return Pieces(self.source, spans)

    def order(self) -> list[str]:
        """Files by position."""
        files = [(e.where[0][0], p) for p, e in self.entries.items() if e.type == "f" and e.size and e.where]  # type: ignore[index]
        return [p for _, p in sorted(files)]


class Iso(Tree):
    """The whole image."""

    format = "iso9660"

    def __init__(self, source: Source, limits: Limits) -> None:
        Layer.__init__(self, "", source, limits)
        self._base, self._joliet, self._skip = 0, False, 0
        self._bases: list[int] = []
        self._roots: set[int] = set()  # directories that are already the root of a tree
        self.claims.append(Claim(0, FIRST * SECTOR, "system area", -1))
        read_system_area(self)
        # the partition that holds the ISO itself says nothing about its bytes
        self.claims = [
            c
            for c in self.claims
            if not (c.name.endswith("no file") and c.start <= FIRST * SECTOR < c.start + c.length)
        ]
        descriptors = read_set(source, FIRST)
        primary = next((d for d in descriptors if d.kind == 1), None)
        if primary and not root_of(primary)[1]:
            raise Unreadable("ISO: got a root directory of 0 bytes, expected one of at least a block")
        if primary is None:
            raise Unreadable(
                f"ISO: got descriptors of types {[d.kind for d in descriptors]}, expected a primary one (type 1)"
            )
        self._descriptors(descriptors, "")
        self._walk(root_of(primary))
        read_boot(self, descriptors)
        self._others(descriptors, 0, "")
        self._copies()
        files = {start for e in self.entries.values() if e.type == "f" for start, length in e.where or [] if length}  # type: ignore[attr-defined]
        self.trees.append(Partitions(source, limits, self.claims, files))

    def _descriptors(self, descriptors: list[Descriptor], suffix: str) -> None:
        for d in descriptors:
            self.claims.append(Claim(d.block * SECTOR, SECTOR, f"{d.name}{suffix}"))
            self.fields.extend(f._replace(name=f"{d.name}{suffix}: {f.name}") for f in fields_of(d))

    def _path_tables(self, d: Descriptor, base: int, label: str) -> None:
        (size,) = struct.unpack_from("<I", d.data, 132)
        for order, offset in (("<", 140), ("<", 144), (">", 148), (">", 152)):
            (block,) = struct.unpack_from(order + "I", d.data, offset)
            start = (block + base) * SECTOR
            if block and start + size <= self.source.size:
                ends = "little" if order == "<" else "big"
                self.claims.append(Claim(start, size, f"{label}: {ends}-endian path table"))
                if size % SECTOR:
                    self.claims.append(
                        Claim(start + size, SECTOR - size % SECTOR, f"padding after {label}: path table", -1)
                    )

    def _others(self, descriptors: list[Descriptor], base: int, suffix: str) -> None:
        for d in descriptors:
            if d.kind not in (1, 2):
                continue
            label = ("Joliet tree" if d.joliet else "primary tree" if d.kind == 1 else "supplementary tree") + suffix
            self._path_tables(d, base, label)
            root = root_of(d)[0] + base
            if root in self._roots:
                continue  # an older header over the same tree
            self._roots.add(root)
            if d.kind == 1 and not suffix:
                continue
            tree = Tree(label, self.source, self.limits, root_of(d), base, d.joliet)
            tree.has_content = False
            self.claims.extend(c for c in tree.claims)
            self.trees.append(tree)

    def _copies(self) -> None:
        """Further descriptor sets: libisofs' partition-offset tree, an older session's header."""
        taken = {d.start // SECTOR for d in self.claims if "descriptor" in d.name}
        lowest = (
            min(
                (
                    c.start
                    for c in self.claims
                    if c.start >= (FIRST + 1) * SECTOR and "descriptor" not in c.name and c.name != "terminator"
                ),
                default=0,
            )
            // SECTOR
        )
        blocks = [b for b in range(FIRST, min(max(lowest, 128), 512)) if b not in taken]
        for block in blocks:
            if (block + 1) * SECTOR > self.source.size or self.source.read(block * SECTOR, 8)[:7] != b"\x01CD001\x01":
                continue
            descriptors = read_set(self.source, block)
            suffix = f" (copy at block {block})"
            area = block - FIRST  # a session begins with a system area of its own
            if area >= FIRST and area not in taken:
                self.claims.append(Claim(area * SECTOR, FIRST * SECTOR, f"system area{suffix}", -1))
                read_system_area(self, area * SECTOR, suffix)
            self._descriptors(descriptors, suffix)
            base = self._base_of(descriptors, block)
            if base is not None:
                self._others(descriptors, base, suffix)

    def _base_of(self, descriptors: list[Descriptor], block: int) -> int | None:
        """Which offset makes the copy's root directory point to itself."""
        primary = next((d for d in descriptors if d.kind == 1), None)
        if primary is None:
            return None
        root, _ = root_of(primary)
        for base in (block - FIRST, 0, *self._bases):
            at = (root + base) * SECTOR
            if at + 34 <= self.source.size:
                record = self.source.read(at, 34)
                if record[0] >= 34 and record[32:34] == b"\1\0" and struct.unpack_from("<I", record, 2)[0] == root:
                    self._bases.append(base)
                    return base
        return None


def _seconds(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return None
