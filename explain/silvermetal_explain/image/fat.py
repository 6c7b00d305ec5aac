"""FAT12, FAT16 and FAT32 images, as EFI system partitions are.

Rules:
- Cluster chains are followed at most as far as the volume has clusters; a loop is Unreadable.
- A directory entry's times, case bits and position are fields; so are volume id, label and the reserved bytes.
"""

from __future__ import annotations

import struct

from ..errors import Unreadable
from ..limits import Limits
from ..regions import Claim
from . import dates
from .layer import FOLLOWS, Entry, Field, Layer
from .source import Pieces, Source


class Fat(Layer):
    """One FAT volume."""

    format = "fat"

    def __init__(self, path: str, source: Source, limits: Limits) -> None:
        super().__init__(path, source, limits)
        boot = source.read(0, 512)
        (self._sector, self._per, reserved, fats, roots, small, media, fat16) = struct.unpack_from(
            "<HBHBHHBH", boot, 11
        )
        (large,) = struct.unpack_from("<I", boot, 32)
        if (
            self._sector not in (512, 1024, 2048, 4096)
            or not self._per
            or self._per & (self._per - 1)
            or not 1 <= fats <= 4
            or not reserved
        ):
            raise Unreadable(
                f"{path}: got sector size {self._sector}, {self._per} sectors a cluster, {fats} FATs, expected FAT"
            )
        (fat32,) = struct.unpack_from("<I", boot, 36)
        fat_sectors = fat16 or fat32
        root_size = -(-roots * 32 // self._sector) * self._sector
        self._fat_at, self._data = reserved * self._sector, (reserved + fats * fat_sectors) * self._sector + root_size
        sectors = small or large
        self._clusters = max(0, (sectors * self._sector - self._data) // (self._per * self._sector))
        self._bits = 12 if self._clusters < 4085 else 16 if self._clusters < 65525 else 32
        if not fat_sectors or self._data > source.size:
            raise Unreadable(f"{path}: got its data at byte {self._data} of {source.size}, expected it inside")
        fat_size = fat_sectors * self._sector
        limits.check(f"{path}: size of the FAT", fat_size, limits.metadata // 4)
        self._fat = source.read(self._fat_at, fat_size)
        self._boot_fields(boot, media)
        self._claim("boot sector and reserved sectors", 0, self._fat_at)
        for number in range(fats):
            self._claim(f"FAT {number + 1}", self._fat_at + number * fat_size, fat_size)
        if self._bits == 32:
            (root,) = struct.unpack_from("<I", boot, 44)
            runs = self._chain(root, "/")
        else:
            runs = [(self._data - root_size, root_size)]
        self._walk(runs)
        self._claim("free clusters and slack", self._data, source.size - self._data, -1)

    def _claim(self, name: str, start: int, length: int, depth: int = 0) -> None:
        self.claims.append(Claim(start, length, name, depth))

    def _boot_fields(self, boot: bytes, media: int) -> None:
        at = 67 if self._bits == 32 else 39
        add = self.fields.append
        add(Field("made by (OEM name)", 3, "text", boot[3:11].decode("latin-1").rstrip()))
        add(Field("geometry", 11, "bytes", boot[11:36].hex()))
        add(Field("media", 21, "int", f"{media:#x}"))
        add(Field("volume id", at, "bytes", boot[at : at + 4][::-1].hex()))
        add(Field("volume label", at + 4, "text", boot[at + 4 : at + 15].decode("latin-1").rstrip()))
        add(Field("file system type", at + 15, "text", boot[at + 15 : at + 23].decode("latin-1").rstrip()))
        add(Field("boot code", 0, "bytes", (boot[:3] + boot[at + 23 : 510]).rstrip(b"\0").hex()[:128]))

    def _next(self, cluster: int) -> int:
        if self._bits == 12:
            (word,) = struct.unpack_from("<H", self._fat, cluster * 3 // 2)
            return word >> 4 if cluster & 1 else word & 0xFFF
        if self._bits == 16:
            return int.from_bytes(self._fat[cluster * 2 : cluster * 2 + 2], "little")
        return int.from_bytes(self._fat[cluster * 4 : cluster * 4 + 4], "little") & 0x0FFFFFFF

    def _chain(self, cluster: int, name: str) -> list[tuple[int, int]]:
        width, runs, seen = self._per * self._sector, [], 0
        while 2 <= cluster < self._clusters + 2:
            seen += 1
            if seen > self._clusters:
                raise Unreadable(f"{self.path}: got a cluster chain of {name} that loops, expected an end")
            start = self._data + (cluster - 2) * width
            if start + width > self.source.size:
                raise Unreadable(
                    f"{self.path}: got cluster {cluster} of {name} beyond byte {self.source.size}, expected it inside"
                )
            if runs and sum(runs[-1]) == start:
                runs[-1] = (runs[-1][0], runs[-1][1] + width)
            else:
                runs.append((start, width))
            try:
                cluster = self._next(cluster)
            except struct.error:
                break
        return runs

    def _walk(self, root: list[tuple[int, int]]) -> None:
        stack = [("", root, 0)]
        seen: set[int] = set()
        while stack:
            path, runs, depth = stack.pop()
            self.limits.check(f"{self.path}: directory depth", depth, self.limits.directory_depth)
            if not runs or runs[0][0] in seen:
                continue
            seen.add(runs[0][0])
            for start, length in runs:
                self._claim(f"directory {path or '/'}", start, length)
            source = Pieces(self.source, runs)
            self.limits.check(f"{self.path}: size of directory {path}", source.size, 8 << 20)
            long: list[bytes] = []
            data = source.read(0, source.size)
            for at in range(0, len(data) - 31, 32):
                raw = data[at : at + 32]
                if raw[0] == 0:
                    break
                if raw[0] == 0xE5:
                    long = []
                    continue
                if raw[11] & 0x3F == 0x0F:
                    long.insert(0, raw[1:11] + raw[14:26] + raw[28:32])
                    continue
                child = self._entry(path, raw, long, self._place(runs, at))
                long = []
                if child:
                    stack.append((child[0], child[1], depth + 1))

    @staticmethod
    def _place(runs: list[tuple[int, int]], at: int) -> int:
        for start, length in runs:
            if at < length:
                return start + at
            at -= length
        return 0

    def _entry(self, parent: str, raw: bytes, long: list[bytes], at: int) -> tuple[str, list[tuple[int, int]]] | None:
        short = raw[:8].rstrip().decode("latin-1") + (
            "." + raw[8:11].rstrip().decode("latin-1") if raw[8:11].strip() else ""
        )
        if raw[0] == 0x2E:
            self._times(f"{parent}/{short}: ", raw, at)
            return None
        if raw[11] & 8:
            self.fields.append(Field("volume label entry", at, "text", raw[:11].decode("latin-1").rstrip()))
            self._times("volume label entry: ", raw, at)
            return None
        name = b"".join(long).decode("utf-16-le", "backslashreplace").split("\0")[0] if long else _cased(short, raw[12])
        path = f"{parent}/{name}".replace("/../", "/__/")
        cluster = struct.unpack_from("<H", raw, 26)[0] | (
            struct.unpack_from("<H", raw, 20)[0] << 16 if self._bits == 32 else 0
        )
        (size,) = struct.unpack_from("<I", raw, 28)
        runs = self._chain(cluster, path)
        directory = bool(raw[11] & 0x10)
        have = sum(length for _, length in runs)
        if not directory and size > have:
            raise Unreadable(f"{self.path}: got {have} bytes of clusters for {path}, expected {size}")
        fields = (
            *self._time_fields(raw, at),
            Field("attributes", at + 11, "int", f"{raw[11]:#x}"),
            Field("first cluster", at + 26, "int", str(cluster), FOLLOWS),
        )
        self.add(
            Entry(
                path, "d" if directory else "f", 0o755, 0, 0, 0 if directory else size, None, fields=fields, where=runs
            )
        )
        for start, length in [] if directory else runs:
            self._claim(path, start, length)
        return (path, runs) if directory else None

    def _time_fields(self, raw: bytes, at: int) -> tuple[Field, ...]:
        tenths, ctime, cdate, adate, _, mtime, mdate = struct.unpack_from("<BHHHHHH", raw, 13)
        return (
            Field("creation time", at + 13, "date", dates.dos(cdate, ctime, tenths)),
            Field("access date", at + 18, "date", dates.dos(adate, 0)),
            Field("modification time", at + 22, "date", dates.dos(mdate, mtime)),
        )

    def _times(self, prefix: str, raw: bytes, at: int) -> None:
        self.fields.extend(f._replace(name=prefix + f.name) for f in self._time_fields(raw, at))

    def open(self, entry: Entry) -> Source:
        """The chain, cut to the file's size."""
        runs, left = [], entry.size
        for start, length in entry.where:  # type: ignore[attr-defined]
            if left:
                runs.append((start, min(length, left)))
                left -= min(length, left)
        return Pieces(self.source, runs)


def _cased(short: str, bits: int) -> str:
    base, dot, extension = short.partition(".")
    return (base.lower() if bits & 8 else base) + dot + (extension.lower() if bits & 16 else extension)
