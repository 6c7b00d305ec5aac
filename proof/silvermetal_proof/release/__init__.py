"""What a release holds, and how anyone checks it."""

from silvermetal_proof.release.entry import LedgerProof, prove_entry
from silvermetal_proof.release.layout import (
    BUILD_INFO,
    HOW_TO_CHECK,
    LEDGER_PROOF,
    LOCK,
    MASTER_PUB,
    MINISIG,
    PINS,
    SSHSIG,
    SUMS,
    VERDICT,
    host_of,
    iso_name,
    key_asset,
    required_assets,
    statement_asset,
)
from silvermetal_proof.release.sums import format_sums, parse_sums

__all__ = [
    "BUILD_INFO",
    "HOW_TO_CHECK",
    "LEDGER_PROOF",
    "LOCK",
    "MASTER_PUB",
    "MINISIG",
    "PINS",
    "SSHSIG",
    "SUMS",
    "VERDICT",
    "LedgerProof",
    "format_sums",
    "host_of",
    "iso_name",
    "key_asset",
    "parse_sums",
    "prove_entry",
    "required_assets",
    "statement_asset",
]
