"""Digests of an artefact, taken in one pass."""

from silvermetal_proof.digest.measure import CHUNK_SIZE, Measurement, keyed_digest, measure, sha256

__all__ = ["CHUNK_SIZE", "Measurement", "keyed_digest", "measure", "sha256"]
