"""The one pass over an artefact gives what hashlib and hmac give, at every size around the chunk's borders."""

from __future__ import annotations

import hashlib
import hmac
import io

import pytest
from silvermetal_proof.digest import CHUNK_SIZE, keyed_digest, measure, sha256

NONCE = "ab" * 32


def content(size: int) -> bytes:
    block = hashlib.sha512(b"content").digest() * 1024
    return (block * (size // len(block) + 1))[:size]


class Dribble(io.RawIOBase):
    """A stream that gives less than it is asked for, as pipes do."""

    def __init__(self, data: bytes, most: int) -> None:
        self._inner, self._most = io.BytesIO(data), most

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(min(size, self._most) if size >= 0 else self._most)


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE, 2 * CHUNK_SIZE + 5])
@pytest.mark.parametrize("dribble", [None, 1_000_003])
def test_it_equals_hashlib_and_hmac(size: int, dribble: int | None) -> None:
    data = content(size)
    seen: list[int] = []
    stream = io.BytesIO(data) if dribble is None else Dribble(data, dribble)
    found = measure(stream, NONCE, seen.append)  # type: ignore[arg-type]
    assert found.size == size
    assert found.sha256 == f"sha256:{hashlib.sha256(data).hexdigest()}" == sha256(data)
    assert found.keyed == f"sha256:{hmac.new(bytes.fromhex(NONCE), data, 'sha256').hexdigest()}"
    assert found.keyed == keyed_digest(io.BytesIO(data), NONCE)
    starts = range(0, size, CHUNK_SIZE)
    assert found.chunks == tuple(sha256(data[start : start + CHUNK_SIZE]) for start in starts)
    assert seen == [min(start + CHUNK_SIZE, size) for start in starts]


def test_another_nonce_is_another_keyed_digest_and_the_same_plain_one() -> None:
    one, two = (measure(io.BytesIO(b"iso"), nonce * 32) for nonce in ("00", "01"))
    assert one.sha256 == two.sha256
    assert one.keyed != two.keyed


def test_a_read_error_is_the_callers() -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "I/O error")

    with pytest.raises(OSError, match="I/O error"):
        measure(Broken(), NONCE)  # type: ignore[arg-type]
