"""Sealing: a statement that the master alone can read, and only for the build it was made for."""

from silvermetal_proof.seal.hpke import SealingKey, open_sealed, seal

__all__ = ["SealingKey", "open_sealed", "seal"]
