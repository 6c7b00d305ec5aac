"""The key challenge at connect: a worker proves that it holds the key that it was enrolled with.

Rules:

- The signed bytes begin with a domain of their own: no answer can stand for a statement, a host entry or a verdict.
- They name master and worker and hold the master's fresh nonce: an answer counts for one connection at one master.
- A worker signs for its own name only, so that nobody gets an answer for another by asking it.
"""

from __future__ import annotations

import os

from silvermetal_proof import canonical
from silvermetal_proof.errors import SignatureError
from silvermetal_proof.statement.keys import PublicKey, SigningKey

DOMAIN = b"silvermetal key challenge v1\n"
NONCE_BYTES = 32
SIGNATURE_BYTES = 64
MAX_NAME = 300


def fresh_nonce() -> bytes:
    """A nonce that was never used before."""
    return os.urandom(NONCE_BYTES)


def _signed_bytes(master: str, worker: str, nonce: bytes) -> bytes:
    return DOMAIN + canonical.encode({"master": master, "nonce": nonce.hex(), "worker": worker})


def answer(key: SigningKey, *, own_name: str, master: object, worker: object, nonce: object) -> bytes:
    """The worker's answer; the question is the master's and may be anything. :raises SignatureError: to refuse it."""
    if not isinstance(master, str) or not 0 < len(master) <= MAX_NAME:
        raise SignatureError("key challenge", expected="a master's id", got=type(master).__name__)
    if worker != own_name:
        raise SignatureError("key challenge", expected=f"for worker {own_name}", got="for another")
    if not isinstance(nonce, bytes) or len(nonce) != NONCE_BYTES:
        raise SignatureError("key challenge", expected=f"a nonce of {NONCE_BYTES} bytes", got="another value")
    return key.sign_bytes(_signed_bytes(master, own_name, nonce))


def check_answer(key: PublicKey, said: object, *, master: str, worker: str, nonce: bytes) -> None:
    """:raises SignatureError: when what the worker said does not prove that it holds the key."""
    what = f"key challenge to worker {worker}"
    if not isinstance(said, bytes) or len(said) != SIGNATURE_BYTES:
        raise SignatureError(what, expected=f"a signature of {SIGNATURE_BYTES} bytes", got=type(said).__name__)
    key.check(said, _signed_bytes(master, worker, nonce), what)
