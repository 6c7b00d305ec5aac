"""One pass over an artefact: SHA-256, SHA-256 of each 4 MiB chunk, and the nonce-keyed digest.

Rules:

- The bytes are read once, in chunks; memory does not grow with the file.
- The keyed digest is HMAC-SHA-256 (RFC 2104) of all bytes under the worker's own nonce: it cannot be derived from the
  plain digest or from another worker's keyed digest, only from the bytes.
- The three hashes of a chunk run on threads: hashlib releases the interpreter lock, and the pass is then as long as one
  hash where there are cores, while the next chunk is being read.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO

CHUNK_SIZE = 4 * 1024 * 1024
"""Bytes in a chunk; a digest a chunk lets two hosts find where they differ without moving the file."""


@dataclass(frozen=True)
class Measurement:
    """What one pass over a file found. ``size`` is in bytes; digests are ``sha256:<64 hex>``."""

    size: int
    sha256: str
    chunks: tuple[str, ...]
    keyed: str


def sha256(data: bytes) -> str:
    """Return the digest of ``data`` as ``sha256:<64 hex>``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_of(stream: BinaryIO, progress: Callable[[int], None] | None = None) -> str:
    """The digest of a stream's bytes, read once; ``progress`` is called with the bytes read so far."""
    return digests_of(stream, (), progress)[0]


def digests_of(
    stream: BinaryIO, nonces: Sequence[str], progress: Callable[[int], None] | None = None
) -> tuple[str, tuple[str, ...]]:
    """The plain digest and the keyed digest for each of ``nonces``, in one pass (what a verifier needs)."""
    whole = hashlib.sha256()
    macs = [hmac.new(bytes.fromhex(nonce), digestmod="sha256") for nonce in nonces]
    updates: list[Callable[[bytes], None]] = [whole.update, *(mac.update for mac in macs)]
    size = 0
    with ThreadPoolExecutor(max_workers=len(updates)) as pool:
        pending: list[Future[None]] = []
        while True:
            chunk = stream.read(CHUNK_SIZE)
            for future in pending:
                future.result()
            if not chunk:
                break
            size += len(chunk)
            pending = [pool.submit(update, chunk) for update in updates]
            if progress is not None:
                progress(size)
    return f"sha256:{whole.hexdigest()}", tuple(f"sha256:{mac.hexdigest()}" for mac in macs)


def keyed_digest(stream: BinaryIO, nonce: str) -> str:
    """Recompute only the nonce-keyed digest (what the master does before a release). ``nonce`` is 64 hex digits."""
    mac = hmac.new(bytes.fromhex(nonce), digestmod="sha256")
    while chunk := stream.read(CHUNK_SIZE):
        mac.update(chunk)
    return f"sha256:{mac.hexdigest()}"


def measure(stream: BinaryIO, nonce: str, progress: Callable[[int], None] | None = None) -> Measurement:
    """Read ``stream`` to its end once and return its :class:`Measurement`.

    ``nonce`` is 64 hex digits; ``progress`` is called with the bytes read so far. :raises OSError: from reading.
    """
    whole = hashlib.sha256()
    mac = hmac.new(bytes.fromhex(nonce), digestmod="sha256")
    chunks: list[str] = []
    size = 0
    with ThreadPoolExecutor(max_workers=3) as pool:
        pending: list[Future[None]] = []
        digest: Future[str] | None = None
        while True:
            chunk = _read_chunk(stream)
            for future in pending:
                future.result()
            if digest is not None:
                chunks.append(digest.result())
            if not chunk:
                break
            size += len(chunk)
            pending = [pool.submit(whole.update, chunk), pool.submit(mac.update, chunk)]
            digest = pool.submit(sha256, chunk)
            if progress is not None:
                progress(size)
    return Measurement(size, f"sha256:{whole.hexdigest()}", tuple(chunks), f"sha256:{mac.hexdigest()}")


def _read_chunk(stream: BinaryIO) -> bytes:
    """Read exactly one chunk unless the stream ends: a pipe's short reads must not move the chunk borders."""
    parts = []
    missing = CHUNK_SIZE
    while missing and (part := stream.read(missing)):
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
