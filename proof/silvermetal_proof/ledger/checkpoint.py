"""Checkpoints: the tree's size and root as a signed note.

Sources: https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint (Ed25519, signature type 0x01).

Rules:

- A checkpoint is three lines (origin, size, base64 root), an empty line, and one signature line by the log's key.
- Reading is strict: another origin, another key, extra lines or a signature that does not hold are refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from silvermetal_proof.errors import LedgerError, ProofError
from silvermetal_proof.statement.keys import PublicKey, SigningKey

_ED25519 = b"\x01"
_SIGNATURE_LINE = re.compile(r"\A\u2014 (\S+) ([A-Za-z0-9+/]+=*)\n\Z")
MAX_CHECKPOINT_BYTES = 4096


@dataclass(frozen=True)
class Checkpoint:
    """A tree: ``origin`` names the log, ``size`` counts its entries, ``root`` is 32 bytes."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The note's text, which is what is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"


def _key_hash(origin: str, key: PublicKey) -> bytes:
    return hashlib.sha256(origin.encode() + b"\n" + _ED25519 + bytes.fromhex(key.hex)).digest()[:4]


def verifier_key(origin: str, key: PublicKey) -> str:
    """The log's verifier key as tools of the signed-note kind take it: ``name+hash+base64``."""
    encoded = base64.b64encode(_ED25519 + bytes.fromhex(key.hex)).decode("ascii")
    return f"{origin}+{_key_hash(origin, key).hex()}+{encoded}"


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> bytes:
    """Return the signed note."""
    signature = _key_hash(checkpoint.origin, key.public) + key.sign_bytes(checkpoint.text.encode())
    line = f"\u2014 {checkpoint.origin} {base64.b64encode(signature).decode('ascii')}\n"
    return f"{checkpoint.text}\n{line}".encode()


def _strict_base64(text: str) -> bytes:
    """Decode the one canonical form: other spellings of the same bytes are altered files."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode("ascii") != text:
        raise LedgerError("checkpoint holds base64 in another form", expected="canonical base64", got=text[-8:])
    return data


def read_checkpoint(data: bytes, origin: str, key: PublicKey) -> Checkpoint:
    """Read and check a signed note. :raises LedgerError: when anything about it does not hold."""
    try:
        if len(data) > MAX_CHECKPOINT_BYTES:
            raise LedgerError(
                "checkpoint is too large", expected=f"at most {MAX_CHECKPOINT_BYTES} bytes", got=len(data)
            )
        text, separator, signature = data.decode().rpartition("\n\n")
        match = _SIGNATURE_LINE.match(signature)
        lines = text.split("\n")
        if not separator or match is None or len(lines) != 3 or not re.fullmatch(r"0|[1-9][0-9]{0,15}", lines[1]):
            raise LedgerError("not a checkpoint", expected="origin, size, root and one signature line", got=data[:120])
        if lines[0] != origin or match[1] != origin:
            raise LedgerError("checkpoint of another log", expected=origin, got=lines[0])
        raw = _strict_base64(match[2])
        if raw[:4] != _key_hash(origin, key):
            raise LedgerError(
                "checkpoint signed by another key", expected=_key_hash(origin, key).hex(), got=raw[:4].hex()
            )
        key.check(raw[4:], f"{text}\n".encode(), "checkpoint")
        root = _strict_base64(lines[2])
        if len(root) != hashlib.sha256().digest_size:
            raise LedgerError("checkpoint root has another length", expected="32 bytes", got=len(root))
        return Checkpoint(origin, int(lines[1]), root)
    except (UnicodeError, binascii.Error) as error:
        raise LedgerError("checkpoint cannot be read", expected="a signed note", got=type(error).__name__) from None
    except LedgerError:
        raise
    except ProofError as error:
        raise LedgerError(str(error)) from None
