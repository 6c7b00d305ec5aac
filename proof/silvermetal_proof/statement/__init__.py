"""What one worker signs after one build, and how a signature is made and checked."""

from silvermetal_proof.statement.dsse import STATEMENT_TYPE, Envelope, sign, verify
from silvermetal_proof.statement.keys import PublicKey, SigningKey
from silvermetal_proof.statement.schema import MAX_STATEMENT_BYTES, Statement, make_statement

__all__ = [
    "MAX_STATEMENT_BYTES",
    "STATEMENT_TYPE",
    "Envelope",
    "PublicKey",
    "SigningKey",
    "Statement",
    "make_statement",
    "sign",
    "verify",
]
