"""Ed25519 keys (RFC 8032): the identity of a worker, of the master, of an operator.

Rules:

- A public key travels as 64 hex digits of its 32 raw bytes; its key id is securesystemslib's (SHA-256 over the
  canonical form of the key), so that other DSSE tools name the same key by the same id.
- A private key is a PKCS#8 PEM file that nobody but its owner can read. It never leaves the machine that made it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from silvermetal_proof.errors import SignatureError

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key; ``hex`` is its 32 bytes as 64 hex digits."""

    hex: str

    def __post_init__(self) -> None:
        # One spelling a key: bytes.fromhex would also take capitals and spaces.
        try:
            if not _HEX.fullmatch(self.hex):
                raise ValueError(self.hex)
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.hex))
        except ValueError:
            raise SignatureError("not an Ed25519 public key", expected="64 hex digits", got=self.hex) from None

    @cached_property
    def sslib(self) -> SSlibKey:
        """The key as securesystemslib holds it."""
        return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.hex)))

    @property
    def keyid(self) -> str:
        """The key id that stands in envelopes: 64 hex digits."""
        return str(self.sslib.keyid)

    @property
    def pem(self) -> str:
        """The key as SubjectPublicKeyInfo PEM, which OpenSSL and other DSSE tools read."""
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.hex))
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    def check(self, signature: bytes, message: bytes, what: str) -> None:
        """Check a bare signature over ``message``; :raises SignatureError: when it does not hold."""
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.hex)).verify(signature, message)
        except InvalidSignature:
            raise SignatureError(f"{what}: signature does not hold", expected=f"key {self.keyid[:16]}") from None


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 private key."""

    private: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> SigningKey:
        """Make a new key from the system's random source."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, data: bytes) -> SigningKey:
        """Read an unencrypted PKCS#8 PEM. :raises SignatureError: when it is not an Ed25519 private key."""
        try:
            key = load_pem_private_key(data, password=None)
        except (ValueError, TypeError) as error:
            raise SignatureError(
                "private key cannot be read", expected="PKCS#8 PEM", got=type(error).__name__
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise SignatureError("private key is of another kind", expected="Ed25519", got=type(key).__name__)
        return cls(key)

    @property
    def pem(self) -> bytes:
        """The key as unencrypted PKCS#8 PEM."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return PublicKey(self.private.public_key().public_bytes_raw().hex())

    @property
    def signer(self) -> CryptoSigner:
        """The key as securesystemslib's signer."""
        return CryptoSigner(self.private, self.public.sslib)

    def sign_bytes(self, message: bytes) -> bytes:
        """A bare Ed25519 signature (64 bytes)."""
        return self.private.sign(message)
