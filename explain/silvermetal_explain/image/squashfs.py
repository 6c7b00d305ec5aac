"""The squashfs reader: superblock, tables, inodes, directories, extended attributes, and which bytes hold what.

Rules:
- Metadata is decompressed once, within `Limits.metadata`; data blocks only when somebody reads a file.
- Directory loops, orphaned references and impossible counts are Unreadable, never an endless walk.
"""

from __future__ import annotations

import hashlib
import struct
from datetime import UTC, datetime

from ..errors import Unreadable
from ..limits import Limits
from ..regions import Claim
from .compression import SQUASHFS, block
from .layer import FOLLOWS, Entry, Field
from .source import Source
from .squashdata import NONE32, SquashData, Where

SUPER = struct.Struct("<5I6H8Q")
NONE64 = 0xFFFF_FFFF_FFFF_FFFF
META = 8192
BASE = struct.Struct("<4H2I")
FILE, LFILE = struct.Struct("<4I"), struct.Struct("<3Q4I")
DIR, LDIR = struct.Struct("<IIHHI"), struct.Struct("<4IHHI")
HEAD, NAME = struct.Struct("<3I"), struct.Struct("<HhHH")
TYPES = "?dflbcpsdflbcps"
FLAGS = (
    "uncompressed inodes",
    "uncompressed data",
    "check",
    "uncompressed fragments",
    "no fragments",
    "always fragments",
    "duplicates removed",
    "exportable",
    "uncompressed xattrs",
    "no xattrs",
    "compressor options",
    "uncompressed ids",
)
XATTR = {0: "user.", 1: "trusted.", 2: "security."}


class Squashfs(SquashData):
    """One squashfs 4.0 image."""

    format = "squashfs"

    def __init__(self, path: str, source: Source, limits: Limits) -> None:
        super().__init__(path, source, limits)
        head = source.read(0, SUPER.size)
        (
            magic,
            self.inode_count,
            self.mkfs_time,
            self.block_size,
            fragment_count,
            compressor,
            block_log,
            self.flags,
            id_count,
            major,
            minor,
            root,
            self.bytes_used,
            id_start,
            xattr_start,
            inode_start,
            dir_start,
            frag_start,
            export_start,
        ) = SUPER.unpack(head)
        if magic != 0x73717368 or (major, minor) != (4, 0):
            raise Unreadable(
                f"{path}: got squashfs magic {magic:#x} version {major}.{minor}, expected 0x73717368 version 4.0"
            )
        if not 12 <= block_log <= 20 or self.block_size != 1 << block_log:
            raise Unreadable(f"{path}: got block size {self.block_size} (log {block_log}), expected 4 KiB to 1 MiB")
        if self.bytes_used > source.size:
            raise Unreadable(
                f"{path}: got {source.size} bytes, expected the {self.bytes_used} that the superblock tells"
            )
        name, decompress = SQUASHFS.get(compressor, (f"number {compressor}", None))
        self.compressor, self._decompress = name, decompress
        limits.check(f"{path}: inodes", self.inode_count, limits.entries)
        self._first: dict[str, int] = {}  # where each table's first metadata block lies
        self._claim("superblock", 0, SUPER.size)
        self.options = self._options()
        self._super_fields(
            name, (id_start, xattr_start, inode_start, dir_start, frag_start, export_start), fragment_count
        )
        self.ids = [v for (v,) in struct.iter_unpack("<I", self._table("id", id_start, id_count, 4))]
        self.fragments = list(struct.iter_unpack("<QII", self._table("fragment", frag_start, fragment_count, 16)))
        if export_start != NONE64:
            self._table("export", export_start, self.inode_count, 8)
        self._xattrs = self._read_xattrs(xattr_start)
        first = min([v for v in self._first.values() if v > dir_start] or [self.bytes_used])
        self._inodes, self._inode_at = self._metadata("inode table", inode_start, dir_start)
        self._dirs, self._dir_at = self._metadata("directory table", dir_start, first)
        self.numbers: dict[int, list[str]] = {}
        self._walk(root)
        self._claim_data()

    def _claim(self, name: str, start: int, length: int) -> None:
        self.claims.append(Claim(start, length, name))

    def _options(self) -> bytes:
        if not self.flags >> 10 & 1:
            return b""
        data, after = self._metablock(SUPER.size)
        self._claim("compressor options", SUPER.size, after - SUPER.size)
        return data

    def _super_fields(self, compressor: str, starts: tuple[int, ...], fragments: int) -> None:
        made = datetime.fromtimestamp(self.mkfs_time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        flags = ", ".join(text for bit, text in enumerate(FLAGS) if self.flags >> bit & 1)
        add = self.fields.append
        add(Field("file system made (mkfs time)", 8, "date", made))
        add(Field("compressor", 20, "text", compressor))
        add(Field("block size", 12, "int", str(self.block_size)))
        add(Field("flags", 24, "text", flags))
        add(Field("compressor options", SUPER.size, "bytes", self.options.hex()))
        add(Field("number of inodes", 4, "int", str(self.inode_count), FOLLOWS))
        add(Field("number of fragments", 16, "int", str(fragments), FOLLOWS))
        add(Field("bytes used", 40, "int", str(self.bytes_used), FOLLOWS))
        for number, (label, start) in enumerate(
            zip(("id", "xattr", "inode", "directory", "fragment", "export"), starts, strict=True)
        ):
            add(
                Field(
                    f"position of the {label} table",
                    48 + 8 * number,
                    "int",
                    "none" if start == NONE64 else str(start),
                    FOLLOWS,
                )
            )

    def _metablock(self, at: int) -> tuple[bytes, int]:
        (word,) = struct.unpack("<H", self.source.read(at, 2))
        length = word & 0x7FFF
        data = self.source.read(at + 2, length)
        if not word & 0x8000:
            data = self.unpack(data, META)
        if len(data) > META:
            raise Unreadable(f"{self.path}: got a metadata block of {len(data)} bytes at {at}, expected at most {META}")
        return data, at + 2 + length

    def unpack(self, data: bytes, limit: int) -> bytes:
        """One block through the image's compressor."""
        if self._decompress is None:
            raise Unreadable(f"{self.path}: got compressor {self.compressor}, expected gzip, lzma, xz, lz4 or zstd")
        return block(self._decompress, data, limit)

    def _metadata(self, name: str, start: int, end: int) -> tuple[bytes, dict[int, int]]:
        if not SUPER.size <= start <= end <= self.bytes_used:
            raise Unreadable(
                f"{self.path}: got {name} at {start}..{end}, expected it within {SUPER.size}..{self.bytes_used}"
            )
        self._claim(name, start, end - start)
        parts, positions, total, at = [], {}, 0, start
        while at < end:
            positions[at - start] = total
            data, at = self._metablock(at)
            total += len(data)
            self.limits.check(f"{self.path}: {name}", total, self.limits.metadata)
            parts.append(data)
        return b"".join(parts), positions

    def _table(self, name: str, start: int, count: int, width: int) -> bytes:
        if start == NONE64 or not count:
            return b""
        self.limits.check(f"{self.path}: {name} table", count * width, self.limits.metadata)
        blocks = -(-count * width // META)
        index = struct.unpack(f"<{blocks}Q", self.source.read(start, 8 * blocks))
        self._claim(f"{name} table index", start, 8 * blocks)
        self._first[name] = index[0]
        parts = []
        for at in index:
            data, after = self._metablock(at)
            self._claim(f"{name} table", at, after - at)
            parts.append(data)
        table = b"".join(parts)
        if len(table) < count * width:
            raise Unreadable(f"{self.path}: got {len(table)} bytes of {name} table, expected {count * width}")
        return table[: count * width]

    def _read_xattrs(self, start: int) -> list[str]:
        if start == NONE64:
            return []
        base, count, _ = struct.unpack("<QII", self.source.read(start, 16))
        self._claim("xattr header", start, 16)
        if not count:
            return []
        ids = self._table("xattr id", start + 16, count, 16)
        self._first["xattr"] = base
        data, positions = self._metadata("xattr values", base, self._first["xattr id"])
        result = []
        for reference, pairs, _size in struct.iter_unpack("<QII", ids):
            at = self._position(positions, reference >> 16, reference & 0xFFFF, "xattr")
            found = []
            for _ in range(min(pairs, 1024)):
                try:
                    kind, length = struct.unpack_from("<HH", data, at)
                    key = XATTR.get(kind & 0xFF, "?") + data[at + 4 : at + 4 + length].decode(
                        "utf-8", "backslashreplace"
                    )
                    (size,) = struct.unpack_from("<I", data, at + 4 + length)
                except struct.error:
                    raise Unreadable(
                        f"{self.path}: got an xattr beyond its table, expected it within {len(data)} bytes"
                    ) from None
                value = data[at + 8 + length : at + 8 + length + size]
                at += 8 + length + size
                if kind & 0x100:  # stored elsewhere: the value is a reference
                    (other,) = struct.unpack("<Q", value[:8].ljust(8, b"\0"))
                    there = self._position(positions, other >> 16, other & 0xFFFF, "xattr value")
                    (size,) = struct.unpack("<I", data[there : there + 4].ljust(4, b"\0"))
                    value = data[there + 4 : there + 4 + size]
                text = value.hex() if len(value) <= 64 else "sha256:" + hashlib.sha256(value).hexdigest()
                found.append(f"{key}={text}")
            result.append(" ".join(sorted(found)))
        return result

    def _position(self, positions: dict[int, int], start: int, offset: int, what: str) -> int:
        at = positions.get(start)
        if at is None or offset > META:
            raise Unreadable(
                f"{self.path}: got a reference to {what} block {start}+{offset}, expected the start of a block"
            )
        return at + offset

    def _walk(self, root: int) -> None:
        stack = [("", self._position(self._inode_at, root >> 16, root & 0xFFFF, "inode"), 0)]
        seen: set[int] = set()
        try:
            while stack:
                path, at, depth = stack.pop()
                entry, listing = self._inode(path or "/", at)
                self.add(entry)
                if listing is None:
                    continue
                if at in seen:
                    raise Unreadable(f"{self.path}: got directory {path} twice, expected no loop")
                seen.add(at)
                self.limits.check(f"{self.path}: directory depth", depth, self.limits.directory_depth)
                stack.extend((f"{path}/{name}", child, depth + 1) for name, child in self._listing(*listing))
        except (struct.error, IndexError):
            raise Unreadable(f"{self.path}: got an inode or directory beyond its table, expected it inside") from None

    def _listing(self, start: int, offset: int, size: int) -> list[tuple[str, int]]:
        if size <= 3:
            return []
        at = self._position(self._dir_at, start, offset, "directory")
        end = at + size - 3
        found: list[tuple[str, int]] = []
        dirs, inode_at = self._dirs, self._inode_at
        while at < end:
            count, block_start, _number = HEAD.unpack_from(dirs, at)
            at += 12
            if count >= 256:
                raise Unreadable(f"{self.path}: got {count + 1} names under one directory header, expected at most 256")
            base = inode_at.get(block_start)
            if base is None:
                raise Unreadable(f"{self.path}: got inode block {block_start}, expected the start of a block")
            for _ in range(count + 1):
                inode_offset, _delta, _type, length = NAME.unpack_from(dirs, at)
                name = dirs[at + 8 : at + 9 + length]
                at += 9 + length
                try:
                    text = name.decode()
                except UnicodeDecodeError:
                    text = name.decode("utf-8", "backslashreplace")
                if "/" in text or text in (".", "..") or len(name) != length + 1:
                    raise Unreadable(f"{self.path}: got the file name {text!r}, expected a plain one")
                found.append((text, base + inode_offset))
        found.reverse()  # the stack pops the first name first
        return found

    def _inode(self, path: str, at: int) -> tuple[Entry, tuple[int, int, int] | None]:
        table = self._inodes
        kind, mode, uid, gid, mtime, number = BASE.unpack_from(table, at)
        if not 1 <= kind <= 14 or uid >= len(self.ids) or gid >= len(self.ids):
            raise Unreadable(
                f"{self.path}: got inode type {kind}, owner {uid}:{gid} at {path}, expected 1..14, {len(self.ids)} ids"
            )
        letter, size, link, rdev, xattr, links = TYPES[kind], 0, "", 0, NONE32, 1
        where: Where | None = None
        listing = None
        at += 16
        if kind == 2:
            start, fragment, offset, size = FILE.unpack_from(table, at)
            where = self._where(start, fragment, offset, at + 16, size, number)
        elif kind == 9:
            start, size, _sparse, links, fragment, offset, xattr = LFILE.unpack_from(table, at)
            where = self._where(start, fragment, offset, at + 40, size, number)
        elif kind == 1:
            start, links, length, offset, _parent = DIR.unpack_from(table, at)
            listing = (start, offset, length)
        elif kind == 8:
            links, length, start, _parent, _index, offset, xattr = LDIR.unpack_from(table, at)
            listing = (start, offset, length)
        elif letter == "l":
            links, size = struct.unpack_from("<II", table, at)
            if size > self.limits.name:
                raise Unreadable(
                    f"{self.path}: got a link of {size} bytes at {path}, expected at most {self.limits.name}"
                )
            link = table[at + 8 : at + 8 + size].decode("utf-8", "backslashreplace")
            if kind == 10:
                (xattr,) = struct.unpack_from("<I", table, at + 8 + size)
        elif letter in "bc":
            links, rdev = struct.unpack_from("<II", table, at)
            if kind > 7:
                (xattr,) = struct.unpack_from("<I", table, at + 8)
        elif kind > 7:
            links, xattr = struct.unpack_from("<II", table, at)
        if links > 1 and where is not None:
            self.numbers.setdefault(number, []).append(path)
        pairs = ""
        if xattr != NONE32:
            if xattr >= len(self._xattrs):
                raise Unreadable(f"{self.path}: got xattr {xattr} at {path}, expected fewer than {len(self._xattrs)}")
            pairs = self._xattrs[xattr]
        return Entry(
            path, letter, mode, self.ids[uid], self.ids[gid], size, mtime, link, rdev, pairs, (), where
        ), listing

    def _where(self, start: int, fragment: int, offset: int, sizes: int, size: int, number: int) -> Where:
        count = size // self.block_size if fragment != NONE32 else -(-size // self.block_size)
        if sizes + 4 * count > len(self._inodes):
            raise Unreadable(
                f"{self.path}: got a file of {count} blocks, expected its block list within the inode table"
            )
        if fragment != NONE32 and fragment >= len(self.fragments):
            raise Unreadable(f"{self.path}: got fragment {fragment}, expected fewer than {len(self.fragments)}")
        return Where(start, fragment, offset, sizes, count, number)

    def _claim_data(self) -> None:
        for number, (start, size, _) in enumerate(self.fragments):
            self._claim(f"fragment block {number}", start, size & 0xFFFFFF)
        for path, entry in self.entries.items():
            if isinstance(entry.where, Where) and entry.where.count:
                length = sum(v & 0xFFFFFF for v in self.block_sizes(entry.where))
                self._claim(f"{path}", entry.where.start, length)
        tail = self.source.size - self.bytes_used
        if tail:
            self._claim("padding after the file system", self.bytes_used, tail)

    def block_sizes(self, where: Where) -> tuple[int, ...]:
        """The stored size of each full block, 0 for a hole, bit 24 for not compressed."""
        return struct.unpack_from(f"<{where.count}I", self._inodes, where.sizes)

    def raw_sizes(self, where: Where) -> bytes:
        """The same as bytes, for comparing."""
        return self._inodes[where.sizes : where.sizes + 4 * where.count]

    def inode_sequence(self) -> list[str]:
        """Paths of files by the number that mksquashfs gave them."""
        numbered = [(e.where.number, p) for p, e in self.entries.items() if isinstance(e.where, Where)]
        return [p for _, p in sorted(numbered)]
