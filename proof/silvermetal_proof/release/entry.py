"""``ledger-proof.json``: that the verdict is an entry of the ledger, provable without the ledger.

Rules:

- Index, inclusion proof (RFC 9162, 2.1.3) and the signed checkpoint that it leads to; the leaf is the verdict's own
  envelope.
- Checked with the master's key and the ledger's name from elsewhere: nothing in the file is believed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from silvermetal_proof.errors import LedgerError
from silvermetal_proof.ledger import Checkpoint, Ledger, inclusion_proof, leaf_hash, read_checkpoint, verify_inclusion
from silvermetal_proof.ledger.checkpoint import MAX_CHECKPOINT_BYTES
from silvermetal_proof.model import Hex64, Record
from silvermetal_proof.statement.keys import PublicKey

MAX_PROOF_BYTES = 65536


class LedgerProof(Record):
    """One entry's place in the ledger."""

    version: Literal[1] = 1
    index: Annotated[int, Field(ge=0, lt=2**53)]
    proof: Annotated[tuple[Hex64, ...], Field(max_length=64)]
    checkpoint: Annotated[str, Field(max_length=MAX_CHECKPOINT_BYTES)]
    """The signed note, as the ledger serves it."""

    @classmethod
    def read(cls, data: bytes) -> LedgerProof:
        """Read a proof. :raises MalformedError: with the path of what is wrong."""
        return cls.parse(data, limit=MAX_PROOF_BYTES, what="ledger-proof.json")

    def check(self, envelope: bytes, origin: str, key: PublicKey) -> Checkpoint:
        """Return the checkpoint that covers ``envelope``. :raises LedgerError: when it does not."""
        checkpoint = read_checkpoint(self.checkpoint.encode(), origin, key)
        path = [bytes.fromhex(node) for node in self.proof]
        if not verify_inclusion(leaf_hash(envelope), self.index, checkpoint.size, path, checkpoint.root):
            raise LedgerError(
                "ledger-proof.json", expected=f"the verdict as entry {self.index} of {checkpoint.size}", got="another"
            )
        return checkpoint


def prove_entry(ledger: Ledger, index: int, envelope: bytes) -> LedgerProof:
    """The proof for one entry, over the ledger as it is now. :raises LedgerError: when the ledger does not hold."""
    leaves = ledger.check()
    checkpoint = ledger.checkpoint()
    if checkpoint is None or index >= checkpoint.size or ledger.entry(index) != envelope:
        raise LedgerError(f"entry {index} of the ledger", expected="this verdict", got="another or none")
    note = (ledger.path / "checkpoint").read_bytes().decode()
    path = inclusion_proof(index, leaves[: checkpoint.size])
    proof = LedgerProof(index=index, proof=tuple(node.hex() for node in path), checkpoint=note)
    # A checkpoint signed between the two reads would not fit: say so here rather than in a release.
    proof.check(envelope, ledger.origin, ledger.key)
    return proof
