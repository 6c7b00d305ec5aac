"""Entering a verdict in the ledger: shared by the step *record* and by the recovery at start.

Rules:

- The envelope is written before the ledger, the ledger before the note by which people find it; a crash between leaves
  a verdict that is recorded again, never one that is lost.
- A verdict is entered once: an envelope that the ledger already holds keeps its index.
"""

from __future__ import annotations

from pathlib import Path

from silvermetal_proof.ledger.merkle import leaf_hash
from silvermetal_proof.verdict import sign_verdict

from silvermetal_master.build_store import BuildRecord
from silvermetal_master.settings import Settings
from silvermetal_master.signing import master_key, open_ledger


def enter(record: BuildRecord, settings: Settings, state: Path) -> int:
    """Sign and append the verdict of ``record`` and return its index in the ledger; the files are synced."""
    key = master_key(settings)
    ledger = open_ledger(settings, state)
    file = record.file("verdict.dsse.json")
    if file.exists():
        # Left by a process that died: it may have come as far as the ledger.
        envelope = file.read_bytes()
        leaves = ledger.check()
        index = leaves.index(leaf_hash(envelope)) if leaf_hash(envelope) in leaves else ledger.append(envelope, key)
    else:
        envelope = sign_verdict(record.verdict, key, settings.master.id)
        record.write("verdict.dsse.json", envelope)
        index = ledger.append(envelope, key)
    record.write("ledger-index", f"{index}\n".encode())
    return index
