"""Enrolled hosts: who may sign, from when until when, and what an operator vouches for.

Rules:

- One entry a host, one host a key: the settings refuse two entries with one key.
- A key counts only between ``valid_from`` and ``valid_until`` and never after ``revoked``.
- The hardware identity (``dmi``) and the site count only when an operator's signature over the whole entry holds.
"""

from __future__ import annotations

import base64

from silvermetal_proof import canonical
from silvermetal_proof.errors import ProofError, SignatureError
from silvermetal_proof.model import Hex64, Line, Name, Record, Time, parse_time
from silvermetal_proof.statement.keys import PublicKey, SigningKey


class Operator(Record):
    """Somebody who vouches for hosts; ``public_key`` is 64 hex digits of Ed25519."""

    operator: Name
    public_key: Hex64


class HostEntry(Record):
    """One enrolled host, as ``config/hosts/<host>.toml`` holds it."""

    host: Name
    worker: Name
    public_key: Hex64
    operator: Name
    site: Name
    dmi: Hex64 | None = None
    """Application hash of the machine's DMI product UUID, read by the operator on the machine."""
    valid_from: Time
    valid_until: Time | None = None
    revoked: Time | None = None
    revocation_reason: Line | None = None
    operator_signature: str | None = None
    """Base64 Ed25519 signature by the operator over :meth:`signed_bytes`."""

    @property
    def key(self) -> PublicKey:
        """The key that this host signs with."""
        return PublicKey(self.public_key)

    def signed_bytes(self) -> bytes:
        """What the operator signs: the entry's canonical bytes without signature and revocation."""
        fields = self.plain()
        for name in ("operator_signature", "revoked", "revocation_reason"):
            fields.pop(name, None)
        return b"silvermetal host entry v1\n" + canonical.encode(fields)

    def check_valid_at(self, moment: str) -> None:
        """:raises SignatureError: when the host's key does not count at ``moment`` (RFC 3339)."""
        at = parse_time(moment)
        if self.revoked is not None and at >= parse_time(self.revoked):
            raise SignatureError(
                f"key of host {self.host} is revoked",
                expected="a key that is not revoked",
                got=f"revoked {self.revoked}",
            )
        if at < parse_time(self.valid_from):
            raise SignatureError(
                f"key of host {self.host} is not valid yet", expected=f"valid from {self.valid_from}", got=moment
            )
        if self.valid_until is not None and at >= parse_time(self.valid_until):
            raise SignatureError(
                f"key of host {self.host} has expired", expected=f"valid until {self.valid_until}", got=moment
            )


def sign_entry(entry: HostEntry, key: SigningKey) -> HostEntry:
    """Return ``entry`` with the operator's signature."""
    signature = base64.b64encode(key.sign_bytes(entry.signed_bytes())).decode("ascii")
    return entry.model_copy(update={"operator_signature": signature})


def operator_signed(entry: HostEntry, operators: tuple[Operator, ...]) -> str | None:
    """Return None when the entry's operator signature holds, else the reason why it does not."""
    if entry.operator_signature is None:
        return f"entry of host {entry.host} carries no operator signature"
    found = [o for o in operators if o.operator == entry.operator]
    if len(found) != 1:
        return f"operator {entry.operator} of host {entry.host} is not known"
    try:
        raw = base64.b64decode(entry.operator_signature, validate=True)
        PublicKey(found[0].public_key).check(raw, entry.signed_bytes(), f"entry of host {entry.host}")
    except (ValueError, ProofError) as error:
        return f"operator signature of host {entry.host} does not hold ({type(error).__name__})"
    return None
