"""The append-only log of every verdict, failures included."""

from silvermetal_proof.ledger.checkpoint import Checkpoint, read_checkpoint, sign_checkpoint, verifier_key
from silvermetal_proof.ledger.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_hash,
    verify_consistency,
    verify_inclusion,
)
from silvermetal_proof.ledger.store import Ledger

__all__ = [
    "Checkpoint",
    "Ledger",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "read_checkpoint",
    "root_hash",
    "sign_checkpoint",
    "verifier_key",
    "verify_consistency",
    "verify_inclusion",
]
