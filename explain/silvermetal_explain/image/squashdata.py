"""The contents of squashfs files: read, hashed and compared block by block.

Rules:
- Equal compressed blocks are equal: they are compared as they lie, in runs, and never decompressed.
- A fragment block is decompressed once for all files in it; at most a few blocks are held.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import NamedTuple

from ..errors import Unreadable
from .layer import Entry, Layer
from .source import BytesSource, Digests, Pairwise, Source, Spool, digests

SPAN = 1 << 20
KEPT = 4
SMALL = 4 << 20
NONE32 = 0xFFFF_FFFF


class Where(NamedTuple):
    """How to find a file's bytes: full blocks from `start`, whose sizes lie at `sizes`, then a tail in a fragment."""

    start: int
    fragment: int
    offset: int
    sizes: int
    count: int
    number: int


class SquashData(Layer):
    """The half of the squashfs reader that touches file contents; the other half fills in what is declared here."""

    source: Source
    compressor: str
    block_size: int
    fragments: list[tuple[int, int, int]]

    def unpack(self, data: bytes, limit: int) -> bytes:
        """One stored block, decompressed."""
        raise NotImplementedError

    def block_sizes(self, where: Where) -> tuple[int, ...]:
        """The size words of a file's full blocks."""
        raise NotImplementedError

    def raw_sizes(self, where: Where) -> bytes:
        """The same as stored."""
        raise NotImplementedError

    def fragment(self, number: int) -> bytes:
        """One fragment block, decompressed; the last few are kept."""
        kept: OrderedDict[int, bytes] = self.__dict__.setdefault("_kept", OrderedDict())
        if number in kept:
            kept.move_to_end(number)
            return kept[number]
        data = self.stored_fragment(number)
        if not self.fragments[number][1] >> 24 & 1:
            data = self.unpack(data, self.block_size)
        kept[number] = data
        if len(kept) > KEPT:
            kept.popitem(last=False)
        return data

    def stored_fragment(self, number: int) -> bytes:
        """One fragment block as it lies in the image."""
        start, size, _ = self.fragments[number]
        return self.source.read(start, min(size & 0xFFFFFF, self.block_size))

    def blocks(self, entry: Entry) -> Iterator[bytes]:
        """A file's content block by block."""
        where: Where = entry.where
        at, left = where.start, entry.size
        for word in self.block_sizes(where):
            want = min(self.block_size, left)
            length = word & 0xFFFFFF
            if length > self.block_size:
                raise Unreadable(
                    f"{self.path}: got a block of {length} bytes in {entry.path}, expected at most {self.block_size}"
                )
            if word == 0:
                data = bytes(want)
            else:
                data = self.source.read(at, length)
                if not word >> 24 & 1:
                    data = self.unpack(data, self.block_size)
            if len(data) != want:
                raise Unreadable(f"{self.path}: got a block of {len(data)} bytes in {entry.path}, expected {want}")
            yield data
            at, left = at + length, left - want
        if left:
            yield self.tail(entry, left)

    def tail(self, entry: Entry, length: int) -> bytes:
        """The end of a file that lies in a fragment block."""
        where: Where = entry.where
        if where.fragment == NONE32:
            raise Unreadable(f"{self.path}: got no fragment for {entry.path}, expected {length} more bytes")
        data = self.fragment(where.fragment)[where.offset : where.offset + length]
        if len(data) != length:
            raise Unreadable(f"{self.path}: got {len(data)} bytes of {entry.path} in its fragment, expected {length}")
        return data

    def open(self, entry: Entry) -> Source:
        """The content: small files in memory, large ones in a nameless temporary file."""
        if entry.size <= SMALL:
            return BytesSource(b"".join(self.blocks(entry)))
        return Spool(self.blocks(entry), self.limits.spool)

    def head(self, entry: Entry, length: int) -> bytes:
        """The first bytes, without decompressing the rest."""
        return next(self.blocks(entry), b"")[:length] if entry.size else b""

    def hashes(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """Digests of all files, by fragment, then by position; decompressors run without the interpreter's lock."""
        whole: list[Entry] = []
        tails: list[Entry] = []
        for entry in self.entries.values():
            if entry.type == "f":
                (tails if entry.where.count == 0 else whole).append(entry)
        tails.sort(key=lambda e: e.where.fragment)
        groups = [list(g) for _, g in groupby(tails, key=lambda e: e.where.fragment)]
        whole.sort(key=lambda e: e.where.start)
        spent = sum(e.size for e in whole) + sum(e.size for e in tails)
        self.limits.check(f"{self.path}: bytes of all files", spent, self.limits.decompressed)

        def of_group(group: list[Entry]) -> list[tuple[str, tuple[str, str]]]:
            number = group[0].where.fragment
            data = b""
            if any(e.size for e in group):
                if number == NONE32:
                    raise Unreadable(
                        f"{self.path}: got no fragment for {group[0].path}, expected {group[0].size} bytes"
                    )
                data = self.stored_fragment(number)
                if not self.fragments[number][1] >> 24 & 1:
                    data = self.unpack(data, self.block_size)
            found = []
            for entry in group:
                part = data[entry.where.offset : entry.where.offset + entry.size] if entry.size else b""
                if len(part) != entry.size:
                    raise Unreadable(f"{self.path}: got {len(part)} bytes of {entry.path}, expected {entry.size}")
                found.append((entry.path, digests(BytesSource(part))))
            return found

        def of_file(entry: Entry) -> list[tuple[str, tuple[str, str]]]:
            digest = Digests()
            for data in self.blocks(entry):
                digest.update(data)
            return [(entry.path, digest.end())]

        with ThreadPoolExecutor(2) as pool:
            for found in pool.map(of_group, groups):
                yield from found
            for found in pool.map(of_file, whole):
                yield from found

    def order(self) -> list[str]:
        """Files by the place of their data; files that share their bytes keep one place."""
        placed: dict[tuple[int, int, int], str] = {}
        for path, entry in self.entries.items():
            if entry.type == "f" and entry.size:
                where: Where = entry.where
                key = (0, where.start, 0) if where.count else (1, where.fragment, where.offset)
                placed.setdefault(key, path)
        return [placed[key] for key in sorted(placed)]

    def differing(self, other: Layer, pairs: list[tuple[Entry, Entry]]) -> set[str]:
        """Paths whose content differs: by stored blocks where both images store alike, else by what they unpack to."""
        if not isinstance(other, type(self)):
            return Layer.differing(self, other, pairs)
        alike = self.compressor == other.compressor and self.block_size == other.block_size
        found: set[str] = set()
        runs: list[tuple[int, int, int, int]] = []
        doubtful: set[int] = set()
        same_fragment: dict[tuple[int, int], bool] = {}
        for index, (a, b) in enumerate(pairs):
            if a.size != b.size:
                found.add(a.path)
                continue
            if not a.size:
                continue
            wa, wb = a.where, b.where
            if not alike or wa.count != wb.count:
                doubtful.add(index)
                continue
            if wa.count:
                sizes = self.raw_sizes(wa)
                if sizes != other.raw_sizes(wb):
                    doubtful.add(index)
                    continue
                stored = sum(v & 0xFFFFFF for v in struct.unpack(f"<{wa.count}I", sizes))
                if stored:
                    runs.append((wa.start, wb.start, stored, index))
            if a.size > wa.count * self.block_size or not wa.count:
                key = (wa.fragment, wb.fragment)
                if key not in same_fragment:
                    same_fragment[key] = NONE32 not in key and self._same_fragment(other, *key)
                if not (same_fragment[key] and wa.offset == wb.offset):
                    doubtful.add(index)
        doubtful |= self._unequal_runs(other, runs)
        # by fragment, so that the few kept blocks serve all their files
        for index in sorted(doubtful, key=lambda i: (pairs[i][0].where.fragment, pairs[i][1].where.fragment)):
            a, b = pairs[index]
            if self._unequal(other, a, b):
                found.add(a.path)
        return found

    def _unequal(self, other: SquashData, a: Entry, b: Entry) -> bool:
        if self.block_size == other.block_size:
            return any(x != y for x, y in zip(self.blocks(a), other.blocks(b), strict=False))
        mine, theirs = hashlib.sha256(), hashlib.sha256()
        for digest, blocks in ((mine, self.blocks(a)), (theirs, other.blocks(b))):
            for data in blocks:
                digest.update(data)
        return mine.digest() != theirs.digest()

    def _same_fragment(self, other: SquashData, a: int, b: int) -> bool:
        if self.fragments[a][1] != other.fragments[b][1]:
            return False
        return self.stored_fragment(a) == other.stored_fragment(b)

    def _unequal_runs(self, other: SquashData, runs: list[tuple[int, int, int, int]]) -> set[int]:
        """Indices of runs whose stored bytes differ; neighbours that moved by the same distance are read as one."""
        found: set[int] = set()
        runs.sort()
        pairwise = Pairwise(self.source, other.source)
        position = 0
        while position < len(runs):
            a, b, length, _ = runs[position]
            last, end = position, a + length
            while last + 1 < len(runs):
                na, nb, nlength, _ = runs[last + 1]
                if na - a != nb - b or na > end + SPAN:
                    break
                last, end = last + 1, max(end, na + nlength)
            if max(a + (end - a) - self.source.size, b + (end - a) - other.source.size) > 0:
                raise Unreadable(f"{self.path}: got file data up to byte {end}, expected it within {self.source.size}")
            group = runs[position : last + 1]
            for at, mine, theirs in pairwise.unequal(a, b, end - a):
                found |= _touched(group, a, at, mine, theirs)
            position = last + 1
        return found


def _touched(runs: list[tuple[int, int, int, int]], base: int, at: int, mine: bytes, theirs: bytes) -> set[int]:
    """Which runs differ within one block; `at` counts from `base`, where the first run begins."""
    found = set()
    first = max(0, bisect_left(runs, (base + at,)) - 1)
    for start, _, length, index in runs[first:]:
        low, high = max(start - base - at, 0), min(start + length - base - at, len(mine))
        if start - base >= at + len(mine):
            break
        if high > low and mine[low:high] != theirs[low:high]:
            found.add(index)
    return found
