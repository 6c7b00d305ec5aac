"""Signatures that ``ssh-keygen -Y verify`` checks (OpenSSH, PROTOCOL.sshsig).

Rules:

- Namespace ``file``, hash SHA-512, Ed25519; anything else is refused.
"""

from __future__ import annotations

import base64
import hashlib
import struct

from silvermetal_proof.errors import MalformedError, SignatureError
from silvermetal_proof.statement.keys import PublicKey, SigningKey

NAMESPACE = "file"
PRINCIPAL = "silvermetal-release"
_MAGIC = b"SSHSIG"
_TYPE = b"ssh-ed25519"
_HASH = b"sha512"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _blob(key: PublicKey) -> bytes:
    return _string(_TYPE) + _string(bytes.fromhex(key.hex))


def public_key(key: PublicKey) -> str:
    """The key as OpenSSH writes it: ``ssh-ed25519 <base64>``."""
    return f"ssh-ed25519 {base64.b64encode(_blob(key)).decode('ascii')}"


def allowed_signers(key: PublicKey) -> str:
    """The line for ``ssh-keygen -Y verify -f``."""
    return f'{PRINCIPAL} namespaces="{NAMESPACE}" {public_key(key)}\n'


def _signed(data: bytes) -> bytes:
    digest = hashlib.sha512(data).digest()
    return _MAGIC + _string(NAMESPACE.encode()) + _string(b"") + _string(_HASH) + _string(digest)


def _head(key: PublicKey) -> bytes:
    """Everything of a signature but the signature itself."""
    fields = _string(_blob(key)) + _string(NAMESPACE.encode()) + _string(b"") + _string(_HASH)
    return _MAGIC + struct.pack(">I", 1) + fields


def sign(data: bytes, key: SigningKey) -> bytes:
    """The armoured signature."""
    raw = _head(key.public) + _string(_string(_TYPE) + _string(key.sign_bytes(_signed(data))))
    text = base64.b64encode(raw).decode("ascii")
    body = "\n".join(text[start : start + 70] for start in range(0, len(text), 70))
    return f"{_BEGIN}\n{body}\n{_END}\n".encode()


def verify(data: bytes, signature: bytes, key: PublicKey) -> None:
    """Check. :raises MalformedError: :raises SignatureError: when it does not hold."""
    lines = signature[:8192].decode("utf-8", "replace").strip().split("\n")
    if lines[0] != _BEGIN or lines[-1] != _END:
        raise MalformedError("SSH signature", expected="its first and last line", got=lines[0])
    try:
        raw = base64.b64decode("".join(lines[1:-1]), validate=True)
    except ValueError:
        raise MalformedError("SSH signature", expected="base64", got="something else") from None
    head = _head(key)
    if raw[: len(head)] != head:
        raise SignatureError("SSH signature", expected=f"one by {public_key(key)}", got="another key or form")
    start = head + struct.pack(">I", 83) + _string(_TYPE) + struct.pack(">I", 64)
    if raw[: len(start)] != start or len(raw) != len(start) + 64:
        raise MalformedError("SSH signature", expected="Ed25519, 64 bytes", got=f"{len(raw)} bytes")
    key.check(raw[len(start) :], _signed(data), "SSH signature")
