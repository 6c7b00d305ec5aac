"""Decompressors that cannot be made to fill the memory.

Rules:
- A block decompressor yields at most the bytes its caller allows and says so when there would be more.
- A stream decompressor yields bounded chunks; all members of a multi-member stream are read.
- zstd and lz4 come from optional wheels; without them the error names the package to install.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from ..errors import LimitExceeded, Unreadable
from .source import Source, chunks

Block = Callable[[bytes, int], bytes]
XZ_MEMORY = 96 << 20
ZSTD_WINDOW = 27  # 128 MiB: what the zstd tool accepts by default
MAGICS = {
    "gzip": b"\x1f\x8b\x08",
    "xz": b"\xfd7zXZ\x00",
    "zstd": b"\x28\xb5\x2f\xfd",
    "bzip2": b"BZh",
    "lz4": b"\x04\x22\x4d\x18",
    "lz4-legacy": b"\x02\x21\x4c\x18",
    "lzma": b"\x5d\x00\x00",
}
BROKEN = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, RuntimeError)


@cache
def _module(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Unreadable(
            f"got data compressed by {package}, expected the Python package {package}: install it"
        ) from None


@cache  # a failed import is looked for on disk again each time
def _zstd() -> Any:
    try:
        return importlib.import_module("compression.zstd")
    except ImportError:
        return _module("backports.zstd", "backports.zstd")


def _zlib_block(data: bytes, limit: int) -> bytes:
    return zlib.decompressobj().decompress(data, limit + 1)


def _xz_block(data: bytes, limit: int) -> bytes:
    return lzma.LZMADecompressor(memlimit=XZ_MEMORY).decompress(data, limit + 1)


def _zstd_block(data: bytes, limit: int) -> bytes:
    zstd = _zstd()
    decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW})
    result: bytes = decompressor.decompress(data, limit + 1)
    return result


def _lz4_block(data: bytes, limit: int) -> bytes:
    block = _module("lz4.block", "lz4")
    result: bytes = block.decompress(data, uncompressed_size=limit)
    return result


# squashfs compressor number -> name, decompressor
SQUASHFS: dict[int, tuple[str, Block | None]] = {
    1: ("gzip", _zlib_block),
    2: ("lzma", _xz_block),
    3: ("lzo", None),
    4: ("xz", _xz_block),
    5: ("lz4", _lz4_block),
    6: ("zstd", _zstd_block),
}


def block(decompress: Block, data: bytes, limit: int) -> bytes:
    """One block, at most `limit` bytes; anything wrong is Unreadable."""
    try:
        result = decompress(data, limit)
    except Exception as error:
        if isinstance(error, BROKEN) or type(error).__module__.startswith(("backports", "compression", "lz4", "_")):
            raise Unreadable(
                f"got a compressed block that does not unpack ({error}), expected {limit} bytes or fewer"
            ) from None
        raise
    if len(result) > limit:
        raise Unreadable(f"got a compressed block of more than {limit} bytes, expected at most that")
    return result


def sniff(head: bytes) -> str:
    """The name of the stream format that the first bytes tell, or nothing."""
    return next((name for name, magic in MAGICS.items() if head.startswith(magic)), "")


def stream(name: str, source: Source, limit: int) -> Iterator[bytes]:
    """Decompress a whole stream in bounded chunks; trailing zeros between members are skipped."""
    try:
        yield from _members(name, chunks(source), limit)
    except Exception as error:
        if isinstance(error, BROKEN) or type(error).__module__.startswith(("backports", "compression", "lz4", "_lz4")):
            raise Unreadable(f"got a broken {name} stream ({error}), expected one that unpacks") from None
        raise


def _decompressor(name: str) -> Any:
    if name == "gzip":
        return _Gzip()
    if name in ("xz", "lzma"):
        return lzma.LZMADecompressor(memlimit=XZ_MEMORY)
    if name == "bzip2":
        return bz2.BZ2Decompressor()
    if name == "zstd":
        zstd = _zstd()
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW})
    if name == "lz4":
        return _module("lz4.frame", "lz4").LZ4FrameDecompressor()
    if name == "lz4-legacy":
        return _Lz4Legacy()
    raise Unreadable(f"got a stream of kind {name!r}, expected one of {sorted(MAGICS)}")


def _members(name: str, pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    total, data = 0, b""
    while True:
        data = data.lstrip(b"\0") or next((p for piece in pieces if (p := piece.lstrip(b"\0"))), b"")
        if not data or (total and sniff(data[:6]) != name):
            return  # what follows the stream is another layer's business
        member = _decompressor(name)
        while not member.eof:
            if member.needs_input and not data:
                data = next(pieces, b"")
                if not data and isinstance(member, _Lz4Legacy) and member.may_end:
                    return
                if not data:
                    raise Unreadable(f"got the end of the {name} stream after {total} bytes, expected its trailer")
            out = member.decompress(data, 1 << 20)
            data = b""
            total += len(out)
            if total > limit:
                raise LimitExceeded(f"a {name} stream: got more than {limit} bytes, at most that is allowed")
            if out:
                yield out
        data = member.unused_data or b""  # lz4 says None for nothing


class _Gzip:
    """zlib's object with the interface of the other decompressors."""

    def __init__(self) -> None:
        self._object = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def needs_input(self) -> bool:
        return not self._object.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, size: int) -> bytes:
        return self._object.decompress(self._object.unconsumed_tail + data, size)


class _Lz4Legacy:
    """The kernel's lz4: blocks of at most 8 MiB behind their length, until the data ends."""

    BLOCK = 8 << 20

    def __init__(self) -> None:
        self._data, self._started = b"", False
        self.eof, self.needs_input, self.unused_data = False, True, b""

    @property
    def may_end(self) -> bool:
        """The format has no trailer: it ends where its data ends, behind a whole block."""
        return self._started and not self._data

    def decompress(self, data: bytes, _size: int) -> bytes:
        self._data += data
        if not self._started:
            if len(self._data) < 4:
                return b""
            self._data, self._started = self._data[4:], True
        if len(self._data) < 4:
            return b""
        (length,) = struct.unpack_from("<I", self._data)
        if length == 0 or length > self.BLOCK * 2:
            self.eof, self.unused_data = True, self._data
            return b""
        self.needs_input = len(self._data) < 4 + length
        if self.needs_input:
            return b""
        part, self._data = self._data[4 : 4 + length], self._data[4 + length :]
        out = _lz4_block(part, self.BLOCK)
        self.needs_input = len(self._data) < 4
        return out
