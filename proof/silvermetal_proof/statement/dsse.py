"""DSSE envelopes (https://github.com/secure-systems-lab/dsse, protocol and envelope v1.0.2), one signature each.

Rules:

- An envelope has exactly one accepted form: the three fields, one signature, canonical base64, a payload type that the
  caller named beforehand (no type confusion), bounded size. A re-encoded envelope is not the one that was signed.
- The key is chosen by the caller from the enrolled ones and compared with the key id; the envelope never names the key
  that it is checked with.
- Signing and checking are securesystemslib's; this module adds what it leaves open (strict form, errors).
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Literal

from pydantic import Field
from securesystemslib import dsse as sslib
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Signature

from silvermetal_proof.errors import MalformedError, SignatureError
from silvermetal_proof.model import Hex64, Record
from silvermetal_proof.statement.keys import PublicKey, SigningKey

STATEMENT_TYPE: Literal["application/vnd.in-toto+json"] = "application/vnd.in-toto+json"
"""The payload type of in-toto Statements, which provenance and verdicts both are."""

MAX_ENVELOPE_BYTES = 6 * 1024 * 1024
_ED25519_SIGNATURE_BYTES = 64


class EnvelopeSignature(Record):
    """One entry of ``signatures``."""

    keyid: Hex64
    sig: str


class Envelope(Record):
    """A DSSE envelope in its JSON form; payload and signature are base64."""

    payload: str
    payload_type: Annotated[str, Field(alias="payloadType", max_length=128)]
    signatures: Annotated[tuple[EnvelopeSignature, ...], Field(min_length=1, max_length=1)]

    @property
    def keyid(self) -> str:
        """The id of the key that the envelope says it was signed with: a hint, checked by :func:`verify`."""
        return self.signatures[0].keyid


def _strict_base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise MalformedError(f"{what} is not base64", expected="base64 (RFC 4648 section 4)", got=text[:40]) from None
    if base64.b64encode(data).decode("ascii") != text:
        raise MalformedError(f"{what} is base64 in another form", expected="canonical base64", got=text[-8:])
    return data


def payload_of(envelope: Envelope, what: str) -> bytes:
    """The payload's bytes, unverified. :raises MalformedError: when they are not canonical base64."""
    return _strict_base64(envelope.payload, f"{what}: payload")


def sign(payload: bytes, key: SigningKey, payload_type: str = STATEMENT_TYPE) -> bytes:
    """Sign ``payload`` and return the envelope's canonical bytes."""
    envelope = sslib.Envelope(payload, payload_type, {})
    signature = envelope.sign(key.signer)
    return Envelope(
        payload=base64.b64encode(payload).decode("ascii"),
        payload_type=payload_type,
        signatures=(
            EnvelopeSignature(
                keyid=signature.keyid, sig=base64.b64encode(bytes.fromhex(signature.signature)).decode("ascii")
            ),
        ),
    ).encode()


def parse(data: bytes, what: str = "envelope") -> Envelope:
    """Read an envelope; :raises MalformedError: when it is not in canonical form."""
    envelope = Envelope.parse(data, limit=MAX_ENVELOPE_BYTES, what=what)
    if envelope.encode() != data.strip(b"\n"):
        raise MalformedError(
            f"{what} is re-encoded", expected="the canonical bytes that were signed", got="another form"
        )
    return envelope


def verify(data: bytes, key: PublicKey, payload_type: str = STATEMENT_TYPE, what: str = "envelope") -> bytes:
    """Check the envelope against ``key`` and return the payload that was signed.

    :raises MalformedError: when the bytes are not an envelope in canonical form.
    :raises SignatureError: when type, key id or signature do not hold.
    """
    envelope = parse(data, what)
    if envelope.payload_type != payload_type:
        raise SignatureError(f"{what} has another payload type", expected=payload_type, got=envelope.payload_type)
    if envelope.keyid != key.keyid:
        raise SignatureError(f"{what} is signed by another key", expected=key.keyid, got=envelope.keyid)
    payload = _strict_base64(envelope.payload, f"{what}: payload")
    raw = _strict_base64(envelope.signatures[0].sig, f"{what}: signature")
    if len(raw) != _ED25519_SIGNATURE_BYTES:
        raise SignatureError(f"{what}: signature has another length", expected="64 bytes", got=f"{len(raw)} bytes")
    signed = sslib.Envelope(payload, payload_type, {key.keyid: Signature(key.keyid, raw.hex())})
    try:
        signed.verify([key.sslib], 1)
    except (VerificationError, UnverifiedSignatureError):
        raise SignatureError(
            f"{what}: signature does not hold", expected=f"key {key.keyid}", got="altered bytes"
        ) from None
    return payload
