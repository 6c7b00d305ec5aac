"""Digests of an artefact, taken in one pass."""

from silvermetal_proof.digest.measure import (
    CHUNK_SIZE,
    Measurement,
    digest_of,
    digests_of,
    keyed_digest,
    measure,
    sha256,
)

__all__ = ["CHUNK_SIZE", "Measurement", "digest_of", "digests_of", "keyed_digest", "measure", "sha256"]
