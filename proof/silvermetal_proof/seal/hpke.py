"""HPKE (RFC 9180), base mode, single shot: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.

Rules:

- The master makes one key pair for each build and hands out the public half: a sealed statement opens for this build
  only, and for nobody after the key is destroyed.
- ``info`` binds the purpose, the build and the host. A statement sealed for another build or host does not open, so
  statements cannot be swapped on their way.
- The sealed form is ASCII: it travels by file through channels that are not safe for other bytes (H5).
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from silvermetal_proof import canonical
from silvermetal_proof.errors import SealError

FORMAT = "silvermetal-sealed-v1"
MAX_SEALED_BYTES = 8 * 1024 * 1024
"""The largest sealed statement that is looked at, in bytes: a 5 GB ISO with 3000 packages needs about 1 MB."""

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


@dataclass(frozen=True)
class SealingKey:
    """The private half of one build's sealing key."""

    private: X25519PrivateKey

    @classmethod
    def generate(cls) -> SealingKey:
        """Make a new key pair from the system's random source."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_hex(cls, text: str) -> SealingKey:
        """Read what :meth:`to_hex` wrote. :raises SealError: when it is not 32 bytes of hexadecimal."""
        try:
            return cls(X25519PrivateKey.from_private_bytes(bytes.fromhex(text.strip())))
        except ValueError:
            raise SealError(
                "sealing key cannot be read", expected="64 hex digits", got=f"{len(text)} characters"
            ) from None

    def to_hex(self) -> str:
        """The private key as 64 hex digits, for a file that the master alone can read."""
        return self.private.private_bytes_raw().hex()

    @property
    def public_hex(self) -> str:
        """The public key as 64 hex digits, for the workers."""
        return self.private.public_key().public_bytes_raw().hex()


def _info(build: str, host: str) -> bytes:
    return canonical.encode({"format": FORMAT, "build": build, "host": host})


def seal(plaintext: bytes, *, public_hex: str, build: str, host: str) -> bytes:
    """Seal ``plaintext`` for the holder of the key, for this build and host only; the result is one line of ASCII.

    :raises SealError: when ``public_hex`` is not an X25519 public key.
    """
    try:
        public = X25519PublicKey.from_public_bytes(bytes.fromhex(public_hex))
        sealed = _SUITE.encrypt(plaintext, public, _info(build, host))
    except ValueError:
        raise SealError("not an X25519 public key", expected="64 hex digits", got=public_hex) from None
    return f"{FORMAT} {base64.b64encode(sealed).decode('ascii')}\n".encode("ascii")


def open_sealed(data: bytes, *, key: SealingKey, build: str, host: str) -> bytes:
    """Open what :func:`seal` made.

    :raises SealError: when it is too large, malformed, or was sealed with another key, for another build or host.
    """
    if len(data) > MAX_SEALED_BYTES:
        raise SealError("sealed statement is too large", expected=f"at most {MAX_SEALED_BYTES} bytes", got=len(data))
    prefix = f"{FORMAT} ".encode("ascii")
    if not data.startswith(prefix) or not data.endswith(b"\n"):
        raise SealError("not a sealed statement", expected=f"a line that starts with {FORMAT}", got=data[:40])
    try:
        ciphertext = base64.b64decode(data[len(prefix) : -1], validate=True)
        return _SUITE.decrypt(ciphertext, key.private, _info(build, host))
    except binascii.Error:
        raise SealError("sealed statement is not base64", expected="base64 (RFC 4648)", got=data[-40:]) from None
    except (InvalidTag, ValueError):
        raise SealError(
            "sealed statement does not open",
            expected=f"one sealed for build {build} and host {host} with this build's key",
            got="another key, build or host, or altered bytes",
        ) from None
