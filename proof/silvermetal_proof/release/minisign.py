"""Signatures that ``minisign -V`` and ``signify -V`` check (https://jedisct1.github.io/minisign/#signature-format).

Rules:

- The plain form (``Ed``: Ed25519 over the bytes themselves), because signify reads it too; files that are signed are
  small.
- The key id is derived from the key, so that the same key has the same id everywhere.
"""

from __future__ import annotations

import base64
import hashlib

from silvermetal_proof.errors import MalformedError, SignatureError
from silvermetal_proof.statement.keys import PublicKey, SigningKey

_PLAIN = b"Ed"
_SIGNATURE_BYTES = 2 + 8 + 64
MAX_SIGNATURE_BYTES = 4096


def key_id(key: PublicKey) -> bytes:
    """Eight bytes by which the tools tell keys apart."""
    return hashlib.sha256(b"silvermetal minisign key id\n" + bytes.fromhex(key.hex)).digest()[:8]


def public_key(key: PublicKey) -> str:
    """The key as minisign and signify take it: ``minisign -P``, or the second line of a key file."""
    return base64.b64encode(_PLAIN + key_id(key) + bytes.fromhex(key.hex)).decode("ascii")


def sign(data: bytes, key: SigningKey, comment: str) -> bytes:
    """The signature file. ``comment`` is one line, and is signed too."""
    signature = key.sign_bytes(data)
    whole = base64.b64encode(_PLAIN + key_id(key.public) + signature).decode("ascii")
    over_comment = base64.b64encode(key.sign_bytes(signature + comment.encode())).decode("ascii")
    return (
        f"untrusted comment: signature by the build master\n{whole}\ntrusted comment: {comment}\n{over_comment}\n"
    ).encode()


def verify(data: bytes, signature: bytes, key: PublicKey) -> str:
    """Check and return the trusted comment. :raises SignatureError: :raises MalformedError: when it does not hold."""
    lines = signature[:MAX_SIGNATURE_BYTES].decode("utf-8", "replace").split("\n")
    if len(lines) != 5 or not lines[0].startswith("untrusted comment: ") or lines[4]:
        raise MalformedError("minisign signature", expected="four lines", got=f"{len(lines)} lines")
    if not lines[2].startswith("trusted comment: "):
        raise MalformedError("minisign signature", expected="a trusted comment", got=lines[2])
    try:
        whole, over_comment = base64.b64decode(lines[1], validate=True), base64.b64decode(lines[3], validate=True)
    except ValueError:
        raise MalformedError("minisign signature", expected="base64", got="something else") from None
    if len(whole) != _SIGNATURE_BYTES or whole[:2] != _PLAIN:
        raise MalformedError("minisign signature", expected="the plain form (Ed)", got=whole[:2])
    if whole[2:10] != key_id(key):
        raise SignatureError("minisign signature by another key", expected=key_id(key).hex(), got=whole[2:10].hex())
    comment = lines[2].removeprefix("trusted comment: ")
    key.check(whole[10:], data, "minisign signature")
    key.check(over_comment, whole[10:] + comment.encode(), "minisign trusted comment")
    return comment
