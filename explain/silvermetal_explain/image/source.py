"""Bounded random access to bytes, wherever they lie.

Rules:
- `read` returns exactly what was asked for or raises Unreadable; nothing is ever read outside the source's own window.
- No source holds the whole of a large file in memory: inner layers are windows, decompressed ones a nameless temporary.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..errors import LimitExceeded, Unreadable

CHUNK = 1 << 20
BLOCK = 32 << 10
"""Of a checksum that travels: 4 bytes a block, 0.01 % of a file, and a piece of a few blocks shows what differs."""


class Source(Protocol):
    """Bytes that can be read anywhere."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`."""
        ...


class FileSource:
    """A file on disk, opened once."""

    def __init__(self, path: Path) -> None:
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Unreadable(f"{path}: got {error.strerror}, expected a readable file") from None
        self.size = os.lseek(self._fd, 0, os.SEEK_END)

    def read(self, offset: int, length: int) -> bytes:
        """By pread, so that a hundred windows share one descriptor."""
        _inside(offset, length, self.size)
        data = os.pread(self._fd, length, offset)
        if len(data) != length:
            raise Unreadable(f"at byte {offset}: got {len(data)} bytes, expected {length} (was the file cut off?)")
        return data

    def read_into(self, offset: int, view: memoryview) -> None:
        """The same into memory that the caller keeps: no new pages for each block of a large file."""
        _inside(offset, len(view), self.size)
        if os.preadv(self._fd, [view], offset) != len(view):
            raise Unreadable(
                f"at byte {offset}: got fewer than {len(view)} bytes, expected all (was the file cut off?)"
            )

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)


class BytesSource:
    """Bytes in memory: small inner files."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, length: int) -> bytes:
        """A slice."""
        _inside(offset, length, self.size)
        return self._data[offset : offset + length]


class Window:
    """A part of another source."""

    def __init__(self, source: Source, start: int, size: int) -> None:
        _inside(start, size, source.size)
        while isinstance(source, Window):
            start += source.start
            source = source.source
        self.source, self.start, self.size = source, start, size

    def read(self, offset: int, length: int) -> bytes:
        """The same bytes, counted from the window's start."""
        _inside(offset, length, self.size)
        return self.source.read(self.start + offset, length)


class Pieces:
    """Parts of another source, one after the other: a file in several extents or clusters."""

    def __init__(self, source: Source, runs: list[tuple[int, int]]) -> None:
        self._source, self._runs = source, runs
        for start, length in runs:
            _inside(start, length, source.size)
        self.size = sum(length for _, length in runs)

    def read(self, offset: int, length: int) -> bytes:
        """Joined over the pieces that the range touches."""
        _inside(offset, length, self.size)
        parts, at = [], 0
        for start, size in self._runs:
            if length and at <= offset < at + size:
                take = min(length, at + size - offset)
                parts.append(self._source.read(start + offset - at, take))
                offset, length = offset + take, length - take
            at += size
        return b"".join(parts)


class Spool:
    """What a decompressor yielded, in a temporary file that has no name."""

    def __init__(self, chunks: Iterator[bytes], limit: int) -> None:
        self._file = tempfile.TemporaryFile(prefix="silvermetal-")  # noqa: SIM115 (lives as long as the layer)
        self.size = 0
        for chunk in chunks:
            self.size += len(chunk)
            if self.size > limit:
                self._file.close()
                raise LimitExceeded(
                    f"an inner layer: got more than {limit} bytes decompressed, at most that is allowed"
                )
            self._file.write(chunk)
        self._file.flush()

    def read(self, offset: int, length: int) -> bytes:
        """By pread."""
        _inside(offset, length, self.size)
        return os.pread(self._file.fileno(), length, offset)


def _inside(offset: int, length: int, size: int) -> None:
    if offset < 0 or length < 0 or offset + length > size:
        raise Unreadable(f"got a reference to bytes {offset}..{offset + length}, expected it within 0..{size}")


def chunks(source: Source, start: int = 0, size: int | None = None) -> Iterator[bytes]:
    """The bytes of a source in bounded pieces."""
    end = source.size if size is None else start + size
    while start < end:
        take = min(CHUNK, end - start)
        yield source.read(start, take)
        start += take


def sha256(source: Source) -> str:
    """The digest of all of a source."""
    digest = hashlib.sha256()
    for chunk in chunks(source):
        digest.update(chunk)
    return digest.hexdigest()


class Digests:
    """The digest of a file, and of each `BLOCK` of a longer one a checksum, by which a difference is found again."""

    def __init__(self) -> None:
        self._digest, self._blocks, self._sum, self._in_block = hashlib.sha256(), bytearray(), 0, 0

    def update(self, data: bytes) -> None:
        """The next bytes."""
        self._digest.update(data)
        view, at = memoryview(data), 0
        while at < len(data):
            take = min(BLOCK - self._in_block, len(data) - at)
            self._sum = zlib.crc32(view[at : at + take], self._sum)
            at, self._in_block = at + take, self._in_block + take
            if self._in_block == BLOCK:
                self._end_block()

    def _end_block(self) -> None:
        self._blocks += self._sum.to_bytes(4, "big")
        self._sum = self._in_block = 0

    def end(self) -> tuple[str, str]:
        """Both in hex; no checksums where there is one block only."""
        if self._in_block:
            self._end_block()
        return self._digest.hexdigest(), self._blocks.hex() if len(self._blocks) > 4 else ""


def digests(source: Source) -> tuple[str, str]:
    """Of all of a source: its SHA-256, and its blocks' checksums."""
    found = Digests()
    for chunk in chunks(source):
        found.update(chunk)
    return found.end()


class Pairwise:
    """Compares two sources block by block in two buffers that are used again and again."""

    BLOCK = 256 << 10  # both fit a core's cache

    def __init__(self, a: Source, b: Source) -> None:
        self._sides = [self._ground(a), self._ground(b)]
        self._buffers = [bytearray(self.BLOCK), bytearray(self.BLOCK)]

    @staticmethod
    def _ground(source: Source) -> tuple[Source, int]:
        return (source.source, source.start) if isinstance(source, Window) else (source, 0)

    def unequal(self, a: int, b: int, length: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Those blocks that differ: offset from the start, and both contents."""
        at = 0
        while at < length:
            take = min(self.BLOCK, length - at)
            one, two = self._load(0, a + at, take), self._load(1, b + at, take)
            if one != two:
                yield at, bytes(one), bytes(two)
            at += take

    def _load(self, side: int, offset: int, length: int) -> bytes | bytearray:
        source, start = self._sides[side]
        if not isinstance(source, FileSource):
            return source.read(start + offset, length)
        buffer = self._buffers[side]
        if length != len(buffer):
            return source.read(start + offset, length)
        source.read_into(start + offset, memoryview(buffer))
        return buffer


def first_difference(a: Source, b: Source) -> int:
    """The first byte in which two sources differ; the shorter one's length where it begins the longer."""
    common = min(a.size, b.size)
    for at, one, two in Pairwise(a, b).unequal(0, 0, common):
        return at + next(i for i, (x, y) in enumerate(zip(one, two, strict=True)) if x != y)
    return common


def equal(a: Source, b: Source) -> bool:
    """Whether two sources hold the same bytes; stops at the first block that differs."""
    return a.size == b.size and next(Pairwise(a, b).unequal(0, 0, a.size), None) is None
