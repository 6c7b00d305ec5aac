"""Every kind of stream is unpacked to what was packed, whole, in several members, and never beyond its end."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
from collections.abc import Callable

import lz4.block
import lz4.frame
import pytest
from silvermetal_explain.errors import ExplainError, LimitExceeded
from silvermetal_explain.image.compression import sniff, stream
from silvermetal_explain.image.source import BytesSource

try:
    from compression import zstd
except ImportError:  # Python below 3.14
    from backports import zstd


def legacy(data: bytes) -> bytes:
    """As `lz4 -l` packs an initramfs: blocks of at most 8 MiB behind their length, and no trailer."""
    blocks = [lz4.block.compress(data[i : i + (8 << 20)], store_size=False) for i in range(0, len(data), 8 << 20)]
    return struct.pack("<I", 0x184C2102) + b"".join(struct.pack("<I", len(b)) + b for b in blocks)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "zstd": zstd.compress,
    "lz4": lz4.frame.compress,
    "lz4-legacy": legacy,
}
DATA = b"".join(b"row %d\n" % i for i in range(20_000)) + os.urandom(20_000)
LARGE = DATA + bytes(9 << 20)  # more than one block of every format


@pytest.mark.parametrize("kind", PACKERS)
def test_a_stream_is_unpacked_to_what_was_packed(kind: str) -> None:
    for data in (b"short", DATA, LARGE):
        packed = PACKERS[kind](data)
        assert sniff(packed[:6]) == kind
        assert b"".join(stream(kind, BytesSource(packed), 1 << 30)) == data


@pytest.mark.parametrize("kind", [k for k in PACKERS if k not in ("lzma", "lz4-legacy")])
def test_members_and_padding_follow_one_another_and_something_else_ends_it(kind: str) -> None:
    packed = PACKERS[kind](DATA)
    whole = packed + packed + bytes(512) + packed + bytes(100) + b"something else"
    assert b"".join(stream(kind, BytesSource(whole), 1 << 30)) == DATA * 3


@pytest.mark.parametrize("kind", PACKERS)
def test_a_stream_that_is_cut_or_too_large_ends_in_the_documented_error(kind: str) -> None:
    packed = PACKERS[kind](DATA)
    for end in (len(packed) // 2, len(packed) - 1):
        with pytest.raises(ExplainError):
            b"".join(stream(kind, BytesSource(packed[:end]), 1 << 30))
    with pytest.raises(LimitExceeded, match="at most"):
        b"".join(stream(kind, BytesSource(packed), 100_000))
